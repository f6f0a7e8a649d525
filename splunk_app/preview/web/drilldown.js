// The drilldowns that lead to a dashboard or a search of Splunk's: its public
// packages hold only those that stay in the page or lead to a URL.

import CustomUrlDrilldown from '@splunk/dashboard-event-handlers/CustomUrlDrilldown';

// A link is a URL made of its options; it answers the same clicks as a URL does.
const link = (urlOf) =>
    class extends CustomUrlDrilldown {
        constructor(options = {}) {
            super({ ...options, url: 'made when it is clicked' });
            this.handle = (event) =>
                Promise.resolve([{ type: 'linkTo', payload: { url: urlOf(options, event.payload ?? {}), newTab: options.newTab } }]);
        }
    };

const url = (path, parameters) => {
    const query = Object.entries(parameters)
        .filter(([, value]) => value !== undefined && value !== '')
        .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
        .join('&');
    return query ? `${path}?${query}` : path;
};

// A token's value is the key of what was clicked, such as row.asset_id.value, or
// a text whose tokens are filled by now.
const linkToDashboard = ({ app, dashboard, tokens = [] }, clicked) =>
    url(
        `/app/${app}/${dashboard}`,
        Object.fromEntries(tokens.map(({ token, value }) => [`form.${token.replace(/^form\./, '')}`, clicked[value] ?? value]))
    );

const linkToSearch = ({ query, earliest, latest }) => url('/app/aiwatch/search', { q: query, earliest, latest });

export const drilldowns = {
    'drilldown.linkToDashboard': link(linkToDashboard),
    'drilldown.linkToSearch': link(linkToSearch),
};
