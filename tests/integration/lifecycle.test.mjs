/* Starting, reloading, limiting and ending a hub, and what it writes about it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { EventSource } from 'eventsource';
import { Skip, test } from './harness.mjs';
import { cleanEnvironment, logfmt, settings, wholeLines } from './hub.mjs';
import { until } from './until.mjs';
import { Wire, requestText } from './wire.mjs';

const TEXT = { 'Content-Type': 'text/plain' };
const SSE = { Accept: 'text/event-stream' };

function scratch(defer) {
    const directory = mkdtempSync(path.join(os.tmpdir(), 'spate-test-'));
    defer(async () => rmSync(directory, { recursive: true }));
    return directory;
}

/* Runs a program to its end: {code, stdout, stderr}. */
function run(program, args, env = {}) {
    return new Promise((resolve) => {
        execFile(program, args, { env: cleanEnvironment(env) }, (error, stdout, stderr) =>
            resolve({ code: error === null ? 0 : error.code, stdout, stderr }));
    });
}

const spate = (args, env) =>
    run([...settings.wrapper, settings.spate][0],
        [...settings.wrapper, settings.spate, ...args].slice(1), env);

/* A kept-alive connection that the hub is known to have accepted. */
async function keptAlive(hub) {
    const wire = await hub.connect();
    wire.send(requestText('GET', '/health'));
    assert.equal((await wire.response()).status, 200);
    return wire;
}

/* What a browser is told when there is no stream for it now. */
async function assertComeBackLater(wire) {
    const response = await wire.response();
    assert.equal(response.status, 200);
    assert.equal(response.get('content-type'), 'text/event-stream');
    assert.match(response.text, /^retry: ?[0-9]+\n/m);
    assert.doesNotMatch(response.text, /^data/m);
    await wire.end();
}

async function assertUnavailable(wire) {
    const response = await wire.response();
    assert.equal(response.status, 503);
    assert.match(response.get('retry-after') ?? '', /^[0-9]+$/);
    return response;
}

/* Ending. */

test('streams that are too old are ended one after another, and their clients come back',
    { waits: true, hub: { args: ['--stream-seconds-max', '1', '--retry-ms', '1'] } }, async ({ hub, defer }) => {
        let count = 0;
        const ages = () => hub.lines.map(logfmt).filter(({ reason }) => reason === 'age')
            .map(({ duration_ms: ms }) => Number(ms));
        /* The hub looks at its clock eight times a second, and a busy machine is late: then once more. */
        await until('each ended at an age of its own', async () => {
            await Promise.all(Array.from({ length: 20 }, async () => {
                const stream = await hub.subscribe('/sse/old');
                await stream.end();
                assert.ok(stream.finished, 'in good order');
                assert.ok('retry' in stream.items.at(-1));
            }));
            count += 20;
            await until('the lines about them', () => ages().length === count);
            const [least, ...others] = ages().slice(-20).toSorted((x, y) => x - y);
            assert.ok(least >= 750, `after ${least} ms`);
            return least < 950 && others.at(-1) - least > 50;
        }, 40);
        await until('their being counted', async () => (await hub.stats()).aged_out === count);
        /* A real client sees every event across its lives. */
        const seen = [];
        const source = new EventSource(`${hub.url}/sse/old`);
        let opened = 0;
        defer(() => source.close());
        source.onopen = () => opened++;
        source.onmessage = ({ data }) => seen.push(Number(data));
        await until('the stream being open', () => opened > 0);
        let published = 0;
        await until('three lives', async () => {
            await hub.publish('old', String(published++));
            return opened >= 3;
        });
        await until('the last event', () => seen.length >= published);
        assert.deepEqual(seen, Array.from({ length: published }, (_, i) => i));
    });

test('SIGTERM: streams end with a retry, what is under way is answered, exit 0',
    { waits: true, hub: { args: ['--drain-seconds', '4', '--shards', '1'] } }, async ({ hub }) => {
        /* A shard without streams answers for half a second only: the last of so many goes late. */
        const streams = [await hub.subscribe('/sse/drain'), await hub.subscribe('/stream/drain'),
            await hub.subscribe('/sse?channel=drain&channel=other')];
        for (let i = 0; i < 13; i++) {
            streams.push(await hub.subscribe('/sse/drain'));
        }
        const old = await hub.subscribe('/sse/drain', { version: '1.0' });
        const [probe, browser, other, publisher] = [await keptAlive(hub), await keptAlive(hub),
            await keptAlive(hub), await keptAlive(hub)];
        await publisher.sendAll(requestText('POST', '/publish/drain', { ...TEXT, 'Content-Length': 4 })
                                + 'ha');
        await hub.publish('drain', 'last words');
        hub.signal('SIGTERM');
        await hub.logged(/drain/i);
        await until('/readyz being 503', async () => {
            probe.send(requestText('GET', '/readyz'));
            return (await probe.response()).status === 503;
        });
        browser.send(requestText('GET', '/sse/drain', SSE));
        other.send(requestText('GET', '/sse/drain'));
        publisher.send('lf');
        await assertComeBackLater(browser);
        await assertUnavailable(other);
        const answer = await publisher.response();
        assert.ok(answer.status === 200 || (answer.status === 503 && answer.get('retry-after')),
            `${answer.status} ${answer.text}`);
        for (const stream of [...streams, old]) {
            await stream.end(15);
            assert.ok('retry' in stream.items.at(-1), JSON.stringify(stream.items.at(-1)));
            assert.ok(stream.finished || stream === old, 'the stream ends with its last chunk');
            assert.equal(stream.retries.length, 2);
        }
        assert.equal(streams[0].data[0], 'last words');
        [probe, browser, other, publisher].forEach((wire) => wire.destroy());
        assert.deepEqual(await hub.ended(), { code: 0, signal: null });
    });

for (const name of ['SIGTERM', 'SIGINT']) {
    test(`${name} on an idle hub: exit 0 at once, whatever the drain time`,
        { hub: { args: ['--drain-seconds', '3600'] } }, async ({ hub }) => {
            hub.signal(name);
            assert.deepEqual(await hub.ended(), { code: 0, signal: null });
        });
}

test('the drain has an end even when peers do nothing',
    { waits: true, hub: { args: ['--drain-seconds', '1', '--header-seconds', '3600', '--body-seconds', '3600'] } },
    async ({ hub }) => {
        const head = await keptAlive(hub);
        const body = await keptAlive(hub);
        const stream = await hub.subscribe('/sse/stuck');
        stream.wire.socket.pause();
        await head.sendAll('GET /health HTTP/1.1\r\n');
        await body.sendAll(requestText('POST', '/publish/x', { ...TEXT, 'Content-Length': 4 }) + 'h');
        hub.signal('SIGTERM');
        assert.deepEqual(await hub.ended(), { code: 0, signal: null });
    });

test('an answer that is read slowly is not cut by a drain', {
    waits: true,
    hub: { args: ['--drain-seconds', '3600', '--shards', '1'], h2: false },
}, async ({ hub }) => {
    const wire = await keptAlive(hub);
    wire.socket.pause();
    const { bytes_sent: before } = await hub.stats();
    wire.send(requestText('GET', '/openapi.json').repeat(100));
    await until('the first answer being under way',
        async () => (await hub.stats()).bytes_sent > before + 100_000);
    hub.signal('SIGTERM');
    await hub.logged(/drain/i);
    /*
     * That nothing happens has no sign of its own: a hub that cuts the answer does so after 750 ms and
     * ends, which is seen at once; one that does not is asked for longer. Late clocks cannot fail it.
     */
    const told = Date.now();
    await until('a second having passed, or the end', () => Date.now() - told > 1000 || hub.exit);
    assert.equal(hub.exit, null);
    wire.socket.resume();
    let answer;
    do {
        answer = await wire.response();
        assert.equal(answer.json.info.title.length > 0, true);
    } while (answer.get('connection') !== 'close');
    await wire.end();
    assert.deepEqual(await hub.ended(), { code: 0, signal: null });
});

test('a second SIGTERM does not wait', { hub: { args: ['--drain-seconds', '3600'] } },
    async ({ hub }) => {
        const wire = await keptAlive(hub);
        await wire.sendAll(requestText('POST', '/publish/x', { ...TEXT, 'Content-Length': 4 }) + 'h');
        hub.signal('SIGTERM');
        await hub.logged(/drain/i);
        hub.signal('SIGTERM');
        assert.deepEqual(await hub.ended(), { code: 0, signal: null });
    });

/* Whatever a connection was doing when the end came, the hub ends in order. Run under sanitizers too. */
test('SIGTERM while connections pour in and messages flow', { hub: null, seconds: 180 },
    async ({ start }) => {
        const end = async (round) => {
            const hub = await start({ args: ['--drain-seconds', '1', '--shards', '3'] });
            let running = true;
            const busy = Array.from({ length: 6 }, async (_, lane) => {
                const client = hub.client();
                for (let i = 0; running; i++) {
                    if (lane < 2) {
                        const body = `round ${round} ${i}`;
                        const response = await client.request('POST', '/publish/pour',
                            { headers: TEXT, body });
                        assert.ok([200, 503].includes(response.status), String(response.status));
                    } else {
                        await hub.subscribe('/sse/pour', { ready: false });
                    }
                }
            }).map((lane) => lane.catch((error) => error));
            await until('something going on', async () => (await hub.stats()).deliveries > 50 * round);
            hub.signal('SIGTERM');
            await hub.logged(/drain/i);
            assert.deepEqual(await hub.ended(), { code: 0, signal: null });
            running = false;
            hub.closeConnections();
            for (const error of await Promise.all(busy)) {
                /* They end by the connection's end, not by a wrong answer. */
                assert.ok(!(error instanceof assert.AssertionError), String(error));
            }
        };
        /* Two at a time, as each waits for a second and more. */
        for (let round = 0; round < 10; round += 2) {
            await Promise.all([end(round), end(round + 1)]);
        }
    });

/* The end of a stream from here on, unparsed, so that the hub is never waited for. */
function tailOf(stream) {
    const tail = { text: '', length: 0 };
    stream.wire.sink = (bytes) => {
        tail.text = (tail.text + bytes.toString('latin1', Math.max(0, bytes.length - 200))).slice(-200);
        tail.length += bytes.length;
    };
    return tail;
}

/* What follows a cut event would become a part of it. */
for (const [name, transport] of [['TLS', { tls: true }], ['HTTP/2', { h2: true }]]) {
    test(`a shutdown in the middle of events over ${name} leaves none mutilated`,
        { hub: null, seconds: 120 }, async ({ start }) => {
            for (let round = 0; round < 2; round++) {
                const hub = await start({ ...transport,
                    args: ['--drain-seconds', '0', '--history-bytes', '64MiB'] });
                for (let i = 0; i < 20; i++) {
                    await hub.publish('large', 'x'.repeat(1_000_000));
                }
                const streams = [];
                const tails = [];
                for (let i = 0; i < 6; i++) {
                    streams.push(await hub.subscribe('/sse/large?last_event_id=earliest',
                        { ready: false }));
                    tails.push(tailOf(streams[i]));
                }
                await until('events on their way', () => tails.every((tail) => tail.length > 0));
                hub.signal('SIGTERM');
                await Promise.all(streams.map((stream) => stream.end(30)));
                assert.deepEqual(await hub.ended(), { code: 0, signal: null });
                for (const { text } of tails) {
                    assert.doesNotMatch(text, /x([0-9a-f]+\r\n)?retry:/);
                }
            }
        });
}

test('npm-style clients reconnect to a hub that comes back on its port', { hub: null },
    async ({ start, defer }) => {
        const { EventSource } = await import('eventsource');
        const first = await start({ args: ['--retry-ms', '100'] });
        const source = new EventSource(`${first.url}/sse/back`);
        const seen = [];
        let opened = 0;
        defer(async () => source.close());
        source.onopen = () => opened++;
        source.onmessage = (event) => seen.push(event.data);
        await until('open', () => opened === 1);
        await first.publish('back', 'from the first');
        await until('the first event', () => seen.length === 1);
        await first.stop();
        const second = await start({
            listen: [`${first.tls ? 'tls:' : ''}127.0.0.1:${first.port}`],
            tls: first.tls,
            args: ['--retry-ms', '100'],
        });
        await until('open again', () => opened >= 2, 30);
        await second.publish('back', 'from the second');
        await until('the second event', () => seen.length === 2);
        assert.deepEqual(seen, ['from the first', 'from the second']);
    });

test('a hub that drains leaves its port to the next one', { hub: null }, async ({ start }) => {
    const options = { args: ['--drain-seconds', '3600'] };
    const first = await start(options);
    const stream = await first.subscribe('/sse/handed');
    first.signal('SIGTERM');
    await first.logged(/drain/i);
    const second = await start({
        ...options,
        listen: [`${first.tls ? 'tls:' : ''}127.0.0.1:${first.port}`],
        tls: first.tls,
    });
    assert.equal((await second.get('/readyz')).status, 200);
    assert.equal((await second.stats()).clients, 0);
    first.signal('SIGTERM');
    await stream.end();
    assert.deepEqual(await first.ended(), { code: 0, signal: null });
});

test('who connected before the end is answered', { hub: null }, async ({ start }) => {
    const hub = await start({ listen: ['127.0.0.1:0'], tls: false, args: ['--drain-seconds', '3600'] });
    hub.signal('SIGSTOP');
    const wires = await Promise.all(Array.from({ length: 120 }, () => hub.connect()));
    for (const wire of wires) {
        wire.send('GET /health HTTP/1.1\r\nHost: hub\r\n\r\n');
    }
    hub.signal('SIGTERM');
    hub.signal('SIGCONT');
    for (const wire of wires) {
        assert.equal((await wire.response()).status, 200);
        wire.destroy();
    }
    assert.deepEqual(await hub.ended(), { code: 0, signal: null });
});

test('kill -9, and the next start on the same port is clean', { hub: null }, async ({ start, defer }) => {
    const socket = path.join(scratch(defer), 'hub.sock');
    const first = await start({ listen: ['127.0.0.1:0', `unix:${socket}`] });
    await first.subscribe('/sse/killed');
    first.signal('SIGKILL');
    assert.equal((await first.ended()).signal, 'SIGKILL');
    first.exit = { code: 0, signal: null }; /* as this test wanted it */
    const second = await start({ listen: [`127.0.0.1:${first.port}`, `unix:${socket}`] });
    await second.publish('killed', 'x');
    assert.equal((await run('curl', ['-sf', '--unix-socket', socket, 'http://hub/health'])).code, 0);
});

/* Reloading. */

const authorized = (hub, token) =>
    hub.request('POST', '/publish/reload', {
        headers: { ...TEXT, Authorization: `Bearer ${token}` },
        body: 'x',
    });

test('SIGHUP: the token file is read again', { hub: null }, async ({ start, defer }) => {
    const file = path.join(scratch(defer), 'tokens');
    writeFileSync(file, 'first-token-of-test\n', { mode: 0o600 });
    const hub = await start({ args: ['--publish-token-file', file] });
    const stream = await hub.subscribe('/sse/reload');
    assert.equal((await authorized(hub, 'first-token-of-test')).status, 200);
    assert.equal((await authorized(hub, 'second-token-of-test')).status, 401);
    writeFileSync(file, 'second-token-of-test\nthird-token-of-test\n');
    hub.signal('SIGHUP');
    await until('the new token working',
        async () => (await authorized(hub, 'second-token-of-test')).status === 200);
    assert.equal((await authorized(hub, 'third-token-of-test')).status, 200);
    assert.equal((await authorized(hub, 'first-token-of-test')).status, 401);
    assert.ok(!stream.ended, 'a reload ends no stream');
    for (const token of ['first', 'second', 'third']) {
        assert.ok(!hub.log.includes(`${token}-token`), 'a token in the log');
    }
});

test('SIGHUP: origins and log level of the file are read again', { hub: null },
    async ({ start, defer }) => {
        const file = path.join(scratch(defer), 'spate.yaml');
        const [one, two] = ['https://one.example', 'https://two.example'];
        writeFileSync(file, `cors_origin: ${one}\nlog_level: info\n`);
        const hub = await start({ args: ['--config', file] });
        const allowed = async (origin) => {
            const response = await hub.get('/health', { Origin: origin });
            return response.get('access-control-allow-origin') === origin;
        };
        assert.ok(await allowed(one));
        assert.ok(!(await allowed(two)));
        writeFileSync(file, `cors_origin: [${two}]\nlog_level: debug\n`);
        hub.signal('SIGHUP');
        await until('the new origin', () => allowed(two));
        assert.ok(!(await allowed(one)));
        await hub.subscribe('/sse/debugged');
        await hub.publish('debugged', 'x');
        await hub.logged(/level="?debug/);
    });

test('SIGHUP with a broken file: the old configuration stays, and the log says why', { hub: null },
    async ({ start, defer }) => {
        const file = path.join(scratch(defer), 'spate.yaml');
        writeFileSync(file, 'cors_origin: https://one.example\n');
        const hub = await start({ args: ['--config', file] });
        writeFileSync(file, 'cors_orgin: https://two.example\n');
        hub.signal('SIGHUP');
        await hub.logged(/cors_orgin.*cors_origin/);
        const response = await hub.get('/health', { Origin: 'https://one.example' });
        assert.equal(response.get('access-control-allow-origin'), 'https://one.example');
    });

/* The configuration from outside. */

test('--check-config prints and exits', { hub: null }, async ({ defer }) => {
    const file = path.join(scratch(defer), 'spate.yaml');
    writeFileSync(file, 'heartbeat_seconds: 7\n');
    const env = { SPATE_RETRY_MS: '1234', AUTH_TOKEN: 'never-print-this' };
    const result = await spate(['--check-config', '--config', file, '--drain-seconds', '5'], env);
    assert.equal(result.code, 0, result.stderr);
    for (const pattern of [/^heartbeat_seconds: 7\b/m, /^retry_ms: 1234\b/m, /^drain_seconds: 5\b/m]) {
        assert.match(result.stdout, pattern);
    }
    assert.ok(!(result.stdout + result.stderr).includes('never-print-this'));
    /* What it prints is a file that says the same. */
    const copy = `${file}.copy`;
    writeFileSync(copy, result.stdout);
    const again = await spate(['--check-config', '--config', copy]);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stdout, /^retry_ms: 1234\b/m);
});

test('mistakes exit with 2 and name the nearest word', { hub: null }, async ({ defer }) => {
    const file = path.join(scratch(defer), 'spate.yaml');
    writeFileSync(file, 'heartbeat_secnds: 7\n');
    for (const [args, env, pattern] of [
        [['--drain-secnds', '5'], {}, /--drain-seconds/],
        [['--config', file], {}, /heartbeat_seconds/],
        [[], { SPATE_DRAIN_SECOND: '5' }, /SPATE_DRAIN_SECONDS/],
        [['--drain-seconds', 'x'], {}, /drain.seconds/],
        [['--io', 'kqueue'], {}, /io_uring/],
        [['--listen', 'nowhere'], {}, /listen/],
        [['--config', '/does/not/exist'], {}, /does\/not\/exist/],
        [['stray'], {}, /stray/],
    ]) {
        const result = await spate(args, env);
        assert.equal(result.code, 2, `${args}: ${result.code} ${result.stderr}`);
        assert.match(result.stderr, pattern);
    }
});

test('--version and --help', { hub: null }, async () => {
    const version = await spate(['--version']);
    assert.equal(version.code, 0);
    assert.match(version.stdout, /[0-9]+\.[0-9]+\.[0-9]+/);
    const help = await spate(['--help']);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /--listen/);
});

test('an address in use: exit 1, and the address is named', async ({ hub }) => {
    /* Not SO_REUSEPORT: a plain listener of this process. */
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = `127.0.0.1:${server.address().port}`;
    const result = await spate(['--listen', address]);
    server.close();
    assert.equal(result.code, 1, result.stderr);
    assert.ok(result.stderr.includes(address), result.stderr);
    assert.ok(hub.port > 0);
});

test('several addresses and several shards', { hub: null }, async ({ start }) => {
    const hub = await start({
        listen: ['127.0.0.1:0', '127.0.0.2:0'],
        args: ['--shards', '3'],
    });
    assert.equal(hub.listening().length, 2);
    assert.equal((await hub.stats()).shards.length, 3);
    const streams = [];
    for (let i = 0; i < 24; i++) {
        streams.push(await hub.subscribe(`/sse?channel=everyone&channel=own${i % 4}`));
    }
    for (let i = 0; i < 4; i++) {
        assert.equal((await hub.publish(`own${i}`, `for ${i}`)).subscribers, 6);
    }
    assert.equal((await hub.publish('everyone', 'for all')).subscribers, 24);
    for (const [i, stream] of streams.entries()) {
        await stream.received(2);
        assert.deepEqual(stream.data, [`for ${i % 4}`, 'for all']);
    }
    const second = hub.listening().find((address) => address.startsWith('127.0.0.2'));
    const wire = await Wire.connect({ host: '127.0.0.2', port: Number(second.split(':')[1]) });
    wire.send(requestText('GET', '/health'));
    assert.equal((await wire.response()).status, 200);
    wire.destroy();
});

test('a start is waited for on every address, however late the lines of the log come',
    { hub: null }, async ({ start }) => {
        const late = 'exec "$@" 2> >(while IFS= read -r line; do sleep 0.1; echo "$line"; done >&2)';
        const hub = await start({
            listen: ['127.0.0.1:0', '127.0.0.2:0'],
            wrapper: ['bash', '-c', late, 'bash', ...settings.wrapper],
        });
        assert.equal(hub.listening().length, 2);
    });

test('a Unix socket, with curl', { hub: null }, async ({ start, defer }) => {
    const socket = path.join(scratch(defer), 'hub.sock');
    const hub = await start({ listen: ['127.0.0.1:0', `unix:${socket}`] });
    assert.ok(hub.listening().includes(`unix:${socket}`), String(hub.listening()));
    assert.equal(statSync(socket).mode & 0o007, 0, 'not for everybody');
    const stream = await hub.subscribe('/sse/unix');
    for (let i = 0; i < 5; i++) {
        const result = await run('curl', ['-sSf', '--unix-socket', socket, '-H',
            'Content-Type: text/plain', '-d', `unix ${i}`, 'http://hub/publish/unix']);
        assert.equal(result.code, 0, result.stderr);
        assert.equal(JSON.parse(result.stdout).subscribers, 1);
    }
    await stream.received(5);
    assert.deepEqual(stream.data, [0, 1, 2, 3, 4].map((i) => `unix ${i}`));
    await hub.stop();
    assert.ok(!existsSync(socket), 'the socket file is left behind');
});

test('a socket handed over by the service manager', { hub: null }, async ({ start }) => {
    /* systemd's protocol: descriptors from 3 on, their number, and whom they are for. */
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    const starting = start({
        listen: ['systemd'],
        wrapper: ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh', ...settings.wrapper],
        env: { LISTEN_FDS: '1' },
        stdio: [server._handle.fd],
    });
    /* From here on the hub's copy alone is accepted from. */
    server.close();
    const hub = await starting;
    assert.equal(hub.port, port);
    const streams = [];
    for (let i = 0; i < 8; i++) {
        streams.push(await hub.subscribe('/sse/inherited'));
    }
    await hub.publish('inherited', 'x');
    for (const stream of streams) {
        assert.equal((await stream.received(1))[0].data, 'x');
    }
});

/* Limits. */

test('connections beyond the limit are told to come back',
    { hub: { h2: false, args: ['--connections-max', '4'] } }, async ({ hub }) => {
        const streams = [];
        for (let i = 0; i < 4; i++) {
            streams.push(await hub.subscribe('/sse/full'));
        }
        const browser = await hub.connect();
        browser.send(requestText('GET', '/sse/full', SSE));
        await assertComeBackLater(browser);
        const other = await hub.connect();
        other.send(requestText('GET', '/health'));
        await assertUnavailable(other);
        streams.pop().close();
        await until('room again', async () => {
            const wire = await hub.connect();
            wire.send(requestText('GET', '/health', { Connection: 'close' }));
            return (await wire.response()).status === 200;
        });
        assert.ok(streams.every((stream) => !stream.ended));
    });

test('connections that ask for nothing make room for those that do',
    { hub: { args: ['--connections-max', '4', '--shards', '1'] } }, async ({ hub }) => {
        const stream = await hub.subscribe('/sse/room');
        const silent = [await hub.connect(), await hub.connect(), await hub.connect()];
        silent[1].send('GET /health HT');
        const wire = await hub.connect();
        wire.send(requestText('GET', '/health'));
        assert.equal((await wire.response()).status, 200);
        await until('the oldest silent one is gone', async () => silent[0].ended);
        assert.ok(!silent[2].ended);
        await hub.publish('room', 'still here');
        await stream.received(1);
    });

test('one address may have only so many connections',
    { hub: { h2: false, args: ['--connections-per-address-max', '2', '--shards', '2'] } }, async ({ hub }) => {
        await hub.subscribe('/sse/address');
        const second = await hub.subscribe('/sse/address');
        const third = await hub.connect();
        third.send(requestText('GET', '/sse/address', SSE));
        await assertComeBackLater(third);
        const elsewhere = await hub.subscribe('/sse/address', { localAddress: '127.0.0.2' });
        assert.equal(elsewhere.head.status, 200);
        second.close();
        await until('room for this address again', async () => {
            const wire = await hub.connect();
            wire.send(requestText('GET', '/health', { Connection: 'close' }));
            return (await wire.response().catch(() => ({ status: 0 }))).status === 200;
        });
    });

test('channels beyond the limit are refused', { hub: { args: ['--channels-max', '2'] } },
    async ({ hub }) => {
        await hub.publish('c1', 'x');
        await hub.publish('c2', 'x');
        const refused = await hub.request('POST', '/publish/c3', { headers: TEXT, body: 'x' });
        assert.ok([429, 503].includes(refused.status), `status ${refused.status}`);
        assert.notEqual(refused.get('retry-after'), undefined);
        const batch = await hub.request('POST', '/publish/c1', {
            headers: { 'Content-Type': 'application/x-ndjson' },
            body: '{"data":"a"}\n{"data":"b","channel":"c4"}\n',
        });
        assert.ok([429, 503].includes(batch.status), `status ${batch.status}`);
        const stream = await hub.subscribe('/sse/c1?history=10');
        await hub.publish('c1', 'after');
        await stream.received(2);
        assert.deepEqual(stream.data, ['x', 'after']);
    });

/* The log. */

test('connect, publish and disconnect are logged, the token never is',
    { hub: { env: { AUTH_TOKEN: 'tok3n-never-logged' }, args: ['--log-level', 'debug'] } },
    async ({ hub }) => {
        const stream = await hub.subscribe('/sse/logged?token=tok3n-never-logged');
        for (const value of ['Bearer tok3n-never-logged', 'Bearer tok3n-never-loggedX',
            'tok3n-never-logged']) {
            await hub.request('POST', '/publish/logged?token=tok3n-never-logged', {
                headers: { ...TEXT, Authorization: value },
                body: 'x',
            });
        }
        const bad = await hub.connect();
        bad.send('GET /tok3n-never-logged HTTP/1.1\r\nAuthorization : Bearer tok3n-never-logged\r\n\r\n');
        await bad.end();
        stream.close();
        await until('the subscriber gone', async () => (await hub.stats()).clients === 0);
        await hub.logged(/logged.*disconnect|disconnect.*logged/i);
        hub.closeConnections();
        hub.signal('SIGTERM');
        await hub.ended();
        assert.ok(hub.log.includes('level=debug'), 'the debug lines are there');
        assert.ok(!hub.log.includes('never-logged'), hub.log);
    });

test('control characters of a request cannot forge a log line',
    { hub: { args: ['--log-level', 'debug'] } }, async ({ hub }) => {
        await hub.get('/x%0Alevel=error%20msg=forged');
        await hub.get('/health', { 'User-Agent': 'a" msg=forged level=error x="' });
        await hub.subscribe('/stream/%22%20msg=forged');
        await hub.logged(/path=.*level=error.*msg=forged/);
        await hub.logged(/msg=connect .*msg=forged/);
        for (const line of hub.lines) {
            assert.doesNotMatch(line.replace(/"(?:[^"\\]|\\.)*"/g, '""'), /msg=forged/);
        }
    });

test('the log as JSON is one object a line', { hub: null }, async ({ defer }) => {
    const child = execFile([...settings.wrapper, settings.spate][0],
        [...settings.wrapper, settings.spate, '--log-format', 'json', '--listen', '127.0.0.1:0',
            '--io', settings.io].slice(1), { env: cleanEnvironment() });
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text) => (log += text));
    const closed = once(child, 'close');
    defer(() => closed);
    defer(async () => child.kill('SIGTERM'));
    const lines = await until('the hub ready', () => {
        const whole = wholeLines(log).map((line) => JSON.parse(line));
        return whole.some(({ msg }) => msg === 'ready') && whole;
    }, 15);
    assert.match(lines.find(({ msg }) => msg === 'listening').address, /^127\.0\.0\.1:[0-9]+$/);
    assert.ok(lines.every(({ level }) => typeof level === 'string'));
});

/* Beside the hub, or beside the tests' own build, lies a program that forbids io_uring. */
function seccompWrapper() {
    const directory = path.dirname(settings.spate);
    const found = ['no_io_uring', 'no-io-uring', 'without_io_uring', 'seccomp_no_io_uring']
        .map((name) => path.join(directory, name)).find((file) => existsSync(file));
    if (found === undefined) {
        throw new Skip('the wrapper no_io_uring is not built');
    }
    return found;
}

test('where io_uring is forbidden, auto falls back to epoll and says why', { hub: null },
    async ({ start }) => {
        const hub = await start({
            wrapper: [seccompWrapper(), ...settings.wrapper],
            args: ['--io', 'auto'],
        });
        assert.equal((await hub.stats()).io, 'epoll');
        const lines = hub.lines.filter((line) => /epoll/.test(line) && /io_uring/.test(line));
        assert.equal(lines.length, 1, 'one line that says why');
        const stream = await hub.subscribe('/sse/fallback');
        await hub.publish('fallback', 'works');
        assert.equal((await stream.received(1))[0].data, 'works');
    });

test('where io_uring is forbidden, asking for it is an error that says why', { hub: null },
    async () => {
        const wrapper = seccompWrapper();
        const result = await run(wrapper, [settings.spate, '--io', 'io_uring', '--listen',
            '127.0.0.1:0']);
        assert.equal(result.code, 1);
        assert.match(result.stderr, /io_uring/);
    });
