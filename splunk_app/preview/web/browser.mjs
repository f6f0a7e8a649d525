// One Chromium, driven by lines of JSON on stdin, each answered by one on
// stdout:
//
//	node browser.mjs PACKAGES CHROMIUM
//
// Each order is {"do": ...}; an answer has "error" where it went wrong.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const [, , packages, executablePath] = process.argv;
const { chromium } = createRequire(join(packages, 'package.json'))('playwright-core');

const browser = await chromium.launch({
    executablePath,
    args: ['--disable-gpu', '--no-sandbox', '--force-color-profile=srgb', '--font-render-hinting=none', '--disable-background-networking'],
});
let page;
let said = []; // since the page was opened: errors, and requests that went elsewhere
let caught; // where links led to, while they are caught

// Runs in each page first: counts what is under way, search jobs whose results
// were not fetched yet among it, and notes when the page changed.
function watch() {
    const jobs = new Set();
    window.preview = { pending: 0, jobs, changed: performance.now() };
    const note = async (response) => {
        const { pathname } = new URL(response.url);
        const [, sid] = pathname.match(/\/jobs\/([^/]+)\/(results|events)/) ?? [];
        jobs.delete(sid);
        if (!pathname.endsWith('/search/jobs') || !response.ok) return;
        const told = await response.clone().json();
        if (told.sid) jobs.add(told.sid);
        for (const { content } of told.entry ?? []) if (content.isFailed) jobs.delete(content.sid);
    };
    const fetched = window.fetch;
    window.fetch = async (...all) => {
        window.preview.pending++;
        try {
            const response = await fetched(...all);
            await note(response);
            return response;
        } finally {
            window.preview.pending--;
        }
    };
    new MutationObserver(() => (window.preview.changed = performance.now())).observe(document, {
        subtree: true, childList: true, characterData: true, attributes: true,
    });
}

// Whether a page has drawn all that it will: nothing is under way, no panel
// waits, and nothing has changed for a while; for a long while where panels wait
// for ever, as those do that got a row without a value.
function settled(quiet) {
    const drawn = document.querySelector('[data-test="viz-item"]') || !document.getElementById('dashboard');
    const waiting = document.querySelector('[data-test="icon-placeholder"], [data-test="progress"], [data-test*="loading" i], [data-test*="skeleton" i]');
    return drawn && window.preview.pending === 0 && performance.now() - window.preview.changed > (waiting || window.preview.jobs.size ? 8 * quiet : quiet);
}

// What was done to the page counts as a change of it, which may come a moment
// later. The bound is for a busy machine: on a free one pages settle in seconds.
async function settle() {
    await page.evaluate(() => (window.preview.changed = performance.now()));
    await page.waitForFunction(settled, 300, { timeout: 120000, polling: 50 });
}

async function open({ url, width, height }) {
    await page?.context().close();
    const context = await browser.newContext({ viewport: { width, height }, deviceScaleFactor: 1, timezoneId: 'UTC', locale: 'en-US', reducedMotion: 'reduce' });
    page = await context.newPage();
    page.setDefaultTimeout(20000);
    page.setDefaultNavigationTimeout(60000);
    said = [];
    caught = undefined;
    await page.addInitScript(watch);
    const { host } = new URL(url);
    page.on('pageerror', (error) => said.push(`page error: ${error.stack ?? error}`));
    page.on('console', (message) => message.type() === 'error' && said.push(`console: ${message.text()}`));
    page.on('request', (request) => {
        const asked = new URL(request.url());
        if (asked.protocol !== 'data:' && asked.protocol !== 'blob:' && asked.host !== host) said.push(`asked elsewhere: ${request.url()}`);
    });
    await page.goto(url);
    await context.route('**', (route) => {
        if (!caught || !route.request().isNavigationRequest()) return route.continue();
        caught.push(route.request().url());
        return route.abort('aborted'); // which leaves the page as it is
    });
    return {};
}

// Clicks an element and tells where that leads to; the page stays where it is.
async function follow({ selector, text }) {
    caught = [];
    const found = page.locator(selector);
    await (text === undefined ? found : found.filter({ hasText: text })).first().click({ force: true });
    for (const since = Date.now(); !caught.length && Date.now() - since < 3000; ) await page.waitForTimeout(20);
    const value = caught;
    caught = undefined;
    return { value };
}

// A picture of the whole page, no higher than it is.
async function picture({ path, width }) {
    await page.setViewportSize({ width, height: 400 });
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewportSize({ width, height });
    await settle().catch(() => {});
    await page.screenshot({ path, animations: 'disabled', caret: 'hide' });
    return {};
}

const orders = {
    open,
    evaluate: async ({ script, argument }) => ({ value: await page.evaluate(new Function('argument', script), argument) }),
    click: async ({ selector, text }) => {
        const found = page.locator(selector);
        await (text === undefined ? found : found.filter({ hasText: text })).first().click();
        return {};
    },
    follow,
    fill: async ({ selector, text }) => {
        await page.locator(selector).first().fill(text);
        await page.keyboard.press('Enter');
        return {};
    },
    resize: async ({ width, height }) => {
        await page.setViewportSize({ width, height });
        return {};
    },
    settle: async () => {
        await settle();
        return {};
    },
    picture,
    emulate: async ({ media, scheme }) => {
        await page.emulateMedia({ media, colorScheme: scheme });
        return {};
    },
    print: async ({ path }) => {
        await page.pdf({ path, preferCSSPageSize: true, printBackground: true });
        return {};
    },
    said: async () => ({ said }),
};

for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    let answer;
    try {
        answer = await orders[order.do](order);
    } catch (error) {
        answer = { error: String(error.message ?? error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
}
await browser.close();
