/*
 * What is HTTP/2's own: flow control, many streams on one connection, the end of a connection, and peers
 * that abuse all that. Node's client where a client would do such a thing; where none would, frames by hand.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import { foreignPage, openBrowser } from './browser.mjs';
import { Bare, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, fieldBlock, frame, getBlock, u32 } from './frames.mjs';
import { test } from './harness.mjs';
import { settings } from './hub.mjs';
import { Sessions } from './http2.mjs';
import { until, within } from './until.mjs';

const { constants } = http2;

export const hubOptions = { args: ['--http2-streams-max', '100'] };

async function answered(hub) {
    assert.equal((await hub.get('/health')).status, 200);
}

/* The connection is ended as abuse, counted, and nobody else notices. */
async function assertCalmed(hub, bare) {
    assert.equal(await bare.goaway(20), constants.NGHTTP2_ENHANCE_YOUR_CALM);
    await bare.when('the end of the connection', () => bare.wire.ended, 20);
    assert.ok((await hub.stats()).http2_floods > 0);
    await answered(hub);
}

test('sixty streams on one connection, and requests beside them', { hub: { h2: true } },
    async ({ hub }) => {
        const streams = await Promise.all(Array.from({ length: 60 },
            (_, i) => hub.subscribe(`/sse?channel=page&channel=own-${i}`)));
        for (let i = 0; i < 60; i++) {
            await hub.publish(`own-${i}`, `for ${i}`);
        }
        await hub.publish('page', 'for all');
        for (const [i, stream] of streams.entries()) {
            await stream.received(2);
            assert.deepEqual(stream.data, [`for ${i}`, 'for all']);
        }
        const stats = await hub.stats();
        assert.equal(stats.connections, 1);
        assert.equal(stats.streams, 60);
    });

/* Runs in the page. */
function listenSixtyTimes(url) {
    window.seen = Array.from({ length: 60 }, () => []);
    window.sources = window.seen.map((list, i) => {
        const source = new EventSource(`${url}/sse?channel=page&channel=own-${i}`);
        source.onmessage = (event) => list.push(event.data);
        return source;
    });
}

test('a browser: sixty EventSource streams in one page, which still loads the rest',
    { hub: { tls: true }, seconds: 120 }, async ({ hub, defer }) => {
        const page = await openBrowser(defer, await foreignPage(defer));
        await page.evaluate(listenSixtyTimes, hub.url);
        await until('sixty open streams', () => page.evaluate(
            () => window.sources.every((source) => source.readyState === EventSource.OPEN)), 30);
        const stats = await hub.stats();
        assert.equal(stats.streams, 60);
        assert.ok(stats.http2_connections >= 1);
        /* A browser opens some more before it knows that one is enough. */
        assert.ok(stats.connections < 12, `${stats.connections} connections`);
        for (let i = 0; i < 60; i++) {
            await hub.publish(`own-${i}`, `for ${i}`);
        }
        await hub.publish('page', 'for all');
        await until('all events', () => page.evaluate(
            () => window.seen.every((list) => list.length === 2)), 30);
        assert.deepEqual(await page.evaluate(() => window.seen),
            Array.from({ length: 60 }, (_, i) => [`for ${i}`, 'for all']));
        const status = await page.evaluate(
            async (url) => (await fetch(`${url}/health`)).status, hub.url);
        assert.equal(status, 200);
    });

test('a preface in pieces, and byte by byte', async ({ hub }) => {
    const wire = await hub.connect(hub.tls ? { ALPNProtocols: ['h2'] } : {});
    const seen = [];
    wire.takeAll((bytes) => seen.push(bytes));
    for (const byte of Buffer.concat([Buffer.from(PREFACE), frame(SETTINGS, 0, 0),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, getBlock('/livez'))])) {
        await wire.sendAll(Buffer.from([byte]));
    }
    await wire.when('the answer', () => Buffer.concat(seen).includes('"status":"ok"'));
    wire.destroy();
});

test('a stream whose window is closed waits, and its neighbours do not', async ({ hub }) => {
    /* SETTINGS_INITIAL_WINDOW_SIZE 20: not enough for the first words of a stream. */
    const settings = Buffer.concat([Buffer.from([0, 4]), u32(20)]);
    const bare = await Bare.open(hub, { settings });
    bare.get(1, '/sse/window');
    bare.get(3, '/sse/window');
    await bare.when('as much as the window admits',
        () => bare.dataOf(1).length === 20 && bare.dataOf(3).length === 20);
    bare.send(frame(WINDOW_UPDATE, 0, 3, u32(100000)));
    await bare.when('the first words of the open one', () => /retry: /.test(bare.dataOf(3)));
    for (let i = 0; i < 50; i++) {
        await hub.publish('window', `event ${i}`);
    }
    await bare.when('all events on the open one', () => /event 49\n\n/.test(bare.dataOf(3)));
    assert.equal(bare.dataOf(1).length, 20);
    for (let sent = 20; !/event 49\n\n/.test(bare.dataOf(1)); sent += 1000) {
        bare.send(frame(WINDOW_UPDATE, 0, 1, u32(1000)));
        await bare.when('what the larger window admits',
            () => bare.dataOf(1).length === sent + 1000 || /event 49\n\n/.test(bare.dataOf(1)));
    }
    /* The same events, wherever they were cut; only `retry` is each stream's own. */
    const events = (stream) => bare.dataOf(stream).toString().replace(/retry: \d+/, '');
    assert.equal(events(1), events(3));
    bare.wire.destroy();
});

test('the window of the connection is shared and never overdrawn', async ({ hub }) => {
    const settings = Buffer.concat([Buffer.from([0, 4]), u32(1000000)]);
    const bare = await Bare.open(hub, { settings });
    bare.get(1, '/sse/shared');
    bare.get(3, '/sse/shared');
    await bare.when('both streams', () => /retry: /.test(bare.dataOf(1))
                                          && /retry: /.test(bare.dataOf(3)));
    for (let i = 0; i < 10; i++) {
        await hub.publish('shared', `${i} ${'x'.repeat(10000)}`);
    }
    const total = () => bare.dataOf(1).length + bare.dataOf(3).length;
    await bare.when('the whole window used', () => total() === 65535);
    await answered(hub);
    assert.equal(total(), 65535);
    bare.send(frame(WINDOW_UPDATE, 0, 0, u32(1000000)));
    await bare.when('all events on both', () => [1, 3].every((stream) => {
        const text = bare.dataOf(stream).toString();
        return (text.match(/^data: \d /gm) ?? []).join('') === 'data: 0 data: 1 data: 2 data: 3 '
            + 'data: 4 data: 5 data: 6 data: 7 data: 8 data: 9 ' && text.endsWith('x\n\n');
    }));
    bare.wire.destroy();
});

test('a stream is ended in the middle of an event that its window has room for',
    { hub: { args: ['--history-bytes', '64MiB'] } }, async ({ hub }) => {
        const window = Buffer.concat([Buffer.from([0, 4]), u32(1 << 30)]);
        const bare = await Bare.open(hub, { settings: window });
        bare.send(frame(WINDOW_UPDATE, 0, 0, u32(1 << 30)));
        bare.get(1, '/sse/large?client=slow');
        await bare.when('the first words', () => bare.of(DATA, 1).length > 0);
        bare.wire.socket.pause();
        for (let i = 0; (await hub.stats()).short_sends === 0; i++) {
            assert.ok(i < 40, 'the sockets hold everything');
            await hub.publish('large', 'x'.repeat(1_000_000));
        }
        assert.ok((await hub.request('DELETE', '/clients/slow')).status < 300);
        await answered(hub);
        bare.wire.socket.resume();
        await bare.when('the end of the stream', () => bare.of(DATA, 1).some(
            ({ flags }) => (flags & END_STREAM) !== 0) || bare.wire.ended, 20);
        assert.equal(bare.wire.ended, false);
        assert.deepEqual(bare.of(RST_STREAM, 1), []);
        assert.match(bare.dataOf(1).toString().slice(-100), /^x+$/);
    });

/* Streams of one channel, one event ahead of what their windows admit. */
async function openStalled(hub, channel) {
    const settings = Buffer.concat([Buffer.from([0, 4]), u32(200)]);
    const bare = await Bare.open(hub, { settings });
    const streams = Array.from({ length: 100 }, (_, i) => 2 * i + 1);
    bare.send(frame(WINDOW_UPDATE, 0, 0, u32(1000000)));
    streams.forEach((stream) => bare.get(stream, `/sse/${channel}`));
    await bare.when('the streams',
        () => streams.every((stream) => /retry: /.test(bare.dataOf(stream))));
    await hub.publish(channel, 'x'.repeat(500000));
    await bare.when('full windows',
        () => streams.every((stream) => bare.dataOf(stream).length === 200));
    /* WINDOW_UPDATE for each of them. */
    const update = (by) => bare.send(Buffer.concat(
        streams.map((stream) => frame(WINDOW_UPDATE, 0, stream, u32(by)))));
    return { bare, streams, update };
}

test('a stream is ended while the socket is full and its window is not', { hub: {} },
    async ({ hub }) => {
        const settings = Buffer.concat([Buffer.from([0, 4]), u32(0x7fffffff)]);
        const bare = await Bare.open(hub, { settings });
        bare.send(frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff - 65535)));
        bare.get(1, '/sse/full?client=slow');
        await bare.when('the stream', () => /retry: /.test(bare.dataOf(1)));
        bare.wire.socket.pause();
        for (let i = 0; i < 20; i++) {
            await hub.publish('full', 'x'.repeat(900000));
        }
        assert.equal((await hub.request('DELETE', '/clients/slow')).status, 200);
        bare.wire.socket.resume();
        await bare.when('the end of the stream',
            () => bare.of(DATA, 1).some((one) => (one.flags & END_STREAM) !== 0));
        assert.equal(bare.of(RST_STREAM, 1).length, 0);
        bare.get(3, '/health');
        await bare.when('an answer beside it', () => bare.of(HEADERS, 3).length === 1);
        bare.wire.destroy();
    });

test('streams that break a rule while events go out to them', { hub: {} }, async ({ hub }) => {
    for (let round = 0; round < 5; round++) {
        const { bare, update } = await openStalled(hub, `rule-${round}`);
        /* Room for a byte, and then, for those who have not used it yet, more than there can be. */
        update(1);
        await new Promise((resolve) => setImmediate(resolve));
        update(0x7fffffff);
        bare.send(frame(PING, 0, 0, Buffer.alloc(8)));
        await bare.when('the answer to PING', () => bare.wire.ended || bare.of(PING).length > 0);
        assert.equal(bare.wire.ended, false, 'the connection ended with them');
        await answered(hub);
        bare.wire.destroy();
    }
});

test('draining while streams are stalled', { waits: true, hub: null }, async ({ start }) => {
    const hub = await start({ args: ['--drain-seconds', '1'] });
    const { bare, streams, update } = await openStalled(hub, 'stalled');
    hub.process.kill('SIGTERM');
    const trickle = setInterval(() => update(3), 1);
    await bare.when('the end', () => bare.wire.ended, 20).finally(() => clearInterval(trickle));
    for (const stream of streams) {
        assert.doesNotMatch(bare.dataOf(stream).toString(), /x[^x]/, 'words amid an event');
    }
    await hub.ended();
});

test('a stream whose window is closed ends with END_STREAM', { waits: true, hub: {} }, async ({ hub }) => {
    const bare = await Bare.open(hub, { settings: Buffer.concat([Buffer.from([0, 4]), u32(0)]) });
    bare.get(1, '/sse/closed?client=closed');
    bare.get(3, '/livez');
    bare.get(5, '/nowhere');
    await bare.when('the heads', () => [1, 3, 5].every((id) => bare.of(HEADERS, id).length === 1));
    assert.equal((await hub.request('DELETE', '/clients/closed')).status, 200);
    await bare.when('the end', () => bare.of(DATA, 1).length > 0 || bare.of(RST_STREAM, 1).length > 0, 20);
    assert.deepEqual(bare.of(DATA, 1).map(({ flags, payload }) => [flags, payload.length]), [[END_STREAM, 0]]);
    /* Their bodies still wait. */
    assert.deepEqual([...bare.of(DATA, 3), ...bare.of(DATA, 5), ...bare.of(RST_STREAM)], []);
    bare.send(frame(WINDOW_UPDATE, 0, 3, u32(1000)));
    await bare.when('one of them', () => bare.of(DATA, 3).length === 1);
    assert.equal(bare.of(DATA, 3)[0].flags, END_STREAM);
    bare.wire.destroy();
});

test('a stream whose window stays closed is too slow, also between two events',
    { waits: true, hub: { args: ['--heartbeat-seconds', '1', '--user-timeout-seconds', '1'] } },
    async ({ hub, defer }) => {
        /* Not even the first words fit, so no event is ever tried. */
        const bare = await Bare.open(hub, { settings: Buffer.concat([Buffer.from([0, 4]), u32(0)]) });
        defer(async () => bare.wire.destroy());
        bare.get(1, '/sse/shut');
        await bare.when('the head', () => bare.of(HEADERS, 1).length === 1);
        bare.get(3, '/sse/open');
        bare.send(frame(WINDOW_UPDATE, 0, 3, u32(60000)));
        await bare.when('its end', () => bare.of(DATA, 1).some(({ flags }) => flags === END_STREAM), 30);
        assert.equal((await hub.stats()).slow_disconnects, 1);
        await hub.publish('open', 'x');
        await bare.when('the event of the other', () => bare.dataOf(3).includes('data: x'));
        assert.equal(bare.wire.ended, false);
    });

test('answers that are not read are bounded, and none is lost', { hub: { args: ['--http2-streams-max', '1000'] } },
    async ({ hub }) => {
        const { body } = await hub.get('/openapi.json');
        const bare = await Bare.open(hub, { settings: Buffer.concat([Buffer.from([0, 4]), u32(0)]) });
        const resident = () => Number(/VmRSS:\s+(\d+)/.exec(
            readFileSync(`/proc/${hub.process.pid}/status`, 'utf8'))[1]) * 1024;
        const before = resident();
        const streams = Array.from({ length: 1000 }, (_, i) => 2 * i + 1);
        streams.forEach((stream) => bare.get(stream, '/openapi.json'));
        bare.send(frame(PING, 0, 0, Buffer.alloc(8)));
        await bare.when('the answer to PING', () => bare.of(PING).length === 1);
        const grown = resident() - before;
        assert.ok(body.length * 1000 > 60_000_000);
        assert.ok(grown < 30_000_000 * settings.slow, `${grown} bytes for what is not read`);
        assert.ok(bare.of(HEADERS).length < 1000);
        bare.send(Buffer.concat([frame(WINDOW_UPDATE, 0, 0, u32(0x7fff0000)),
            frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), u32(1 << 20)]))]));
        await bare.when('all the answers', () => bare.of(DATA).filter(
            ({ flags }) => (flags & END_STREAM) !== 0).length === 1000, 60);
        for (const stream of [1, 999, 1999]) {
            assert.ok(bare.dataOf(stream).equals(body));
        }
        bare.wire.destroy();
    });

test('who waits for shared room reads history only when there is some',
    { hub: { args: ['--lag-bytes-max', '64KiB', '--history-bytes', '64MiB'] }, seconds: 120 }, async ({ hub }) => {
        const count = 100;
        const window = Buffer.concat([Buffer.from([0, 4]), u32(1 << 24)]);
        const bare = await Bare.open(hub, { settings: window });
        const streams = Array.from({ length: count }, (_, i) => 2 * i + 1);
        streams.forEach((stream) => bare.get(stream, '/sse/shared'));
        await bare.when('the streams', () => streams.every((stream) => /retry: /.test(bare.dataOf(stream))));
        for (let i = 0; i < 40; i++) {
            await hub.publish('shared', `${i} ${'x'.repeat(10000)}`);
        }
        const total = () => bare.of(DATA).reduce((sum, { payload }) => sum + payload.length, 0);
        await bare.when('the whole window used', () => total() === 65535);
        await answered(hub);
        const before = (await hub.stats()).history_reads;
        const updates = 50;
        for (let i = 1; i <= updates; i++) {
            bare.send(frame(WINDOW_UPDATE, 0, 0, u32(1000)));
            await bare.when('what it admits', () => total() === 65535 + 1000 * i);
        }
        const reads = (await hub.stats()).history_reads - before;
        assert.ok(reads <= 3 * updates, `${reads} reads for ${updates} updates`);
        /* And all come to their turn. */
        bare.send(frame(WINDOW_UPDATE, 0, 0, u32(0x7fff0000)));
        const wanted = /^data: \d+ /gm;
        await bare.when('all events on all streams', () => total() > count * 400000 && streams.every(
            (stream) => bare.dataOf(stream).toString().match(wanted)?.length === 40), 60);
        bare.wire.destroy();
    });

test('all who wait for shared room take what there is, though the socket is full',
    { hub: { args: ['--send-buffer-bytes', '4KiB', '--shards', '1'] } }, async ({ hub }) => {
        const bare = await Bare.open(hub, { settings: Buffer.concat([Buffer.from([0, 4]), u32(1 << 24)]) });
        const streams = Array.from({ length: 40 }, (_, i) => 2 * i + 3);
        bare.send(frame(WINDOW_UPDATE, 0, 0, u32(190000 - 65535)));
        bare.get(1, '/sse/first');
        streams.forEach((stream) => bare.get(stream, '/sse/turns'));
        await bare.when('the streams', () => [1, ...streams].every((stream) => /retry: /.test(bare.dataOf(stream))));
        bare.wire.socket.pause();
        const isShort = async (count) => (await hub.stats()).short_sends >= count;
        await hub.publish('first', 'x'.repeat(250000)); /* more than the window of the connection */
        await until('one that waits', () => isShort(1));
        bare.send(frame(RST_STREAM, 0, 1, u32(constants.NGHTTP2_CANCEL)));
        await until('one that has left', async () => (await hub.stats()).streams === streams.length);
        await hub.publish('turns', 'y'.repeat(500));
        await until('all that wait', () => isShort(1 + streams.length));
        bare.send(frame(WINDOW_UPDATE, 0, 0, u32(60000)));
        await until('all that have taken it', async () => (await hub.stats()).deliveries === streams.length);
        bare.wire.destroy();
    });

test('Node: one paused stream among fifty', { hub: { h2: true }, seconds: 120 },
    async ({ hub }) => {
        const streams = await Promise.all(Array.from({ length: 50 },
            () => hub.subscribe('/sse/paused')));
        streams[0].wire.socket.pause();
        const data = 'x'.repeat(10000);
        for (let i = 0; i < 60; i++) {
            await hub.publish('paused', `${i} ${data}`);
        }
        for (const stream of streams.slice(1)) {
            await stream.received(60, 30);
        }
        assert.ok(streams[0].events.length < 60);
        streams[0].wire.socket.resume();
        await streams[0].received(60, 30);
        assert.deepEqual(streams[0].data.map((text) => parseInt(text, 10)),
            Array.from({ length: 60 }, (_, i) => i));
    });

test('PING is answered with its own bytes', async ({ hub }) => {
    const bare = await Bare.open(hub);
    bare.send(frame(PING, 0, 0, Buffer.from('12345678')));
    await bare.when('the answer', () => bare.of(PING).length === 1);
    assert.equal(bare.of(PING)[0].flags, 1);
    assert.equal(bare.of(PING)[0].payload.toString(), '12345678');
    bare.wire.destroy();
});

/* Before the client knows of the limit it is no fault, and later the fault of one stream (RFC 9113, 5.1.2). */
for (const when of ['before', 'after']) {
    test(`a stream beyond the limit, ${when} the limit is known, is refused and may come later`, async ({ hub, defer }) => {
        const bare = await Bare.open(hub);
        defer(async () => bare.wire.destroy());
        if (when === 'after') {
            bare.send(frame(SETTINGS, 1, 0));
        }
        for (let i = 0; i < 100; i++) {
            bare.get(1 + 2 * i, '/sse/limit');
        }
        bare.send(frame(HEADERS, END_HEADERS, 201, getBlock('/publish/limit').fill(0x83, 0, 1)));
        await bare.when('the refusal', () => bare.of(RST_STREAM, 201).length === 1 || bare.wire.ended);
        assert.equal(bare.of(RST_STREAM, 201)[0]?.payload.readUInt32BE(), constants.NGHTTP2_REFUSED_STREAM);
        await until('a hundred streams', async () => (await hub.stats()).streams === 100);
        bare.send(frame(RST_STREAM, 0, 1, u32(constants.NGHTTP2_CANCEL)));
        bare.get(203, '/sse/limit');
        /* What was under way to the one that was refused, its trailers too. */
        bare.send(Buffer.concat([frame(DATA, 0, 201, Buffer.from('late')),
            frame(HEADERS, END_STREAM | END_HEADERS, 201, fieldBlock([['x-trailer', 'x']]))]));
        await bare.when('the one that came later', () => /retry: /.test(bare.dataOf(203)) || bare.wire.ended);
        bare.send(frame(PING, 0, 0, Buffer.alloc(8)));
        await bare.when('PING', () => bare.of(PING).length === 1 || bare.wire.ended);
        assert.deepEqual([bare.of(RST_STREAM).length, bare.of(GOAWAY).length], [1, 0]);
    });
}

test('bodies: whole, in pieces, too large, cut off', { hub: { h2: true, args: ['--body-bytes-max', '100KiB'] } },
    async ({ hub, defer }) => {
        const listener = await hub.subscribe('/sse/bodies');
        await hub.publish('bodies', 'x'.repeat(90000));
        await listener.received(1);
        const sessions = new Sessions(hub.url);
        defer(async () => sessions.close());
        const post = (headers = {}) => sessions.get().request({ ':method': 'POST',
            ':path': '/publish/bodies', 'content-type': 'text/plain', ...headers });
        const pieces = post();
        for (let i = 0; i < 100; i++) {
            pieces.write('piece ');
        }
        pieces.end();
        assert.equal((await once(pieces, 'response'))[0][':status'], 200);
        await listener.received(2);
        assert.equal(listener.data[1], 'piece '.repeat(100));
        for (const headers of [{}, { 'content-length': 200000 }]) {
            const large = post(headers);
            large.on('error', () => {});
            large.end('y'.repeat(200000));
            assert.equal((await once(large, 'response'))[0][':status'], 413);
        }
        const bare = await Bare.open(hub);
        bare.send(frame(HEADERS, END_HEADERS, 1, getBlock('/publish/bodies').fill(0x83, 0, 1)));
        bare.send(frame(DATA, 0, 1, Buffer.from('never whole')));
        bare.send(frame(RST_STREAM, 0, 1, u32(constants.NGHTTP2_CANCEL)));
        bare.get(3, '/health');
        await bare.when('the answer behind it', () => bare.of(DATA, 3).length > 0);
        await hub.publish('bodies', 'the next');
        await listener.received(3);
        assert.equal(listener.data[2], 'the next');
    });

test('a body that does not come in time is 408', { waits: true, hub: { h2: true, args: ['--body-seconds', '1'] } },
    async ({ hub, defer }) => {
        const sessions = new Sessions(hub.url);
        defer(async () => sessions.close());
        const post = sessions.get().request({ ':method': 'POST', ':path': '/publish/late',
            'content-type': 'text/plain' });
        post.write('x');
        post.on('error', () => {});
        assert.equal((await once(post, 'response'))[0][':status'], 408);
        await answered(hub);
    });

test('a head beyond the limit is 431', { hub: { h2: true } }, async ({ hub, defer }) => {
    const sessions = new Sessions(hub.url);
    defer(async () => sessions.close());
    const request = sessions.get().request({ ':path': '/health', 'x-long': 'x'.repeat(20000) });
    request.on('error', () => {});
    assert.equal((await once(request, 'response'))[0][':status'], 431);
    await answered(hub);
});

test('draining: GOAWAY, every stream ends in order, then the connection',
    { waits: true, hub: { h2: true, args: ['--drain-seconds', '1'] } }, async ({ hub }) => {
        const session = http2.connect(hub.url, { rejectUnauthorized: false });
        const goaway = once(session, 'goaway');
        const closed = once(session, 'close');
        const streams = Array.from({ length: 20 },
            (_, i) => session.request({ ':path': `/sse/drain-${i}` }));
        await Promise.all(streams.map((stream) => once(stream, 'data')));
        const ended = streams.map(async (stream) => {
            stream.resume();
            await once(stream, 'end');
            return stream.rstCode;
        });
        hub.signal('SIGTERM');
        assert.equal((await within('GOAWAY', goaway))[0], constants.NGHTTP2_NO_ERROR);
        assert.deepEqual(await within('the ends', Promise.all(ended)), Array(20).fill(0));
        await within('the end of the connection', closed);
        assert.deepEqual(await hub.ended(), { code: 0, signal: null });
    });

test('draining: the first request of a connection is answered', { hub: null }, async ({ start }) => {
    const hub = await start({ args: ['--drain-seconds', '3600', '--shards', '1'] });
    const stream = await hub.subscribe('/sse/meanwhile');
    const bare = await Bare.open(hub);
    await bare.when('SETTINGS', () => bare.of(SETTINGS).length > 1);
    hub.signal('SIGTERM');
    assert.equal(await bare.goaway(), constants.NGHTTP2_NO_ERROR);
    bare.get(1, '/health');
    await bare.when('the end', () => bare.wire.ended);
    assert.equal(bare.of(HEADERS, 1).length, 1);
    assert.deepEqual(bare.of(GOAWAY).map(({ payload }) => payload.readUInt32BE(0)), [0x7fffffff, 1]);
    hub.signal('SIGTERM');
    await stream.end();
    await hub.ended();
});

test('a connection that asks for nothing is ended', { waits: true, hub: { args: ['--header-seconds', '1'] } },
    async ({ hub }) => {
        const bare = await Bare.open(hub);
        assert.equal(await bare.goaway(), constants.NGHTTP2_NO_ERROR);
        await bare.when('the end', () => bare.wire.ended);
    });

test('a connection beyond the limit is refused and ended',
    { hub: { tls: true, args: ['--connections-per-address-max', '1'] } }, async ({ hub }) => {
        const first = await Bare.open(hub);
        first.get(1, '/health');
        await first.when('an answer', () => first.of(HEADERS, 1).length === 1);
        const refused = await Bare.open(hub);
        refused.get(1, '/health');
        assert.equal(await refused.goaway(), constants.NGHTTP2_NO_ERROR);
        assert.equal(refused.of(HEADERS, 1).length, 1);
        await refused.when('the end', () => refused.wire.ended);
        assert.equal(first.wire.ended, false);
        first.wire.destroy();
    });

test('an idle connection is ended', { waits: true, hub: { args: ['--keepalive-seconds', '1'] } },
    async ({ hub }) => {
        const bare = await Bare.open(hub);
        bare.get(1, '/health');
        await bare.when('the answer', () => bare.of(DATA, 1).length > 0);
        assert.equal(await bare.goaway(), constants.NGHTTP2_NO_ERROR);
        await bare.when('the end', () => bare.wire.ended);
    });

test('a head whose end does not come ends its connection',
    { waits: true, hub: { args: ['--header-seconds', '1'] } }, async ({ hub }) => {
        const bare = await Bare.open(hub);
        bare.get(1, '/sse/slow-head');
        await bare.when('a stream', () => /retry: /.test(bare.dataOf(1)));
        bare.send(frame(HEADERS, END_STREAM, 3, getBlock('/health')));
        assert.equal(await bare.goaway(), constants.NGHTTP2_ENHANCE_YOUR_CALM);
        await bare.when('the end', () => bare.wire.ended);
    });

test('a head that is refused is over', { waits: true, hub: { args: ['--header-seconds', '1'] } }, async ({ hub }) => {
    const bare = await Bare.open(hub);
    bare.get(1, '/sse/refused');
    await bare.when('the stream', () => /retry: /.test(bare.dataOf(1)));
    const upperCase = Buffer.concat([getBlock('/health'), Buffer.from([0, 1, 0x58, 1, 0x79])]);
    bare.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, upperCase));
    await bare.when('the reset', () => bare.of(RST_STREAM, 3).length === 1);
    /* Two silent ones, one after the other, are ended for their heads; this one is not. */
    for (let i = 0; i < 2; i++) {
        const silent = await Bare.open(hub);
        await silent.when('the end', () => silent.wire.ended, 20);
    }
    assert.equal(bare.wire.ended, false);
    assert.equal(bare.of(GOAWAY).length, 0);
    bare.wire.destroy();
});

test('frames on streams that are over', async ({ hub }) => {
    for (const type of [HEADERS, DATA]) {
        const bare = await Bare.open(hub);
        bare.get(1, '/health');
        await bare.when('the answer', () => bare.of(DATA, 1).length > 0);
        if (type === HEADERS) {
            bare.get(1, '/health');
            assert.equal(await bare.goaway(), constants.NGHTTP2_STREAM_CLOSED);
        } else {
            bare.send(frame(DATA, END_STREAM, 1, Buffer.from('late')));
            await bare.when('the reset', () => bare.of(RST_STREAM, 1).length === 1);
            assert.equal(bare.of(RST_STREAM, 1)[0].payload.readUInt32BE(),
                constants.NGHTTP2_STREAM_CLOSED);
        }
        bare.wire.destroy();
    }
});

test('what is still under way to a stream that the hub has reset does no harm',
    { hub: { args: ['--body-bytes-max', '1KiB'] } }, async ({ hub }) => {
        const bare = await Bare.open(hub);
        bare.send(frame(HEADERS, END_HEADERS, 1, getBlock('/publish/x').fill(0x83, 0, 1)));
        for (let i = 0; i < 20; i++) {
            bare.send(frame(DATA, 0, 1, Buffer.alloc(1000)));
        }
        bare.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, Buffer.alloc(0)));
        bare.get(3, '/livez');
        await bare.when('the next answer', () => bare.of(DATA, 3).length > 0);
        /* None if the request came whole before the answer went out. */
        assert.ok(bare.of(RST_STREAM, 1).length <= 1);
        assert.ok(bare.of(RST_STREAM, 1).every(({ payload }) =>
            payload.readUInt32BE() === constants.NGHTTP2_NO_ERROR));
        assert.match(bare.dataOf(1).toString(), /"status":413/);
        bare.wire.destroy();
    });

test('a client that finishes sending gets its answers, and its streams end', { hub: {} }, async ({ hub }) => {
    const bare = await Bare.open(hub);
    bare.get(1, '/sse/finished');
    await bare.when('the stream', () => /retry: /.test(bare.dataOf(1)));
    ['/livez', '/clients', '/health'].forEach((path, i) => bare.get(3 + 2 * i, path));
    bare.wire.finish();
    await bare.when('the end', () => bare.wire.ended);
    for (const stream of [3, 5, 7]) {
        assert.equal(bare.of(DATA, stream).at(-1)?.flags, END_STREAM, `the answer to ${stream}`);
    }
    const idle = await Bare.open(hub);
    idle.get(1, '/sse/finished');
    await idle.when('the stream', () => /retry: /.test(idle.dataOf(1)));
    idle.wire.finish();
    await idle.when('the end', () => idle.wire.ended);
    assert.equal(idle.of(DATA, 1).at(-1).flags, END_STREAM, 'the end of the stream');
    assert.equal(await idle.goaway(), constants.NGHTTP2_NO_ERROR);
    await until('no stream left', async () => (await hub.stats()).streams === 0);
});

test('a proxy whose clients leave all at once', { hub: { args: ['--http2-streams-max', '1000'] }, seconds: 120 },
    async ({ hub }) => {
        const bare = await Bare.open(hub);
        bare.send(frame(WINDOW_UPDATE, 0, 0, u32(0x7fff0000)));
        let next = 1;
        for (let round = 0; round < 20; round++) {
            const streams = Array.from({ length: 1000 }, (_, i) => next + 2 * i);
            next += 2000;
            bare.send(Buffer.concat(streams.map(
                (stream) => frame(HEADERS, END_STREAM | END_HEADERS, stream, getBlock('/sse/proxy')))));
            await bare.when('the streams', () => bare.wire.ended
                || bare.frames.filter(({ type, stream }) => type === DATA && stream >= streams[0]).length === 1000, 20);
            bare.send(Buffer.concat(streams.map(
                (stream) => frame(RST_STREAM, 0, stream, u32(constants.NGHTTP2_CANCEL)))));
            assert.deepEqual(bare.of(GOAWAY), [], `round ${round}`);
            bare.frames = [];
        }
        bare.get(next, '/livez');
        await bare.when('an answer beside them', () => bare.of(DATA, next).length > 0);
        assert.equal((await hub.stats()).http2_floods, 0);
        bare.wire.destroy();
    });

test('a client that leaves (GOAWAY) gets what it has asked for, and GOAWAY', { hub: {} }, async ({ hub }) => {
    const bare = await Bare.open(hub);
    bare.get(1, '/sse/leaving');
    await bare.when('the stream', () => /retry: /.test(bare.dataOf(1)));
    bare.send(frame(GOAWAY, 0, 0, Buffer.alloc(8)));
    await hub.publish('leaving', 'an event');
    await bare.when('the event', () => /an event/.test(bare.dataOf(1)));
    bare.send(frame(RST_STREAM, 0, 1, u32(constants.NGHTTP2_CANCEL)));
    assert.equal(await bare.goaway(), constants.NGHTTP2_NO_ERROR);
    assert.equal(bare.of(GOAWAY)[0].payload.readUInt32BE(), 1, 'the last stream');
    await bare.when('the end', () => bare.wire.ended);
});

/* Abuse. Each of these is one connection's own fault and must stay its own. */

test('rapid reset (CVE-2023-44487)', { hub: {} }, async ({ hub }) => {
    const bare = await Bare.open(hub);
    /* Reset before they can have been answered: many pairs in one packet. */
    for (let first = 1; first < 40000 && !bare.wire.ended; first += 200) {
        const streams = Array.from({ length: 100 }, (_, i) => first + 2 * i);
        bare.send(Buffer.concat(streams.flatMap((stream) => [
            frame(HEADERS, END_STREAM | END_HEADERS, stream, getBlock('/sse/rapid')),
            frame(RST_STREAM, 0, stream, u32(constants.NGHTTP2_CANCEL))])));
    }
    await assertCalmed(hub, bare);
    await until('no stream left', async () => (await hub.stats()).streams === 0);
});

test('floods of SETTINGS, PING, empty DATA, PRIORITY, WINDOW_UPDATE and GOAWAY', { hub: {} },
    async ({ hub }) => {
        const floods = [
            frame(SETTINGS, 0, 0), frame(PING, 0, 0, Buffer.alloc(8)), frame(DATA, 0, 1),
            frame(2, 0, 1, Buffer.concat([u32(0), Buffer.from([1])])),
            frame(WINDOW_UPDATE, 0, 0, u32(1)), frame(WINDOW_UPDATE, 0, 1, u32(1)),
            frame(DATA, PADDED, 1, Buffer.from([0])), frame(DATA, PADDED, 1, Buffer.from([1, 0])),
            frame(WINDOW_UPDATE, 0, 3, u32(1)), frame(GOAWAY, 0, 0, Buffer.alloc(8)),
        ];
        for (const one of floods) {
            const bare = await Bare.open(hub);
            bare.send(frame(HEADERS, END_HEADERS, 1, getBlock('/sse/flood')));
            bare.get(3, '/livez');
            await bare.when('the end of a stream', () => bare.of(DATA, 3).length > 0);
            bare.send(Buffer.concat(Array(20000).fill(one)));
            await assertCalmed(hub, bare);
        }
    });

test('a flood of CONTINUATION', { hub: {} }, async ({ hub }) => {
    const bare = await Bare.open(hub);
    bare.send(frame(HEADERS, 0, 1, getBlock('/health')));
    for (let i = 0; i < 2000; i++) {
        bare.send(frame(CONTINUATION, 0, 1, Buffer.from([0x00, 1, 0x78, 1, 0x79])));
    }
    await assertCalmed(hub, bare);
});

test('header bombs: one entry of the table, named a thousand times', { hub: {} },
    async ({ hub }) => {
        const bare = await Bare.open(hub);
        const value = 'v'.repeat(4000);
        /* Indexed: "x: vvv..."; 4000 is 127 + 3873 in seven-bit pieces (RFC 7541, 5.1). */
        const entry = Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]),
            Buffer.from(value)]);
        for (let stream = 1; stream < 60; stream += 2) {
            bare.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, Buffer.concat([
                getBlock('/health'), entry, Buffer.alloc(8000, 0xbe)])));
        }
        await assertCalmed(hub, bare);
    });

/* As above, but behind the body, where no field means anything. */
test('header bombs in trailers', { hub: {} }, async ({ hub }) => {
    const bare = await Bare.open(hub);
    const entry = Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]), Buffer.from('v'.repeat(4000))]);
    for (let stream = 1; stream < 60; stream += 2) {
        bare.send(Buffer.concat([frame(HEADERS, END_HEADERS, stream, getBlock('/health')),
            frame(DATA, 0, stream, Buffer.from('x')),
            frame(HEADERS, END_STREAM | END_HEADERS, stream, Buffer.concat([entry, Buffer.alloc(8000, 0xbe)]))]));
    }
    await assertCalmed(hub, bare);
});

test('requests under way on one connection are bounded together, whatever the size of a body',
    { hub: null }, async ({ start }) => {
        const small = await Bare.open(await start({ args: ['--body-bytes-max', '1'] }));
        small.get(1, '/livez');
        await small.when('an answer', () => small.of(DATA, 1).length > 0);
        assert.match(small.dataOf(1).toString(), /"status":"ok"/);
        small.wire.destroy();
        /* Eight of 64 KiB, and as many heads of 16 KiB. */
        const bare = await Bare.open(await start({ args: ['--body-bytes-max', '64KiB'] }));
        const post = fieldBlock([[':method', 'POST'], [':scheme', 'http'], [':path', '/publish/bodies'],
            [':authority', 'hub'], ['content-type', 'text/plain']]);
        const streams = Array.from({ length: 12 }, (_, i) => 2 * i + 1);
        for (const stream of streams) {
            bare.send(Buffer.concat([frame(HEADERS, END_HEADERS, stream, post),
                ...Array(6).fill(frame(DATA, 0, stream, Buffer.alloc(10000, 'x')))]));
        }
        await bare.when('two refusals', () => [21, 23].every((stream) => bare.of(DATA, stream).length > 0));
        [21, 23].forEach((stream) => assert.match(bare.dataOf(stream).toString(), /Too many bodies/));
        streams.slice(0, 10).forEach((stream) => bare.send(frame(DATA, END_STREAM, stream)));
        await bare.when('the others being answered', () => streams.slice(0, 10).every(
            (stream) => /"id":/.test(bare.dataOf(stream).toString())));
        bare.wire.destroy();
    });

test('a client that finishes sending while its answers are more than it is read from', { hub: {} }, async ({ hub }) => {
    const bare = await Bare.open(hub, { settings: Buffer.concat([Buffer.from([0, 4]), u32(0x7fffffff)]) });
    bare.send(frame(WINDOW_UPDATE, 0, 0, u32(0x7fff0000)));
    bare.wire.socket.pause();
    const before = (await hub.stats()).requests;
    for (let stream = 1; stream < 60; stream += 2) {
        bare.get(stream, '/openapi.json');
    }
    await until('the requests having come', async () => (await hub.stats()).requests >= before + 30);
    bare.wire.socket.end();
    /* The end of its sending is there, and must not be taken for the end of its reading. */
    await answered(hub);
    await answered(hub);
    bare.wire.socket.resume();
    await bare.when('the end', () => bare.wire.ended);
    assert.equal(bare.of(DATA).filter(({ flags }) => (flags & END_STREAM) !== 0).length, 30);
});

test('a client that asks and never reads', { hub: { args: ['--keepalive-seconds', '1', '--header-seconds', '1'] } },
    async ({ hub }) => {
        const bare = await Bare.open(hub);
        bare.wire.socket.pause();
        const pings = Buffer.concat(Array(900).fill(frame(PING, 0, 0, Buffer.alloc(8))));
        /* Slower than what is charged, and all the same without end. */
        await until('the hub ends it, or reads no more', async () => {
            bare.send(pings);
            await answered(hub);
            return bare.wire.socket.writableLength > 1024 * 1024 || bare.wire.ended
                || (await hub.stats()).connections <= 1;
        }, 50);
        bare.wire.destroy();
        await answered(hub);
    });

test('frames that break the rules end the connection, not the hub', { hub: {} },
    async ({ hub }) => {
        const wrong = [
            frame(DATA, 0, 0, Buffer.from('x')), frame(HEADERS, END_HEADERS, 2, getBlock('/')),
            frame(WINDOW_UPDATE, 0, 0, u32(0)), frame(SETTINGS, 0, 0, Buffer.from('12345')),
            frame(PING, 0, 0, Buffer.from('short')), frame(CONTINUATION, 4, 1, getBlock('/')),
            frame(HEADERS, END_STREAM | END_HEADERS, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff])),
            frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff)), frame(SETTINGS, 1, 0, Buffer.alloc(6)),
            Buffer.concat([frame(DATA, 0, 1).subarray(0, 9)]), frame(5, 4, 1, Buffer.alloc(8)),
        ];
        for (const [i, one] of wrong.entries()) {
            const bare = await Bare.open(hub);
            bare.send(one);
            assert.notEqual(await bare.goaway(), constants.NGHTTP2_NO_ERROR, `case ${i}`);
            await bare.when(`the end of case ${i}`, () => bare.wire.ended);
        }
        await answered(hub);
    });

test('a preface that goes wrong', { hub: {} }, async ({ hub }) => {
    const wire = await hub.connect(hub.tls ? { ALPNProtocols: ['h2'] } : {});
    wire.send('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n');
    await wire.end();
    await answered(hub);
});

test('h2load finishes without an error', async ({ hub }) => {
    const child = spawn('h2load', ['-n', '5000', '-c', '5', '-m', '40', `${hub.url}/health`],
        { stdio: ['ignore', 'pipe', 'ignore'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
    await within('h2load', once(child, 'close'), 50);
    assert.match(output, /5000 succeeded, 0 failed, 0 errored, 0 timeout/);
});

test('a flood while events go out: GOAWAY is the last word', { hub: { args: ['--shards', '1'] } },
    async ({ hub }) => {
        const bare = await Bare.open(hub);
        bare.get(1, '/sse/flooded');
        bare.get(3, '/sse/flooded');
        await bare.when('the streams', () => [1, 3].every((stream) => /retry: /.test(bare.dataOf(stream))));
        /* In one turn an event for both, and too many settings. */
        const post = fieldBlock([[':method', 'POST'], [':scheme', 'http'], [':path', '/publish/flooded'],
            [':authority', 'hub'], ['content-type', 'text/plain']]);
        bare.send(Buffer.concat([frame(HEADERS, END_HEADERS, 5, post), frame(DATA, END_STREAM, 5, Buffer.from('x')),
            ...Array(300).fill(frame(SETTINGS, 0, 0))]));
        await assertCalmed(hub, bare);
        assert.equal(bare.frames.at(-1).type, GOAWAY);
    });
