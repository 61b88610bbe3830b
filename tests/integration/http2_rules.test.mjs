/*
 * The rules of HTTP/2 (RFC 9113), by frames made by hand: what breaks one ends its request or its connection
 * with the error that the rule names, and what is only unknown is passed over.
 */
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { Bare, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, fieldBlock, frame, getBlock, u32 } from './frames.mjs';
import { test } from './harness.mjs';
import { requestText } from './wire.mjs';

const { NGHTTP2_PROTOCOL_ERROR: PROTOCOL_ERROR, NGHTTP2_FLOW_CONTROL_ERROR: FLOW_CONTROL_ERROR,
    NGHTTP2_STREAM_CLOSED: STREAM_CLOSED, NGHTTP2_FRAME_SIZE_ERROR: FRAME_SIZE_ERROR,
    NGHTTP2_COMPRESSION_ERROR: COMPRESSION_ERROR } = http2.constants;

const METHOD = [':method', 'GET'];
const SCHEME = [':scheme', 'https'];
const PATH = [':path', '/livez'];
const AUTHORITY = [':authority', 'hub'];
const GET = [METHOD, SCHEME, PATH, AUTHORITY];
const POST = [[':method', 'POST'], SCHEME, [':path', '/publish/rules'], AUTHORITY, ['content-type', 'text/plain']];

const head = (fields, flags = END_STREAM, stream = 1) =>
    frame(HEADERS, flags | END_HEADERS, stream, fieldBlock(fields));
const data = (text, flags = END_STREAM, stream = 1) => frame(DATA, flags, stream, Buffer.from(text));
const setting = (id, value) => frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), u32(value)]));
const priority = (stream, on) => frame(PRIORITY, 0, stream, Buffer.concat([u32(on), Buffer.from([15])]));

const statusOf = (bare, stream) => {
    /* A status is in the first octet, indexed (RFC 7541, appendix A), or else a literal behind it. */
    const [{ payload }] = bare.of(HEADERS, stream);
    const at = payload[0] >> 5 === 1 ? 1 : 0; /* behind a change of the table's size */
    const known = { 0x88: 200, 0x89: 204, 0x8c: 400, 0x8d: 404 };
    return known[payload[at]] ?? payload;
};

async function nextIsAnswered(bare, what) {
    bare.get(9, '/livez');
    await bare.when(`an answer after ${what}`, () => bare.of(DATA, 9).length > 0 || bare.wire.ended);
    assert.equal(bare.wire.ended, false, `${what} ended the connection`);
    assert.equal(statusOf(bare, 9), 200);
}

/* Ends stream 1 with that error, and nothing else. */
async function assertStreamError(hub, what, frames, error) {
    const bare = await Bare.open(hub);
    bare.send(Buffer.concat([frames].flat()));
    await bare.when(`a reset for ${what}`, () => bare.of(RST_STREAM, 1).length > 0 || bare.wire.ended
                                                 || bare.of(GOAWAY).length > 0);
    assert.equal(bare.of(GOAWAY).length, 0, `${what} is no error of the connection`);
    assert.equal(bare.of(RST_STREAM, 1)[0].payload.readUInt32BE(), error, what);
    await nextIsAnswered(bare, what);
    bare.wire.destroy();
}

async function assertConnectionError(hub, what, frames, error) {
    const bare = await Bare.open(hub);
    bare.send(Buffer.concat([frames].flat()));
    assert.equal(await bare.goaway(), error, what);
    await bare.when(`the end after ${what}`, () => bare.wire.ended);
}

test('malformed requests (8.1.1, 8.2, 8.3)', { hub: {} }, async ({ hub }) => {
    const cases = {
        'no method': [SCHEME, PATH, AUTHORITY],
        'no scheme': [METHOD, PATH, AUTHORITY],
        'no path': [METHOD, SCHEME, AUTHORITY],
        'an empty path': [METHOD, SCHEME, [':path', ''], AUTHORITY],
        'a path without a slash': [METHOD, SCHEME, [':path', 'livez'], AUTHORITY],
        'neither authority nor host': [METHOD, SCHEME, PATH],
        'two methods': [METHOD, ...GET],
        'two schemes': [SCHEME, ...GET],
        'two paths': [PATH, ...GET],
        'two authorities': [AUTHORITY, ...GET],
        'a pseudo-header field that is unknown': [...GET, [':protocol', 'websocket']],
        'a pseudo-header field of answers': [...GET, [':status', '200']],
        'a pseudo-header field behind others': [METHOD, SCHEME, ['accept', '*/*'], PATH, AUTHORITY],
        'a host that is another': [...GET, ['host', 'elsewhere']],
        'an upper-case name': [...GET, ['X-Name', 'x']],
        'an empty name': [...GET, ['', 'x']],
        'a space in a name': [...GET, ['x name', 'x']],
        'a colon in a name': [...GET, ['x:name', 'x']],
        'a line end in a value': [...GET, ['x-name', 'a\r\nb']],
        'NUL in a value': [...GET, ['x-name', 'a\0b']],
        'a space before a value': [...GET, ['x-name', ' a']],
        'a space behind a value': [...GET, ['x-name', 'a ']],
        'connection': [...GET, ['connection', 'close']],
        'keep-alive': [...GET, ['keep-alive', 'x']],
        'proxy-connection': [...GET, ['proxy-connection', 'keep-alive']],
        'transfer-encoding': [...GET, ['transfer-encoding', 'chunked']],
        'upgrade': [...GET, ['upgrade', 'h2c']],
        'te that is not trailers': [...GET, ['te', 'gzip']],
        'a length without a body': [...POST, ['content-length', '5']],
        'a length that is no number': [...POST, ['content-length', 'five']],
        'two lengths': [...POST, ['content-length', '0'], ['content-length', '1']],
        'CONNECT with a path': [[':method', 'CONNECT'], PATH, AUTHORITY],
        'CONNECT with a scheme': [[':method', 'CONNECT'], SCHEME, AUTHORITY],
    };
    for (const [what, fields] of Object.entries(cases)) {
        await assertStreamError(hub, what, head(fields), PROTOCOL_ERROR);
    }
});

test('bodies and trailers (8.1)', { hub: {} }, async ({ hub, defer }) => {
    const listener = await hub.subscribe('/sse/rules');
    const length = (text) => [...POST, ['content-length', text]];
    await assertStreamError(hub, 'a body longer than its length', [head(length('3'), 0), data('four')], PROTOCOL_ERROR);
    await assertStreamError(hub, 'a body shorter than its length', [head(length('5'), 0), data('four')], PROTOCOL_ERROR);
    await assertStreamError(hub, 'a trailer that does not end the request',
        [head(POST, 0), data('x', 0), head([['x-trailer', 'x']], 0)], PROTOCOL_ERROR);
    await assertStreamError(hub, 'a pseudo-header field in a trailer',
        [head(POST, 0), data('x', 0), head([METHOD])], PROTOCOL_ERROR);
    const bare = await Bare.open(hub);
    defer(async () => bare.wire.destroy());
    bare.send(Buffer.concat([head([...length('4'), ['te', 'trailers'], ['host', 'HUB']], 0), data('four', 0),
        head([['x-trailer', 'x']])]));
    await bare.when('the answer', () => bare.of(DATA, 1).length > 0);
    assert.equal(statusOf(bare, 1), 200);
    await listener.received(1);
    assert.deepEqual(listener.data, ['four']);
});

test('errors of one stream (5.1, 6)', { hub: {} }, async ({ hub }) => {
    const stream = head([METHOD, SCHEME, [':path', '/sse/rules'], AUTHORITY]);
    const cases = [
        ['a window that is too large', [stream, frame(WINDOW_UPDATE, 0, 1, u32(0x7fffffff))], FLOW_CONTROL_ERROR],
        ['a stream that depends on itself', [stream, priority(1, 1)], PROTOCOL_ERROR],
    ];
    for (const [what, frames, error] of cases) {
        await assertStreamError(hub, what, frames, error);
    }
});

test('errors of the connection (3.4, 4, 5.1, 6)', { hub: {} }, async ({ hub }) => {
    const block = getBlock('/livez');
    const stream = head([METHOD, SCHEME, [':path', '/sse/rules'], AUTHORITY]);
    const cases = [
        ['DATA on an idle stream', data('x'), PROTOCOL_ERROR],
        ['RST_STREAM on an idle stream', frame(RST_STREAM, 0, 1, u32(8)), PROTOCOL_ERROR],
        ['WINDOW_UPDATE on an idle stream', frame(WINDOW_UPDATE, 0, 1, u32(1)), PROTOCOL_ERROR],
        ['CONTINUATION without HEADERS', frame(CONTINUATION, END_HEADERS, 1, block), PROTOCOL_ERROR],
        ['PING amid a head', [frame(HEADERS, END_STREAM, 1, block), frame(PING, 0, 0, Buffer.alloc(8))], PROTOCOL_ERROR],
        ['CONTINUATION of another stream', [frame(HEADERS, END_STREAM, 1, block),
            frame(CONTINUATION, END_HEADERS, 3, Buffer.alloc(0))], PROTOCOL_ERROR],
        ['a frame that is unknown amid a head', [frame(HEADERS, END_STREAM, 1, block), frame(0x20, 0, 1)],
            PROTOCOL_ERROR],
        ['a head on stream 0', frame(HEADERS, END_STREAM | END_HEADERS, 0, block), PROTOCOL_ERROR],
        ['an even stream', frame(HEADERS, END_STREAM | END_HEADERS, 2, block), PROTOCOL_ERROR],
        ['a stream below another', [head(GET, END_STREAM, 5), head(GET, END_STREAM, 3)], STREAM_CLOSED],
        ['DATA behind the end', [stream, data('late')], STREAM_CLOSED],
        ['HEADERS behind the end', [stream, head([['x-trailer', 'x']])], STREAM_CLOSED],
        ['padding as long as its frame', frame(DATA, PADDED, 1, Buffer.from([5, 0, 0, 0, 0])), PROTOCOL_ERROR],
        ['padding longer than its head', frame(HEADERS, PADDED | END_HEADERS, 1, Buffer.from([9, 0x82])), PROTOCOL_ERROR],
        ['a head that is no HPACK', frame(HEADERS, END_STREAM | END_HEADERS, 1, Buffer.from([0x80])), COMPRESSION_ERROR],
        ['a frame that is too large', data('x'.repeat(16385)), FRAME_SIZE_ERROR],
        ['PING of seven bytes', frame(PING, 0, 0, Buffer.alloc(7)), FRAME_SIZE_ERROR],
        ['PING on a stream', frame(PING, 0, 1, Buffer.alloc(8)), PROTOCOL_ERROR],
        ['RST_STREAM of three bytes', [head(GET), frame(RST_STREAM, 0, 1, Buffer.alloc(3))], FRAME_SIZE_ERROR],
        ['RST_STREAM on stream 0', frame(RST_STREAM, 0, 0, u32(8)), PROTOCOL_ERROR],
        ['PRIORITY on stream 0', priority(0, 1), PROTOCOL_ERROR],
        ['an idle stream that depends on itself', priority(3, 3), PROTOCOL_ERROR],
        ['SETTINGS on a stream', frame(SETTINGS, 0, 1), PROTOCOL_ERROR],
        ['SETTINGS of five bytes', frame(SETTINGS, 0, 0, Buffer.alloc(5)), FRAME_SIZE_ERROR],
        ['an acknowledgement with settings', frame(SETTINGS, 1, 0, Buffer.alloc(6)), FRAME_SIZE_ERROR],
        ['SETTINGS_ENABLE_PUSH 2', setting(2, 2), PROTOCOL_ERROR],
        ['SETTINGS_INITIAL_WINDOW_SIZE 2^31', setting(4, 0x80000000), FLOW_CONTROL_ERROR],
        ['SETTINGS_MAX_FRAME_SIZE 16383', setting(5, 16383), PROTOCOL_ERROR],
        ['SETTINGS_MAX_FRAME_SIZE 2^24', setting(5, 1 << 24), PROTOCOL_ERROR],
        ['an empty WINDOW_UPDATE', frame(WINDOW_UPDATE, 0, 0, u32(0)), PROTOCOL_ERROR],
        ['the same on a stream', [stream, frame(WINDOW_UPDATE, 0, 1, u32(0))], PROTOCOL_ERROR],
        ['WINDOW_UPDATE of three bytes', frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3)), FRAME_SIZE_ERROR],
        ['a window that is too large', frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff)), FLOW_CONTROL_ERROR],
        ['PUSH_PROMISE', frame(PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([u32(2), block])), PROTOCOL_ERROR],
        ['GOAWAY on a stream', frame(GOAWAY, 0, 1, Buffer.alloc(8)), PROTOCOL_ERROR],
        ['GOAWAY of seven bytes', frame(GOAWAY, 0, 0, Buffer.alloc(7)), FRAME_SIZE_ERROR],
    ];
    for (const [what, frames, error] of cases) {
        await assertConnectionError(hub, what, frames, error);
    }
    const bare = await Bare.open(hub, { first: frame(PING, 0, 0, Buffer.alloc(8)) });
    assert.equal(await bare.goaway(), PROTOCOL_ERROR);
});

test('what is unknown or merely odd is passed over (4.1, 5.5, 6)', { hub: {} }, async ({ hub }) => {
    const stream = head([METHOD, SCHEME, [':path', '/sse/rules'], AUTHORITY]);
    const cases = [
        ['a frame of a type that is unknown', frame(0x20, 0xff, 0, Buffer.from('anything'))],
        ['the same on an idle stream', frame(0x20, 0xff, 7, Buffer.from('anything'))],
        ['a setting that is unknown', setting(0x99, 7)],
        ['flags that have no meaning', frame(PING, 0xf0, 0, Buffer.alloc(8))],
        ['an acknowledgement of no PING', frame(PING, 1, 0, Buffer.alloc(8))],
        ['PRIORITY of an idle stream', priority(5, 3)],
        ['WINDOW_UPDATE behind the end', [stream, frame(WINDOW_UPDATE, 0, 1, u32(100))]],
        ['PRIORITY behind the end', [stream, priority(1, 3)]],
        ['a head with padding', frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1,
            Buffer.concat([Buffer.from([4]), getBlock('/livez'), Buffer.alloc(4)]))],
        ['a head with a priority', frame(HEADERS, END_STREAM | END_HEADERS | 0x20, 1,
            Buffer.concat([u32(0), Buffer.from([200]), getBlock('/livez')]))],
        ['a head in three pieces', [frame(HEADERS, END_STREAM, 1, getBlock('/livez').subarray(0, 5)),
            frame(CONTINUATION, 0, 1), frame(CONTINUATION, END_HEADERS, 1, getBlock('/livez').subarray(5))]],
        ['cookies apart', head([...GET, ['cookie', 'a=1'], ['cookie', 'b=2']])],
        ['a stream that is left', [stream, frame(RST_STREAM, 0, 1, u32(8)), frame(RST_STREAM, 0, 1, u32(8)),
            frame(WINDOW_UPDATE, 0, 1, u32(1))]],
    ];
    for (const [what, frames] of cases) {
        const bare = await Bare.open(hub);
        bare.send(Buffer.concat([frames].flat()));
        await nextIsAnswered(bare, what);
        assert.equal(bare.of(GOAWAY).length, 0, what);
        bare.wire.destroy();
    }
});

test('CONNECT is for proxies', { hub: {} }, async ({ hub }) => {
    const bare = await Bare.open(hub);
    bare.send(head([[':method', 'CONNECT'], AUTHORITY]));
    await bare.when('the answer', () => bare.of(HEADERS, 1).length === 1);
    assert.match(bare.dataOf(1).toString(), /"status":501/);
    await nextIsAnswered(bare, 'CONNECT');
    bare.wire.destroy();
});

test('an offer to upgrade to h2c is passed over (3.1)', { hub: { tls: false } }, async ({ hub }) => {
    const wire = await hub.connect();
    for (const path of ['/livez', '/health']) {
        wire.send(requestText('GET', path, { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c',
            'HTTP2-Settings': 'AAMAAABkAARAAAAAAAIAAAAA' }));
        const response = await wire.response();
        assert.equal(response.status, 200);
        assert.equal(response.get('upgrade'), undefined);
    }
    wire.destroy();
});
