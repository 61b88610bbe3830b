/* The routes that open a stream, and what a stream looks like before anything is published. */
import assert from 'node:assert/strict';
import { test } from './harness.mjs';
import { until } from './until.mjs';
import { requestText } from './wire.mjs';

/* Everything that the answer to a subscription may carry; only Date and Server are optional here. */
const STREAM_FIELDS = new Set(['content-type', 'cache-control', 'x-accel-buffering',
    'transfer-encoding', 'date', 'server', 'connection', 'access-control-allow-origin', 'vary']);

test('the head of a stream', async ({ hub }) => {
    const { head } = await hub.subscribe('/sse/head');
    assert.equal(head.version, '1.1');
    assert.equal(head.get('content-type'), 'text/event-stream');
    assert.equal(head.get('cache-control'), 'no-cache, no-transform');
    assert.equal(head.get('x-accel-buffering'), 'no');
    assert.equal(head.get('transfer-encoding'), hub.h2 ? undefined : 'chunked');
    const names = head.fields.map(([name]) => name);
    assert.equal(new Set(names).size, names.length, `a field twice: ${names}`);
    assert.deepEqual(names.filter((name) => !STREAM_FIELDS.has(name)), []);
    assert.notEqual(head.get('connection'), 'close');
});

test('a comment comes first, then a jittered retry', async ({ hub }) => {
    const retries = [];
    for (let i = 0; i < 16; i++) {
        const stream = await hub.subscribe('/sse/first');
        assert.ok(stream.raw.startsWith(':'), JSON.stringify(stream.raw));
        assert.ok('comment' in stream.items[0]);
        assert.ok('retry' in stream.items[1]);
        assert.equal(stream.retries.length, 1);
        retries.push(stream.retries[0].retry);
    }
    for (const retry of retries) {
        assert.ok(Number.isInteger(retry) && retry >= 300 && retry <= 9000, `retry ${retry}`);
    }
    assert.ok(new Set(retries).size >= 3, `no jitter: ${retries}`);
});

test('/sse/{channel} brings the events of that channel and of no other', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/one');
    await hub.publish('two', 'not for one');
    const { id } = await hub.publish('one', 'for one');
    const [event] = await stream.received(1);
    assert.equal(event.data, 'for one');
    assert.equal(event.id, id);
    assert.equal(event.event, undefined);
});

for (const query of ['channel=q1&channel=q2', 'canal=q1&canal=q2', 'channel=q1&canal=q2',
    'canal=q2&x=y&channel=q1', 'channel=q1&channel=q2&channel=q1']) {
    test(`/sse?${query}`, async ({ hub }) => {
        const stream = await hub.subscribe(`/sse?${query}`);
        await hub.publish('q1', 'first');
        await hub.publish('q3', 'not asked for');
        await hub.publish('q2', 'second');
        await hub.publish('q1', 'third');
        await stream.received(3);
        assert.deepEqual(stream.data, ['first', 'second', 'third']);
    });
}

test('in a query + is a space, in a path it is itself', async ({ hub }) => {
    const inQuery = await hub.subscribe('/sse?channel=a+b');
    const inPath = await hub.subscribe('/sse/a+b');
    await hub.publish('a b', 'space');
    await hub.publish('a+b', 'plus');
    await inQuery.received(1);
    await inPath.received(1);
    await hub.publish('a b', 'end');
    await hub.publish('a+b', 'end');
    await inQuery.received(2);
    await inPath.received(2);
    assert.deepEqual(inQuery.data, ['space', 'end']);
    assert.deepEqual(inPath.data, ['plus', 'end']);
});

for (const [path, channel] of [['/stream', 'stream'], ['/api/events', 'events'],
    ['/sensor-data-events', 'sensor-data'], ['/v1/feedbacks', 'feedbacks']]) {
    test(`${path} is channel ${channel}`, async ({ hub }) => {
        const stream = await hub.subscribe(path);
        const direct = await hub.subscribe(`/sse/${channel}`);
        await hub.publish(channel, 'through the alias');
        assert.equal((await stream.received(1))[0].data, 'through the alias');
        assert.equal((await direct.received(1))[0].data, 'through the alias');
    });
}

test('aliases can be set', { hub: { args: ['--alias', '/news/live=n'] } }, async ({ hub }) => {
    const stream = await hub.subscribe('/news/live');
    await hub.publish('n', 'x');
    assert.equal((await stream.received(1))[0].data, 'x');
    assert.equal((await hub.get('/api/events')).status, 404);
});

test('/stream/{client} brings what is for that client and for all', async ({ hub }) => {
    const one = await hub.subscribe('/stream/one');
    const two = await hub.subscribe('/stream/two');
    assert.equal((await hub.get('/publish/one/status/private')).status, 200);
    assert.equal((await hub.get('/publish/status/everyone')).status, 200);
    assert.equal((await hub.get('/publish/two/status/last')).status, 200);
    await one.received(2);
    await two.received(2);
    assert.deepEqual(one.data, ['private', 'everyone']);
    assert.deepEqual(two.data, ['everyone', 'last']);
});

test('two connections of one client both get what is for it', async ({ hub }) => {
    const streams = [await hub.subscribe('/stream/twin'), await hub.subscribe('/stream/twin')];
    assert.equal((await hub.get('/publish/twin/status/both')).status, 200);
    for (const stream of streams) {
        assert.equal((await stream.received(1))[0].data, 'both');
    }
});

test('client= names the connection of a channel', async ({ hub }) => {
    await hub.subscribe('/sse/named?client=nam%C3%A9d');
    assert.ok((await hub.get('/clients')).json.includes('naméd'));
});

test('a client that has gone leaves the list', async ({ hub }) => {
    const stream = await hub.subscribe('/stream/leaver');
    assert.ok((await hub.get('/clients')).json.includes('leaver'));
    stream.close();
    await until('the client leaving',
        async () => !(await hub.get('/clients')).json.includes('leaver'));
    assert.equal((await hub.get('/publish/leaver/status/x')).status, 404);
});

for (const [path, channel] of [
    ['/sse/caf%C3%A9%20%E2%98%95', 'café ☕'],
    ['/sse/a%2Fb', 'a/b'],
    ['/sse/%2F', '/'],
    ['/sse/a%3Fb%23c%25d', 'a?b#c%d'],
    ['/sse/a.b', 'a.b'],
    ['/sse/%61bc', 'abc'],
    ['/sse?channel=x%26y%3Dz', 'x&y=z'],
    [`/sse/${'n'.repeat(255)}`, 'n'.repeat(255)],
    [`/sse/${'%F0%9F%8C%8A'.repeat(63)}abc`, `${'🌊'.repeat(63)}abc`],
]) {
    const short = path.length > 40 ? `${path.slice(0, 40)}...` : path;
    test(`the name in ${short}`, async ({ hub }) => {
        const stream = await hub.subscribe(path);
        const answer = await hub.publish(channel, 'found');
        assert.equal(answer.channel, channel);
        assert.equal((await stream.received(1))[0].data, 'found');
    });
}

for (const path of ['/sse/%FF', '/sse/%C0%AF', '/sse/%ED%A0%80', '/sse/a%0Ab', '/sse/a%00', '/sse/%7F',
    '/sse/%C2%85', `/sse/${'n'.repeat(256)}`, '/sse', '/sse?channel=', '/sse?x=y', '/sse?channel=%FF',
    '/sse/ok?history=x', '/sse/ok?history=-1', '/sse/ok?since=yesterday', '/sse/%24hub',
    '/stream/%FF', `/stream/${'n'.repeat(256)}`, '/sse/ok?client=a%0Ab']) {
    test(`refused: ${path.length > 40 ? `${path.slice(0, 40)}...` : path}`, async ({ hub }) => {
        const response = await hub.request('GET', path, {
            headers: { Accept: 'text/event-stream' },
        });
        /* The hub's own names may be hidden or forbidden; everything else is malformed. */
        const expected = path.includes('%24') ? [400, 403, 404] : [400];
        assert.ok(expected.includes(response.status), `status ${response.status}`);
        assert.equal(response.get('content-type'), 'application/problem+json');
        assert.equal(response.json.status, response.status);
        assert.equal(typeof response.json.title, 'string');
    });
}

for (const path of ['/sse/a/b', '/sse/', '/stream/', '/stream/a/b', '/nothing', '/sse%2Fa']) {
    test(`not found: ${path}`, async ({ hub }) => {
        const response = await hub.get(path);
        assert.ok([400, 404].includes(response.status), `status ${response.status}`);
        assert.equal(response.get('content-type'), 'application/problem+json');
    });
}

test('more channels than one connection may have are refused',
    { hub: { args: ['--subscriptions-max', '3'] } }, async ({ hub }) => {
        const query = (count) => Array.from({ length: count }, (_, i) => `channel=c${i}`).join('&');
        await hub.subscribe(`/sse?${query(3)}`);
        const response = await hub.get(`/sse?${query(4)}`);
        assert.equal(response.status, 400);
    });

test('HEAD answers the head and goes on with the connection', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('HEAD', '/sse/head') + requestText('GET', '/health'));
    const head = await wire.response({ method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.get('content-type'), 'text/event-stream');
    assert.equal((await wire.response()).json.status, 'ok');
});

for (const keepAlive of [false, true]) {
    const how = keepAlive ? 'with' : 'without';
    test(`an HTTP/1.0 subscriber ${how} keep-alive gets an unframed stream`, async ({ hub }) => {
        const headers = keepAlive ? { Connection: 'keep-alive' } : {};
        const channel = `old-${how}`;
        const stream = await hub.subscribe(`/sse/${channel}`, { version: '1.0', headers });
        assert.equal(stream.head.get('transfer-encoding'), undefined);
        assert.equal(stream.head.get('content-length'), undefined);
        assert.notEqual(stream.head.get('connection'), 'keep-alive');
        await hub.publish(channel, 'one\ntwo');
        await hub.publish(channel, 'three');
        await stream.received(2);
        assert.deepEqual(stream.data, ['one\ntwo', 'three']);
    });
}

test('a subscription behind other requests of the same connection', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('GET', '/health') + requestText('GET', '/sse/behind'));
    assert.equal((await wire.response()).status, 200);
    let text = '';
    const head = await wire.stream((bytes) => (text += bytes.toString('utf8')));
    assert.equal(head.get('content-type'), 'text/event-stream');
    await wire.when('the retry', () => text.includes('retry:'));
    await hub.publish('behind', 'late');
    await wire.when('the event', () => text.includes('data: late\n') || text.includes('data:late\n'));
});

test('bytes that a subscriber sends after its request do no harm', { hub: { h2: false } },
    async ({ hub }) => {
    const stream = await hub.subscribe('/sse/talker');
    const quiet = await hub.subscribe('/sse/talker');
    stream.wire.send(requestText('GET', '/health').repeat(50));
    await hub.publish('talker', 'still here');
    assert.equal((await quiet.received(1))[0].data, 'still here');
    await stream.when('the event, or the end of the stream',
        () => stream.events.length === 1 || stream.ended);
});

test('a heartbeat comes on an idle stream, and on no other',
    { waits: true, hub: { args: ['--heartbeat-seconds', '1'] } }, async ({ hub }) => {
        const idle = await hub.subscribe('/sse/idle');
        const busy = await hub.subscribe('/sse/busy');
        const beats = idle.comments.length;
        const busyBeats = busy.comments.length;
        let last = Date.now();
        let gapMax = 0;
        for (let i = 1; idle.comments.length < beats + 3; i++) {
            await hub.publish('busy', String(i));
            await busy.received(i);
            gapMax = Math.max(gapMax, Date.now() - last);
            last = Date.now();
        }
        assert.equal(idle.events.length, 0);
        /* On a machine that stalls for half a second the busy stream was idle for twice as long: an event
         * that came early is followed by one that came late. */
        assert.ok(busy.comments.length === busyBeats || gapMax > 500,
            `a heartbeat though no gap was longer than ${gapMax} ms`);
    });
