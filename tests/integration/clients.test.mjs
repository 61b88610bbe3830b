/* The clients that people use: curl, npm's EventSource, fetch-event-source, and a browser. */
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSource } from 'eventsource';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { foreignPage, openBrowser } from './browser.mjs';
import { test } from './harness.mjs';
import { until } from './until.mjs';

/* So that who is sent away comes back soon. */
export const hubOptions = { args: ['--retry-ms', '50'] };

const AWKWARD = 'line 1\nline 2\n\n  indented: é🌊\n';

function curl(args, defer) {
    const child = spawn('curl', ['-sSk', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const result = { child, output: '', errors: '' };
    child.stdout.setEncoding('utf8').on('data', (text) => (result.output += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (result.errors += text));
    result.closed = once(child, 'close').then(([code]) => (result.code = code));
    defer(async () => {
        child.kill();
        await result.closed;
    });
    return result;
}

test('curl -N sees each event at once', async ({ hub, defer }) => {
    const reader = curl(['-N', '-i', `${hub.url}/sse/curl`], defer);
    await until('the head and the retry', () => /\r\n\r\n:[^]*retry:/.test(reader.output));
    assert.match(reader.output, /^HTTP\/(1\.1|2) 200 .*\r\n/);
    for (let i = 0; i < 3; i++) {
        const writer = curl(['--fail', '-H', 'Content-Type: text/plain', '--data-binary', `curl ${i}`,
            `${hub.url}/publish/curl`], defer);
        assert.equal(await writer.closed, 0, writer.errors + writer.output);
        assert.equal(JSON.parse(writer.output).subscribers, 1);
        await until(`event ${i}`, () => new RegExp(`^data: ?curl ${i}\n`, 'm').test(reader.output));
    }
});

test('curl as in the documents: stream, clients, status', async ({ hub, defer }) => {
    const reader = curl(['-N', `${hub.url}/stream/1234`], defer);
    await until('the stream', () => reader.output.includes('retry:'));
    for (const [path, expected] of [['/clients', '["1234"]'], ['/publish/1234/status/active', 'Ok'],
        ['/publish/status/maintenance', 'Ok']]) {
        const call = curl(['--fail', `${hub.url}${path}`], defer);
        assert.equal(await call.closed, 0, call.errors);
        assert.equal(call.output.replace(/\s/g, ''), expected);
    }
    await until('both', () => /data: ?active\n[^]*data: ?maintenance\n/.test(reader.output));
});

test('npm eventsource: types, ids, awkward data', async ({ hub, defer }) => {
    const source = new EventSource(`${hub.url}/sse/npm`);
    const seen = [];
    defer(() => source.close());
    source.addEventListener('message', (event) => seen.push(event));
    source.addEventListener('price', (event) => seen.push(event));
    await until('open', () => source.readyState === EventSource.OPEN);
    const first = await hub.publish('npm', AWKWARD);
    const second = await hub.publish('npm', '{"a":1}', { query: '?event=price' });
    await until('both events', () => seen.length === 2);
    assert.deepEqual(seen.map(({ type, data, lastEventId }) => [type, data, lastEventId]),
        [['message', AWKWARD, first.id], ['price', '{"a":1}', second.id]]);
});

test('npm eventsource reconnects with its last id and misses nothing', async ({ hub, defer }) => {
    const source = new EventSource(`${hub.url}/stream/returning`);
    const seen = [];
    let opened = 0;
    defer(() => source.close());
    source.addEventListener('open', () => opened++);
    source.addEventListener('message', (event) => seen.push(event.data));
    await until('open', () => opened === 1);
    await hub.publish('broadcast', 'before', { query: '?retry=50' });
    await until('the first event', () => seen.length === 1);
    assert.ok((await hub.request('DELETE', '/clients/returning')).status < 300);
    await hub.publish('broadcast', 'while away');
    await until('open again', () => opened === 2, 20);
    await hub.publish('broadcast', 'after');
    await until('all three events', () => seen.length >= 3);
    assert.deepEqual(seen, ['before', 'while away', 'after']);
});

test('fetch-event-source: headers of its own, and the content type it insists on',
    async ({ hub, defer }) => {
        /* The library is for browsers; of the window it wants only the timers and the visibility. */
        globalThis.window ??= globalThis;
        globalThis.document ??= { hidden: false, addEventListener() {}, removeEventListener() {} };
        const abort = new AbortController();
        const messages = [];
        let type = null;
        const finished = fetchEventSource(`${hub.url}/sse/fetch`, {
            fetch,
            signal: abort.signal,
            headers: { Authorization: 'Bearer whatever', 'X-Custom': 'x' },
            onopen: async (response) => {
                type = response.headers.get('content-type');
                assert.equal(response.status, 200);
            },
            onmessage: (message) => messages.push(message),
            onerror: (error) => {
                throw error;
            },
        });
        defer(async () => {
            abort.abort();
            await finished;
        });
        await until('open', () => type !== null);
        assert.equal(type, 'text/event-stream');
        const { id } = await hub.publish('fetch', AWKWARD, { query: '?event=e' });
        await until('the event', () => messages.some((message) => message.event === 'e'));
        const message = messages.find(({ event }) => event === 'e');
        assert.equal(message.data, AWKWARD);
        assert.equal(message.id, id);
    });

test('fetch and a web stream, without any library', async ({ hub, defer }) => {
    const abort = new AbortController();
    defer(() => abort.abort());
    const response = await fetch(`${hub.url}/sse/plain`, { signal: abort.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    await hub.publish('plain', 'streamed');
    while (!/^data: ?streamed\n\n/m.test(text)) {
        const { value, done } = await reader.read();
        assert.ok(!done);
        text += value;
    }
});

/* Runs in the page: an EventSource that writes everything down in window.seen. */
function listen(url) {
    window.seen = [];
    window.opened = 0;
    window.source = new EventSource(url);
    window.source.onopen = () => window.opened++;
    for (const type of ['message', 'price', 'spate.gap']) {
        window.source.addEventListener(type, ({ data, lastEventId }) =>
            window.seen.push([type, data, lastEventId]));
    }
}

const opened = (page, count) =>
    until(`the browser's stream open (${count})`,
        () => page.evaluate((wanted) => window.opened >= wanted, count), 30);
const seen = (page, count) =>
    until(`${count} events in the browser`, async () => {
        const list = await page.evaluate(() => window.seen);
        return list.length >= count && list;
    }, 30);

test("a browser's EventSource, from a page of another origin", { seconds: 120 },
    async ({ hub, defer }) => {
        const page = await openBrowser(defer, await foreignPage(defer));
        await page.evaluate(listen, `${hub.url}/sse?channel=web&channel=web2`);
        await opened(page, 1);
        const first = await hub.publish('web', AWKWARD);
        const second = await hub.publish('web2', '', { query: '?event=price' });
        const third = await hub.publish('web', '\0a\ufeffb\r');
        assert.deepEqual(await seen(page, 3), [['message', AWKWARD, first.id],
            ['price', '', second.id], ['message', '\0a\ufeffb\n', third.id]]);
    });

test('a browser reconnects by itself and misses nothing', { seconds: 120 },
    async ({ hub, defer }) => {
        const page = await openBrowser(defer, await foreignPage(defer));
        await page.evaluate(listen, `${hub.url}/stream/browser`);
        await opened(page, 1);
        await hub.publish('broadcast', 'before', { query: '?retry=50' });
        await seen(page, 1);
        assert.ok((await hub.request('DELETE', '/clients/browser')).status < 300);
        await hub.publish('broadcast', 'while away');
        await opened(page, 2);
        await hub.publish('broadcast', 'after');
        const list = await seen(page, 3);
        assert.deepEqual(list.map(([, data]) => data), ['before', 'while away', 'after']);
    });

/* Runs in the page: publishes, and says what became of it. */
async function publishFromPage(url) {
    try {
        const response = await fetch(url, {
            method: 'POST',
            headers: { 'Content-Type': 'text/plain' },
            body: 'from a page',
        });
        return response.status;
    } catch (error) {
        return String(error);
    }
}

test('a page of another origin cannot publish in a browser', { seconds: 120 },
    async ({ hub, defer }) => {
        const stream = await hub.subscribe('/sse/from-page');
        const page = await openBrowser(defer, await foreignPage(defer));
        const outcome = await page.evaluate(publishFromPage, `${hub.url}/publish/from-page`);
        assert.ok(outcome === 403 || String(outcome).includes('TypeError'), String(outcome));
        await page.evaluate((url) => new Promise((resolve) => {
            const image = new Image();
            image.onerror = resolve;
            image.onload = resolve;
            image.src = url;
        }), `${hub.url}/publish/status/from-an-image`);
        await hub.publish('from-page', 'marker');
        await stream.received(1);
        assert.deepEqual(stream.data, ['marker']);
    });

test('a page of an allowed origin can publish in a browser', { hub: null, seconds: 120 },
    async ({ start, defer }) => {
        const url = await foreignPage(defer);
        const hub = await start({ args: ['--cors-origin', new URL(url).origin] });
        const stream = await hub.subscribe('/sse/from-page');
        const page = await openBrowser(defer, url);
        assert.equal(await page.evaluate(publishFromPage, `${hub.url}/publish/from-page`), 200);
        assert.equal((await stream.received(1))[0].data, 'from a page');
    });
