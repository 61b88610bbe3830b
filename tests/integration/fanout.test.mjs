/*
 * Many subscribers, many messages, as fast as they are accepted: everybody gets everything once, and in
 * the same order. `--big` makes it 10,000 subscribers instead of 2,000, `--slow` 1,000.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from './harness.mjs';
import { settings } from './hub.mjs';
import { Random, seed } from './random.mjs';
import { until } from './until.mjs';
import { Dechunker, Wire, requestText } from './wire.mjs';

/*
 * A subscriber that is cheap enough to have thousands of. All of them share one reference: whoever is
 * first to see the n-th event writes it down, the others compare. What the reference holds is checked
 * against what was published.
 */
class Crowd {
    reference = [];
    members = [];
    wrong = null; /* the first difference */

    async join(hub, path, localAddress) {
        const wire = await Wire.connect(hub.target, localAddress ? { localAddress } : {});
        const member = { wire, count: 0, started: false };
        const dechunker = new Dechunker();
        let pending = '';
        wire.send(requestText('GET', path, { Accept: 'text/event-stream' }));
        this.members.push(member);
        const sink = (bytes) => {
            for (const data of dechunker.push(bytes)) {
                pending += data.toString('latin1');
            }
            const blocks = pending.split('\n\n');
            pending = blocks.pop();
            for (const block of blocks) {
                this.#block(member, block);
            }
            member.started ||= pending.includes('retry:') && pending.endsWith('\n');
        };
        const head = await wire.stream(sink);
        assert.equal(head.status, 200);
        await wire.when('the first words', () => member.started);
        return member;
    }

    #block(member, block) {
        /* Heartbeats and the beginning have no data. */
        const lines = block.split('\n').filter((line) => !/^(:|retry:)/.test(line) && line !== '');
        member.started = true;
        if (!lines.some((line) => line.startsWith('data:'))) {
            return;
        }
        const text = lines.join('\n');
        const expected = (this.reference[member.count] ??= text);
        if (expected !== text) {
            this.wrong ??= `event ${member.count} of one subscriber is ${JSON.stringify(text)}, of `
                           + `another ${JSON.stringify(expected)}`;
        }
        member.count++;
    }

    async received(count, seconds) {
        await until(
            `all ${this.members.length} subscribers having ${count} events`,
            () => this.wrong !== null || this.members.every((member) => member.count >= count),
            seconds,
        ).catch((error) => {
            const counts = this.members.map((member) => member.count).sort((a, b) => a - b);
            error.message += `; fewest ${counts[0]}, median ${counts[counts.length >> 1]}, most `
                             + `${counts.at(-1)}, closed ${this.members.filter((m) => m.wire.ended).length}`;
            throw error;
        });
        assert.equal(this.wrong, null);
        for (const member of this.members) {
            assert.equal(member.count, count, 'more events than were published');
        }
    }

    close() {
        this.members.forEach((member) => member.wire.destroy());
    }
}

const field = (block, name) =>
    new RegExp(`^${name}: ?(.*)$`, 'm').exec(block)?.[1];

/* Publishes until accepted: a full queue is answered with 503, and means: again. */
async function publishUntilAccepted(client, channel, data) {
    for (;;) {
        const response = await client.request('POST', `/publish/${channel}`, {
            headers: { 'Content-Type': 'text/plain' },
            body: data,
        });
        if (response.status === 200) {
            return response.json.id;
        }
        assert.equal(response.status, 503, response.text);
        assert.notEqual(response.get('retry-after'), undefined);
    }
}

test('every subscriber gets every message once and in order', { seconds: 300 },
    async ({ start, defer }) => {
        const hub = await start({ args: ['--history-count', '100000'] });
        const subscriberCount = settings.big ? 10000 : settings.slow > 1 ? 1000 : 2000;
        const messageCount = 1000;
        const publisherCount = 8;
        const crowd = new Crowd();
        defer(() => crowd.close());
        for (let i = 0; i < subscriberCount; i += 100) {
            await Promise.all(Array.from({ length: 100 }, () => crowd.join(hub, '/sse/hot')));
        }
        const before = await hub.stats();
        const accepted = new Map(); /* data to id */
        let next = 0;
        await Promise.all(Array.from({ length: publisherCount }, async (_, publisher) => {
            const client = hub.client();
            while (next < messageCount) {
                const data = `${publisher}:${next++}`;
                accepted.set(data, await publishUntilAccepted(client, 'hot', data));
            }
        }));
        assert.equal(accepted.size, messageCount);
        await crowd.received(messageCount, 240);

        const seen = crowd.reference.map((block) => [field(block, 'data'), field(block, 'id')]);
        assert.equal(new Set(seen.map(([data]) => data)).size, messageCount);
        for (const [data, id] of seen) {
            assert.equal(id, accepted.get(data), `the id of ${data}`);
        }
        for (let publisher = 0; publisher < publisherCount; publisher++) {
            const numbers = seen.map(([data]) => data.split(':').map(Number))
                .filter(([from]) => from === publisher).map(([, number]) => number);
            assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
        }
        const deliveries = subscriberCount * messageCount;
        const after = await until('the statistics of all deliveries', async () => {
            const stats = await hub.stats();
            return stats.deliveries - before.deliveries >= deliveries && stats;
        });
        assert.equal(after.deliveries - before.deliveries, deliveries);
        assert.equal(after.published - before.published, messageCount);
        const sends = after.sends - before.sends;
        assert.ok(sends > 0);
        assert.ok(deliveries / sends > 1, `${deliveries} deliveries in ${sends} sends`);
        assert.equal(after.slow_disconnects, before.slow_disconnects);
    });

/*
 * Random subscribers of random channels and clients, random publishing by one publisher: each subscriber's
 * stream is known exactly.
 */
test(`channels, clients and broadcasts mixed (SPATE_TEST_SEED=${seed})`, { hub: {}, seconds: 180 },
    async ({ hub }) => {
        const random = new Random(seed);
        const channels = Array.from({ length: 12 }, (_, i) => `mix${i}`);
        const readers = [];
        for (let i = 0; i < 150; i++) {
            if (i % 5 === 0) {
                const client = `client${i % 25}`;
                readers.push({ client, stream: await hub.subscribe(`/stream/${client}`) });
            } else {
                const own = channels.filter(() => random.below(4) === 0);
                const wanted = own.length > 0 ? own : [random.pick(channels)];
                const query = wanted.map((name) => `channel=${name}`).join('&');
                readers.push({ channels: wanted, stream: await hub.subscribe(`/sse?${query}`) });
            }
        }
        const published = [];
        for (let i = 0; i < 600; i++) {
            const data = `event ${i}`;
            const kind = random.below(10);
            if (kind === 0) {
                const { id } = await hub.publish('broadcast', data);
                published.push({ data, id, to: () => true });
            } else if (kind === 1) {
                assert.equal((await hub.get(`/publish/status/event%20${i}`)).status, 200);
                published.push({ data, to: () => true });
            } else if (kind <= 3) {
                const client = `client${5 * random.below(5)}`;
                assert.equal((await hub.get(`/publish/${client}/status/event%20${i}`)).status, 200);
                published.push({ data, to: (reader) => reader.client === client });
            } else {
                const channel = random.pick(channels);
                const { id } = await hub.publish(channel, data);
                published.push({ data, id, to: (reader) => reader.channels?.includes(channel) });
            }
        }
        await hub.publish('broadcast', 'end');
        for (const reader of readers) {
            const expected = published.filter((event) => event.to(reader));
            await reader.stream.received(expected.length + 1);
            assert.deepEqual(reader.stream.data, [...expected.map(({ data }) => data), 'end'],
                JSON.stringify(reader.channels ?? reader.client));
            for (const [i, event] of expected.entries()) {
                if (event.id !== undefined) {
                    assert.equal(reader.stream.events[i].id, event.id);
                }
            }
        }
    });

/* Several publishers: who is first is the hub's choice, but it is the same choice for everybody. */
test('several publishers on several channels: one order for all', { hub: {}, seconds: 180 },
    async ({ hub }) => {
        const channels = ['o1', 'o2', 'o3', 'o4'];
        const all = await hub.subscribe(`/sse?${channels.map((name) => `channel=${name}`).join('&')}`);
        const parts = [];
        for (let i = 0; i < 40; i++) {
            const own = channels.filter((_, bit) => ((i % 15) + 1) & (1 << bit));
            const query = own.map((name) => `channel=${name}`).join('&');
            parts.push({ own, stream: await hub.subscribe(`/sse?${query}`) });
        }
        await Promise.all(Array.from({ length: 6 }, async (_, publisher) => {
            const client = hub.client();
            for (let i = 0; i < 200; i++) {
                const channel = channels[(i + publisher) % 4];
                await publishUntilAccepted(client, channel, `${channel} ${publisher} ${i}`);
            }
        }));
        await all.received(1200);
        for (const { own, stream } of parts) {
            const expected = all.events.filter(({ data }) => own.includes(data.split(' ')[0]));
            await stream.received(expected.length);
            assert.deepEqual(stream.events, expected);
        }
    });

test('a subscriber that never reads disturbs nobody', { hub: {}, seconds: 180 }, async ({ hub }) => {
    const fast = [];
    for (let i = 0; i < 20; i++) {
        fast.push(await hub.subscribe('/sse/heavy', { keepRaw: false }));
    }
    const slow = [];
    for (let i = 0; i < 5; i++) {
        const stream = await hub.subscribe('/sse/heavy', { keepRaw: false });
        stream.wire.socket.pause();
        slow.push(stream);
    }
    const payload = 'x'.repeat(16 * 1024);
    const client = hub.client();
    for (let i = 0; i < 1000; i++) {
        await publishUntilAccepted(client, 'heavy', `${i} ${payload}`);
        if (i % 50 === 49) {
            /* The fast ones are waited for, so that they really are fast on any machine. */
            for (const stream of fast) {
                await stream.received(i + 1, 60);
            }
        }
    }
    for (const stream of fast) {
        assert.equal(stream.events.length, 1000);
        assert.ok(stream.data.every((data, i) => data.startsWith(`${i} `)));
    }
    /* The slow ones get a stream in order, or are told what they missed, or are cut; never a jumble. */
    for (const stream of slow) {
        stream.wire.socket.resume();
        await stream.when('the rest of it, a gap, or the end',
            () => stream.events.length >= 1000 || stream.ended
                  || stream.events.some(({ event }) => event === 'spate.gap'), 60);
        const numbers = stream.events.filter(({ event }) => event === undefined)
            .map(({ data }) => Number(data.split(' ')[0]));
        const gap = stream.events.findIndex(({ event }) => event === 'spate.gap');
        const whole = gap < 0 ? numbers : numbers.slice(0, gap);
        assert.deepEqual(whole, whole.map((_, i) => i), 'a hole without a word about it');
        assert.ok(numbers.every((number, i) => i === 0 || number > numbers[i - 1]));
    }
});

test('a subscriber that never reads holds little of the kernel\'s memory', { hub: {}, seconds: 60 },
    async ({ hub }) => {
        const total = 400;
        const payload = 'x'.repeat(16 * 1024);
        const stream = await hub.subscribe('/sse/stalled', { keepRaw: false });
        stream.wire.socket.pause();
        const client = hub.client();
        for (let i = 0; i < total; i++) {
            await publishUntilAccepted(client, 'stalled', payload);
        }
        const stats = await until('the stalled one being known as such', async () => {
            const now = await hub.stats();
            return now.taken === total && now.short_sends > 0 && now;
        });
        /* Its receive buffer is not ours to bound; all that was published is six times as much. */
        assert.ok(stats.bytes_sent < 1024 * 1024, `${stats.bytes_sent} bytes went into the kernel`);
    });

/* Batches that are sent without waiting for answers, so that nothing slows the publisher down. */
test('32,768 messages to one channel, as fast as they can be sent', {
    hub: { args: ['--history-count', '1000000', '--history-bytes', '64MiB'] }, seconds: 180,
}, async ({ hub }) => {
    const total = 32768;
    const streams = [];
    for (let i = 0; i < 20; i++) {
        streams.push(await hub.subscribe('/sse/burst', { keepRaw: false }));
    }
    const client = hub.client();
    const size = 256;
    for (let i = 0; i < total; i += size) {
        const body = Array.from({ length: size }, (_, j) => JSON.stringify({ data: String(i + j) }));
        const response = await client.request('POST', '/publish/burst',
            { body: body.join('\n'), headers: { 'Content-Type': 'application/x-ndjson' } });
        assert.equal(response.status, 200);
    }
    for (const stream of streams) {
        await stream.received(total, 120);
        assert.equal(stream.events.length, total);
        assert.ok(stream.events.every(({ data }, i) => data === String(i)));
    }
});

/*
 * What comes in together is seen by the other shards together: they are woken once, not for each event,
 * and so a subscriber there gets all of it in one send, whichever CPU is faster.
 */
test('requests that come in one packet are one send on every shard', {
    hub: { args: ['--shards', '4'], h2: false /* where all would be on one shard */ }, seconds: 60,
}, async ({ hub }) => {
    const BURST = 16;
    const ROUNDS = 100;
    const streams = await Promise.all(Array.from({ length: 16 }, () => hub.subscribe('/sse/burst')));
    const listening = (await hub.stats()).shards.filter((shard) => shard.streams > 0);
    assert.ok(listening.length > 1, 'the kernel spread 16 connections over one shard');
    const wire = await Wire.connect(hub.target);
    const packet = `${requestText('POST', '/publish/burst', { 'Content-Length': '1' })}x`.repeat(BURST);
    const before = (await hub.stats()).event_sends;
    for (let round = 1; round <= ROUNDS; round++) {
        wire.send(packet);
        await Promise.all(streams.map((stream) => stream.received(round * BURST)));
    }
    const sends = await until('the counts being there', async () => {
        const stats = await hub.stats();
        return stats.deliveries >= streams.length * ROUNDS * BURST && stats.event_sends - before;
    });
    /* A packet may be cut in two, and a shard that happens to be awake takes what has come so far.
     * Woken for each event, they made more than twice as many. */
    const least = streams.length * ROUNDS;
    assert.ok(sends >= least && sends < 1.5 * least, `${sends} sends, and not ${least}`);
});

/* By default a channel keeps more of them than publishers have under way. */
test('a subscriber that pauses loses none of 64 events of 64 KiB', { hub: {}, seconds: 60 }, async ({ hub }) => {
    const stream = await hub.subscribe('/sse/large', { keepRaw: false });
    const payload = 'x'.repeat(64 * 1024 - 100);
    stream.wire.socket.pause();
    for (let i = 0; i < 64; i++) {
        await hub.publish('large', `${i} ${payload}`);
    }
    stream.wire.socket.resume();
    await stream.received(64);
    assert.deepEqual(stream.data.map((data) => data.length > payload.length && parseInt(data, 10)),
        Array.from({ length: 64 }, (_, i) => i));
    assert.equal((await hub.stats()).gaps, 0);
});

/*
 * Everybody comes back at once and wants everything, and reads nothing of it: what is replayed is read
 * from history at the client's pace, and costs no memory that grows with it.
 */
test('a storm of resuming clients holds up nobody and holds no memory', {
    hub: { args: ['--history-bytes', '16MiB', '--history-count', '10000', '--shards', '2'] }, seconds: 180,
}, async ({ hub, defer }) => {
    const count = settings.big ? 5000 : 500;
    const payload = 'x'.repeat(8 * 1024);
    const client = hub.client();
    for (let i = 0; i < 1000; i++) {
        await publishUntilAccepted(client, 'storm', `${i} ${payload}`);
    }
    const live = await hub.subscribe('/sse/storm', { keepRaw: false });
    const retained = (await hub.stats()).history_bytes;
    const storm = [];
    defer(() => storm.forEach((stream) => stream.close()));
    for (let i = 0; i < count; i += 100) {
        storm.push(...await Promise.all(Array.from({ length: 100 }, async () => {
            const stream = await hub.subscribe('/sse/storm', { headers: { 'Last-Event-ID': 'earliest' },
                keepRaw: false, ready: false });
            stream.wire.socket.pause();
            return stream;
        })));
    }
    /* All of them are blocked once nothing is read any more. */
    let reads = 0;
    let still = 0;
    await until('all of them being blocked', async () => {
        const stats = await hub.stats();
        still = stats.history_reads === reads ? still + 1 : 0;
        reads = stats.history_reads;
        return stats.streams === count + 1 && stats.short_sends >= count && still > 20;
    });
    for (let i = 0; i < 100; i++) {
        await hub.publish('storm', `live ${i}`);
        await live.received(i + 1);
    }
    const stats = await hub.stats();
    /* Nobody is read for who cannot be sent to, but for sockets that still take some. */
    assert.ok(stats.history_reads - reads < count, `${stats.history_reads - reads} reads`);
    assert.ok(stats.history_bytes <= retained + 1024 * 1024);
    const resident = Number(/VmRSS:\s+(\d+) kB/
        .exec(readFileSync(`/proc/${hub.process.pid}/status`, 'utf8'))[1]) * 1024;
    assert.ok(resident < 512 * 1024 * 1024, `${resident} bytes for ${count} replays of 8 MiB`);
    /* One of them reads on, and gets everything. */
    storm[0].wire.socket.resume();
    await storm[0].when('the last', () => storm[0].data.at(-1) === 'live 99', 60);
    assert.equal(storm[0].events.length, 1100);
});

test('subscribers that come and go while messages flow', { hub: {}, seconds: 180 }, async ({ hub }) => {
    const steady = await hub.subscribe('/sse/churn');
    let flowing = true;
    const churn = Promise.all(Array.from({ length: 4 }, async (_, lane) => {
        let count = 0;
        while (flowing) {
            const stream = await hub.subscribe('/sse/churn');
            await stream.when('one event', () => stream.events.length > 0 || !flowing);
            const numbers = stream.data.map(Number);
            assert.ok(numbers.every((number, i) => i === 0 || number === numbers[i - 1] + 1),
                `not consecutive: ${numbers}`);
            if ((lane + count++) % 2 === 0) {
                stream.close();
            } else {
                stream.wire.reset();
            }
        }
        return count;
    }));
    for (let i = 0; i < 2000; i++) {
        await hub.publish('churn', String(i));
    }
    flowing = false;
    const counts = await churn;
    assert.ok(counts.every((count) => count > 0));
    await steady.received(2000);
    assert.deepEqual(steady.data, Array.from({ length: 2000 }, (_, i) => String(i)));
});
