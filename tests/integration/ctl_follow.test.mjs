/* spatectl sub, and what becomes of streams that end, break off, fall silent or are odd. */
import assert from 'node:assert/strict';
import { Ctl, ctl, eventStream, scripted } from './ctl.mjs';
import { test } from './harness.mjs';
import { until } from './until.mjs';

export const hubOptions = { tls: false, args: ['--retry-ms', '20'] };

const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const later = 'HTTP/1.1 503 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n';
const quick = 'retry: 10\n\n';

test('a stream that ends is resumed without a gap or a duplicate', async ({ hub, defer }) => {
    await hub.publish('tide', '0');
    const sub = new Ctl(hub, ['sub', 'tide', '--client', 'ada', '--history', '5', '--count', '4']);
    defer(() => sub.kill());
    await sub.printed(/ 0\n/);
    await hub.publish('tide', '1');
    await sub.printed(/ 1\n/);
    assert.equal((await ctl(hub, ['kick', 'ada'])).code, 0);
    await hub.publish('tide', '2');
    await hub.publish('tide', '3');
    const { code, out, error } = await sub.ended();
    assert.equal(code, 0);
    assert.deepEqual(out.match(/ \d$/gm), [' 0', ' 1', ' 2', ' 3']);
    assert.match(error, /^spatectl: the stream ended; trying again in \d+\.\d s\n$/);
});

test('a hub that was started anew is found again, and the gap is told', { hub: null }, async ({ start, defer }) => {
    const first = await start({ args: ['--retry-ms', '20'] });
    const sub = new Ctl(first, ['sub', 'a', '--count', '2']);
    defer(() => sub.kill());
    await first.logged(/msg=connect /);
    await first.publish('a', 'before');
    await sub.printed(/before/);
    first.signal('SIGKILL');
    await first.ended();
    await sub.told(/broke off.*\n(.*\n)*.*cannot connect/);
    const second = await start({ listen: [`127.0.0.1:${first.port}`] });
    await second.logged(/msg=connect /);
    await second.publish('a', 'after');
    const { code, error } = await sub.ended();
    assert.equal(code, 0);
    /* "after" may be there when the hub looks what it has for the client that it has just logged. */
    assert.match(error, /GAP: events after \S+ are missing \(epoch\); (nothing after them is kept|it goes on with \S+)\n/);
    first.stop = async () => {};
});

test('only the first request asks for history, the later ones resume', { waits: true, hub: null }, async ({ defer }) => {
    const { url, requests } = await scripted([
        later, /* nothing has been seen yet */
        `${eventStream}${quick}`,
        `${eventStream}${quick}id: a1\ndata: one\n\nid: a2\ndata: cut off`,
        `${eventStream}data: two\n\n`,
        `${eventStream}id\ndata: three\n\n`,
        `${eventStream}data: four\n\n`,
    ], defer);
    const { code, out } = await ctl(url, ['sub', 'a', '--history', '3', '--since', '1', '--count', '4']);
    assert.equal(code, 0);
    assert.equal(out, 'a1 message one\na1 message two\n- message three\n- message four\n');
    const asked = requests.map((request) => [/GET (\S+)/.exec(request)[1],
        /^last-event-id: (.*)\r$/im.exec(request)?.[1]]);
    const whole = '/sse?channel=a&history=3&since=1';
    assert.deepEqual(asked, [[whole, undefined], [whole, undefined], [whole, undefined],
        ['/sse?channel=a', 'a1'], ['/sse?channel=a', 'a1'], [whole, undefined]]);
});

test('a refusal for now is told, waited out, and given up after --retries', { waits: true, hub: null }, async ({ defer }) => {
    const { url, requests } = await scripted([later], defer);
    const { code, error } = await ctl(url, ['sub', 'a', '--retries', '1']);
    assert.equal(code, 1);
    assert.equal(requests.length, 2);
    assert.match(error, /^spatectl: refused for now with 503; trying again in [1-9][.\d]* s\nspatectl: refused for now with 503; giving up\n$/);
    const none = await ctl('http://127.0.0.1:1', ['sub', 'a', '--retries', '0']);
    assert.equal(none.code, 3);
    assert.match(none.error, /giving up\n$/);
});

test('the wait grows while nothing comes, and not when something came', { waits: true, hub: null }, async ({ defer }) => {
    const empty = await scripted([`${eventStream}${quick}`], defer);
    const waits = (error) => [...error.matchAll(/again in ([\d.]+) s/g)].map((match) => Number(match[1]));
    const { error } = await ctl(empty.url, ['sub', 'a', '--retries', '6']);
    assert.equal(waits(error).length, 6);
    assert.ok(waits(error).at(-1) >= 0.16, error); /* 10 ms, doubled five times, and half of it at least */
    const lively = await scripted([`${eventStream}${quick}:\n`], defer);
    const sub = new Ctl(lively.url, ['sub', 'a', '--retries', '2']);
    defer(() => sub.kill());
    await until('many attempts', () => waits(sub.error).length > 5);
    assert.deepEqual([...new Set(waits(sub.error))], [0]);
});

test('a server cannot make it wait for ever, or not at all', { hub: null }, async ({ defer }) => {
    for (const [retry, wait] of [['99999999999999999999', '3600.0'], ['0', '0.0']]) {
        const { url } = await scripted([`${eventStream}retry: ${retry}\ndata: x\n\n`], defer);
        const sub = new Ctl(url, ['sub', 'a']);
        defer(() => sub.kill());
        await until('its wait', () => sub.error.includes(`the stream ended; trying again in ${wait} s\n`));
        sub.kill();
    }
    const empty = await scripted([eventStream], defer);
    assert.match((await ctl(empty.url, ['sub', 'a', '--retries', '0'])).error, /^spatectl: the stream ended; giving up\n$/);
});

test('a final refusal ends it', { hub: null }, async ({ defer }) => {
    const problem = '{"detail":"Not for you."}';
    for (const [answer, pattern] of [
        [`HTTP/1.1 403 No\r\nContent-Length: ${problem.length}\r\n\r\n${problem}`, /^spatectl: 403: Not for you\.\n$/],
        ['HTTP/1.1 204 No Content\r\n\r\n', /^spatectl: 204: refused\n$/],
        ['HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>', /not an event stream: text\/html/],
        ['HTTP/1.1 200 OK\r\nContent-Ty', /not an event stream: no media type/],
        ['HTTP/1.1 200 OK\r\nContent-Type: text/event-streams\r\n\r\n:\n', /not an event stream/],
    ]) {
        const { url, requests } = await scripted([answer], defer);
        const { code, error } = await ctl(url, ['sub', 'a']);
        assert.equal(code, 1);
        assert.match(error, pattern);
        assert.equal(requests.length, 1);
    }
});

test('a silent stream counts as lost, one with heartbeats does not', { waits: true, hub: null }, async ({ defer }) => {
    let beats = 0;
    const { url, requests } = await scripted([
        (socket) => {
            socket.write(`${eventStream}${quick}id: 1\ndata: a\n\n`);
            const timer = setInterval(() => {
                beats++;
                socket.write(':\n');
                if (beats === 8) {
                    clearInterval(timer);
                }
            }, 250);
        },
        `${eventStream}data: b\n\n`,
    ], defer);
    const { code, error } = await ctl(url, ['sub', 'a', '--idle-seconds', '1', '--count', '2']);
    assert.equal(code, 0);
    assert.match(error, /^spatectl: nothing came for 1 s; trying again in 0\.0 s\n$/);
    assert.equal(beats, 8, 'it was given up while heartbeats came');
    assert.match(requests[1], /^last-event-id: 1\r$/im);
});

test('interim answers, redirects and chunks', { hub: null }, async ({ defer }) => {
    const { url, requests } = await scripted([
        'HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n',
        'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n' +
            `Content-Type: text/event-stream\r\n\r\n${chunk('da')}${chunk('ta: x\n\n')}${'0\r\n\r\n'}`,
    ], defer);
    assert.equal((await ctl(url, ['sub', 'a', '--count', '1'])).out, '- message x\n');
    assert.match(requests[1], /^GET \/other /);
});

test('the token goes to the hub, and to no stream that is followed by its URL', { hub: null }, async ({ defer }) => {
    const { url, requests } = await scripted([`${eventStream}data: x\n\n`], defer);
    const env = { AUTH_TOKEN: 'secret' };
    await ctl(url, ['sub', 'a', '--count', '1'], { env });
    await ctl(null, ['sub', `${url}/any`, '--count', '1'], { env });
    await ctl(null, ['sub', `${url}/any`, '--count', '1', '--token', 'given'], { env });
    assert.match(requests[0], /^authorization: Bearer secret\r$/im);
    assert.doesNotMatch(requests[1], /authorization/i);
    assert.match(requests[1], /^accept: text\/event-stream\r$/im);
    assert.match(requests[2], /^authorization: Bearer given\r$/im);
});

test('every line end, a byte order mark, and what the standard passes over', { hub: null }, async ({ defer }) => {
    const text = '\uFEFFdata: a\r\ndata:b\rdata\ndata:  c\n\n' + /* one event of four lines */
        'event: empty\n\n' + /* no data, no event, and the next has no type of it */
        'unknown: x\nid: has\0nul\nretry: 5x\ndata:\n\n' +
        ': comment\nevent:t\nid: i\ndata: é\r\r';
    for (const whole of [true, false]) {
        const { url } = await scripted([(socket) => {
            socket.setNoDelay(true);
            socket.write(eventStream);
            const bytes = Buffer.from(text);
            (whole ? [bytes] : [...bytes].map((byte) => Buffer.from([byte])))
                .forEach((piece) => socket.write(piece));
        }], defer);
        const { out } = await ctl(url, ['sub', 'a', '--json', '--count', '3']);
        assert.deepEqual(out.trim().split('\n').map((line) => JSON.parse(line)), [
            { id: '', event: 'message', data: 'a\nb\n\n c' },
            { id: '', event: 'message', data: '' },
            { id: 'i', event: 't', data: 'é' },
        ]);
    }
});

test('an event of very many lines is read, one without end is not', { hub: null }, async ({ defer }) => {
    const lines = 'data: x\n'.repeat(500000);
    const many = await scripted([`${eventStream}${lines}\n`], defer);
    const { code, out } = await ctl(many.url, ['sub', 'a', '--count', '1']);
    assert.equal(code, 0);
    assert.equal(out.length, '- message '.length + 2 * 500000);
    for (const piece of [`data: ${'x'.repeat(1 << 20)}\n`, 'x'.repeat(1 << 20)]) {
        const endless = await scripted([(socket) => {
            const more = (error) => error ?? socket.write(piece, more);
            socket.write(eventStream, more);
        }], defer);
        const end = await ctl(endless.url, ['sub', 'a']);
        assert.equal(end.code, 1);
        assert.equal(end.error, 'spatectl: an event is too long\n');
    }
});
