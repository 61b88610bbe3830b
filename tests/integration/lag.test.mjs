/*
 * Those who do not keep up: by the rule of the channel they catch up, skip, or are let go. In no case
 * does anybody else notice.
 */
import assert from 'node:assert/strict';
import { Bare, HEADERS, SETTINGS, frame, u32 } from './frames.mjs';
import { test } from './harness.mjs';
import { until } from './until.mjs';

const EVENTS = 400;
const payload = 'x'.repeat(16 * 1024);
const RULES = ['--lag-rule', 'ticker.eur=catch-up', '--lag-rule', 'ticker.*=skip/1MiB/1h',
    '--lag-rule', 'orders=disconnect/1MiB/1h', '--lag-rule', 'aged=disconnect/0/1s',
    '--history-bytes', '64MiB'];

/* One that stops reading, one that reads on, and so much published that the first must lag. */
async function lagging(hub, channel) {
    const fast = await hub.subscribe(`/sse/${channel}`, { keepRaw: false });
    const slow = await hub.subscribe(`/sse/${channel}`, { keepRaw: false });
    slow.wire.socket.pause();
    const client = hub.client();
    for (let i = 0; i < EVENTS; i++) {
        const response = await client.request('POST', `/publish/${channel}`,
            { body: `${i} ${payload}`, headers: { 'Content-Type': 'text/plain' } });
        assert.equal(response.status, 200);
        if (i % 20 === 19) {
            await fast.received(i + 1, 60);
        }
    }
    assert.deepEqual(numbers(fast), Array.from({ length: EVENTS }, (_, i) => i));
    return slow;
}

const numbers = (stream) => stream.events.filter(({ event }) => event === undefined)
    .map(({ data }) => Number(data.split(' ')[0]));

const consecutive = (list) => list.every((number, i) => i === 0 || number === list[i - 1] + 1);

test('skip: the rest of its event, a gap, then the newest', { hub: { args: RULES }, seconds: 120 },
    async ({ hub }) => {
        const slow = await lagging(hub, 'ticker.usd');
        slow.wire.socket.resume();
        await slow.when('the gap', () => slow.events.some(({ event }) => event === 'spate.gap'));
        /* A socket that is not read from takes some more now and then: there may be several gaps. */
        const { skips } = await until('all of them', async () => {
            const stats = await hub.stats();
            return slow.events.filter(({ event }) => event === 'spate.gap').length === stats.skips
                   && stats.behind === 0 && stats;
        });
        const before = numbers(slow);
        assert.equal(before[0], 0);
        for (const [i, { event, data }] of slow.events.entries()) {
            if (event === 'spate.gap') {
                const { reason, requested, first_available: first } = JSON.parse(data);
                assert.deepEqual([reason, requested, first], ['skipped', slow.events[i - 1].id, null]);
            } else if (i > 0 && slow.events[i - 1].event === undefined) {
                assert.equal(Number(data.split(' ')[0]), Number(slow.events[i - 1].data.split(' ')[0]) + 1);
            }
        }
        await hub.publish('ticker.usd', `${EVENTS} the newest`);
        await slow.when('the newest', () => numbers(slow).at(-1) === EVENTS);
        assert.deepEqual(numbers(slow), [...before, EVENTS]);
        /* The id of a gap is a good one to resume with: nothing is missing behind it. */
        const gap = slow.events.findLast(({ event }) => event === 'spate.gap');
        const resumed = await hub.subscribe('/sse/ticker.usd',
            { headers: { 'Last-Event-ID': gap.id }, keepRaw: false });
        await resumed.when('the newest', () => numbers(resumed).at(-1) === EVENTS);
        assert.ok(consecutive(numbers(resumed)));
        const stats = await hub.stats();
        assert.deepEqual([stats.skips, stats.gaps, stats.slow_disconnects], [skips, skips, 0]);
    });

test('catch-up: everything, at its own pace', { hub: { args: RULES }, seconds: 120 },
    async ({ hub }) => {
        const slow = await lagging(hub, 'ticker.eur');
        slow.wire.socket.resume();
        await slow.received(EVENTS, 60);
        assert.deepEqual(numbers(slow), Array.from({ length: EVENTS }, (_, i) => i));
        assert.equal((await hub.stats()).skips, 0);
    });

test('disconnect: cut off, and a resume brings the rest', { hub: { args: RULES }, seconds: 120 },
    async ({ hub }) => {
        const slow = await lagging(hub, 'orders');
        await until('the stream being ended', async () => (await hub.stats()).slow_disconnects === 1);
        slow.wire.socket.resume();
        await slow.end();
        const before = numbers(slow);
        assert.ok(consecutive(before) && before[0] === 0 && before.length < EVENTS);
        const resumed = await hub.subscribe('/sse/orders',
            { headers: { 'Last-Event-ID': slow.events.at(-1).id }, keepRaw: false });
        await resumed.received(EVENTS - before.length, 60);
        assert.ok(consecutive([...before, ...numbers(resumed)]));
        assert.equal(resumed.events.at(-1).event, undefined);
    });

test('disconnect by age: what follows does not make the first unsent byte younger',
    { waits: true, hub: { args: RULES }, seconds: 120 }, async ({ hub }) => {
        const slow = await hub.subscribe('/sse/aged', { keepRaw: false });
        slow.wire.socket.pause();
        const client = hub.client();
        let published = 0;
        await until('the stream being ended', async () => {
            await client.request('POST', '/publish/aged',
                { body: payload, headers: { 'Content-Type': 'text/plain' } });
            published++;
            return (await hub.stats()).slow_disconnects === 1;
        }, 60);
        const other = await hub.subscribe('/sse/aged?history=1');
        await other.received(1);
        slow.wire.socket.resume();
        await slow.end();
        assert.ok(slow.events.length < published);
    });

/* A hub that is stopped amid a fan-out, as by a machine that is too busy. */
test('a hub that stood still does not take its clients for slow', { hub: { h2: false,
    args: ['--shards', '1', '--heartbeat-seconds', '1', '--user-timeout-seconds', '1'] },
    seconds: 120 }, async ({ hub }) => {
    const streams = [];
    let isStopped = true;
    for (let i = 0; i < 1000; i++) {
        const stream = await hub.subscribe('/sse/late', { keepRaw: false });
        const { sink } = stream.wire;
        stream.wire.sink = (bytes) => {
            sink(bytes);
            if (!isStopped && stream.events.length > 0) {
                isStopped = true;
                hub.signal('SIGSTOP');
            }
        };
        streams.push(stream);
    }
    const client = hub.client();
    const got = () => streams.filter(({ events }) => events.length > 0).length;
    const stopAmid = async () => {
        streams.forEach(({ events }) => (events.length = 0));
        isStopped = false;
        const answer = client.request('POST', '/publish/late',
            { body: payload, headers: { 'Content-Type': 'text/plain' } });
        const begun = Date.now();
        await until('more than a heartbeat and the time-out having passed',
            () => Date.now() - begun > 2200);
        const count = got();
        hub.signal('SIGCONT');
        assert.equal((await answer).status, 200);
        return count > 0 && count < streams.length;
    };
    await until('a stop amid a fan-out', stopAmid, 60);
    await until('everybody having the event', () => got() === streams.length);
    assert.equal((await hub.stats()).slow_disconnects, 0);
});

test('a hub that stood still reads what it was sent before it says that the time is up', { hub: {
    h2: false, args: ['--shards', '1', '--header-seconds', '3'] }, seconds: 60 }, async ({ hub }) => {
    /* More than are read in a few turns, but for handshakes, which take their time. On a busy machine the
     * time of the first may be up before the last is there: then once more. */
    const count = hub.tls ? 60 : 600;
    const wires = await until('so many at once', async () => {
        const { accepted } = await hub.stats();
        const begun = Date.now();
        const some = await Promise.all(Array.from({ length: count }, () => hub.connect()));
        await until('their being accepted', async () => (await hub.stats()).accepted >= accepted + some.length);
        hub.signal('SIGSTOP');
        if (Date.now() - begun < 2000) {
            return some;
        }
        hub.signal('SIGCONT');
        some.forEach((wire) => wire.destroy());
        return null;
    }, 40);
    wires.forEach((wire) => wire.send('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n'));
    const stopped = Date.now();
    await until('more than the time for a head having passed', () => Date.now() - stopped > 3200);
    hub.signal('SIGCONT');
    for (const wire of wires) {
        assert.equal((await wire.response()).status, 200);
    }
});

/* Its first words, or a heartbeat, wait for a window: no event has to be on its way. */
test('whoever keeps the window of HTTP/2 closed is let go after the time-out', { waits: true, hub: { args: [
    '--heartbeat-seconds', '1', '--user-timeout-seconds', '2'] } }, async ({ hub }) => {
    const initialWindow = (bytes) => Buffer.concat([Buffer.from([0, 4]), u32(bytes)]);
    const streams = async () => (await hub.stats()).streams;
    const bare = await Bare.open(hub, { settings: initialWindow(1 << 20) });
    bare.get(1, '/sse/events');
    await bare.when('the first words', () => /retry: /.test(bare.dataOf(1)));
    await hub.publish('events', 'x'.repeat(100 * 1024));
    await bare.when('the whole window of the connection used', () => bare.dataOf(1).length === 65535);
    bare.get(3, '/sse/silence');
    const closed = await Bare.open(hub, { settings: initialWindow(0) });
    closed.get(1, '/sse/silence');
    /* It takes its first words, and then a heartbeat in part. */
    const later = await Bare.open(hub, { settings: initialWindow(1 << 20) });
    later.get(1, '/sse/silence');
    await later.when('the first words', () => /retry: /.test(later.dataOf(1)));
    later.send(frame(SETTINGS, 0, 0, initialWindow(later.dataOf(1).length + 1)));
    /* On a busy machine the first may be gone before the last is there. */
    await bare.when('the head of the silent one', () => bare.of(HEADERS, 3).length === 1);
    await closed.when('the head', () => closed.of(HEADERS, 1).length === 1);
    await until('their end', async () => (await streams()) === 0, 30);
    assert.equal((await hub.stats()).slow_disconnects, 4);
    [bare, closed, later].forEach(({ wire }) => wire.destroy());
});
