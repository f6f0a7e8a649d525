// Splunk sets the token of an input from the parameter form.TOKEN of the page's
// address; a time range has one each for its two ends.

export function withTokens(definition, parameters) {
    const inputs = Object.fromEntries(
        Object.entries(definition.inputs ?? {}).map(([id, input]) => [id, withToken(input, parameters)])
    );
    return { ...definition, inputs };
}

function withToken(input, parameters) {
    const name = `form.${input.options?.token}`;
    const given = input.type === 'input.timerange' ? timeRange(input, name, parameters) : parameters.getAll(name).join(',');
    return given ? { ...input, options: { ...input.options, defaultValue: given } } : input;
}

function timeRange(input, name, parameters) {
    const [earliest, latest] = (input.options?.defaultValue ?? ',').split(',');
    const ends = [parameters.get(`${name}.earliest`), parameters.get(`${name}.latest`)];
    return ends.some((end) => end !== null) && [ends[0] ?? earliest, ends[1] ?? latest].join(',');
}
