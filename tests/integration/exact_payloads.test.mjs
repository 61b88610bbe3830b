/*
 * What was published is what a conforming client rebuilds. The only licence is the one of the standard
 * (WHATWG HTML, 9.2.6): the three kinds of line end become one.
 */
import assert from 'node:assert/strict';
import { EventSource } from 'eventsource';
import { test } from './harness.mjs';
import { Random, seed } from './random.mjs';
import { until } from './until.mjs';

const normalised = (text) => text.replace(/\r\n|\r/g, '\n');

/* Publishes all as text, and compares what the strict reader and npm's EventSource make of it. */
async function assertExact({ hub, defer }, channel, payloads) {
    const stream = await hub.subscribe(`/sse/${channel}`, { keepRaw: false });
    const source = new EventSource(`${hub.url}/sse/${channel}`);
    const messages = [];
    defer(() => source.close());
    source.onmessage = (event) => messages.push(event.data);
    await until('npm eventsource being open', () => source.readyState === EventSource.OPEN);
    for (const payload of payloads) {
        await hub.publish(channel, payload);
    }
    await stream.received(payloads.length);
    await until('all events at npm eventsource', () => messages.length >= payloads.length);
    for (const [i, payload] of payloads.entries()) {
        const shown = JSON.stringify(payload.length > 200 ? `${payload.slice(0, 200)}...` : payload);
        assert.ok(stream.data[i] === normalised(payload), `${shown} came as ${
            JSON.stringify(stream.data[i].slice(0, 200))}`);
        assert.ok(messages[i] === normalised(payload), `${shown} came to npm eventsource as ${
            JSON.stringify(messages[i].slice(0, 200))}`);
    }
    assert.equal(stream.events.length, payloads.length);
    assert.equal(messages.length, payloads.length);
}

const SHAPES = {
    'line ends': ['a\nb', 'a\rb', 'a\r\nb', 'a\n\rb', 'a\r\r\nb', 'a\n\nb', 'a\r\n\r\nb'],
    'trailing line ends': ['a\n', 'a\r', 'a\r\n', 'a\n\n', 'a\n\n\n', 'a\r\n\r\n'],
    'leading line ends': ['\na', '\ra', '\r\na', '\n\n\na'],
    'nothing but line ends': ['\n', '\r', '\r\n', '\n\n', '\r\r', '\n\r'],
    'the empty payload': ['', 'x', ''],
    spaces: [' a', '  a', 'a ', ' ', '  ', '\ta', ' \n \n ', '\u00a0a', '\u2003a'],
    colons: [':', ':a', 'a:', ': a', 'a:b', '::', '\n:\n', ':\n:'],
    'field names': ['data: x', 'data', 'id: 7', 'a\nid: 7\nb', 'event: e\n\ndata: x', 'retry: 1',
        'x\nretry: 1\n', '\n\nid: evil\n\n', ': heartbeat'],
    NUL: ['\0', 'a\0b', '\0\n\0'],
    'byte order marks': ['\ufeff', '\ufeffa', 'a\ufeff', 'a\n\ufeffb', '\ufeff\ufeff'],
    'other line separators that are none here': ['a\u2028b', 'a\u2029b', 'a\u0085b', 'a\vb', 'a\fb'],
    'the far ends of Unicode': ['é', '€', '🌊', '\u{10ffff}', '\uffff', '\u{1f468}\u200d\u{1f469}'],
    'chunk look-alikes': ['0\r\n\r\n', '5\r\nhello\r\n', 'ffff\r\n'],
    'control characters': ['\u0001', '\u001b[31m', '\u007f', '\b'],
};

for (const [name, payloads] of Object.entries(SHAPES)) {
    test(name, (context) => assertExact(context, `shape-${name.length}-${name[0]}`, payloads));
}

test('long lines of every length around powers of two', (context) => {
    const lengths = [];
    for (let power = 16; power <= 65536; power *= 2) {
        lengths.push(power - 7, power - 1, power, power + 1);
    }
    return assertExact(context, 'lengths', lengths.map((length) => 'x'.repeat(length)));
});

test('1 MiB in one line', ({ hub, defer }) =>
    assertExact({ hub, defer }, 'mib', ['y'.repeat(1 << 20), 'after']));

test('1 MiB in many lines', ({ hub, defer }) =>
    assertExact({ hub, defer }, 'mib-lines', [`${'z'.repeat(63)}\n`.repeat(1 << 14), 'after']));

test('64 KiB of nothing but line ends', ({ hub, defer }) =>
    assertExact({ hub, defer }, 'ends', ['\n'.repeat(1 << 16), '\r'.repeat(1 << 16), 'after']));

test(`random payloads (SPATE_TEST_SEED=${seed})`, ({ hub, defer }) => {
    const random = new Random(seed);
    const pieces = ['\n', '\r', '\r\n', '\0', ':', ' ', 'data:', 'id:', 'a', 'é', '🌊', '\ufeff',
        'event: x', '\u2028', 'long '.repeat(50)];
    const payloads = Array.from({ length: 400 }, () =>
        Array.from({ length: random.below(12) }, () => random.pick(pieces)).join(''));
    return assertExact({ hub, defer }, 'random', payloads);
});

test(`random batches and forms say the same as text (SPATE_TEST_SEED=${seed})`, async ({ hub }) => {
    const random = new Random(seed + 1);
    const pieces = ['\n', '\r', '\r\n', ':', ' ', 'a', 'é', '🌊', '"', '\\', '&', '=', '+', '%41'];
    const stream = await hub.subscribe('/sse/ways');
    const payloads = Array.from({ length: 100 }, () =>
        Array.from({ length: 1 + random.below(8) }, () => random.pick(pieces)).join(''));
    for (const payload of payloads) {
        const form = await hub.request('POST', '/publish/ways', {
            headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
            body: new URLSearchParams({ msg: payload }).toString(),
        });
        assert.equal(form.status, 200);
        const query = await hub.request('POST',
            `/publish?channel=ways&msg=${encodeURIComponent(payload)}`);
        assert.equal(query.status, 200, JSON.stringify(payload));
    }
    const lines = payloads.map((data) => JSON.stringify({ data })).join('\n');
    const batch = await hub.request('POST', '/publish/ways', {
        headers: { 'Content-Type': 'application/x-ndjson' },
        body: lines,
    });
    assert.equal(batch.status, 200, batch.text);
    await stream.received(payloads.length * 3);
    const expected = payloads.flatMap((payload) => [payload, payload]).concat(payloads);
    assert.deepEqual(stream.data, expected.map(normalised));
});
