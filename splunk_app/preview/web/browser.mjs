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

// Runs in each page first: counts what is under way, and when the page changed.
function watch() {
    window.preview = { pending: 0, changed: performance.now() };
    const fetched = window.fetch;
    window.fetch = (...all) => {
        window.preview.pending++;
        return fetched(...all).finally(() => window.preview.pending--);
    };
    new MutationObserver(() => (window.preview.changed = performance.now())).observe(document, {
        subtree: true, childList: true, characterData: true, attributes: true,
    });
}

// Whether a page has drawn all that it will: nothing is under way, no panel
// waits, and nothing has changed for a while.
function settled(quiet) {
    const drawn = document.querySelector('[data-test="viz-item"]') || !document.getElementById('dashboard');
    const waiting = document.querySelector('[data-test="icon-placeholder"], [data-test="progress"], [data-test*="loading" i], [data-test*="skeleton" i]');
    return drawn && !waiting && window.preview.pending === 0 && performance.now() - window.preview.changed > quiet;
}

const settle = ({ timeout }) => page.waitForFunction(settled, 400, { timeout: timeout ?? 60000, polling: 50 });

async function open({ url, width, height }) {
    await page?.context().close();
    const context = await browser.newContext({ viewport: { width, height }, deviceScaleFactor: 1, timezoneId: 'UTC', locale: 'en-US', reducedMotion: 'reduce' });
    page = await context.newPage();
    page.setDefaultTimeout(20000);
    said = [];
    await page.addInitScript(watch);
    const { host } = new URL(url);
    page.on('pageerror', (error) => said.push(`page error: ${error.stack ?? error}`));
    page.on('console', (message) => message.type() === 'error' && said.push(`console: ${message.text()}`));
    page.on('request', (request) => {
        const asked = new URL(request.url());
        if (asked.protocol !== 'data:' && asked.protocol !== 'blob:' && asked.host !== host) said.push(`asked elsewhere: ${request.url()}`);
    });
    await page.goto(url);
    return {};
}

// A picture of the whole page, no higher than it is.
async function picture({ path, width }) {
    await page.setViewportSize({ width, height: 400 });
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewportSize({ width, height });
    await settle({});
    await page.screenshot({ path, animations: 'disabled', caret: 'hide' });
    return {};
}

const orders = {
    open,
    evaluate: async ({ script, argument }) => ({ value: await page.evaluate(new Function('argument', script), argument) }),
    wait: async ({ script, argument, timeout }) => {
        await page.waitForFunction(new Function('argument', script), argument, { timeout: timeout ?? 20000, polling: 50 });
        return {};
    },
    click: async ({ selector, nth }) => {
        await page.locator(selector).nth(nth ?? 0).click();
        return {};
    },
    fill: async ({ selector, value }) => {
        await page.locator(selector).first().fill(value);
        await page.keyboard.press('Enter');
        return {};
    },
    resize: async ({ width, height }) => {
        await page.setViewportSize({ width, height });
        return {};
    },
    settle: async (order) => {
        await settle(order);
        return {};
    },
    picture,
    said: async () => ({ said }),
    where: async () => ({ value: page.url() }),
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
