/* HTTP/1.x as it comes over a wire: in pieces, in heaps, half-finished and malicious. */
import assert from 'node:assert/strict';
import { test } from './harness.mjs';
import { until } from './until.mjs';
import { requestText } from './wire.mjs';

const TEXT = { 'Content-Type': 'text/plain' };

function publishText(channel, body, fields = {}) {
    return requestText('POST', `/publish/${channel}`,
        { ...TEXT, 'Content-Length': Buffer.byteLength(body), ...fields }) + body;
}

const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;

test('many requests in one packet are answered in order', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/pipeline');
    const wire = await hub.connect();
    let requests = '';
    for (let i = 0; i < 200; i++) {
        requests += publishText('pipeline', `message ${i}`)
                    + requestText('GET', i % 2 === 0 ? '/health' : '/nowhere');
    }
    wire.send(requests);
    for (let i = 0; i < 200; i++) {
        const published = await wire.response();
        assert.equal(published.status, 200);
        assert.equal(published.json.channel, 'pipeline');
        assert.equal((await wire.response()).status, i % 2 === 0 ? 200 : 404);
    }
    await stream.received(200);
    assert.deepEqual(stream.data, Array.from({ length: 200 }, (_, i) => `message ${i}`));
});

test('a client that sends much and reads late gets every answer', async ({ hub }) => {
    const wire = await hub.connect();
    const count = 5000;
    wire.socket.pause();
    await Promise.race([
        wire.sendAll(requestText('GET', '/stats').repeat(count)),
        until('the hub answering another', async () => (await hub.get('/health')).status === 200),
    ]);
    wire.socket.resume();
    for (let i = 0; i < count; i++) {
        assert.equal((await wire.response()).status, 200);
    }
});

test('a request byte by byte', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/bytes');
    const wire = await hub.connect();
    for (const request of [publishText('bytes', 'one at a time'),
        requestText('POST', '/publish/bytes', { ...TEXT, 'Transfer-Encoding': 'chunked' })
            + `${chunk('chunk ') + chunk('by chunk')}0\r\n\r\n`]) {
        for (const byte of Buffer.from(request)) {
            await wire.sendAll(Buffer.from([byte]));
        }
        assert.equal((await wire.response()).status, 200);
    }
    await stream.received(2);
    assert.deepEqual(stream.data, ['one at a time', 'chunk by chunk']);
});

test('a request cut at every place', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/cuts');
    const request = requestText('POST', '/publish/cuts', { ...TEXT, 'Transfer-Encoding': 'chunked' })
                    + `${chunk('ab')}0\r\nX-Trailer: y\r\n\r\n`;
    const wire = await hub.connect();
    for (let at = 1; at < request.length; at++) {
        await wire.sendAll(request.slice(0, at));
        await wire.sendAll(request.slice(at));
        assert.equal((await wire.response()).status, 200, `cut at ${at}`);
    }
    await stream.received(request.length - 1);
    assert.ok(stream.data.every((data) => data === 'ab'));
});

test('a chunked body with extensions and trailers', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/chunked');
    const wire = await hub.connect();
    wire.send(requestText('POST', '/publish/chunked', { ...TEXT, 'Transfer-Encoding': 'chunked' })
              + '5;name=value\r\nhello\r\n6;q="a;b"\r\n world\r\n00\r\nTrailer: x\r\nOther: y\r\n\r\n'
              + requestText('GET', '/health'));
    assert.equal((await wire.response()).status, 200);
    assert.equal((await wire.response()).json.status, 'ok');
    await stream.received(1);
    assert.equal(stream.data[0], 'hello world');
});

test('Expect: 100-continue is answered before the body', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('POST', '/publish/expect',
        { ...TEXT, 'Content-Length': 5, Expect: '100-continue' }));
    const interim = await wire.response();
    assert.equal(interim.status, 100);
    wire.send('hello');
    assert.equal((await wire.response()).status, 200);
});

test('Expect with a body that will be refused is refused at once',
    { hub: { args: ['--body-bytes-max', '100'] } }, async ({ hub }) => {
        const wire = await hub.connect();
        wire.send(requestText('POST', '/publish/expect',
            { ...TEXT, 'Content-Length': 101, Expect: '100-continue' }));
        assert.equal((await wire.response()).status, 413);
    });

test('an HTTP/1.0 request ends its connection', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('GET', '/health', {}, { version: '1.0', host: null }));
    const response = await wire.response();
    assert.equal(response.status, 200);
    assert.equal(response.get('transfer-encoding'), undefined);
    assert.equal((await wire.end()).length, 0);
});

test('HTTP/1.0 with keep-alive goes on', async ({ hub }) => {
    const wire = await hub.connect();
    for (let i = 0; i < 3; i++) {
        wire.send(requestText('GET', '/health', { Connection: 'Keep-Alive' }, { version: '1.0' }));
        const response = await wire.response();
        assert.equal(response.status, 200);
        assert.match(response.get('connection') ?? '', /^keep-alive$/i);
    }
});

test('lists to an HTTP/1.0 client are not chunked', async ({ hub }) => {
    await hub.subscribe('/stream/http10');
    const wire = await hub.connect();
    wire.send(requestText('GET', '/clients', {}, { version: '1.0' }));
    const response = await wire.response();
    assert.equal(response.get('transfer-encoding'), undefined);
    assert.ok(response.json.includes('http10'));
});

test('Connection: close is honoured, and told', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('GET', '/health', { Connection: 'close' }) + requestText('GET', '/health'));
    const response = await wire.response();
    assert.equal(response.status, 200);
    assert.equal(response.get('connection'), 'close');
    assert.equal((await wire.end()).length, 0);
});

test('a client that finishes sending still gets its answers', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('GET', '/health').repeat(3));
    wire.finish();
    for (let i = 0; i < 3; i++) {
        assert.equal((await wire.response()).status, 200);
    }
    await wire.end();
});

test('targets in absolute form', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('GET', 'http://anything.example/health')
              + requestText('GET', 'http://anything.example:81/stats?x=1')
              + requestText('OPTIONS', '*'));
    assert.equal((await wire.response()).json.status, 'ok');
    assert.equal(typeof (await wire.response()).json.published, 'number');
    assert.ok([200, 204].includes((await wire.response()).status));
});

test('HEAD has the fields of GET and no body', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('GET', '/health') + requestText('HEAD', '/health')
              + requestText('GET', '/health'));
    const get = await wire.response();
    const head = await wire.response({ method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.get('content-type'), get.get('content-type'));
    assert.equal((await wire.response()).status, 200);
});

test('empty lines between requests are skipped', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(`\r\n${requestText('GET', '/health')}\r\n${requestText('GET', '/health')}`);
    assert.equal((await wire.response()).status, 200);
    assert.equal((await wire.response()).status, 200);
});

/*
 * Requests that two programs might read in two ways. Each is followed by another request, which must
 * never be answered: neither as a second request nor as what was smuggled.
 */
const raw = (...lines) => `${lines.join('\r\n')}\r\n\r\n`;
const POST = 'POST /publish/smuggled HTTP/1.1';
const SMUGGLING = {
    'Content-Length and Transfer-Encoding': raw(POST, 'Host: h', 'Content-Length: 5',
        'Transfer-Encoding: chunked') + '0\r\n\r\n',
    'Transfer-Encoding and Content-Length': raw(POST, 'Host: h', 'Transfer-Encoding: chunked',
        'Content-Length: 5') + '0\r\n\r\n',
    'two different lengths': raw(POST, 'Host: h', 'Content-Length: 5', 'Content-Length: 6') + 'hello',
    'the same length twice': raw(POST, 'Host: h', 'Content-Length: 5', 'Content-Length: 5') + 'hello',
    'a list of lengths': raw(POST, 'Host: h', 'Content-Length: 5, 5') + 'hello',
    'a signed length': raw(POST, 'Host: h', 'Content-Length: +5') + 'hello',
    'a negative length': raw(POST, 'Host: h', 'Content-Length: -1'),
    'a length in hex': raw(POST, 'Host: h', 'Content-Length: 0x5') + 'hello',
    'an empty length': raw(POST, 'Host: h', 'Content-Length: '),
    'a length beyond 64 bits': raw(POST, 'Host: h', 'Content-Length: 18446744073709551621') + 'hello',
    'a space before the colon': raw(POST, 'Host: h', 'Content-Length : 5') + 'hello',
    'a tab before the colon': raw(POST, 'Host: h', 'Transfer-Encoding\t: chunked') + '0\r\n\r\n',
    'chunked twice': raw(POST, 'Host: h', 'Transfer-Encoding: chunked, chunked') + '0\r\n\r\n',
    'chunked in two fields': raw(POST, 'Host: h', 'Transfer-Encoding: chunked',
        'Transfer-Encoding: chunked') + '0\r\n\r\n',
    'an unknown coding': raw(POST, 'Host: h', 'Transfer-Encoding: xchunked') + '0\r\n\r\n',
    'chunked not last': raw(POST, 'Host: h', 'Transfer-Encoding: chunked, gzip') + '0\r\n\r\n',
    'identity': raw(POST, 'Host: h', 'Transfer-Encoding: identity', 'Content-Length: 5') + 'hello',
    'a vertical tab in the coding': raw(POST, 'Host: h', 'Transfer-Encoding: \vchunked') + '0\r\n\r\n',
    'chunked in HTTP/1.0': raw('POST /publish/smuggled HTTP/1.0', 'Host: h',
        'Transfer-Encoding: chunked') + '0\r\n\r\n',
    'a folded field': raw(POST, 'Host: h', 'X: a', ' b'),
    'a folded first field': raw(POST, ' X: a', 'Host: h'),
    'a bare line feed': 'GET /health HTTP/1.1\nHost: h\n\n',
    'one bare line feed among the fields': 'GET /health HTTP/1.1\r\nHost: h\nX: y\r\n\r\n',
    'a bare carriage return in a value': raw('GET /health HTTP/1.1', 'Host: h', 'X: a\rY: b'),
    'NUL in a value': raw('GET /health HTTP/1.1', 'Host: h', 'X: a\0b'),
    'NUL in a name': raw('GET /health HTTP/1.1', 'Host: h', 'X\0: a'),
    'an empty name': raw('GET /health HTTP/1.1', 'Host: h', ': a'),
    'a line without a colon': raw('GET /health HTTP/1.1', 'Host: h', 'nothing'),
    'no Host': raw('GET /health HTTP/1.1', 'X: y'),
    'two Hosts': raw('GET /health HTTP/1.1', 'Host: a', 'Host: b'),
    'a Host with a path': raw('GET /health HTTP/1.1', 'Host: a/b'),
    'a Host with a user': raw('GET /health HTTP/1.1', 'Host: u@h'),
    'two spaces in the request line': raw('GET  /health HTTP/1.1', 'Host: h'),
    'a space in the target': raw('GET /hea lth HTTP/1.1', 'Host: h'),
    'a space before the method': raw(' GET /health HTTP/1.1', 'Host: h'),
    'a version in lower case': raw('GET /health http/1.1', 'Host: h'),
    'a version with more digits': raw('GET /health HTTP/1.10', 'Host: h'),
    'version 2.0': raw('GET /health HTTP/2.0', 'Host: h'),
    'no version': raw('GET /health', 'Host: h'),
    'a fragment in the target': raw('GET /health#x HTTP/1.1', 'Host: h'),
    'a broken escape': raw('GET /sse/%zz HTTP/1.1', 'Host: h'),
    'a byte beyond ASCII in the target': raw('GET /sse/\xe9 HTTP/1.1', 'Host: h'),
    'CONNECT': raw('CONNECT h:80 HTTP/1.1', 'Host: h:80'),
    'a chunk size in 0x': raw(POST, 'Host: h', 'Transfer-Encoding: chunked') + '0x5\r\nhello\r\n0\r\n\r\n',
    'a negative chunk size': raw(POST, 'Host: h', 'Transfer-Encoding: chunked') + '-5\r\nhello\r\n0\r\n\r\n',
    'a chunk size beyond 64 bits': raw(POST, 'Host: h', 'Transfer-Encoding: chunked')
        + '10000000000000005\r\nhello\r\n0\r\n\r\n',
    'an empty chunk size': raw(POST, 'Host: h', 'Transfer-Encoding: chunked') + '\r\nhello\r\n0\r\n\r\n',
    'a chunk longer than its size': raw(POST, 'Host: h', 'Transfer-Encoding: chunked')
        + '3\r\nhello\r\n0\r\n\r\n',
    'a chunk size ended by a bare line feed': raw(POST, 'Host: h', 'Transfer-Encoding: chunked')
        + '5\nhello\r\n0\r\n\r\n',
};

for (const [name, request] of Object.entries(SMUGGLING)) {
    test(`refused, then closed: ${name}`, async ({ hub }) => {
        const wire = await hub.connect();
        wire.send(Buffer.from(request + requestText('GET', '/stats'), 'latin1'));
        const response = await wire.response();
        assert.ok([400, 501, 505].includes(response.status), `status ${response.status}`);
        assert.equal(response.get('connection'), 'close');
        assert.equal((await wire.end()).length, 0, 'an answer to what came behind');
    });
}

test('nothing of all that was published', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/smuggled?history=100');
    await hub.publish('smuggled', 'marker');
    await stream.received(1);
    assert.deepEqual(stream.data, ['marker']);
});

test('an unknown expectation is 417', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('GET', '/health', { Expect: 'miracles' }));
    assert.equal((await wire.response()).status, 417);
});

test('a head beyond the limit is 431', async ({ hub }) => {
    for (const request of [requestText('GET', '/health', { X: 'x'.repeat(17 * 1024) }),
        requestText('GET', '/health', Array.from({ length: 101 }, (_, i) => [`X-${i}`, 'y']))]) {
        const wire = await hub.connect();
        wire.send(request);
        assert.equal((await wire.response()).status, 431);
        await wire.end();
    }
});

test('a target beyond the limit is 414 or 431', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send(requestText('GET', `/${'x'.repeat(17 * 1024)}`));
    assert.ok([414, 431].includes((await wire.response()).status));
    await wire.end();
});

for (const [name, request] of [
    ['declared', requestText('POST', '/publish/big', { ...TEXT, 'Content-Length': 2 << 20 })],
    ['chunked', requestText('POST', '/publish/big', { ...TEXT, 'Transfer-Encoding': 'chunked' })
        + `200000\r\n${'x'.repeat(0x100001)}`],
    ['chunked in many chunks', requestText('POST', '/publish/big',
        { ...TEXT, 'Transfer-Encoding': 'chunked' }) + chunk('x'.repeat(1024)).repeat(1025)]]) {
    test(`a body beyond the limit, ${name}, is 413 before its end`, async ({ hub }) => {
        const wire = await hub.connect();
        wire.send(request);
        assert.equal((await wire.response()).status, 413);
        await wire.end();
    });
}

/* 408, or a plain close: both end it. */
async function assertCutOff(wire) {
    const rest = (await wire.end(20)).toString('latin1');
    assert.match(rest, /^$|^HTTP\/1\.1 408 /);
}

test('a head that takes too long is cut off', { waits: true, hub: { args: ['--header-seconds', '1'] } },
    async ({ hub }) => {
        const silent = await hub.connect();
        const slow = await hub.connect();
        const dripping = await hub.connect();
        slow.send('GET /health HTTP/1.1\r\nHost: h\r\n');
        dripping.send('GET /health HTTP/1.1\r\n');
        const drip = setInterval(() => dripping.ended || dripping.send('X: y\r\n'), 100);
        try {
            await assertCutOff(slow);
            await assertCutOff(dripping);
            await assertCutOff(silent);
        } finally {
            clearInterval(drip);
        }
    });

test('a body that takes too long is cut off', { waits: true, hub: { args: ['--body-seconds', '1'] } },
    async ({ hub }) => {
        const wire = await hub.connect();
        wire.send(requestText('POST', '/publish/slow', { ...TEXT, 'Content-Length': 1000 }));
        const drip = setInterval(() => wire.ended || wire.send('x'), 100);
        try {
            await assertCutOff(wire);
        } finally {
            clearInterval(drip);
        }
    });

test('an idle kept-alive connection is closed, a stream is not',
    { waits: true, hub: { args: ['--keepalive-seconds', '1', '--header-seconds', '1', '--body-seconds', '1'] } },
    async ({ hub }) => {
        const stream = await hub.subscribe('/sse/patient');
        const wire = await hub.connect();
        wire.send(requestText('GET', '/health'));
        assert.equal((await wire.response()).status, 200);
        assert.equal((await wire.end(20)).length, 0, 'closed without a word');
        assert.ok(!stream.ended);
        await hub.publish('patient', 'still open');
        assert.equal((await stream.received(1))[0].data, 'still open');
    });

test('connections come and go by the hundred', async ({ hub }) => {
    for (let round = 0; round < 10; round++) {
        const wires = await Promise.all(Array.from({ length: 100 }, () => hub.connect()));
        for (const [i, wire] of wires.entries()) {
            /* Some leave without a word, some in the middle of one, some wait for the answer. */
            if (i % 3 !== 0) {
                wire.send(requestText('GET', '/health').slice(0, i % 3 === 1 ? undefined : 20));
            }
        }
        await Promise.all(wires.filter((_, i) => i % 3 === 1).map((wire) => wire.response()));
        wires.forEach((wire) => (round % 2 === 0 ? wire.destroy() : wire.reset()));
    }
    assert.equal((await hub.get('/health')).status, 200);
});

test(`a publisher that leaves in the middle of a body publishes nothing`, async ({ hub }) => {
    const stream = await hub.subscribe('/sse/half');
    const wire = await hub.connect();
    await wire.sendAll(requestText('POST', '/publish/half', { ...TEXT, 'Content-Length': 10 })
                       + 'half');
    wire.finish();
    await wire.end();
    const reset = await hub.connect();
    await reset.sendAll(requestText('POST', '/publish/half', { ...TEXT, 'Transfer-Encoding': 'chunked' })
                        + chunk('half'));
    reset.reset();
    
    await hub.publish('half', 'whole');
    await stream.received(1);
    assert.deepEqual(stream.data, ['whole']);
});

/* The time for a head begins anew with each request, also if all of them came in the first packet. */
test('a client that reads its many answers slowly is not cut off',
    { waits: true, hub: { args: ['--header-seconds', '1', '--user-timeout-seconds', '60'] } }, async ({ hub }) => {
        const wire = await hub.connect();
        const count = 4000;
        const begun = performance.now();
        let last = begun;
        let gapMax = 0;
        wire.send(requestText('GET', '/metrics').repeat(count));
        for (let i = 0; i < count && !wire.ended; i++) {
            if (i % 100 === 0 && performance.now() < begun + 1600) {
                /* It stops reading for a moment, which is much less than a second. */
                wire.socket.pause();
                const paused = performance.now();
                await until('a moment having passed', () => performance.now() > paused + 100);
                wire.socket.resume();
            }
            await wire.response().catch((error) => wire.ended || assert.fail(error));
            gapMax = Math.max(gapMax, performance.now() - last);
            last = performance.now();
        }
        /* On a machine that stalls it did pause for longer, and what lies in the kernel for longer still. */
        assert.ok(!wire.ended || gapMax > 250, `it was cut off, and never paused for more than ${gapMax} ms`);
    });

/* More answers than one client is owed at a time: the rest of its requests wait, none is lost. */
test('a flood of pipelined requests is answered in full and in order', async ({ hub }) => {
    const wire = await hub.connect();
    const count = 1500;
    const one = requestText('GET', '/stats');
    wire.send(one.repeat(count));
    for (let i = 0; i < count; i++) {
        assert.equal((await wire.response()).status, 200);
    }
    wire.send(requestText('GET', '/health'));
    assert.equal((await wire.response()).json.status, 'ok');
});

test('a client that finishes sending behind a list gets every answer', async ({ hub }) => {
    for (let i = 0; i < 20; i++) {
        const wire = await hub.connect();
        await wire.sendAll(requestText('GET', '/channels') + publishText('finished', `${i}`)
                           + requestText('GET', '/clients') + requestText('GET', '/health'));
        wire.finish();
        assert.ok(Array.isArray((await wire.response()).json));
        assert.equal((await wire.response()).json.channel, 'finished');
        assert.ok(Array.isArray((await wire.response()).json));
        assert.equal((await wire.response()).json.status, 'ok');
        await wire.end();
    }
});
