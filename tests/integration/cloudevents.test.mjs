/* CloudEvents 1.0.2: what is taken, how it goes out, and why the rest is refused. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EventSource } from 'eventsource';
import { test } from './harness.mjs';
import { until } from './until.mjs';

const require = createRequire(import.meta.url);
const { CloudEvent, HTTP, Mode, emitterFor } = require('cloudevents');

const STRUCTURED = 'application/cloudevents+json';
const BATCH = 'application/cloudevents-batch+json';
const LEAST = { specversion: '1.0', id: '1', source: '/tests', type: 'least' };

export const hubOptions = { args: ['--cloudevent-rule', 'bare.*=data'] };

let lastId = 0;

/* The least event, of an id that no other has. */
function least(more = {}) {
    return { ...LEAST, id: `event-${++lastId}`, ...more };
}

function post(hub, path, body, type = STRUCTURED, headers = {}) {
    return hub.request('POST', path, {
        body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
        headers: { ...(type === null ? {} : { 'Content-Type': type }), ...headers },
    });
}

function binary(hub, path, attributes, body = '', type = null) {
    const pairs = Object.entries({ ...least(), ...attributes })
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => [`ce-${name}`, value]);
    return post(hub, path, body, type, Object.fromEntries(pairs));
}

function assertAccepted(response) {
    assert.equal(response.status, 200, response.text);
    return response.json;
}

function assertRefused(response, status, pattern) {
    assert.equal(response.status, status, response.text);
    assert.equal(response.get('content-type'), 'application/problem+json');
    assert.match(response.json.detail, pattern);
}

/* What a subscriber gets of each, one after another. */
async function delivered(hub, channel, publish) {
    const stream = await hub.subscribe(`/sse/${channel}`);
    assertAccepted(await publish());
    const [event] = await stream.received(1);
    stream.close();
    return event;
}

/* The marker comes first if nothing was published before it. */
async function assertNothing(hub, channel, publish) {
    const stream = await hub.subscribe(`/sse/${channel}`);
    await publish();
    await hub.publish(channel, 'marker');
    assert.equal((await stream.received(1))[0].data, 'marker');
    stream.close();
}

/* ---- The SDK ---- */

function plain(event) {
    return JSON.parse(JSON.stringify(event));
}

test('the SDK sends structured and binary, and reads both', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/sdk');
    const events = [
        new CloudEvent({
            type: 'com.example.json', source: '/sdk', datacontenttype: 'application/json',
            data: { a: [1, 'é', null] },
        }),
        new CloudEvent({
            type: 'com.example.all', source: 'https://example.org/a?b#c', subject: 'it',
            time: '2026-11-21T06:00:00.123Z', dataschema: 'https://example.org/schema',
            datacontenttype: 'application/json', extension: 'x', data: { n: 1.5 },
        }),
        new CloudEvent({
            type: 'com.example.text', source: '/sdk', datacontenttype: 'text/plain', data: 'plain',
        }),
    ];
    for (const mode of [Mode.STRUCTURED, Mode.BINARY]) {
        const emit = emitterFor(async (message) => {
            const { body, headers } = message;
            return hub.request('POST', '/publish/sdk', { body, headers });
        }, { mode });
        for (const event of events) {
            /* An event of the same id would be a duplicate. */
            const sent = event.cloneWith({ id: `${mode}-${event.id}` });
            const seen = stream.events.length;
            assertAccepted(await emit(sent));
            await stream.received(seen + 1);
            const { event: type, data } = stream.events[seen];
            assert.equal(type, sent.type);
            assert.doesNotMatch(data, /[\r\n]/);
            const read = HTTP.toEvent({ headers: { 'content-type': STRUCTURED }, body: data });
            assert.deepEqual(read.validate(), true);
            assert.deepEqual(plain(read), plain(sent));
        }
    }
});

test('the SDK sends a batch', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/sdk-batch');
    const events = [1, 2, 3].map((n) =>
        new CloudEvent({ type: `com.example.${n}`, source: '/sdk', data: { n } }));
    const answer = assertAccepted(await post(hub, '/publish/sdk-batch', JSON.stringify(events), BATCH));
    assert.equal(answer.count, 3);
    await stream.received(3);
    assert.deepEqual(stream.events.map(({ id }) => id), answer.ids);
    assert.deepEqual(stream.events.map(({ event }) => event), events.map(({ type }) => type));
    stream.events.forEach(({ data }, i) => assert.deepEqual(JSON.parse(data), plain(events[i])));
});

/* ---- What goes out ---- */

test('one line is sent byte for byte', async ({ hub }) => {
    const text = ' {  "specversion":"1.0", "id":"bytes-1","source":"/t","type":"t" ,"data" : '
        + '{"n":1.0e+2,"big":123456789012345678901234567890,"s":"\\u00e9\\/é","d":1,"d":2}} ';
    const event = await delivered(hub, 'bytes', () => post(hub, '/publish/bytes', text));
    assert.equal(event.data, text.trim());
    assert.equal(event.event, 't');
});

test('several lines become one, strings and numbers unchanged', async ({ hub }) => {
    const text = '{\r\n  "specversion" : "1.0",\n\t"id":"lines-1", "source":"/t","type":"t",\r'
        + '"data": [ 1.50, "a  b\\n \\" c" , { "x" : 1E400 } ]\n}\n'.replace('1E400', '1E40');
    const event = await delivered(hub, 'lines', () => post(hub, '/publish/lines', text));
    assert.equal(event.data, '{"specversion":"1.0","id":"lines-1","source":"/t","type":"t",'
        + '"data":[1.50,"a  b\\n \\" c",{"x":1E40}]}');
});

test('binary mode: JSON, text and bytes', async ({ hub }) => {
    const cases = [
        ['{ "a" :\n1.0 }', 'application/json; charset=utf-8', { data: { a: 1 } }, '"data":{"a":1.0}'],
        ['"text"', 'application/problem+json', { data: 'text' }, '"data":"text"'],
        ['<a b="c"/>\r\n\u0000\u{1f600}', 'application/xml', { data: '<a b="c"/>\r\n\u0000\u{1f600}' }],
        ['plain', 'TEXT/plain', { data: 'plain' }],
        ['csv', 'application/csv;charset=utf-8', { data: 'csv' }],
        [Buffer.from([0xe9]), 'text/plain;charset=iso-8859-1', { data_base64: '6Q==' }],
        [Buffer.from('{}', 'utf16le'), 'application/json; charset=utf-16', { data_base64: 'ewB9AA==' }],
        [Buffer.from([0xff, 0]), 'text/plain', { data_base64: '/wA=' }],
        [Buffer.from([1, 2, 3]), 'application/octet-stream', { data_base64: 'AQID' }],
        ['{ "xyz": 123 }', null, { data_base64: 'eyAieHl6IjogMTIzIH0=' }],
        ['', 'application/json', {}],
        ['', null, {}],
    ];
    for (const [i, [body, type, data, contains]] of cases.entries()) {
        const attributes = least({ id: `binary-${i}`, time: '2026-11-21T06:00:00Z', number: '5' });
        const event = await delivered(hub, `binary${i}`, () =>
            binary(hub, `/publish/binary${i}`, attributes, body, type));
        const typed = type === null ? {} : { datacontenttype: type };
        assert.deepEqual(JSON.parse(event.data), { ...attributes, ...typed, ...data });
        assert.equal(event.event, 'least');
        assert.ok(event.data.includes(contains ?? ''), event.data);
    }
});

test('binary mode: values are unquoted, then percent-decoded once', async ({ hub }) => {
    const cases = [
        ['Euro%20%E2%82%AC%20%F0%9F%98%80', 'Euro \u20ac \u{1f600}'],
        ['"quoted \\"text\\" %22"', 'quoted "text" "'],
        ['a%2520b', 'a%20b'],
        ['%e2%82%ac%41', '\u20acA'],
        ['plain "and" quoted', 'plain and quoted'],
    ];
    for (const [i, [subject, expected]] of cases.entries()) {
        const event = await delivered(hub, `escaped${i}`, () =>
            binary(hub, `/publish/escaped${i}`, { subject }));
        assert.equal(JSON.parse(event.data).subject, expected);
    }
    for (const [subject, reason] of [['%C0%A0', /subject is not valid UTF-8/],
        ['%ED%A0%80', /subject is not valid UTF-8/], ['50%', /subject has a percent sign/],
        ['%zz', /subject has a percent sign/], ['"open', /subject has a quoted string/],
        ['caf%E9', /subject is not valid UTF-8/], ['%0A', /subject has a control/],
        ['', /subject must not be empty/]]) {
        assertRefused(await binary(hub, '/publish/escaped', { subject }), 422, reason);
    }
});

test('binary mode: UTF-8 that is not escaped, as the SDKs for Go and Python send it', async ({ hub }) => {
    const event = await delivered(hub, 'unescaped', async () => {
        const wire = await hub.connect();
        wire.send(`POST /publish/unescaped HTTP/1.1\r\nHost: hub\r\nContent-Length: 0\r\n${
            Object.entries(least({ subject: 'caf\u00e9 %C3%A9', ext: '\u20ac' }))
                .map(([name, value]) => `ce-${name}: ${value}\r\n`).join('')}\r\n`);
        return wire.response({ method: 'POST' });
    });
    const { subject, ext } = JSON.parse(event.data);
    assert.deepEqual([subject, ext], ['caf\u00e9 \u00e9', '\u20ac']);
});

test('the query may name the event and its retry, never the data', async ({ hub }) => {
    const named = await delivered(hub, 'named', () =>
        post(hub, '/publish/named?event=application/cloudevents%2Bjson', least()));
    assert.equal(named.event, STRUCTURED);
    const unnamed = await delivered(hub, 'unnamed', () =>
        post(hub, '/publish/unnamed?event=&retry=777', least()));
    assert.equal(unnamed.event, undefined);
    for (const response of [await post(hub, '/publish/named?msg=x', least()),
        await post(hub, '/publish/named?msg=x', '', STRUCTURED),
        await post(hub, '/publish?channel=named&msg=x', '', null, { 'ce-id': '1' })]) {
        assertRefused(response, 400, /msg=/);
    }
    assertRefused(await post(hub, '/publish/named?event=a%0Ab', least()), 422, /type/);
    assertRefused(await post(hub, '/publish/named?retry=x', least()), 400, /retry/);
    assertRefused(await post(hub, '/publish/$named', least()), 403, /\$/);
});

test('a channel of data alone', async ({ hub }) => {
    const cases = [
        [least({ data: { a: 1 } }), '{"a":1}'],
        [least({ data: 'a' }), '"a"'],
        [least({ data: 'a\nb', datacontenttype: 'text/plain' }), 'a\nb'],
        [least({ data_base64: 'AQID' }), 'AQID'],
        [least({ data: null, datacontenttype: 'text/plain' }), ''],
        [least(), ''],
    ];
    for (const [i, [event, expected]] of cases.entries()) {
        const got = await delivered(hub, `bare.${i}`, () => post(hub, `/publish/bare.${i}`, event));
        assert.equal(got.data, expected);
        assert.equal(got.event, 'least');
    }
    for (const [i, [body, type, expected]] of [['{\n "a": 1 }', 'application/json', '{\n "a": 1 }'],
        ['text', 'text/plain', 'text'], [Buffer.from([1, 2, 3]), 'image/png', 'AQID'],
        ['', null, '']].entries()) {
        const got = await delivered(hub, `bare.b${i}`, () =>
            binary(hub, `/publish/bare.b${i}`, {}, body, type));
        assert.equal(got.data, expected);
    }
});

test('rules of channels: the first that fits', {
    hub: { args: ['--cloudevent-rule', 'a.b=event', '--cloudevent-rule', 'a.*=data'] },
}, async ({ hub }) => {
    const event = least({ data: 1 });
    const of = async (channel) =>
        (await delivered(hub, channel, () => post(hub, `/publish/${channel}`, event))).data;
    assert.equal(await of('a.b'), JSON.stringify(event));
    assert.equal(await of('a.bc'), '1');
    assert.equal(await of('a'), JSON.stringify(event));
});

/* ---- What is refused ---- */

test('each attribute is checked, and the answer names it', async ({ hub }) => {
    const cases = [
        [{ specversion: undefined }, /specversion is missing/],
        [{ specversion: null }, /specversion is missing/],
        [{ specversion: 1.0 }, /specversion must be a string/],
        [{ specversion: '0.3' }, /specversion must be 1.0/],
        [{ id: undefined }, /'s id is missing/],
        [{ id: '' }, /'s id must not be empty/],
        [{ id: 7 }, /'s id must be a string/],
        [{ source: undefined }, /source is missing/],
        [{ source: '' }, /source must not be empty/],
        [{ source: 'a b' }, /source is not a URI reference/],
        [{ source: 'http://[::1' }, /source is not a URI reference/],
        [{ source: '/caf\u00e9' }, /source is not a URI reference/],
        [{ source: '%4' }, /source is not a URI reference/],
        [{ source: '1:a' }, /source is not a URI reference/],
        [{ type: undefined }, /type is missing/],
        [{ type: '' }, /type must not be empty/],
        [{ type: 'a\nb' }, /type has a control character/],
        [{ type: 'a\u0085' }, /type has a control character/],
        [{ type: '\ufdd0' }, /type has a code point/],
        [{ subject: '' }, /subject must not be empty/],
        [{ subject: '\u{1ffff}' }, /subject has a code point/],
        [{ subject: true }, /subject must be a string/],
        [{ time: 'yesterday' }, /time is not a time/],
        [{ time: '2026-11-21 06:00:00Z' }, /time is not a time/],
        [{ time: '2026-02-29T06:00:00Z' }, /time is not a time/],
        [{ time: '2026-11-21T24:00:00Z' }, /time is not a time/],
        [{ time: '2026-11-21T06:00:00' }, /time is not a time/],
        [{ time: '2026-11-21T06:00:60Z' }, /time is not a time/],
        [{ dataschema: '/relative' }, /dataschema is not an absolute URI/],
        [{ dataschema: 'http://a/#b' }, /dataschema is not an absolute URI/],
        [{ dataschema: '' }, /dataschema must not be empty/],
        [{ datacontenttype: 'json' }, /datacontenttype is not a media type/],
        [{ datacontenttype: '' }, /datacontenttype must not be empty/],
        [{ Extension: 'x' }, /Extension has a name/],
        [{ 'my-ext': 'x' }, /my-ext has a name/],
        [{ my_ext: 'x' }, /my_ext has a name/],
        [{ '': 'x' }, /empty name/],
        [{ ext: {} }, /ext must be a string, an integer or a boolean/],
        [{ ext: [1] }, /ext must be a string, an integer or a boolean/],
        [{ ext: 1.5 }, /ext must be an integer/],
        [{ ext: 2147483648 }, /ext must be an integer/],
        [{ ext: -2147483649 }, /ext must be an integer/],
        [{ ext: 'a\u0000' }, /ext has a control character/],
        [{ data: 1, data_base64: 'AQ==' }, /data and data_base64 exclude/],
        [{ data_base64: 'AQ' }, /data_base64 is not base64/],
        [{ data_base64: 'AQ=\n' }, /data_base64 is not base64/],
        [{ data_base64: 'A-_=' }, /data_base64 is not base64/],
        [{ data_base64: 'A===' }, /data_base64 is not base64/],
        [{ data_base64: 5 }, /data_base64 must be a string/],
        [{ data: { a: 1 }, datacontenttype: 'text/plain' }, /data must be a string/],
    ];
    await assertNothing(hub, 'wrong', async () => {
        for (const [wrong, pattern] of cases) {
            assertRefused(await post(hub, '/publish/wrong', least(wrong)), 422, pattern);
        }
    });
    const raw = (more) => `{"specversion":"1.0","id":"r${++lastId}","source":"/t","type":"t"${more}}`;
    for (const [more, pattern] of [[',"id":"2"', /id is given twice/],
        [',"\\u0069d":"2"', /id is given twice/], [',"data":1,"data":2', /data is given twice/],
        [',"ext":1.0', /ext must be an integer/], [',"ext":1e3', /ext must be an integer/]]) {
        assertRefused(await post(hub, '/publish/wrong', raw(more)), 422, pattern);
    }
    for (const body of ['', '{', '{"a":1}}', '\ufeff{}', Buffer.from('{"a":"\xff"}', 'latin1')]) {
        assertRefused(await post(hub, '/publish/wrong', body), 400, /is not JSON/);
    }
    for (const body of ['[]', '"x"', '1', 'null']) {
        assertRefused(await post(hub, '/publish/wrong', body), 422, /is not an object/);
    }
});

test('a number that no double holds is JSON, but refused, wherever it is', async ({ hub }) => {
    const raw = (more) => `{"specversion":"1.0","id":"n${++lastId}","source":"/t","type":"t"${more}}`;
    await assertNothing(hub, 'wrong', async () => {
        for (const number of ['1e400', '-1e400', '9'.repeat(400)]) {
            assertRefused(await post(hub, '/publish/wrong', raw(`,"data":{"a":${number}}`)), 422,
                /no double holds/);
            const plain = await hub.request('POST', '/publish/wrong',
                { headers: { 'Content-Type': 'application/json' }, body: `[${number}]` });
            assertRefused(plain, 422, /column \d+: a number that no double holds/);
        }
    });
    /* Those that one holds, if only nearly, are sent as they came. */
    for (const number of ['1e308', '1e-400', '123456789012345678901234567890', '0.1000']) {
        const body = raw(`,"data":${number}`);
        assert.equal((await post(hub, '/publish/numbers', body)).status, 200, number);
        const stream = await hub.subscribe('/sse/numbers?history=1');
        await stream.received(1);
        assert.equal(stream.events[0].data, body);
        stream.close();
    }
});

test('what is unusual, but valid', async ({ hub }) => {
    const cases = [
        { source: 'urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66' },
        { source: '1-555-123-4567' }, { source: 'mailto:a@example.org' }, { source: '#x' },
        { source: 'http://user:pw@[2001:db8::1]:80/a%20b?c=d/?#e' }, { source: '//host' },
        { time: '2024-02-29T23:59:60z' }, { time: '2026-11-21t06:00:00.5+23:59' },
        { time: '2026-12-31T15:59:60-08:00' }, { time: '0000-01-01T00:00:00-00:00' },
        { dataschema: 'urn:x:y' }, { dataschema: 'http://a?b' },
        { datacontenttype: 'text/plain;a="b;c"', data: '' }, { datacontenttype: 'text/plain', data: null },
        { subject: null, time: null, ext: null, data: null }, { data_base64: null, data: 1 },
        { ext: 2147483647, other: -2147483648, yes: true, no: false, empty: '' },
        { 1: 'digits', averylongnameofmorethantwentycharacters: 'x' }, { data_base64: '' },
        { id: '\u{1f600} with spaces' }, { datacontenttype: 'application/x+JSON', data: [] },
    ];
    for (const more of cases) {
        const event = least(more);
        const got = await delivered(hub, 'unusual', () => post(hub, '/publish/unusual', event));
        assert.equal(got.data, JSON.stringify(event));
    }
});

test('media types other than the two are no CloudEvents', async ({ hub }) => {
    for (const type of ['application/cloudevents', 'application/cloudevents+xml',
        'application/cloudevents+jsonx', 'application/cloudevents-batch', 'application/cloudeventsx+json',
        'application/cloudevents+json; charset=iso-8859-1']) {
        assert.equal((await post(hub, '/publish/media', least(), type)).status, 415, type);
    }
    for (const type of ['Application/CloudEvents+JSON', `${STRUCTURED};charset=UTF-8`]) {
        assertAccepted(await post(hub, '/publish/media', least(), type));
    }
    /* The header may repeat what the body says; the body counts. */
    const got = await delivered(hub, 'media', () =>
        post(hub, '/publish/media', least({ type: 'body' }), STRUCTURED, { 'ce-type': 'header' }));
    assert.equal(got.event, 'body');
});

test('binary mode: what is missing, twice or out of place', async ({ hub }) => {
    for (const name of ['specversion', 'id', 'source', 'type']) {
        assertRefused(await binary(hub, '/publish/mode', { [name]: undefined }), 422,
            new RegExp(`${name} is missing`));
    }
    for (const [more, pattern] of [[{ datacontenttype: 'a/b' }, /Content-Type/],
        [{ data: 'x' }, /data is the name/], [{ data_base64: 'AQ==' }, /data_base64 has a name/],
        [{ 'my-ext': 'x' }, /my-ext has a name/], [{ time: 'now' }, /time is not a time/],
        [{ '': 'x' }, /empty name/]]) {
        assertRefused(await binary(hub, '/publish/mode', more), 422, pattern);
    }
    const wire = await hub.connect();
    const { id, ...rest } = least();
    const pairs = Object.entries({ ...rest, id }).map(([name, value]) => `CE-${name}: ${value}\r\n`);
    wire.send(`POST /publish/mode HTTP/1.1\r\nHost: hub\r\nContent-Length: 0\r\n${pairs.join('')}`
        + `ce-ID: ${id}\r\n\r\n`);
    assertRefused(await wire.response({ method: 'POST' }), 422, /id is given twice/);
    assertRefused(await binary(hub, '/publish/mode', {}, '{', 'application/json'), 422,
        /data is not JSON/);
    assertRefused(await binary(hub, '/publish/mode', {}, '{', 'json'), 422, /datacontenttype/);
    /* Fields that no CloudEvent must have make none of a request. */
    const got = await delivered(hub, 'plain', () =>
        post(hub, '/publish/plain', 'hi', 'text/plain', { 'ce-vendor': 'x' }));
    assert.equal(got.data, 'hi');
    /* And a channel in the query, without a body. */
    assertAccepted(await binary(hub, '/publish?channel=mode', {}));
});

/* ---- Batches ---- */

test('a batch: all or nothing, and the answer says which is wrong', async ({ hub }) => {
    const good = [least({ data: 1 }), least()];
    await assertNothing(hub, 'all', async () => {
        assertRefused(await post(hub, '/publish/all', [...good, least({ type: '' })], BATCH), 422,
            /Event 3 of the batch: type must not be empty/);
        assertRefused(await post(hub, '/publish/all', [1], BATCH), 422, /Event 1 .* not an object/);
        assertRefused(await post(hub, '/publish/all', least(), BATCH), 422, /array/);
        assertRefused(await post(hub, '/publish/all', '[', BATCH), 400, /not JSON/);
    });
    /* What was refused has left no trace among the duplicates. */
    const stream = await hub.subscribe('/sse/all');
    const answer = assertAccepted(await post(hub, '/publish/all', ` [ ${JSON.stringify(good[0])} ,\n`
        + `${JSON.stringify(good[1], null, 2)}]`, BATCH));
    assert.equal(answer.duplicates, undefined);
    await stream.received(2);
    assert.deepEqual(stream.events.map(({ data }) => data), good.map((one) => JSON.stringify(one)));
    const none = assertAccepted(await post(hub, '/publish/all', '[]', BATCH));
    assert.deepEqual(none, { id: null, channel: 'all', subscribers: 0, count: 0, ids: [] });
});

test('a batch has a limit', { hub: { args: ['--batch-count-max', '2'] } }, async ({ hub }) => {
    assertAccepted(await post(hub, '/publish/two', [least(), least()], BATCH));
    assertRefused(await post(hub, '/publish/two', [least(), least(), least()], BATCH), 413, /2 events/);
});

test('a type, an id and a name as long as a body allows', async ({ hub }) => {
    const long = 'x'.repeat(200_000);
    const event = least({ type: long, id: long, [long]: 1 });
    const got = await delivered(hub, 'long', () => post(hub, '/publish/long', event));
    assert.equal(got.event, long);
    assert.equal(got.data, JSON.stringify(event));
    assertRefused(await post(hub, '/publish/long', least({ [`${long}_`]: 1 })), 422, /x has a name/);
});

test('a page may ask for the fields of any extension', async ({ hub }) => {
    const response = await hub.request('OPTIONS', '/publish/news', { headers: {
        Origin: 'https://a.example', 'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'ce-id, content-type,CE-My1 ,x-other,ce-,ce-a b,,ce-z',
    } });
    assert.equal(response.status, 204);
    const allowed = response.get('access-control-allow-headers').split(', ');
    assert.deepEqual(allowed.filter((name) => /^(ce|x)-/i.test(name)), ['ce-id', 'CE-My1', 'ce-z']);
    /* As many as there is room for, and no half of one. */
    const many = Array.from({ length: 100 }, (_, i) => `ce-extension${i}`);
    const cut = await hub.request('OPTIONS', '/publish/news', { headers: {
        Origin: 'https://a.example', 'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': many.join(','),
    } });
    const some = cut.get('access-control-allow-headers').split(', ').slice(5);
    assert.ok(some.length > 5);
    assert.deepEqual(some, many.slice(0, some.length));
});

test('the rule of a channel is read again at SIGHUP', { hub: null }, async ({ start, defer }) => {
    const directory = mkdtempSync(path.join(tmpdir(), 'spate-rule-'));
    defer(() => rmSync(directory, { recursive: true }));
    const file = path.join(directory, 'spate.yaml');
    writeFileSync(file, 'cloudevent_rule: {"r*": event}\n');
    const hub = await start({ args: ['--config', file] });
    const of = async (event) => (await delivered(hub, 'r', () => post(hub, '/publish/r', event))).data;
    const whole = least({ data: 1 });
    assert.equal(await of(whole), JSON.stringify(whole));
    writeFileSync(file, 'cloudevent_rule: {"r*": data}\n');
    hub.signal('SIGHUP');
    await hub.logged(/changed: cloudevent_rule/);
    await until('the new rule', async () => (await of(least({ data: 1 }))) === '1');
});

/* ---- Duplicates ---- */

test('the same source and id again: the first answer, and nothing is delivered', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/twice');
    const event = least({ data: 1 });
    const first = await post(hub, '/publish/twice', event);
    assertAccepted(first);
    const agains = [await post(hub, '/publish/twice', { ...event, data: 2, type: 'other' }),
        await binary(hub, '/publish/twice', { id: event.id }, '1', 'application/json')];
    for (const again of agains) {
        assert.equal(again.get('idempotency-replayed'), 'true');
        assert.deepEqual(assertAccepted(again), { ...first.json, duplicates: 1 });
    }
    const others = [least({ id: event.id, source: '/other' }), least()];
    const batch = [others[0], event, others[0], others[1]];
    const answer = assertAccepted(await post(hub, '/publish/twice', batch, BATCH));
    assert.equal(answer.duplicates, 2);
    assert.equal(answer.count, 4);
    assert.equal(answer.ids[1], first.json.id);
    assert.equal(answer.ids[2], answer.ids[0]);
    await hub.publish('twice', 'marker');
    await stream.when('the marker', () => stream.data.at(-1) === 'marker');
    assert.deepEqual(stream.events.map(({ id }) => id).slice(0, 3),
        [first.json.id, answer.ids[0], answer.ids[3]]);
    assert.equal(stream.events.length, 4);
    /* Another channel is another matter. */
    assert.notEqual(assertAccepted(await post(hub, '/publish/thrice', event)).id, first.json.id);
});

test('many at once of one event: one is published', async ({ hub }) => {
    const event = least();
    const clients = Array.from({ length: 16 }, () => hub.client());
    const answers = await Promise.all(clients.map((client) =>
        client.request('POST', '/publish/at-once',
            { body: JSON.stringify(event), headers: { 'Content-Type': STRUCTURED } })));
    const good = answers.filter(({ status }) => status === 200);
    assert.ok(answers.every(({ status }) => status === 200 || status === 409));
    assert.equal(new Set(good.map(({ json }) => json.id)).size, 1);
    assert.equal(good.filter(({ json }) => json.duplicates === undefined).length, 1);
});

test('with an Idempotency-Key too', async ({ hub }) => {
    const event = least();
    const keyed = (key) => post(hub, '/publish/keyed', event, STRUCTURED, { 'Idempotency-Key': key });
    const first = await keyed('ce-1');
    assert.equal(assertAccepted(first).duplicates, undefined);
    assert.equal((await keyed('ce-1')).text, first.text);
    assert.equal(assertAccepted(await keyed('ce-2')).duplicates, 1);
});

/* ---- The feedbacks of the sample ---- */

test('/v1/feedbacks: once a second in the sample, read by EventSource', async ({ hub, defer }) => {
    const source = new EventSource(`${hub.url}/v1/feedbacks`);
    defer(() => source.close());
    const messages = [];
    const typed = [];
    source.onmessage = ({ data }) => messages.push(data);
    source.addEventListener(STRUCTURED, ({ data }) => messages.push(data));
    source.addEventListener('cloud.native.araraquara.feedbacks.v1', (event) => typed.push(event));
    await until('the stream', () => source.readyState === EventSource.OPEN);
    const feedback = (n) => new CloudEvent({
        type: 'cloud.native.araraquara.feedbacks.v1',
        source: 'https://api.cloudnativeararaquara.com/v1/feedbacks',
        time: '2026-11-21T06:00:00.1234567Z', datacontenttype: 'application/json', subject: `${n}`,
        data: { FeedbackId: '0198c2ac-7c3a-7000-8000-000000000000', Content: `Feedback message ${n}` },
    });
    const sent = [1, 2, 3].map(feedback);
    /* By its type; named as the sample's server names its events; and without a name. */
    const queries = ['', `?event=${encodeURIComponent(STRUCTURED)}`, '?event='];
    for (const [i, event] of sent.entries()) {
        const { headers, body } = HTTP.structured(event);
        assertAccepted(await hub.request('POST', `/publish/feedbacks${queries[i]}`, { headers, body }));
    }
    await until('all three', () => typed.length === 1 && messages.length === 2);
    const read = [typed[0].data, ...messages].map((body) =>
        HTTP.toEvent({ headers: { 'content-type': STRUCTURED }, body }));
    assert.deepEqual(read.map(({ subject }) => subject), ['1', '2', '3']);
    assert.deepEqual(read.map(({ data }) => data), sent.map(({ data }) => data));
});
