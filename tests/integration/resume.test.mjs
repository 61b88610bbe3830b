/*
 * Coming back: what was missed is caught up, in order, each once; and what cannot be caught up is told.
 */
import assert from 'node:assert/strict';
import { test } from './harness.mjs';
import { Random, seed } from './random.mjs';
import { until } from './until.mjs';

async function publishMany(hub, channel, count, prefix = 'e') {
    const ids = [];
    for (let i = 0; i < count; i++) {
        ids.push((await hub.publish(channel, `${prefix}${i}`)).id);
    }
    return ids;
}

const names = (from, to, prefix = 'e') =>
    Array.from({ length: to - from }, (_, i) => `${prefix}${from + i}`);

const resumed = (hub, path, id) => hub.subscribe(path, { headers: { 'Last-Event-ID': id } });

test('Last-Event-ID brings what came after it, then what is new', async ({ hub }) => {
    const ids = await publishMany(hub, 'back', 20);
    for (const at of [0, 1, 10, 18, 19]) {
        const stream = await resumed(hub, '/sse/back', ids[at]);
        assert.equal(stream.head.get('spate-gap'), undefined);
        const marker = `marker ${at}`;
        const { id } = await hub.publish('back', marker);
        ids.push(id);
        await stream.when('the marker', () => stream.data.includes(marker));
        assert.deepEqual(stream.data.slice(0, 19 - at), names(at + 1, 20));
        assert.equal(stream.data.at(-1), marker);
        assert.deepEqual(stream.events.map((event) => event.id), ids.slice(at + 1));
    }
});

for (const name of ['last_event_id', 'lastEventId', 'lastEventID']) {
    test(`${name}= in the query does the same, and the header wins`, async ({ hub }) => {
        const channel = `query-${name}`;
        const ids = await publishMany(hub, channel, 5);
        const stream = await hub.subscribe(`/sse/${channel}?${name}=${ids[2]}`);
        await stream.received(2);
        assert.deepEqual(stream.data, ['e3', 'e4']);
        const both = await resumed(hub, `/sse/${channel}?${name}=${ids[0]}`, ids[3]);
        await both.received(1);
        assert.deepEqual(both.data, ['e4']);
    });
}

test('a stream begins with the id of its place: nothing is lost before its first event',
    async ({ hub }) => {
        await hub.publish('begun', 'before');
        const stream = await hub.subscribe('/sse/begun');
        const [, id] = /^: spate\nid: (.+)\nretry: \d+\n\n$/.exec(stream.raw);
        stream.close();
        await hub.publish('begun', 'meanwhile');
        const again = await resumed(hub, '/sse/begun', id);
        assert.equal(again.head.get('spate-gap'), undefined);
        assert.deepEqual((await again.received(1)).map(({ data }) => data), ['meanwhile']);
        /* Of a replay it is the place before its first event. */
        const all = await hub.subscribe('/sse/begun?history=2');
        await all.received(2);
        const [, first] = /\nid: (.+)\nretry/.exec(all.raw);
        const rest = await resumed(hub, '/sse/begun', first);
        assert.deepEqual((await rest.received(2)).map(({ data }) => data), ['before', 'meanwhile']);
    });

test('a heartbeat brings the id of the present, when that has moved', {
    waits: true, hub: { args: ['--heartbeat-seconds', '1', '--shards', '1', '--history-count', '3'] },
}, async ({ hub }) => {
    const quiet = await hub.subscribe('/sse/quiet');
    const busy = await hub.subscribe('/sse/busy');
    await quiet.when('a heartbeat', () => quiet.comments.length >= 2);
    assert.ok(quiet.raw.endsWith('\n\n:\n\n'), 'nothing has happened');
    const [id] = (await publishMany(hub, 'busy', 5)).slice(-1);
    await busy.received(5);
    await quiet.when('a heartbeat', () => quiet.raw.includes(`:\nid: ${id}\n\n`));
    quiet.close();
    await hub.publish('quiet', 'meanwhile');
    const again = await resumed(hub, '/sse/quiet', id);
    assert.deepEqual((await again.received(1)).map(({ data }) => data), ['meanwhile']);
    assert.equal(again.head.get('spate-gap'), undefined);
});

test('one id is the place in all channels', async ({ hub }) => {
    const published = [];
    for (let i = 0; i < 60; i++) {
        const channel = ['m1', 'm2', 'm3'][(i * 7) % 3];
        const { id } = await hub.publish(channel, `n${i}`);
        published.push({ channel, id, data: `n${i}` });
    }
    for (const from of [0, 13, 29, 58]) {
        const stream = await resumed(hub, '/sse?channel=m1&channel=m3', published[from].id);
        const expected = published.slice(from + 1).filter(({ channel }) => channel !== 'm2');
        await stream.received(expected.length);
        assert.deepEqual(stream.data, expected.map(({ data }) => data));
    }
});

/* A hub of its own: a broadcast belongs to the history of every channel. */
test('missed broadcasts are caught up in their place', { hub: {} }, async ({ hub }) => {
    const { id } = await hub.publish('bc', 'one');
    await hub.publish('broadcast', 'two');
    await hub.publish('bc', 'three');
    const stream = await resumed(hub, '/sse/bc', id);
    await stream.received(2);
    assert.deepEqual(stream.data, ['two', 'three']);
});

test('history=N brings the last N', async ({ hub }) => {
    await publishMany(hub, 'last', 10);
    for (const [count, from] of [[0, 10], [1, 9], [3, 7], [10, 0], [1000, 0]]) {
        const stream = await hub.subscribe(`/sse/last?history=${count}`);
        await hub.publish('last-marker', 'x');
        await stream.received(10 - from);
        assert.deepEqual(stream.data, names(from, 10));
    }
    const plain = await hub.subscribe('/sse/last');
    await hub.publish('last', 'new');
    await plain.received(1);
    assert.deepEqual(plain.data, ['new']);
});

test('since= brings what is younger', async ({ hub }) => {
    await publishMany(hub, 'since', 3, 'old');
    const before = Date.now();
    await until('the clock going on', () => Date.now() > before + 1);
    const middle = Date.now();
    await until('the clock going on', () => Date.now() > middle);
    await publishMany(hub, 'since', 3, 'new');
    for (const since of [String(middle), new Date(middle).toISOString()]) {
        const stream = await hub.subscribe(`/sse/since?since=${encodeURIComponent(since)}`);
        await stream.received(3);
        assert.deepEqual(stream.data, names(0, 3, 'new'));
    }
    const all = await hub.subscribe('/sse/since?since=1970-01-01T00:00:00Z');
    await all.received(6);
    assert.deepEqual(all.data, [...names(0, 3, 'old'), ...names(0, 3, 'new')]);
});

/* Subscribes with an id that cannot be resumed, and returns the stream once its gap has come. */
async function assertGap(hub, path, id, reason) {
    const stream = await resumed(hub, path, id);
    assert.equal(stream.head.get('spate-gap'), reason);
    await stream.received(1);
    assert.equal(stream.events[0].event, 'spate.gap');
    /* No id before it: a client that is cut off there has to be told again. */
    const before = stream.raw.slice(0, stream.raw.indexOf('event: spate.gap'));
    assert.doesNotMatch(before, /^id:/m);
    const gap = JSON.parse(stream.events[0].data);
    assert.equal(gap.reason, reason);
    /* What is longer than any id need not be repeated. */
    assert.ok(gap.requested === id || id.length > 64, `requested ${gap.requested}`);
    assert.ok('first_available' in gap);
    return { stream, gap };
}

test('an id that is no longer retained: a gap, then what is there',
    { hub: { args: ['--history-count', '5'] } }, async ({ hub }) => {
        const ids = await publishMany(hub, 'short', 12);
        const { stream, gap } = await assertGap(hub, '/sse/short', ids[2], 'expired');
        assert.equal(gap.first_available, ids[7]);
        await stream.received(6);
        assert.deepEqual(stream.data.slice(1), names(7, 12));
        assert.ok((await hub.stats()).gaps >= 1);
        /* The event just before the oldest retained one: nothing is missing. */
        const edge = await resumed(hub, '/sse/short', ids[6]);
        assert.equal(edge.head.get('spate-gap'), undefined);
        await edge.received(5);
        assert.deepEqual(edge.data, names(7, 12));
    });

test('an id of another channel that fell out of this one is no gap for this one',
    { hub: { args: ['--history-count', '5'] } }, async ({ hub }) => {
        const { id } = await hub.publish('calm', 'first');
        await publishMany(hub, 'noisy', 30);
        await hub.publish('calm', 'second');
        const stream = await resumed(hub, '/sse/calm', id);
        assert.equal(stream.head.get('spate-gap'), undefined);
        await stream.received(1);
        assert.deepEqual(stream.data, ['second']);
    });

test('an id of another epoch, from the future, or no id at all', async ({ hub, start }) => {
    const [id] = await publishMany(hub, 'odd', 3);
    const other = await start({});
    const [foreign] = await publishMany(other, 'odd', 1);
    for (const [requested, reason] of [[foreign, 'epoch'],
        [id.replace(/[0-9a-z]{6}$/, '999999'), 'future'], ['not an id', 'malformed'],
        ['x'.repeat(65), 'malformed']]) {
        const { stream } = await assertGap(hub, '/sse/odd', requested, reason);
        await stream.received(4);
        assert.deepEqual(stream.data.slice(1), names(0, 3));
    }
});

test('history has a limit in bytes', { hub: { args: ['--history-bytes', '65536'] } },
    async ({ hub }) => {
        const payload = 'x'.repeat(1000);
        const ids = await publishMany(hub, 'bytes', 200, payload);
        const { stream } = await assertGap(hub, '/sse/bytes', ids[0], 'expired');
        await stream.when('the last event', () => stream.data.at(-1) === `${payload}199`);
        const count = stream.events.length - 1;
        assert.ok(count > 30 && count < 70, `${count} events of about 1 KiB in 64 KiB`);
        assert.deepEqual(stream.data.slice(1), names(200 - count, 200, payload));
    });

test('history has a limit in time', { waits: true, hub: { args: ['--history-seconds', '1'] } }, async ({ hub }) => {
    await publishMany(hub, 'aged', 3);
    await until('the events being too old', async () => {
        const stream = await hub.subscribe('/sse/aged?history=1000');
        const { id } = await hub.publish('aged', 'marker');
        await stream.when('the marker', () => stream.events.at(-1)?.id === id);
        stream.close();
        /* Those that grow too old on their way are told as a gap. */
        const old = stream.events.filter(({ event }) => event !== 'spate.gap')
            .map(({ data }) => data).filter((data) => data !== 'marker');
        assert.deepEqual(old, names(3 - old.length, 3), 'the oldest go first');
        return old.length === 0;
    });
});

/*
 * Killed at random moments and resumed, hundreds of times in a flood: the answers to the publisher say
 * which event has which id, and every reader must have all of them, once and in order.
 */
for (const count of [1, 5]) {
    test(`killed and resumed during a flood on ${count} channels (SPATE_TEST_SEED=${seed})`,
        { hub: { args: ['--history-count', '100000', '--history-bytes', '16MiB'] }, seconds: 180 },
        async ({ hub }) => {
            const random = new Random(seed);
            const path = `/sse?${Array.from({ length: count }, (_, i) => `channel=c${i}`).join('&')}`;
            const published = [];
            let lives = 0;
            let flowing = true;
            const client = hub.client();
            const publisher = (async () => {
                while (lives < 400) {
                    const size = 1 + random.below(20);
                    const batch = Array.from({ length: size }, (_, i) => ({
                        channel: `c${random.below(count)}`,
                        data: `e${published.length + i} ${'x'.repeat(random.below(300))}`,
                    }));
                    const { json } = await client.request('POST', '/publish/c0', {
                        headers: { 'Content-Type': 'application/x-ndjson' },
                        body: batch.map((one) => JSON.stringify(one)).join('\n'),
                    });
                    published.push(...json.ids.map((id, i) => ({ id, data: batch[i].data })));
                }
                flowing = false;
            })();
            const readers = Array.from({ length: 6 }, async () => {
                const seen = [];
                let last = 'earliest';
                while (flowing || seen.length < published.length) {
                    const stream = await hub.subscribe(path,
                        { headers: { 'Last-Event-ID': last }, ready: false });
                    const wanted = random.below(120);
                    await stream.when('some events, or all of them', () => stream.events.length >= wanted
                        || (!flowing
                            && seen.length + stream.events.length >= published.length));
                    stream.close();
                    seen.push(...stream.events.map(({ id, data, event }) => ({ id, data, event })));
                    last = seen.at(-1)?.id ?? last;
                    lives++;
                }
                return seen;
            });
            const [all] = await Promise.all([Promise.all(readers), publisher]);
            const expected = published.map((one) => ({ ...one, event: undefined }));
            for (const seen of all) {
                assert.deepEqual(seen, expected);
            }
        });
}

/* The noisy channel has let events go; what the quiet ones keep is replayed all the same. */
test('several channels: a gap in one does not take from the others',
    { hub: { args: ['--history-count', '5'] } }, async ({ hub }) => {
        const { id } = await hub.publish('quiet', 'before');
        const { id: first } = await hub.publish('quiet', 'q0');
        await publishMany(hub, 'loud', 30);
        await hub.publish('quiet', 'q1');
        const expected = ['q0', ...names(25, 30), 'q1'];
        const { stream, gap } =
            await assertGap(hub, '/sse?channel=quiet&channel=loud', id, 'expired');
        assert.equal(gap.first_available, first);
        await stream.received(1 + expected.length);
        assert.deepEqual(stream.data.slice(1), expected);
        await hub.publish('loud', 'live');
        await stream.received(2 + expected.length);
        assert.equal(stream.data.at(-1), 'live');
        const all = await hub.subscribe('/sse?channel=quiet&channel=loud&history=100');
        await all.when('the last event', () => all.data.at(-1) === 'live');
        assert.deepEqual(all.data, ['before', 'q0', ...names(26, 30), 'q1', 'live']);
    });

test('rules say what the channels of a name keep',
    { hub: { args: ['--history-rule', 'chat.*=3/1MiB/1h', '--history-rule', 'plain=0/0/0s',
        '--history-rule', 'chat.long=9/1MiB/1h'] } }, async ({ hub }) => {
        for (const [channel, kept] of [['chat.a', 3], ['chat.long', 3], ['chat', 10], ['plain', 0],
            ['plainer', 10]]) {
            await publishMany(hub, channel, 10);
            const stream = await hub.subscribe(`/sse/${channel}?history=1000`);
            /* One more event evicts the oldest: not before it was replayed. */
            await stream.when('what is kept', () => stream.data.length >= kept);
            await hub.publish(channel, 'live');
            await stream.when('the live one', () => stream.data.at(-1) === 'live');
            assert.deepEqual(stream.data, [...names(10 - kept, 10), 'live'], channel);
        }
    });
