/* The pages that the hub serves: how they are sent, and that they work, for a person and a keyboard. */
import axe from 'axe-core';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { settings } from '../integration/hub.mjs';
import { test } from '../integration/harness.mjs';
import { until } from '../integration/until.mjs';
import { newPage, openPage } from './browser.mjs';

const PATHS = ['/', '/dashboard', '/demos/sensors', '/demos/stream'];
const text = (page, selector) => page.locator(selector).innerText();
const shows = (page, selector, pattern, seconds = 20) =>
    until(`${selector} showing ${pattern}`, async () => pattern.test(await text(page, selector)), seconds);
/* On a busy machine the kernel takes its time to close what a killed hub had in io_uring. */
const KILL_SECONDS = 60;

/* ---- How they are sent. */

test('a page comes with its type, its tag and a policy that trusts nobody', async ({ hub }) => {
    for (const url of PATHS) {
        const response = await hub.get(url);
        assert.equal(response.status, 200, url);
        assert.equal(response.get('content-type'), 'text/html; charset=utf-8');
        assert.match(response.get('etag'), /^"[\w-]{22}"$/);
        assert.equal(response.get('x-content-type-options'), 'nosniff');
        assert.equal(response.get('content-encoding'), undefined);
        const policy = response.get('content-security-policy');
        assert.match(policy, /^default-src 'none';/);
        assert.match(policy, /frame-ancestors 'none'/);
        assert.doesNotMatch(policy, /unsafe|http|\*/);
        assert.doesNotMatch(response.text, /\son\w+=|style=|<style|<script(?![^>]*\ssrc=)/,
            'nothing inline');
    }
});

test('a page is sent compressed, whole, or not at all', async ({ hub }) => {
    const plain = await hub.get('/dashboard');
    const packed = await hub.get('/dashboard', { 'Accept-Encoding': 'br, gzip' });
    assert.equal(packed.get('content-encoding'), 'gzip');
    assert.match(packed.get('vary'), /Accept-Encoding/);
    assert.equal(gunzipSync(packed.body).toString(), plain.text);
    assert.notEqual(packed.get('etag'), plain.get('etag'));
    for (const tag of [plain.get('etag'), `W/${plain.get('etag')}`, `"x", ${plain.get('etag')}`, '*']) {
        const unchanged = await hub.get('/dashboard', { 'If-None-Match': tag });
        assert.equal(unchanged.status, 304, tag);
        assert.equal(unchanged.text, '');
        assert.equal(unchanged.get('etag'), plain.get('etag'));
    }
    for (const tag of ['"x"', packed.get('etag'), plain.get('etag').slice(1, -1)]) {
        assert.equal((await hub.get('/dashboard', { 'If-None-Match': tag })).status, 200, tag);
    }
    const head = await hub.request('HEAD', '/dashboard');
    assert.equal(head.status, 200);
    assert.equal(head.get('content-length'), plain.get('content-length'));
});

test('what is no page is an error as everywhere', async ({ hub }) => {
    for (const url of ['/assets/none.js', '/assets/', '/demos/none', '/dashboard/', '//', '/index.html',
        '/assets/..%2f..%2fetc%2fpasswd']) {
        const response = await hub.get(url);
        assert.equal(response.status, 404, url);
        assert.equal(response.json.status, 404);
    }
    const post = await hub.request('POST', '/', { body: 'x' });
    assert.equal(post.status, 405);
    assert.match(post.get('allow'), /GET, HEAD/);
});

test('every script and style of a page is there, with the right type', async ({ hub }) => {
    const types = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
    for (const url of PATHS) {
        const { text: html } = await hub.get(url);
        const assets = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map((match) => match[1]);
        assert.ok(assets.length >= 3, html);
        for (const asset of assets) {
            const response = await hub.get(asset);
            assert.equal(response.status, 200, asset);
            assert.ok(response.get('content-type').startsWith(types[asset.split('.').pop()]), asset);
        }
    }
});

/* ---- What everybody sees. */

const LOOKS = {
    light: [{ viewport: { width: 1280, height: 800 }, colorScheme: 'light' }, {}],
    dark: [{ viewport: { width: 1280, height: 800 }, colorScheme: 'dark' }, { runOnly: ['color-contrast'] }],
    phone: [{ viewport: { width: 360, height: 640 }, colorScheme: 'light', hasTouch: true },
        { runOnly: ['target-size', 'scrollable-region-focusable', 'meta-viewport'] }],
};

for (const [look, [options, rules]] of Object.entries(LOOKS)) {
    test(`no page complains, overflows or shuts anybody out: ${look}`, async ({ hub, defer }) => {
        await hub.publish('a-channel-with-quite-a-long-name-indeed', 'x');
        const page = await openPage(hub, '/', defer, options);
        for (const url of PATHS) {
            await page.goto(hub.url + url);
            await page.locator('.pill[data-state=open]').first().waitFor();
            const width = await page.evaluate(() => document.documentElement.scrollWidth);
            assert.ok(width <= options.viewport.width, `${url} is ${width} wide`);
            await page.evaluate(axe.source);
            const { violations } = await page.evaluate((run) => window.axe.run(run), rules);
            assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), [],
                url);
            assert.deepEqual(page.complaints(), [], url);
        }
    });
}

/* ---- Clients. */

const cardNames = (page) =>
    page.locator('[data-client]').evaluateAll((cards) => cards.map((card) => card.dataset.client));
const messages = (page, name) =>
    page.locator(`[data-client="${name}"] .messages li:not(.empty) span`).allInnerTexts();

async function openClients(context, options) {
    const page = await openPage(context.hub, '/', context.defer, options);
    await until('two clients', async () =>
        await page.locator('[data-client] .pill[data-state=open]').count() === 2);
    return [page, ...await cardNames(page)];
}

test('clients: a status to everybody reaches each once', async (context) => {
    const [page, a, b] = await openClients(context);
    await page.fill('#status', 'tea & cakes / ünïcode?');
    await page.click('text="Publish"');
    await shows(page, '#outcome', /Sent “tea & cakes \/ ünïcode\?” to everybody/);
    for (const name of [a, b]) {
        await until('the message', async () => (await messages(page, name)).length > 0);
        assert.deepEqual(await messages(page, name), ['tea & cakes / ünïcode?']);
    }
    assert.deepEqual(page.complaints(), []);
});

test('clients: statuses that are published quickly keep their order', async (context) => {
    const [page, a] = await openClients(context);
    const words = Array.from({ length: 20 }, (_, i) => `word ${i}`);
    for (const word of words) {
        await page.fill('#status', word);
        await page.press('#status', 'Enter');
    }
    await until('all messages', async () => (await messages(page, a)).length === words.length);
    assert.deepEqual(await messages(page, a), words);
});

test('clients: a status to one reaches that one, wherever it is', async (context) => {
    const [page, a, b] = await openClients(context);
    await page.selectOption('#to', a);
    await page.fill('#status', '<b>only you</b>');
    await page.press('#status', 'Enter');
    await until('the message', async () => (await messages(page, a)).length > 0);
    assert.deepEqual(await messages(page, a), ['<b>only you</b>']);
    assert.deepEqual(await messages(page, b), []);

    const elsewhere = await context.hub.subscribe('/stream/elsewhere');
    await until('the other client in the list', () =>
        page.locator('#to option[value=elsewhere]').count());
    await page.selectOption('#to', 'elsewhere');
    await page.fill('#status', 'hello there');
    await page.click('text="Publish"');
    assert.equal((await elsewhere.received(1))[0].data, 'hello there');
    elsewhere.close();
    await until('the end of the other client', async () =>
        !(await context.hub.get('/clients')).json.includes('elsewhere'));
    await page.click('text="Publish"');
    await shows(page, '#notice', /elsewhere is not connected/);
});

test('clients: adding and disconnecting, by keyboard alone', async (context) => {
    const [page, a, b] = await openClients(context);
    const focusOn = async (wanted) => {
        for (let i = 0; i < 30; i++) {
            await page.keyboard.press('Tab');
            const at = await page.evaluate(() =>
                document.activeElement.ariaLabel ?? document.activeElement.textContent.trim());
            if (at === wanted) {
                return;
            }
        }
        assert.fail(`${wanted} cannot be reached by Tab`);
    };
    await focusOn('Add a client');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Enter');
    await until('four clients', async () => (await cardNames(page)).length === 4);
    await page.keyboard.press('Enter');
    await shows(page, '#notice', /This page opens 4 streams\. Over HTTP\/1\.1 a browser has six/);
    await focusOn(`Disconnect ${a}`);
    await page.keyboard.press('Enter');
    await until('three clients', async () => (await cardNames(page)).length === 3);
    await until('the hub knows', async () =>
        !(await context.hub.get('/clients')).json.includes(a));
    assert.ok((await context.hub.get('/clients')).json.includes(b));
    assert.equal(await page.evaluate(() => document.activeElement.id), 'add');
    await page.click('text="Publish"');
    await shows(page, '#outcome', /Sent/);
});

/* ---- The token. */

const WITH_TOKEN = { hub: { env: { AUTH_TOKEN: 'open-sesame' } } };

test('a page asks for the token, and says when it is wrong', WITH_TOKEN, async (context) => {
    const [page, a] = await openClients(context);
    await page.click('text="Publish"');
    await shows(page, '#notice', /needs the header Authorization/);
    await page.click('text="Enter the token"');
    await page.keyboard.type('guess');
    await page.keyboard.press('Enter');
    await page.click('text="Publish"');
    await shows(page, '#notice', /The publish token is wrong/);
    await page.click('text="Token is set"');
    await page.keyboard.type('open-sesame');
    await page.keyboard.press('Enter');
    await page.click('text="Publish"');
    await shows(page, '#outcome', /Sent “hello”/);
    await until('the message', async () => (await messages(page, a)).length > 0);
    assert.equal(await text(page, '#notice'), '');
    await page.reload();
    assert.equal(await text(page, '#token-open'), 'Token is set');
    await page.click('#token-open');
    await page.click('text="Forget it"');
    await page.click('text="Publish"');
    await shows(page, '#notice', /needs the header Authorization/);
});

test('the token stays in its tab', WITH_TOKEN, async ({ hub, defer }) => {
    const page = await openPage(hub, '/', defer);
    await page.click('#token-open');
    await page.keyboard.type('open-sesame');
    await page.keyboard.press('Enter');
    const other = await page.context().newPage();
    await other.goto(hub.url);
    assert.equal(await text(other, '#token-open'), 'Token');
    assert.deepEqual(await page.evaluate(() => [document.cookie, localStorage.length]), ['', 0]);
    assert.doesNotMatch(hub.log, /open-sesame/);
});

test('protected mode: a page under a name of elsewhere says why it may not publish',
    async ({ hub, defer }) => {
        const page = await newPage(defer);
        await page.goto(`http://spate.test:${hub.port}/`);
        await page.locator('.pill[data-state=open]').first().waitFor();
        await page.click('text="Publish"');
        await shows(page, '#notice', /works at localhost or 127\.0\.0\.1 by that name/);
    });

/* ---- The tools that ship with the hub, for the two demonstrations. */

function feed(hub, what, defer) {
    const program = path.join(path.dirname(settings.spate), 'spatectl');
    const child = spawn(program, ['--url', hub.url, 'feed', what, '--interval-ms', '100'],
        { stdio: ['ignore', 'ignore', 'inherit'] });
    const ended = once(child, 'close');
    defer(() => {
        child.kill();
        return ended;
    });
    return { end: () => child.kill() };
}

test('sensors: the gauges show what the shipped sensor says', async ({ hub, defer }) => {
    const page = await openPage(hub, '/demos/sensors', defer);
    await shows(page, '#none', /Start the simulated sensor/);
    const command = await text(page, '#command');
    assert.equal(command, `spatectl --url ${hub.url} feed sensor`);
    const sensor = feed(hub, 'sensor', defer);
    await shows(page, '#last', /"temperature"/);
    sensor.end();
    await hub.publish('sensor-data', '{"temperature":-7.25,"humidity":81}', { query: '?event=sensor-data' });
    await shows(page, '#temperature', /−7\.3\s*°C/);
    await shows(page, '#humidity', /81\.0\s*%/);
    assert.equal(await page.locator('#temperature title').textContent(), 'Temperature: −7.3 °C');
    assert.ok(!await page.locator('#none').isVisible());
    assert.deepEqual(page.complaints(), []);
});

test('sensors: an older reading is there at once, and nonsense is told', async ({ hub, defer }) => {
    await hub.publish('sensor-data', '{"temperature":12}', { query: '?event=sensor-data' });
    const page = await openPage(hub, '/demos/sensors', defer);
    await shows(page, '#temperature', /12\.0/);
    await hub.publish('broadcast', 'for somebody else');
    for (const nonsense of ['<img src=x onerror=alert(1)>', 'null', '[]', '{"temperature":"hot"}']) {
        await hub.publish('sensor-data', nonsense, { query: '?event=sensor-data' });
        await until(`the notice of ${nonsense}`, async () =>
            await text(page, '#notice') === `Received an event that is not a reading: ${nonsense}`);
    }
    await hub.publish('sensor-data', '{"humidity":33}', { query: '?event=sensor-data' });
    await shows(page, '#humidity', /33\.0/);
    assert.match(await text(page, '#temperature'), /12\.0/);
    assert.deepEqual(page.complaints(), []);
});

test('sensors: the page can be the sensor', async ({ hub, defer }) => {
    const stream = await hub.subscribe('/sensor-data-events');
    await hub.request('DELETE', '/channels/sensor-data');
    const page = await openPage(hub, '/demos/sensors', defer);
    await page.click('#simulate');
    const [event] = await stream.received(1);
    assert.equal(event.event, 'sensor-data');
    assert.deepEqual(Object.keys(JSON.parse(event.data)), ['temperature', 'humidity']);
    await shows(page, '#last', /Last reading/);
    await page.click('#simulate');
    assert.equal(await page.getAttribute('#simulate', 'aria-pressed'), 'false');
});

test('sensors: a hub that is away is told until it is back, and the sensor goes on', { hub: null, seconds: 90 },
    async ({ start, defer }) => {
        const first = await start({});
        const page = await openPage(first, '/demos/sensors', defer);
        await page.click('#simulate');
        await shows(page, '#last', /Last reading/);
        first.signal('SIGKILL');
        await first.ended();
        first.stop = async () => {};
        await shows(page, '#notice', /cannot be reached/, KILL_SECONDS);
        const second = await start({ listen: [`127.0.0.1:${first.port}`] });
        await until('no notice', async () => await text(page, '#notice') === '');
        assert.equal(await page.getAttribute('#simulate', 'aria-pressed'), 'true');
        await until('a reading for the new hub', async () => (await second.stats()).published > 0);
    });

test('sensors: a sensor in the page stops when it is refused', WITH_TOKEN, async ({ hub, defer }) => {
    const page = await openPage(hub, '/demos/sensors', defer);
    await page.click('#simulate');
    await shows(page, '#notice', /Authorization/);
    assert.equal(await page.getAttribute('#simulate', 'aria-pressed'), 'false');
});

test('streams: several at once, and events of the types open and error are only events',
    async ({ hub, defer }) => {
        const page = await openPage(hub, '/demos/stream', defer);
        await page.fill('#channel', 'second / channel');
        await page.click('text="Open"');
        await until('two open streams', async () =>
            await page.locator('.pill[data-state=open]').count() === 2);
        await shows(page, '#outcome', /2 streams, 2 open; HTTP\/1\.1/);
        feed(hub, 'clock', defer);
        await hub.publish('stream', 'x', { query: '?event=error' });
        await hub.publish('stream', 'x', { query: '?event=open' });
        const { id } = await hub.publish('second / channel', 'two\n\nlines');
        const second = '[data-channel="second / channel"]';
        await shows(page, `${second} .facts`, new RegExp(id));
        assert.deepEqual(await page.locator(`${second} .messages li span`).allInnerTexts(),
            ['two\n\nlines']);
        await shows(page, '[data-channel=stream] .messages', /\d\d:\d\d:\d\d/);
        for (const state of await page.locator('.pill').all()) {
            assert.equal(await state.innerText(), 'open');
        }
        await shows(page, '[data-channel=stream] .facts', /reconnects\s+0/);
        assert.deepEqual(page.complaints(), []);
    });

test('streams: the hub is killed and started again', { hub: null, seconds: 90 },
    async ({ start, defer }) => {
        const args = ['--retry-ms', '200'];
        const first = await start({ args });
        const page = await openPage(first, '/demos/stream', defer);
        const card = '[data-channel=stream]';
        await page.locator(`${card} .pill[data-state=open]`).waitFor();
        await first.publish('stream', 'before');
        await shows(page, `${card} .messages`, /before/);
        first.signal('SIGKILL');
        await first.ended();
        await shows(page, `${card} .pill`, /reconnecting/, KILL_SECONDS);
        const second = await start({ args, listen: [`127.0.0.1:${first.port}`] });
        await page.locator(`${card} .pill[data-state=open]`).waitFor();
        await second.publish('stream', 'after');
        await shows(page, `${card} .messages`,
            /before[^]*Back after [\d.]+ s\.[^]*the hub was restarted[^]*after/);
        await shows(page, `${card} .facts`, /events\s+2\s+reconnects\s+1/);
        first.stop = async () => {};
    });

test('streams: a refused stream says why, and comes back', async ({ hub, defer }) => {
    const page = await openPage(hub, '/demos/stream', defer);
    await page.fill('#channel', '$nothing');
    await page.click('text="Open"');
    await shows(page, '[data-channel="$nothing"] .pill', /refused/);
    await shows(page, '#notice', /\$|token/i);
    await page.click('[aria-label="Close $nothing"]');
    assert.equal(await page.locator('[data-channel]').count(), 1);
});

test('streams: over HTTP/1.1 no more than a browser has connections for', async ({ hub, defer }) => {
    const page = await openPage(hub, '/demos/stream', defer);
    await page.fill('#count', '9');
    await page.click('text="Open"');
    await shows(page, '#outcome', /^4 streams, 4 open/);
    await shows(page, '#notice', /4 streams at most.*HTTP\/2/);
    await page.click('text="Close all"');
    await shows(page, '#outcome', /^0 streams/);
    assert.equal(await page.locator('[data-channel]').count(), 0);
});

test('streams: sixty of one page, and sixty tabs\u2019 worth, over one HTTP/2 connection',
    { hub: { tls: true, args: ['--retry-ms', '200'] }, seconds: 120 }, async ({ hub, defer }) => {
        const page = await openPage(hub, '/demos/stream', defer, { ignoreHTTPSErrors: true });
        await page.fill('#count', '59');
        await page.click('text="Open"');
        await shows(page, '#outcome', /^60 streams, 60 open; HTTP\/2, over one connection\.$/);
        await hub.publish('stream', 'to sixty');
        const last = page.locator('[data-channel] .messages li:last-child span');
        await until('the event in sixty cards', async () =>
            (await last.allInnerTexts()).filter((one) => one === 'to sixty').length === 60, 30);
        assert.equal(await page.locator('.cards').evaluate((cards) => cards.childElementCount), 60);

        /* The rest still loads, and more tabs with more streams, over the same connection. */
        const tabs = [];
        for (const path of ['/', '/dashboard', '/demos/sensors', ...Array(9).fill('/demos/stream')]) {
            const tab = await page.context().newPage();
            assert.equal((await tab.goto(hub.url + path)).status(), 200);
            await tab.locator('.pill[data-state=open]').first().waitFor();
            tabs.push(tab);
        }
        await tabs.at(-1).fill('#count', '40');
        await tabs.at(-1).click('text="Open"');
        await shows(tabs.at(-1), '#outcome', /^41 streams, 41 open/);
        const { streams, connections } = await until('all streams', async () => {
            const stats = await hub.stats();
            return stats.streams >= 60 + 2 + 1 + 1 + 8 + 41 && stats;
        }, 30);
        /* Beside our own. A browser opens some more before it knows that one is enough. */
        assert.ok(connections < 12, `${streams} streams, ${connections} connections`);
        const protocols = await page.evaluate(() => performance.getEntriesByType('resource')
            .map(({ nextHopProtocol }) => nextHopProtocol).filter((name) => name !== ''));
        assert.deepEqual(new Set(protocols), new Set(['h2']));
        await hub.publish('stream', 'to all of them');
        for (const tab of [page, ...tabs.slice(3)]) {
            await until('the event in every card', async () => (await tab.locator(
                '[data-channel] .messages li:last-child span').allInnerTexts())
                .every((one) => one === 'to all of them'), 30);
        }
        assert.deepEqual(page.complaints(), []);
    });

/* ---- The dashboard. */

const tile = (page, name) => page.locator('#tiles > div', {
    has: page.locator('dt', { hasText: new RegExp(`^${name}$`) }),
}).locator('dd').innerText();
const shards = (page) => page.locator('#shards tr').evaluateAll((rows) =>
    rows.map((row) => [...row.cells].map((cell) => cell.textContent)));

test('the dashboard counts what there is', { hub: { args: ['--shards', '3'] } }, async ({ hub, defer }) => {
    for (let i = 0; i < 7; i++) {
        await hub.subscribe(`/sse/dash-${i % 2}`);
    }
    const page = await openPage(hub, '/dashboard', defer);
    await until('the streams, and its own', async () => await tile(page, 'streams') === '8');
    assert.equal(await text(page, '#state'), 'live');
    assert.equal((await shards(page)).length, 3);
    assert.equal((await shards(page)).reduce((sum, row) => sum + Number(row[3]), 0), 8);
    await shows(page, '#about', /Spate \d+\.\d+\.\d+ on (io_uring|epoll), up for/);
    assert.equal(await page.locator('#plots canvas').count(), 6);
    await until('a rate of deliveries', async () => {
        await hub.publish('dash-0', 'x');
        return parseFloat(await tile(page, 'deliveries/s')) > 0;
    });
    await until('the channel with its rate', async () => {
        await hub.publish('dash-0', 'x');
        const row = await page.locator('#busiest tr').first().innerText();
        return /^dash-0\s+4\s+[\d.]*[1-9]/.test(row);
    });
    await hub.publish('<b>bold', 'x');
    await shows(page, '#busiest', /<b>bold/);
    assert.deepEqual(page.complaints(), []);
});

test('the dashboard names the slowest channel, and the shard that lags',
    { hub: { args: ['--history-bytes', '256MiB'] }, seconds: 90 },
    async ({ hub, defer }) => {
        const page = await openPage(hub, '/dashboard', defer);
        await shows(page, '#slowest-hint', /sent everything/);
        await until('no lag', async () => await tile(page, 'oldest unsent') === 'none');
        const stands = await hub.subscribe('/sse/flood');
        stands.wire.socket.pause();
        const data = 'x'.repeat(60000);
        await until('the channel', async () => {
            await hub.publish('flood', data);
            return /^flood\s+[\d.]+ m?s\s+[\d.]+ [kM]B\s+1\s+1$/.test(await text(page, '#slowest'));
        }, 60);
        await until('a lag in the tile', async () => /^[\d.]+ m?s$/.test(await tile(page, 'oldest unsent')));
        assert.equal(await tile(page, 'streams behind'), '1');
        assert.equal((await shards(page)).filter((row) => row[4] === '1' && /^[\d.]+ m?s$/.test(row[5])).length, 1);
        stands.wire.socket.resume();
        await shows(page, '#slowest-hint', /sent everything/);
        assert.deepEqual(page.complaints(), []);
    });

test('the dashboard shows where an event spends its time', { hub: { args: ['--shards', '2'] } },
    async ({ hub, defer }) => {
        const page = await openPage(hub, '/dashboard', defer);
        await hub.subscribe('/sse/fan');
        await until('a verdict', async () => {
            await hub.publish('fan', 'x');
            return /^From publish to the last send: .*slowest stage is/.test(await text(page, '#profile-verdict'));
        });
        const stages = await page.locator('#profile-stages th').allInnerTexts();
        assert.deepEqual(stages, ['parse', 'sequence', 'queue', 'pass', 'submit', 'completion', 'other']);
        assert.match(await page.getAttribute('#profile-way .bar', 'aria-label'), /^parse \d+ %, /);
        assert.equal(await page.locator('#profile-loops .bar').count(), 2);
        await until('the load of a shard', async () => /^\d+ %$/.test((await shards(page))[0][8]));
        await page.click('text="/debug/fanout"');
        assert.match(await page.title(), /fan-out profile/);
        assert.deepEqual(page.complaints(), []);
    });

test('without the token the dashboard asks each second, with it the statistics are live', WITH_TOKEN,
    async ({ hub, defer }) => {
        const page = await openPage(hub, '/dashboard', defer);
        await shows(page, '#state', /polling/);
        await shows(page, '#about', /live statistics need the token/i);
        await shows(page, '#slowest-hint', /need the token/);
        await until('the profile all the same', async () => await page.locator('#profile-stages tr').count() === 7);
        const before = (await hub.stats()).uptime_seconds;
        await shows(page, '#about', new RegExp(`up for ${before + 2} s`));
        await page.click('#token-open');
        await page.keyboard.type('open-sesame');
        await page.keyboard.press('Enter');
        await shows(page, '#state', /^live$/);
        assert.deepEqual(page.complaints(/Failed to load resource: .* 401/), []);
    });

test('the dashboard tells when the hub is away, and goes on when it is back', { hub: null, seconds: 90 },
    async ({ start, defer }) => {
        const first = await start({});
        await first.subscribe('/sse/x');
        const page = await openPage(first, '/dashboard', defer);
        await until('the stream', async () => await tile(page, 'streams') === '2');
        first.signal('SIGKILL');
        await first.ended();
        first.stop = async () => {};
        await shows(page, '#state', /unreachable/, KILL_SECONDS);
        await shows(page, '#notice', /cannot be reached/);
        await start({ listen: [`127.0.0.1:${first.port}`] });
        await until('no stream but its own', async () => await tile(page, 'streams') === '1');
        await shows(page, '#state', /live/);
        assert.equal(await text(page, '#notice'), '');
    });
