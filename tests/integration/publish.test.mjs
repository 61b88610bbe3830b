/* Everything that publishes: who may, what is accepted, what is refused, and what is answered. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { Skip, test } from './harness.mjs';
import { cleanEnvironment, logfmt, settings, wholeLines } from './hub.mjs';
import { until } from './until.mjs';

const TEXT = { 'Content-Type': 'text/plain' };
const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' };
const JSON_TYPE = { 'Content-Type': 'application/json' };
const LINES = { 'Content-Type': 'application/x-ndjson' };
const ID = /^[A-Za-z0-9._-]{1,64}$/;

function post(hub, path, body, headers = TEXT) {
    return hub.request('POST', path, { body, headers });
}

function assertProblem(response, status) {
    assert.equal(response.status, status, `${response.status} ${response.text}`);
    assert.equal(response.get('content-type'), 'application/problem+json');
    const problem = response.json;
    assert.equal(problem.status, status);
    for (const name of ['type', 'title', 'detail']) {
        assert.equal(typeof problem[name], 'string', name);
    }
    return problem;
}

/* Whatever was refused must not have been delivered: the marker is the next event of the stream. */
async function assertNothingBefore(hub, stream, channel) {
    const seen = stream.events.length;
    await hub.publish(channel, 'marker');
    await stream.received(seen + 1);
    assert.equal(stream.events[seen].data, 'marker');
}

test('a body is the data, and the answer tells id, channel and subscribers', async ({ hub }) => {
    const empty = await hub.publish('body', 'to nobody');
    assert.equal(empty.subscribers, 0);
    const streams = [await hub.subscribe('/sse/body'), await hub.subscribe('/sse/body'),
        await hub.subscribe('/sse?channel=other&channel=body')];
    const response = await post(hub, '/publish/body', 'hello');
    assert.equal(response.status, 200);
    assert.equal(response.get('content-type'), 'application/json');
    const { id, channel, subscribers } = response.json;
    assert.match(id, ID);
    assert.notEqual(id, empty.id);
    assert.equal(channel, 'body');
    assert.equal(subscribers, 3);
    for (const stream of streams) {
        const [event] = await stream.received(1);
        assert.deepEqual(event, { id, event: undefined, data: 'hello' });
    }
});

for (const name of ['channel', 'canal']) {
    test(`POST /publish?${name}=&msg=`, async ({ hub }) => {
        const stream = await hub.subscribe(`/sse/query-${name}`);
        const response = await hub.request('POST',
            `/publish?${name}=query-${name}&msg=ol%C3%A1+mundo%21`);
        assert.equal(response.status, 200, response.text);
        assert.equal(response.json.channel, `query-${name}`);
        assert.equal((await stream.received(1))[0].data, 'olá mundo!');
    });
}

test('event and retry as query parameters', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/typed');
    await hub.publish('typed', 'x', { query: '?event=price.changed&retry=12345' });
    const [event] = await stream.received(1);
    assert.equal(event.event, 'price.changed');
    assert.equal(event.data, 'x');
    await stream.when('the retry', () => stream.retries.at(-1).retry === 12345);
});

test('a form: msg or data, and event', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/form');
    const bodies = ['msg=a+b%26c', 'data=d&event=e', 'event=f&msg=g%0Ah'];
    for (const body of bodies) {
        const response = await post(hub, '/publish/form', body, FORM);
        assert.equal(response.status, 200, response.text);
    }
    await stream.received(3);
    assert.deepEqual(stream.events.map(({ event, data }) => [event, data]),
        [[undefined, 'a b&c'], ['e', 'd'], ['f', 'g\nh']]);
});

test('JSON is delivered byte for byte', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/json');
    const bodies = ['{"a":1}', '{ "b" : [1,2 , 3.0e0],\n  "ç": "\\u00e7"\n}', '"text"', ' null ',
        '{"dup":1,"dup":2}', '[\r\n1\r\n]', '12345678901234567890.123'];
    for (const body of bodies) {
        const response = await post(hub, '/publish/json', body, JSON_TYPE);
        assert.equal(response.status, 200, `${body}: ${response.text}`);
    }
    await stream.received(bodies.length);
    assert.deepEqual(stream.data, bodies.map((body) => body.replace(/\r\n?/g, '\n')));
});

test('text with and without a charset, and no content type at all', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/text');
    const types = [TEXT, { 'Content-Type': 'text/plain; charset=utf-8' },
        { 'Content-Type': 'text/plain;charset="UTF-8"' }, {}];
    for (const headers of types) {
        const response = await post(hub, '/publish/text', 'çé\nß', headers);
        assert.equal(response.status, 200, `${JSON.stringify(headers)}: ${response.text}`);
    }
    await stream.received(types.length);
    assert.deepEqual(stream.data, types.map(() => 'çé\nß'));
});

test('an empty body is an event with empty data', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/empty');
    assert.equal((await post(hub, '/publish/empty', '')).status, 200);
    await stream.received(1);
    assert.equal(stream.events[0].data, '');
});

test('what is not UTF-8 is 422', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/utf8');
    for (const bytes of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0x61, 0xe2, 0x82],
        [0xf4, 0x90, 0x80, 0x80], [0x80]]) {
        assertProblem(await post(hub, '/publish/utf8', Buffer.from(bytes)), 422);
    }
    await assertNothingBefore(hub, stream, 'utf8');
});

test('an event type with a line end or NUL is refused', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/injection');
    for (const code of ['%0A', '%0D', '%0D%0A', '%00']) {
        const path = `/publish/injection?event=a${code}data:%20b`;
        const response = await post(hub, path, 'x');
        assert.ok([400, 422].includes(response.status), `${path}: ${response.status}`);
        const form = await post(hub, '/publish/injection', `msg=x&event=a${code}b`, FORM);
        assert.ok([400, 422].includes(form.status), `form ${code}: ${form.status}`);
    }
    await assertNothingBefore(hub, stream, 'injection');
});

test('a retry that is no number is refused', async ({ hub }) => {
    for (const retry of ['x', '-1', '1.5', '', '99999999999999999999']) {
        const response = await post(hub, `/publish/retry?retry=${retry}`, 'x');
        assert.ok([400, 422].includes(response.status), `retry=${retry}: ${response.status}`);
    }
});

test('malformed JSON is refused', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/badjson');
    for (const body of ['{', '{"a":}', 'tru', '{"a":1}x', '']) {
        const response = await post(hub, '/publish/badjson', body, JSON_TYPE);
        assert.ok([400, 422].includes(response.status), `${body}: ${response.status}`);
    }
    await assertNothingBefore(hub, stream, 'badjson');
});

test('names that are reserved or malformed cannot be published to', async ({ hub }) => {
    for (const path of ['/publish/%24hub', '/publish/%FF', '/publish/a%0Ab',
        `/publish/${'n'.repeat(256)}`, '/publish?msg=x', '/publish?channel=&msg=x']) {
        const response = await post(hub, path, 'x');
        const expected = path.includes('%24') ? [400, 403] : [400];
        assert.ok(expected.includes(response.status), `${path}: ${response.status}`);
    }
});

test('415 for what cannot be an event', async ({ hub }) => {
    for (const type of ['image/png', 'application/octet-stream', 'multipart/form-data; boundary=x',
        'text/plain; charset=iso-8859-1']) {
        assertProblem(await post(hub, '/publish/types', 'x', { 'Content-Type': type }), 415);
    }
});

test('413 for a body beyond the limit, and the limit itself is fine',
    { hub: { args: ['--body-bytes-max', '4096'] } }, async ({ hub }) => {
        assert.equal((await post(hub, '/publish/size', 'x'.repeat(4096))).status, 200);
        assertProblem(await post(hub, '/publish/size', 'x'.repeat(4097)), 413);
        assert.equal((await hub.get('/health')).status, 200);
    });

test('a batch of lines', async ({ hub }) => {
    const stream = await hub.subscribe('/sse?channel=batch&channel=batch2');
    const lines = [{ data: 'one' }, { data: 'two', event: 'e' }, { data: 'three', channel: 'batch2' },
        { data: 'l1\nl2' }];
    const body = lines.map((line) => JSON.stringify(line)).join('\n');
    assert.equal((await post(hub, '/publish/batch', `${body}\n`, LINES)).status, 200);
    await stream.received(4);
    assert.deepEqual(stream.events.map(({ event, data }) => [event, data]),
        [[undefined, 'one'], ['e', 'two'], [undefined, 'three'], [undefined, 'l1\nl2']]);
    assert.equal(new Set(stream.events.map(({ id }) => id)).size, 4);
});

test('a batch is all or nothing', async ({ hub }) => {
    const stream = await hub.subscribe('/sse?channel=all&channel=all2');
    const good = '{"data":"good"}';
    for (const bad of ['{"data":', '[]', '"text"', '{"data":"x","event":"a\\nb"}',
        '{"data":"x","channel":"$hub"}', '{"data":"x","channel":""}', '{"data":"\\ud800"}',
        '{"event":7,"data":"x"}']) {
        const response = await post(hub, '/publish/all', `${good}\n${bad}\n${good}\n`, LINES);
        assert.ok([400, 403, 422].includes(response.status), `${bad}: ${response.status}`);
    }
    await assertNothingBefore(hub, stream, 'all');
});

test('a batch has a limit', { hub: { args: ['--batch-count-max', '10'] } }, async ({ hub }) => {
    const line = '{"data":"x"}\n';
    const stream = await hub.subscribe('/sse/limit');
    const response = await post(hub, '/publish/limit', line.repeat(11), LINES);
    assert.ok([400, 413, 422].includes(response.status), `status ${response.status}`);
    await assertNothingBefore(hub, stream, 'limit');
    assert.equal((await post(hub, '/publish/limit', line.repeat(10), LINES)).status, 200);
    await stream.received(11);
});

test('a batch that no queue can take is no matter of trying again', {
    hub: { args: ['--queue-length', '64', '--body-bytes-max', '64KiB'] },
}, async ({ hub }) => {
    const stream = await hub.subscribe('/sse/queue');
    assertProblem(await post(hub, '/publish/queue', '{"data":"x"}\n'.repeat(65), LINES), 413);
    const cloudEvents = JSON.stringify(Array.from({ length: 65 }, (_, i) =>
        ({ specversion: '1.0', id: `${i}`, source: '/s', type: 't', data: i })));
    assertProblem(await post(hub, '/publish/queue', cloudEvents,
        { 'Content-Type': 'application/cloudevents-batch+json' }), 413);
    assert.equal((await post(hub, '/publish/queue', '{"data":"x"}\n'.repeat(64), LINES)).status, 200);
    await stream.received(64);
});

test('per-client status: Ok, or 404 when it is not connected', async ({ hub }) => {
    const stream = await hub.subscribe('/stream/1234');
    const response = await hub.get('/publish/1234/status/active');
    assert.equal(response.status, 200);
    assert.equal(response.text, 'Ok');
    assert.equal((await hub.request('POST', '/publish/1234/status/a%20b%2Fc')).status, 200);
    await stream.received(2);
    assert.deepEqual(stream.data, ['active', 'a b/c']);
    assert.equal((await hub.get('/publish/4321/status/active')).status, 404);
    const unnamed = await hub.get('/publish/a%0Ab/status/active');
    assert.equal(unnamed.status, 400);
    assert.match(unnamed.json.detail, /^A client name is 1 to 255 bytes/);
});

test('status for all clients reaches each once', async ({ hub }) => {
    const streams = [await hub.subscribe('/stream/s1'), await hub.subscribe('/stream/s2')];
    const response = await hub.get('/publish/status/maintenance');
    assert.equal(response.status, 200);
    assert.equal(response.text, 'Ok');
    for (const [i, stream] of streams.entries()) {
        assert.equal((await hub.get(`/publish/s${i + 1}/status/marker`)).status, 200);
        await stream.received(2);
        assert.deepEqual(stream.data, ['maintenance', 'marker']);
    }
});

test('a broadcast reaches every subscriber once', async ({ hub }) => {
    const streams = [await hub.subscribe('/sse/b1'), await hub.subscribe('/sse/b2'),
        await hub.subscribe('/sse?channel=b1&channel=b2&channel=b3'), await hub.subscribe('/stream/b')];
    const direct = await hub.publish('broadcast', 'to all');
    assert.equal(direct.subscribers, 4);
    const query = await hub.request('POST', '/publish?canal=broadcast&msg=again');
    assert.equal(query.status, 200);
    await hub.publish('b1', 'end');
    await hub.publish('b2', 'end');
    assert.equal((await hub.get('/publish/b/status/end')).status, 200);
    for (const [i, stream] of streams.entries()) {
        const ends = i === 2 ? ['end', 'end'] : ['end'];
        await stream.received(2 + ends.length);
        assert.deepEqual(stream.data, ['to all', 'again', ...ends]);
        assert.equal(stream.events[0].id, direct.id);
    }
});

test('without a token, a name that is not this machine publishes nothing', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/rebound');
    for (const host of ['evil.example', 'evil.example:8080', '127.0.0.1.evil.example', 'localhost.evil']) {
        const response = await hub.request('GET', '/publish/status/x', { headers: { Host: host } });
        assert.equal(response.status, 403, host);
    }
    const proxied = await hub.request('POST', '/publish/rebound', {
        headers: { ...TEXT, 'X-Forwarded-For': '192.0.2.1' },
        body: 'x',
    });
    assert.equal(proxied.status, 401);
    await hub.publish('rebound', 'marker');
    await stream.received(1);
    assert.deepEqual(stream.data, ['marker']);
});

test('HEAD never publishes', async ({ hub }) => {
    const stream = await hub.subscribe('/stream/head');
    for (const path of ['/publish/head/status/x', '/publish/status/x']) {
        const response = await hub.request('HEAD', path);
        assert.equal(response.status, 405);
        assert.equal(response.get('allow'), 'GET, POST, OPTIONS');
    }
    await hub.publish('broadcast', 'marker');
    await stream.received(1);
    assert.deepEqual(stream.data, ['marker']);
});

test('a batch keeps numbers as they are, and its retry', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/numbers');
    const data = ['{"n":1,"x":1.50,"s":"a b"}', '23.1', '[1e2,-0,12345678901234567890]', 'null', '" "'];
    const response = await hub.request('POST', '/publish/numbers', {
        headers: { 'Content-Type': 'application/x-ndjson' },
        body: data.map((text) => `{"retry":2500, "d\\u0061ta" : ${text} }\n`).join('')
              + '{"data": { "x" : [ 1.0, "y  z" ] } }\n',
    });
    assert.equal(response.status, 200, response.text);
    await stream.received(data.length + 1);
    assert.deepEqual(stream.data, [...data.slice(0, -1), ' ', '{"x":[1.0,"y  z"]}']);
    for (const retry of ['-1', '1.5', '1e3', '"1"', 'null', '12345678901234567890']) {
        assertProblem(await post(hub, '/publish/numbers', `{"data":1,"retry":${retry}}\n`, LINES), 422);
    }
    assert.ok(stream.retries.some(({ retry }) => retry === 2500));
});

/* Who may publish. */

const SECRET = 'correct-horse-battery-staple';

test('with a token, publishing needs it and subscribing does not',
    { hub: { env: { AUTH_TOKEN: SECRET } } }, async ({ hub }) => {
        const stream = await hub.subscribe('/sse/guarded');
        const attempts = [{}, { Authorization: 'Bearer wrong' }, { Authorization: `Basic ${SECRET}` },
            { Authorization: `Bearer ${SECRET}x` }, { Authorization: 'Bearer ' },
            { Authorization: SECRET }];
        for (const headers of attempts) {
            for (const [method, path] of [['POST', '/publish/guarded'],
                ['POST', '/publish?canal=guarded&msg=x'], ['POST', '/publish/broadcast'],
                ['GET', '/publish/status/x'], ['DELETE', '/channels/guarded']]) {
                const response = await hub.request(method, path, {
                    headers: { ...TEXT, ...headers },
                    body: method === 'POST' ? 'x' : undefined,
                });
                assertProblem(response, 401);
                assert.match(response.get('www-authenticate') ?? '', /^Bearer\b/);
            }
        }
        for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
            const headers = { ...TEXT, Authorization: `${scheme} ${SECRET}` };
            assert.equal((await post(hub, '/publish/guarded', scheme, headers)).status, 200);
        }
        await stream.received(3);
        assert.deepEqual(stream.data, ['Bearer', 'bearer', 'BEARER']);
    });

/*
 * Protected mode looks at the peer's address, so somebody has to come from another one. A network
 * namespace of its own has such an address and no way out.
 */
test('without a token, only loopback may publish, and others are told why', { hub: null },
    async ({ defer }) => {
        const probe = promisify(execFile);
        await probe('unshare', ['-rn', 'ip', 'link', 'show']).catch(() => {
            throw new Skip('this machine does not allow network namespaces');
        });
        const script = `
            ip link set lo up && ip address add 10.99.0.1/32 dev lo
            ${[...settings.wrapper, settings.spate].join(' ')} --io ${settings.io} \\
                --listen 10.99.0.1:0 --listen 127.0.0.1:0 &
            hub=$!
            while read -r url; do
                curl -s -w '\\n%{http_code}\\n' -H 'Content-Type: text/plain' -d x "$url"
            done
            kill $hub; wait $hub`;
        const shell = spawn('unshare', ['-rn', 'sh', '-c', script], {
            env: cleanEnvironment(),
            stdio: ['pipe', 'pipe', 'pipe'],
        });
        let log = '';
        let output = '';
        shell.stderr.setEncoding('utf8').on('data', (text) => (log += text));
        shell.stdout.setEncoding('utf8').on('data', (text) => (output += text));
        defer(async () => {
            shell.stdin.end();
            const exit = shell.exitCode ?? (await once(shell, 'close'))[0];
            assert.equal(exit, 0, log);
        });
        const addresses = await until('both listening', () => {
            const lines = wholeLines(log).filter((line) => /msg="?listening/.test(line));
            return lines.length === 2 && lines.map((line) => logfmt(line).address);
        });
        shell.stdin.write(`http://${addresses.find((a) => a.startsWith('10.'))}/publish/p\n`);
        await until('the refusal', () => /\n401\n$/.test(output));
        const problem = JSON.parse(output.replace(/\n401\n$/, ''));
        assert.equal(problem.status, 401);
        assert.match(problem.detail, /AUTH_TOKEN|token/i);
        output = '';
        shell.stdin.write(`http://${addresses.find((a) => a.startsWith('127.'))}/publish/p\n`);
        await until('the acceptance', () => /\n200\n$/.test(output));
    });

const EVIL = 'http://evil.example';
const GOOD = 'https://good.example';

test('a page of another site cannot publish', async ({ hub }) => {
    const stream = await hub.subscribe('/stream/csrf');
    const attempts = [{ Origin: EVIL }, { Origin: 'null' }, { 'Sec-Fetch-Site': 'cross-site' },
        { Origin: `http://127.0.0.1:${hub.port + 1}` }, { Origin: EVIL, 'Sec-Fetch-Site': 'same-origin' },
        { Origin: hub.url, 'Sec-Fetch-Site': 'cross-site' }];
    for (const headers of attempts) {
        for (const [method, path] of [['POST', '/publish/csrf'], ['POST', '/publish?canal=broadcast&msg=x'],
            ['GET', '/publish/csrf/status/x'], ['GET', '/publish/status/x']]) {
            const response = await hub.request(method, path, {
                headers: { ...TEXT, ...headers },
                body: method === 'POST' ? 'x' : undefined,
            });
            assert.equal(response.status, 403, `${method} ${path} ${JSON.stringify(headers)}`);
        }
    }
    const own = [{ Origin: hub.url }, { Origin: hub.url, 'Sec-Fetch-Site': 'same-origin' },
        { 'Sec-Fetch-Site': 'none' }];
    for (const headers of own) {
        const response = await post(hub, '/publish/broadcast', 'own', { ...TEXT, ...headers });
        assert.equal(response.status, 200, JSON.stringify(headers));
    }
    await stream.received(3);
    assert.deepEqual(stream.data, ['own', 'own', 'own']);
});

test('of an origin that no browser sends the log advises nothing that a shell would run', { hub: {} }, async ({ hub }) => {
    const refused = () => hub.lines.filter((line) => line.includes('page of another origin refused'));
    for (const origin of ['http://a;reboot', 'http://$(reboot)', 'http://a`reboot`', 'http://a b']) {
        assert.equal((await post(hub, '/publish/csrf', 'x', { ...TEXT, Origin: origin })).status, 403);
    }
    await until('a line about each', () => refused().length === 4);
    assert.deepEqual(refused().map((line) => logfmt(line).to_allow_it), Array(4).fill("--cors-origin '*'"));
});

test('an allowed origin may publish', { hub: { args: ['--cors-origin', GOOD] } }, async ({ hub }) => {
    const good = { ...TEXT, Origin: GOOD, 'Sec-Fetch-Site': 'cross-site' };
    const response = await post(hub, '/publish/cors', 'x', good);
    assert.equal(response.status, 200);
    assert.equal(response.get('access-control-allow-origin'), GOOD);
    for (const origin of [EVIL, `${GOOD}.evil.example`, 'http://good.example', `${GOOD}:8443`]) {
        const refused = await post(hub, '/publish/cors', 'x', { ...good, Origin: origin });
        assert.equal(refused.status, 403, origin);
        assert.notEqual(refused.get('access-control-allow-origin'), origin);
    }
});

test('all origins may publish when * was given', { hub: { args: ['--cors-origin', '*'] } },
    async ({ hub }) => {
        const headers = { ...TEXT, Origin: EVIL, 'Sec-Fetch-Site': 'cross-site' };
        assert.equal((await post(hub, '/publish/cors', 'x', headers)).status, 200);
    });
