// What the server says of the page. Splunk's packages read the address of
// splunkd from the global $C as soon as they are loaded, so this comes first.
export const page = JSON.parse(document.getElementById('page').textContent);

window.$C = {
    SPLUNKD_PATH: page.splunkd,
    LOCALE: 'en-US',
    MRSPARKLE_ROOT_PATH: '',
    SERVER_ZONEINFO: page.zone,
    USERNAME: 'admin',
};
