// The parameter form.TOKEN of the page's address is what an input is set to; a
// time range has one each for its two ends.

// address is that of the page with the inputs set to tokens.
export function address(definition, tokens, { pathname, search }) {
    const parameters = new URLSearchParams(search);
    parameters.delete('theme'); // the button's choice holds from here on
    for (const { type, options } of Object.values(definition.inputs ?? {})) {
        const ends = type === 'input.timerange' ? [`${options.token}.earliest`, `${options.token}.latest`] : [options.token];
        for (const name of ends) {
            if (tokens[name] !== undefined) parameters.set(`form.${name}`, tokens[name]);
        }
    }
    return `${pathname}?${parameters}`;
}

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
