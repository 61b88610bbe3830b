/* The browser's own EventSource and fetch against the hub: what no page of ours is between. */
import assert from 'node:assert/strict';
import { createParser } from 'eventsource-parser';
import { test } from '../integration/harness.mjs';
import { Random, seed } from '../integration/random.mjs';
import { until } from '../integration/until.mjs';
import { listen, newPage, serve, Wirecutter } from './browser.mjs';

/* A reader that is behind finds in the history what it has not read, however large. */
export const hubOptions = { args: ['--history-bytes', '64MiB'] };

/* A page of another origin, with nothing on it. */
async function foreignPage(defer) {
    const page = await newPage(defer);
    page.origin = await serve(defer);
    await page.goto(page.origin);
    return page;
}

const record = (page, name = 'one') =>
    page.evaluate((key) => {
        const { source, events, opened, errors } = window[key];
        return { state: source.readyState, events, opened, errors };
    }, name);
const count = (page, name) => page.evaluate((key) => window[key].events.length, name);

async function opened(page, name = 'one', times = 1) {
    await until(`${name} open (${times})`, () =>
        page.evaluate(([key, wanted]) => window[key].opened >= wanted, [name, times]), 20);
}

async function events(page, wanted, name = 'one', seconds = 20) {
    let there = null;
    try {
        await until(`${wanted} events`, async () => await count(page, name) >= wanted, seconds);
    } finally {
        there = await record(page, name);
        if (there.events.length < wanted) {
            console.log({ ...there, events: there.events.map(([type, data]) => [type, data.slice(0, 20)]) });
        }
    }
    return there.events;
}

/* ---- Payloads: what the standard (WHATWG HTML, 9.2.6) rebuilds, and nothing beside it. */

const PAYLOADS = [
    '', 'x', '\n', '\r', '\r\n', '\n\r', 'a\nb', 'a\rb', 'a\r\nb', 'a\r\r\nb', 'a\n\nb', 'a\n', 'a\r', 'a\r\n',
    '\na', '\n\n\n', ' a', '  a ', '\ta', ' \n ', ':', ': comment', 'a:b', '\n:\n',
    '\0', 'a\0b', '\0\n\0', '\ufeff', '\ufeffa', 'a\n\ufeffb', '\ufeff\ufeff',
    'data: x', 'data', 'id: 7', 'a\nid: 7\nb', 'a\n\nid: evil\nevent: evil\ndata: evil\n\n',
    'event: e\n\ndata: x', 'retry: 1', 'x\nretry: 1\n', '\r\rdata: evil\r\r', '\r\n\r\ndata: evil\r\n\r\n',
    '0\r\n\r\n', '5\r\nhello\r\n', 'HTTP/1.1 200 OK\r\n\r\n', '</script><script>window.evil = 1</script>',
    'a\u2028b', 'a\u2029b', 'a\u0085b', 'a\vb', 'a\fb', '\u001b[31m', '\u007f', 'é', '€', '🌊', '\u{10ffff}',
    'y'.repeat(1 << 20), `${'z'.repeat(63)}\n`.repeat(1 << 14), '\n'.repeat(1 << 12), 'after',
];
const rebuilt = (payload) => payload.replace(/\r\n|\r/g, '\n');

test('every payload arrives as the standard rebuilds it, and injects nothing', { seconds: 120 },
    async ({ hub, defer }) => {
        const page = await foreignPage(defer);
        await page.evaluate(listen, { url: `${hub.url}/sse/exact`, types: ['evil', 'e'] });
        await opened(page);
        const ids = [];
        for (const payload of PAYLOADS) {
            ids.push((await hub.publish('exact', payload)).id);
        }
        const seen = await events(page, PAYLOADS.length, 'one', 60);
        assert.equal(seen.length, PAYLOADS.length);
        for (const [i, [type, data, id, origin]] of seen.entries()) {
            assert.ok(data === rebuilt(PAYLOADS[i]), JSON.stringify(PAYLOADS[i].slice(0, 80)));
            assert.deepEqual([type, id, origin], ['message', ids[i], hub.url]);
        }
        const { opened: times, errors } = await record(page);
        assert.deepEqual([times, errors, await page.evaluate(() => window.evil)], [1, 0, undefined]);
    });

test('every payload comes to eventsource-parser the same', { seconds: 120 }, async ({ hub, defer }) => {
    const abort = new AbortController();
    defer(() => abort.abort());
    const response = await fetch(`${hub.url}/sse/parsed`, { signal: abort.signal });
    const seen = [];
    const failures = [];
    const parser = createParser({ onEvent: (event) => seen.push(event), onError: (e) => failures.push(e) });
    const reading = (async () => {
        for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
            parser.feed(text);
        }
    })().catch(() => {});
    const ids = [];
    for (const payload of PAYLOADS) {
        ids.push((await hub.publish('parsed', payload)).id);
    }
    await until('all events', () => seen.length >= PAYLOADS.length, 60);
    abort.abort();
    await reading;
    assert.deepEqual(failures, []);
    for (const [i, event] of seen.entries()) {
        assert.ok(event.data === rebuilt(PAYLOADS[i]), JSON.stringify(PAYLOADS[i].slice(0, 80)));
        assert.deepEqual([event.event, event.id], [undefined, ids[i]]);
    }
});

test('an event type is a type, whatever it is called', async ({ hub, defer }) => {
    const types = ['open', 'error', 'data: x', ' spaced', 'ünï', '__proto__', 'constructor', ':'];
    const page = await foreignPage(defer);
    await page.evaluate(listen, { url: `${hub.url}/sse/types`, types });
    await opened(page);
    for (const type of types) {
        await hub.publish('types', type, { query: `?event=${encodeURIComponent(type)}` });
    }
    const seen = await events(page, types.length);
    for (const [i, type] of types.entries()) {
        assert.deepEqual(seen[i].slice(0, 2), [type, type]);
    }
    assert.equal((await record(page)).errors, 0);
});

/* ---- Lost connections. */

test('killed and started again, the hub is found again by itself', { hub: null, seconds: 90 },
    async ({ start, defer }) => {
        const args = ['--retry-ms', '100'];
        const first = await start({ args });
        const page = await foreignPage(defer);
        await page.evaluate(listen, { url: `${first.url}/sse/news` });
        await opened(page);
        const { id } = await first.publish('news', 'before');
        await events(page, 1);
        first.signal('SIGKILL');
        await first.ended();
        first.stop = async () => {};
        const second = await start({ args, listen: [`127.0.0.1:${first.port}`] });
        await opened(page, 'one', 2);
        await second.publish('news', 'after');
        const seen = await events(page, 3);
        assert.deepEqual(seen.map(([type]) => type), ['message', 'spate.gap', 'message']);
        assert.deepEqual(JSON.parse(seen[1][1]).reason, 'epoch');
        assert.equal(JSON.parse(seen[1][1]).requested, id);
        assert.equal(seen[2][1], 'after');
    });

test('drained, the hub hands its browsers over to the next one', { hub: null, seconds: 90 },
    async ({ start, defer }) => {
        const args = ['--retry-ms', '100'];
        const first = await start({ args });
        const page = await foreignPage(defer);
        await page.evaluate(listen, { url: `${first.url}/sse/news` });
        await opened(page);
        first.signal('SIGTERM');
        assert.deepEqual(await first.ended(), { code: 0, signal: null });
        const second = await start({ args, listen: [`127.0.0.1:${first.port}`] });
        await opened(page, 'one', 2);
        await second.publish('news', 'after');
        const seen = await events(page, 2);
        assert.deepEqual(seen.map(([type]) => type), ['spate.gap', 'message']);
        assert.equal(seen[1][1], 'after');
    });

/* Chromium takes a head that was cut off for a whole one, of no event stream, and gives up for good. */
const HEAD_BYTES = 512;

test(`cut at any byte, a stream has every event once and in order (SPATE_TEST_SEED=${seed})`,
    { hub: { args: ['--retry-ms', '20', '--history-bytes', '64MiB'] }, seconds: 120 },
    async ({ hub, defer }) => {
        const total = 300;
        const random = new Random(seed);
        const cutter = await Wirecutter.to(() => ({ host: '127.0.0.1', port: hub.port }), defer);
        const page = await foreignPage(defer);
        await page.evaluate(listen, { url: `${cutter.url}/sse?channel=cut-a&channel=cut-b` });
        await opened(page);
        for (let i = 0; i < total; i++) {
            const padding = 'é\n'.repeat(random.below(200));
            await hub.publish(`cut-${'ab'[i % 2]}`, `${i} ${padding}`);
            if (i % 15 === 14) {
                const accepted = cutter.accepted;
                cutter.limit = HEAD_BYTES + random.below(4000);
                cutter.cut();
                await until('the next connection', () => cutter.accepted > accepted);
            }
        }
        cutter.limit = Infinity;
        cutter.cut();
        const seen = await events(page, total, 'one', 60);
        assert.deepEqual(seen.map(([, data]) => parseInt(data, 10)), Array.from({ length: total }, (_, i) => i));
        assert.deepEqual(new Set(seen.map(([type]) => type)), new Set(['message']));
        assert.ok(cutter.accepted > total / 15, `${cutter.accepted} connections`);
    });

/* ---- How many at once. */

test('over HTTP/1.1 the seventh stream of a browser waits for one of the six', { seconds: 60 },
    async ({ hub, defer }) => {
        const page = await foreignPage(defer);
        const names = Array.from({ length: 7 }, (_, i) => `limit-${i}`);
        for (const name of names.slice(0, 6)) {
            await page.evaluate(listen, { url: `${hub.url}/sse/limit`, name });
            await opened(page, name);
        }
        await page.evaluate(listen, { url: `${hub.url}/sse/limit`, name: 'limit-6' });
        await hub.publish('limit', 'six');
        for (const name of names.slice(0, 6)) {
            await events(page, 1, name);
        }
        assert.deepEqual([(await record(page, 'limit-6')).opened, (await hub.stats()).streams], [0, 6]);
        await page.evaluate(() => window['limit-0'].source.close());
        await opened(page, 'limit-6');
        await hub.publish('limit', 'the other six');
        for (const name of names.slice(1)) {
            const seen = await events(page, name === 'limit-6' ? 1 : 2, name);
            assert.equal(seen.at(-1)[1], 'the other six');
        }
    });

test('sixty streams of one browser, over ten addresses', {
    hub: { listen: Array.from({ length: 10 }, (_, i) => `127.0.0.${i + 1}:0`) }, seconds: 90,
}, async ({ hub, defer }) => {
    const page = await foreignPage(defer);
    const names = [];
    for (const [i, address] of hub.listening().entries()) {
        for (let j = 0; j < 6; j++) {
            names.push(`tab-${i}-${j}`);
            await page.evaluate(listen, { url: `http://${address}/stream/tab-${i}-${j}`, name: names.at(-1) });
        }
    }
    for (const name of names) {
        await opened(page, name);
    }
    assert.equal((await hub.stats()).streams, 60);
    await hub.publish('broadcast', 'to all tabs');
    for (const name of names) {
        assert.deepEqual((await events(page, 1, name)).map(([, data]) => data), ['to all tabs']);
    }
});

/* ---- Other origins. */

/* Runs in the page. */
const outcomeOf = ({ url, init }) => fetch(url, init).then((response) => response.status, () => 'blocked');
const readsWith = async (page, url, init, name) => {
    await page.evaluate(listen, { url, name, init });
    const state = await until('open or blocked', async () => {
        const { opened: times, state: now } = await record(page, name);
        return times > 0 ? 'open' : now === 2 && 'blocked';
    });
    await page.evaluate((key) => window[key].source.close(), name);
    return state;
};

test('CORS: by default any page reads without credentials, and none with them', async ({ hub, defer }) => {
    const page = await foreignPage(defer);
    const url = `${hub.url}/sse/cors`;
    assert.equal(await readsWith(page, url, {}, 'plain'), 'open');
    assert.equal(await readsWith(page, url, { withCredentials: true }, 'credentials'), 'blocked');
    const stats = { url: `${hub.url}/stats` };
    assert.equal(await page.evaluate(outcomeOf, stats), 200);
    assert.equal(await page.evaluate(outcomeOf, { ...stats, init: { credentials: 'include' } }), 'blocked');
});

test('CORS: a listed origin reads with credentials and publishes, others do neither', { hub: null },
    async ({ start, defer }) => {
        const page = await foreignPage(defer);
        const other = await foreignPage(defer);
        const hub = await start({
            args: ['--cors-origin', page.origin],
            env: { AUTH_TOKEN: 'open-sesame' },
        });
        const url = `${hub.url}/sse/cors`;
        assert.equal(await readsWith(page, url, {}, 'plain'), 'open');
        assert.equal(await readsWith(page, url, { withCredentials: true }, 'credentials'), 'open');
        assert.equal(await readsWith(other, url, {}, 'plain'), 'blocked');
        assert.equal(await readsWith(other, url, { withCredentials: true }, 'credentials'), 'blocked');
        const publish = (token) => ({
            url: `${hub.url}/publish/cors`,
            init: {
                method: 'POST',
                credentials: 'include',
                headers: { 'Authorization': `Bearer ${token}`, 'Content-Type': 'application/json',
                    'Idempotency-Key': token },
                body: '{"a":1}',
            },
        });
        const stream = await hub.subscribe('/sse/cors');
        assert.equal(await other.evaluate(outcomeOf, publish('open-sesame')), 'blocked');
        assert.equal(await page.evaluate(outcomeOf, publish('guess')), 401);
        assert.equal(await page.evaluate(outcomeOf, publish('open-sesame')), 200);
        await hub.publish('cors', 'last', { headers: { Authorization: 'Bearer open-sesame' } });
        assert.deepEqual((await stream.received(2)).map(({ data }) => data), ['{"a":1}', 'last']);
    });
