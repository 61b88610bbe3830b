/*
 * spate-load against the hub, and against servers that do wrong in known ways: what it is for is to
 * notice.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { readFile } from 'node:fs/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from './harness.mjs';
import { settings } from './hub.mjs';
import { counted, none, run, start } from './load.mjs';
import { until } from './until.mjs';

/*
 * A server of one channel that publishes by POST. `fault(frame, number, client)` may change what one
 * subscriber is sent: it returns a list of frames.
 */
async function server(defer, { fault, delay = 0, head, ids = true, framing = (text) => text } = {}) {
    const clients = [];
    const kept = [];
    let published = 0;
    const frameOf = (message) => framing(`${ids ? `id: ${message.number}\n` : ''}data: ${message.data}\n\n`);
    const deliver = (client, frames) => frames.forEach((frame) => client.write(frame));
    const subscribe = (request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8' });
        response.write(': hello\n\n');
        const last = request.headers['last-event-id'];
        if (last !== undefined && ids) {
            deliver(response, kept.slice(Number(last)).map(frameOf));
        }
        response.number = clients.length;
        clients.push(response);
        response.on('close', () => (response.gone = true));
    };
    const publish = (body) => {
        const message = { number: ++published, data: body };
        kept.push(message);
        for (const client of clients) {
            if (!client.gone) {
                const frame = frameOf(message);
                deliver(client, fault?.(frame, message.number, client, frameOf) ?? [frame]);
            }
        }
    };
    const one = http.createServer(async (request, response) => {
        if (head?.(request, response)) {
            return;
        }
        if (request.method === 'GET') {
            subscribe(request, response);
            return;
        }
        let body = '';
        for await (const bytes of request.setEncoding('latin1')) {
            body += bytes;
        }
        if (delay > 0) {
            /* The known delay that the percentiles must show. */
            setTimeout(() => publish(body), delay);
        } else {
            publish(body);
        }
        response.end('ok');
    });
    one.listen(0, '127.0.0.1');
    await once(one, 'listening');
    defer(() => {
        one.closeAllConnections?.();
        one.close();
    });
    return { url: `http://127.0.0.1:${one.address().port}/events`, kept, clients };
}

const small = ['--publish', '/publish', '--subscribers', '20', '--rate', '400', '--duration', '0.5'];

/* Does something to the 100th message of the 7th subscriber only. */
const once100 = (change) => (frame, number, client, frameOf) =>
    number === 100 && client.number === 7 ? change(frame, client, frameOf) : [frame];

test('a server without faults has none', { hub: null }, async ({ defer }) => {
    const { url } = await server(defer);
    const result = await run(url, small);
    assert.equal(result.code, 0, result.error);
    assert.deepEqual(counted(result), none);
    assert.equal(result.json.counts.deliveries, 200 * 20);
    assert.equal(result.json.counts.expected, 200 * 20);
    assert.match(result.error, /lost 0, duplicates 0, out of order 0, corrupt 0 {2}no faults/);
});

test('one delivery lost', { hub: null }, async ({ defer }) => {
    const { url } = await server(defer, { fault: once100(() => []) });
    const result = await run(url, small);
    assert.equal(result.code, 1);
    assert.deepEqual(counted(result), { ...none, lost: 1 });
    assert.match(result.error, /lost 1, .* FAULTS/);
});

test('the last delivery lost', { hub: null }, async ({ defer }) => {
    const fault = (frame, number, client) => (number === 200 && client.number === 3 ? [] : [frame]);
    const { url } = await server(defer, { fault });
    const result = await run(url, [...small, '--drain', '1']);
    assert.equal(result.code, 1);
    assert.deepEqual(counted(result), { ...none, lost: 1 });
});

test('one delivery doubled', { hub: null }, async ({ defer }) => {
    const { url } = await server(defer, { fault: once100((frame) => [frame, frame]) });
    const result = await run(url, small);
    assert.equal(result.code, 1);
    assert.deepEqual(counted(result), { ...none, duplicates: 1 });
});

test('two deliveries swapped', { hub: null }, async ({ defer }) => {
    let held;
    const fault = (frame, number, client) => {
        if (client.number !== 7 || (number !== 100 && number !== 101)) {
            return [frame];
        }
        if (number === 100) {
            held = frame;
            return [];
        }
        return [frame, held];
    };
    const { url } = await server(defer, { fault });
    const result = await run(url, small);
    assert.equal(result.code, 1);
    assert.deepEqual(counted(result), { ...none, out_of_order: 1 });
});

test('one byte changed', { hub: null }, async ({ defer }) => {
    const change = (frame) => [frame.replace(/.\n\n$/, '#\n\n')];
    const { url } = await server(defer, { fault: once100(change) });
    const result = await run(url, small);
    assert.equal(result.code, 1);
    /* The message that it was does not count as received. */
    assert.deepEqual(counted(result), { ...none, corrupt: 1, lost: 1 });
});

test('one id changed', { hub: null }, async ({ defer }) => {
    const change = (frame) => [frame.replace('id: 100', 'id: 900')];
    const { url } = await server(defer, { fault: once100(change) });
    const result = await run(url, small);
    assert.equal(result.code, 1);
    assert.deepEqual(counted(result), { ...none, other_id: 1 });
});

test('one delivery to the wrong channel', { hub: null }, async ({ defer }) => {
    let first;
    const fault = (frame, number, client) => {
        first ??= frame;
        return number === 100 && client.number === 7
            ? [frame, first.replace(/(SPL\.\w{8}\.)000000/, '$1000001')] : [frame];
    };
    const { url } = await server(defer, { fault });
    const result = await run(url, small);
    assert.equal(result.code, 1);
    assert.equal(result.json.checks.corrupt, 1);
});

test('one delivery of very many lost', { hub: null }, async ({ defer }) => {
    const fault = (frame, number, client) =>
        (number === 100 && client.number === 123 ? [] : [frame]);
    const { url } = await server(defer, { fault });
    const args = ['--publish', '/publish', '--subscribers', '200', '--rate', '200', '--publishers',
        '1', '--duration', '1.5', '--drain', '20'];
    const result = await run(url, args);
    assert.ok(result.json.counts.published > 100, `${result.json.counts.published} published`);
    assert.equal(result.code, 1);
    assert.deepEqual(counted(result), { ...none, lost: 1 });
});

test('events cut in pieces, with CRLF, comments and several lines', { hub: null }, async ({ defer }) => {
    const framing = (text) => text.replace(/\n/g, '\r\n').replace(/^/, ': c\r\nevent: x\r\n');
    const pieces = (frame) => {
        const list = [];
        for (let at = 0; at < frame.length; at += 17) {
            list.push(frame.slice(at, at + 17));
        }
        return list;
    };
    const { url } = await server(defer, { framing, fault: pieces });
    const result = await run(url, small);
    assert.equal(result.code, 0, result.error);
    assert.equal(result.json.counts.deliveries, 4000);
});

test('a delay shows in the percentiles as it is', { hub: null }, async ({ defer }) => {
    const { url } = await server(defer, { delay: 300 });
    const result = await run(url, [...small, '--duration', '1']);
    assert.equal(result.code, 0, result.error);
    const { p50, p99, max } = result.json.milliseconds.latency;
    /* Never less than it took; at most what the machine was late besides. */
    assert.ok(p50 >= 299 && p99 >= 299, JSON.stringify(result.json.milliseconds.latency));
    assert.ok(p50 < 450 * settings.slow, JSON.stringify(result.json.milliseconds.latency));
    assert.ok(max >= p99);
});

test('a server that stalls is charged for what was due meanwhile', { hub: null }, async ({ defer }) => {
    /* One second of silence from the 50th publication on: a closed loop would see one slow answer. */
    let stalled = null;
    let count = 0;
    const head = (request, response) => {
        if (request.method !== 'POST' || ++count !== 50) {
            return false;
        }
        stalled = response;
        let body = '';
        request.setEncoding('latin1').on('data', (text) => (body += text));
        /* The stall itself: what was due meanwhile must be charged for it. */
        setTimeout(() => {
            publishLater(body);
            response.end('ok');
        }, 1000);
        return true;
    };
    let publishLater;
    const one = await server(defer, { head });
    publishLater = (body) => {
        one.kept.push({ number: one.kept.length + 1, data: body });
        one.clients.forEach((client) => client.write(`data: ${body}\n\n`));
    };
    const result = await run(one.url, ['--publish', '/publish', '--subscribers', '5', '--rate', '100',
        '--publishers', '1', '--duration', '3', '--drain', '5']);
    assert.notEqual(stalled, null);
    assert.equal(result.code, 0, result.error);
    const { p50, p90, max, count: deliveries } = result.json.milliseconds.latency;
    assert.equal(deliveries, 300 * 5);
    /* A third of the messages were due during the stall, and waited for 0 to 1 s. */
    assert.ok(p90 > 500 && max > 950, JSON.stringify(result.json.milliseconds.latency));
    assert.ok(p50 < p90);
});

test('refused publications are told, and are no losses', { hub: null }, async ({ defer }) => {
    let count = 0;
    const head = (request, response) => {
        if (request.method !== 'POST' || ++count % 10 !== 0) {
            return false;
        }
        response.writeHead(503).end('no');
        return true;
    };
    const { url } = await server(defer, { head });
    const result = await run(url, small);
    assert.equal(result.code, 1);
    assert.deepEqual(counted(result), none);
    assert.equal(result.json.counts.refused, 20);
    assert.match(result.error, /answered with 503/);
});

test('a storm without ids to resume from tells what was missed', { hub: null }, async ({ defer }) => {
    const { url } = await server(defer, { ids: false });
    const result = await run(url, [...small, '--duration', '1', '--storm', '100', '--storm-every', '0.5']);
    assert.equal(result.json.counts.storms, 1);
    assert.equal(result.json.checks.lost, 0);
    assert.equal(result.json.counts.storm_cuts, 20);
});

test('a server that does not resume loses silently', { hub: null }, async ({ defer }) => {
    const head = (request) => {
        delete request.headers['last-event-id'];
        return false;
    };
    /* It holds back reconnections for a while, so that something is missed. */
    let held = 0;
    const slowly = (request, response) => {
        head(request);
        if (request.method === 'GET' && ++held > 20 && !request.again) {
            request.again = true;
            setTimeout(() => request.socket.server.emit('request', request, response), 100);
            return true;
        }
        return false;
    };
    const { url } = await server(defer, { head: slowly });
    const result = await run(url, [...small, '--duration', '1', '--storm', '100', '--storm-every', '0.5']);
    assert.equal(result.code, 1);
    assert.ok(result.json.checks.lost > 0, JSON.stringify(result.json.checks));
});

test('what is not an event stream is told', { hub: null }, async ({ defer }) => {
    const head = (request, response) => {
        response.writeHead(404, { 'Content-Type': 'text/html' }).end('no');
        return true;
    };
    const { url } = await server(defer, { head });
    const result = await run(url, ['--subscribers', '3', '--connect-timeout', '1']);
    assert.equal(result.code, 3);
    assert.match(result.error, /the server answered 404/);
});

test('a foreign stream is counted', { hub: null }, async ({ defer }) => {
    const { url, clients } = await server(defer);
    const timer = setInterval(() => clients.forEach((one) => one.write('data: tick\n\n')), 20);
    defer(() => clearInterval(timer));
    const result = await run(url, ['--subscribers', '5', '--scenario', 'idle', '--duration', '1']);
    assert.equal(result.code, 0, result.error);
    assert.ok(result.json.counts.foreign > 20, `${result.json.counts.foreign}`);
    assert.equal(result.json.counts.published, 0);
});

test('the hub: every scenario', { seconds: 120 }, async ({ hub }) => {
    const args = ['--subscribers', '300', '--pid', String(hub.process.pid)];
    const short = ['--duration', '0.5', '--rate', '100'];
    for (const scenario of ['hot', 'channels', 'unicast', 'ramp', 'storm', 'slow', 'idle']) {
        const time = scenario === 'storm' ? ['--duration', '1', '--rate', '50', '--storm-every', '0.3'] : short;
        const result = await run(hub, ['--scenario', scenario, ...args, ...time]);
        assert.equal(result.code, 0, `${scenario}: ${result.error}`);
        const { counts, checks, options, server: used } = result.json;
        assert.deepEqual({ ...checks, ok: true }, { ...checks, ...none, announced: 0, ok: true });
        assert.equal(counts.deliveries, counts.expected, scenario);
        assert.equal(counts.published + counts.unsent, 50, scenario);
        assert.ok(used.resident_bytes > 0);
        assert.equal(options.subscribers, 300);
        if (scenario === 'storm') {
            assert.ok(counts.storms >= 2 && counts.storm_cuts > 100, JSON.stringify(counts));
        }
        if (scenario === 'hot') {
            assert.equal(counts.deliveries, counts.published * 300);
            assert.ok(counts.deliveries_compared > counts.deliveries / 2, JSON.stringify(counts));
        }
    }
});

test('the hub: several workers, publishers, channels, and a closed loop', async ({ hub }) => {
    const result = await run(hub, ['--subscribers', '200', '--channels', '7', '--workers', '3',
        '--publishers', '14', '--window', '20', '--duration', '1', '--size', '3000']);
    assert.equal(result.code, 0, result.error);
    /* Streams of one connection are one process's: 200 of them are on two. */
    assert.equal(result.json.options.workers, hub.h2 ? 2 : 3);
    assert.deepEqual(counted(result), none);
    assert.ok(result.json.counts.published > 20);
    assert.equal(result.json.counts.deliveries, result.json.counts.expected);
});

test('the hub: a token', { hub: { env: { AUTH_TOKEN: 'secret' } } }, async ({ hub }) => {
    const args = ['--subscribers', '2', '--rate', '10', '--duration', '0.5'];
    const refused = await run(hub, args);
    assert.equal(refused.code, 1);
    assert.match(refused.error, /answered with 401/);
    assert.equal((await run(hub, args, { env: { SPATE_TOKEN: 'secret' } })).code, 0);
});

test('the hub that goes away', { hub: null }, async ({ start: startHub }) => {
    const hub = await startHub({ args: ['--drain-seconds', '1'] });
    const load = start(hub, ['--subscribers', '20', '--rate', '50', '--duration', '3',
        '--drain', '1']);
    await until('published', async () => (await hub.stats()).published > 10);
    await hub.stop();
    const result = await load.ended;
    assert.equal(result.code, 1);
    assert.equal(result.json.checks.not_connected, 20);
    assert.equal(result.json.counts.cut, 20);
});

test('an interruption gives the report so far', async ({ hub }) => {
    const before = (await hub.stats()).published;
    const load = start(hub, ['--subscribers', '20', '--rate', '50', '--duration', '600']);
    await until('published', async () => (await hub.stats()).published > before + 20);
    load.child.kill('SIGINT');
    const result = await load.ended;
    assert.equal(result.code, 0, result.error);
    assert.equal(result.json.interrupted, true);
    assert.ok(result.json.counts.deliveries >= 20 * 20);
    assert.match(result.error, /the report so far/);
});

test('pictures', async ({ hub, defer }) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'spate-load-'));
    defer(() => rmSync(folder, { recursive: true }));
    const html = path.join(folder, 'a.html');
    const svg = path.join(folder, 'a.svg');
    const result = await run(hub, ['--subscribers', '20', '--rate', '50', '--duration', '1',
        '--html', html, '--svg', svg]);
    assert.equal(result.code, 0, result.error);
    for (const file of [html, svg]) {
        const text = await readFile(file, 'utf8');
        assert.equal(text.match(/<svg /g).length, 1);
        assert.ok(text.match(/<polyline /g).length >= 6);
        assert.doesNotMatch(text, /NaN|inf|(href|src)=/);
    }
    const broken = await run(hub, ['--subscribers', '1', '--duration', '0.1', '--svg', '/no/x']);
    assert.equal(broken.code, 2);
    assert.match(broken.error, /^spate-load: \/no\/x: No such file or directory\n$/, 'before the run');
});

test('wrong usage', { hub: null }, async () => {
    const wrong = [['--bogus'], ['--rate', '0'], ['--rate', 'x'], ['--rate', '1', '--window', '1'],
        ['--scenario', 'x'], ['--preset', 'x'], ['--size', '10'], ['--pid', '1x'], ['--io', 'x'],
        ['--header', 'x'], ['--source', 'x'], ['--subscribers', '-1'], ['a', 'b'],
        ['--publish-body', 'x'], ['ftp://127.0.0.1'], ['--cacert', '/no/x', 'https://127.0.0.1'],
        ['--cacert', '/no/x', 'http://127.0.0.1'], ['--insecure'], ['--streams-per-connection', '5'],
        ['--h2', '--streams-per-connection', '0'],
        ['--channels', '2', 'http://127.0.0.1:1/x']];
    for (const args of wrong) {
        const result = await run(null, args);
        assert.equal(result.code, 2, args.join(' '));
        assert.match(result.error, /^(spate-load: .*\n)+$/, args.join(' '));
    }
    const nobody = await run('http://127.0.0.1:1', ['--subscribers', '2', '--connect-timeout', '1']);
    assert.equal(nobody.code, 3);
    assert.match(nobody.error, /nobody could connect to 127.0.0.1:1: Connection refused/);
    assert.match((await run(null, ['--completion', 'bash'])).out, /^complete .* spate-load$/m);
    assert.match((await run(null, ['--help'])).out, /^Usage: /);
});
