/* The hub's own channels: who comes and goes, and the statistics, as events. */
import assert from 'node:assert/strict';
import os from 'node:os';
import { Skip, test } from './harness.mjs';
import { until } from './until.mjs';

/* A hub without a token wants to be called by this name. */
const local = { headers: { Host: 'localhost' } };

const notices = (stream, event) => stream.events.filter((one) => one.event === event)
    .map(({ data }) => JSON.parse(data));

test('$presence tells who comes and who goes', { hub: {} }, async ({ hub }) => {
    const watcher = await hub.subscribe('/sse/$presence', local);
    await watcher.received(1); /* its own coming */
    const ada = await hub.subscribe('/sse/news?client=ada');
    const many = await hub.subscribe('/sse?channel=a&channel=b');
    await watcher.received(3);
    const [own, first, second] = notices(watcher, 'connect');
    assert.deepEqual(own.channels, ['$presence']);
    assert.deepEqual([first.client, first.channel_count], ['ada', 2]);
    assert.deepEqual(first.channels.toSorted(), ['ada', 'news']);
    assert.deepEqual(second.channels.toSorted(), ['a', 'b']);
    assert.match(second.client, /^anon-/);
    assert.ok(Math.abs(first.time_ms - Date.now()) < 60_000);
    ada.close();
    many.close();
    await watcher.received(5);
    const gone = notices(watcher, 'disconnect');
    assert.deepEqual(gone.map(({ client }) => client).toSorted(), ['ada', second.client].toSorted());
    assert.ok(gone.every(({ reason, duration_ms: ms }) => reason === 'client left' && ms >= 0));
    assert.equal(new Set(watcher.events.map(({ id }) => id)).size, 5);
    /* Resumed like any other channel. */
    const again = await hub.subscribe('/sse/$presence?history=1000', local);
    await again.received(5);
    assert.deepEqual(again.events.slice(0, 5), watcher.events.slice(0, 5));
});

test('$presence: a thousand at once, each once', { hub: {}, seconds: 120 }, async ({ hub }) => {
    const watcher = await hub.subscribe('/sse/$presence', { ...local, keepRaw: false });
    await watcher.received(1);
    const streams = [];
    for (let i = 0; i < 1000; i += 100) {
        streams.push(...await Promise.all(Array.from({ length: 100 },
            (_, j) => hub.subscribe(`/sse/crowd?client=c${i + j}`))));
    }
    await watcher.received(1001, 60);
    streams.forEach((stream) => stream.close());
    await watcher.received(2001, 60);
    const expected = Array.from({ length: 1000 }, (_, i) => `c${i}`).toSorted();
    assert.deepEqual(notices(watcher, 'connect').slice(1).map(({ client }) => client).toSorted(), expected);
    assert.deepEqual(notices(watcher, 'disconnect').map(({ client }) => client).toSorted(), expected);
    assert.equal(notices(watcher, 'lost').length, 0);
});

test('$presence: a queue that is full is tried again in a while, not in every turn', { hub: {
    h2: false, args: ['--shards', '2', '--queue-length', '64'] }, seconds: 120 }, async ({ hub }) => {
    const watcher = await hub.subscribe('/sse/$presence', { ...local, keepRaw: false });
    const streams = await Promise.all(Array.from({ length: 1000 }, () => hub.subscribe('/sse/crowd')));
    await watcher.received(1001, 60);
    const before = performance.now();
    const { refused_full: full } = await hub.stats();
    streams.forEach((stream) => stream.close());
    await watcher.received(2001, 60);
    const tries = (await hub.stats()).refused_full - full;
    /* Of each shard one in ten milliseconds. */
    assert.ok(tries <= 2 * (2 + (performance.now() - before) / 10), `${tries} tries`);
});

test('$stats is what /stats says, again and again', { waits: true, hub: {} }, async ({ hub }) => {
    const watcher = await hub.subscribe('/sse/$stats', local);
    await watcher.when('statistics', () => notices(watcher, 'stats').length > 0);
    await hub.publish('news', 'x');
    await watcher.when('the publish being counted',
        () => notices(watcher, 'stats').at(-1).published > notices(watcher, 'stats')[0].published);
    const told = notices(watcher, 'stats').at(-1);
    assert.deepEqual(Object.keys(told), Object.keys(await hub.stats()));
    assert.equal(told.streams, 1);
    /* Nobody listens: nothing is published, or made. */
    watcher.close();
    await until('its being gone', async () => (await hub.stats()).streams === 0);
    const { published } = await hub.stats();
    const other = await hub.subscribe('/sse/news');
    other.close();
    await until('its being gone', async () => (await hub.stats()).streams === 0);
    assert.equal((await hub.stats()).published, published);
});

test('$stats has the profile, as /debug/fanout says it', { waits: true, hub: {} }, async ({ hub }) => {
    const watcher = await hub.subscribe('/sse/$stats', local);
    const reader = await hub.subscribe('/sse/news');
    await hub.publish('news', 'x');
    await reader.received(1);
    const ofTotal = ({ measures }) => measures.find(({ name }) => name === 'total');
    await watcher.when('the event in the profile', () =>
        notices(watcher, 'profile').some((profile) => ofTotal(profile).count > 0));
    const told = notices(watcher, 'profile').at(-1);
    const asked = (await hub.get('/debug/fanout')).json;
    assert.deepEqual(Object.keys(told), Object.keys(asked));
    assert.deepEqual(Object.keys(told.stages[0]), Object.keys(asked.stages[0]));
});

test('$stats tells who is behind, and in which channel', { waits: true, hub: { args: ['--shards', '2', '--history-bytes', '256MiB'] }, seconds: 120 },
    async ({ hub }) => {
        const watcher = await hub.subscribe('/sse/$stats', { ...local, keepRaw: false });
        const lags = () => notices(watcher, 'lag');
        /* Each shard tells of itself, also when there is nothing to tell. */
        await watcher.when('both shards', () => new Set(lags().map(({ shard }) => shard)).size === 2);
        assert.ok(lags().every(({ channels }) => channels.length === 0));
        const reads = await hub.subscribe('/sse/flood', { keepRaw: false });
        const quiet = await hub.subscribe('/sse/quiet');
        const stands = await hub.subscribe('/sse?channel=quiet&channel=flood');
        stands.wire.socket.pause();
        const data = 'x'.repeat(60000);
        const slow = await until('a channel that is behind', async () => {
            await hub.publish('flood', data);
            /* The one that reads may be behind for a moment too. */
            return lags().slice(-2).flatMap(({ channels }) => channels)
                .find(({ channel, behind }) => channel === 'flood' && behind === 1);
        }, 60);
        const { age_ms: age, bytes, subscribers, ...rest } = slow;
        assert.deepEqual(rest, { channel: 'flood', kind: 'channel', behind: 1, lost: false });
        assert.ok(bytes >= data.length && subscribers >= 1 && age >= 0);
        /* Nothing new is published, and it grows older all the same. */
        await watcher.when('a greater age', () => lags().slice(-2).some(({ age_ms: now, behind }) =>
            now > age + 1500 && behind === 1));
        assert.ok(!lags().some(({ channels }) => channels.some(({ channel }) => channel === 'quiet')));
        await hub.publish('broadcast', 'to all');
        await watcher.when('the broadcast', () => lags().slice(-2).some(({ channels }) =>
            channels.some(({ kind }) => kind === 'broadcast')));
        stands.wire.socket.resume();
        await watcher.when('nobody behind', () => lags().slice(-2).every(({ behind, age_ms: ms, channels }) =>
            behind === 0 && ms === 0 && channels.length === 0), 30);
        assert.ok(reads.events.length > 0 && quiet.events.length > 0);
    });

test('names of the hub: two channels, for those who may', { hub: { env: { AUTH_TOKEN: 'secret' } } },
    async ({ hub }) => {
        const client = hub.client();
        for (const [path, headers, status] of [
            ['/sse/$presence', {}, 401],
            ['/sse/$stats', { Authorization: 'Bearer wrong' }, 401],
            ['/sse?channel=news&channel=$stats', {}, 401],
            ['/sse/$other', { Authorization: 'Bearer secret' }, 403],
            ['/stream/$presence', { Authorization: 'Bearer secret' }, 403],
            ['/sse/news?client=$stats', { Authorization: 'Bearer secret' }, 403],
            ['/sse/$stats', { Authorization: 'Bearer secret', Origin: 'https://evil.example' }, 403],
        ]) {
            const response = await client.request('GET', path, { headers });
            assert.equal(response.status, status, path);
        }
        const publish = await client.request('POST', '/publish/$stats',
            { body: 'x', headers: { Authorization: 'Bearer secret', 'Content-Type': 'text/plain' } });
        assert.equal(publish.status, 403);
        const watcher = await hub.subscribe('/sse?channel=$stats&channel=$presence',
            { headers: { Authorization: 'Bearer secret' } });
        const told = () => new Set(watcher.events.map(({ event }) => event));
        await watcher.when('both channels', () => told().size === 4);
        assert.deepEqual(told(), new Set(['connect', 'stats', 'profile', 'lag']));
    });

test('in protected mode, they are for this machine only', { hub: { listen: ['0.0.0.0:0'] } },
    async ({ hub }) => {
        const outside = Object.values(os.networkInterfaces()).flat()
            .find(({ family, internal }) => family === 'IPv4' && !internal);
        if (outside === undefined) {
            throw new Skip('a machine without a network: everything is local');
        }
        const port = hub.target.port;
        const response = await fetch(`http://${outside.address}:${port}/sse/$stats`);
        assert.equal(response.status, 401);
        assert.match(await response.text(), /protected mode/);
    });
