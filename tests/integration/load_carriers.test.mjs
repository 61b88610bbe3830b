/*
 * spate-load over TLS and HTTP/2: the same checks whatever carries the streams, and servers that do
 * not do as they should are told apart.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ctl } from './ctl.mjs';
import { test } from './harness.mjs';
import { counted, none, run } from './load.mjs';

const directory = mkdtempSync(path.join(os.tmpdir(), 'spate-carriers-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
const file = (name) => path.join(directory, name);

function certificate(name, subject = 'IP:127.0.0.1') {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
        '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${subject}`,
        '-keyout', file(`${name}.key`), '-out', file(`${name}.pem`)], { stdio: 'pipe' });
}
certificate('own');
certificate('stranger');
certificate('elsewhere', 'DNS:elsewhere.test');
const keys = (name) => ({ key: readFileSync(file(`${name}.key`)), cert: readFileSync(file(`${name}.pem`)) });

/* A hub with both kinds of listener, and how to reach it in each of the four ways. */
async function both(start, args = []) {
    const hub = await start({ tls: false, listen: ['127.0.0.1:0', 'tls:127.0.0.1:0'],
        args: ['--tls-certificate', file('own.pem'), '--tls-key', file('own.key'), ...args] });
    const secured = () => hub.lines.find((line) => /\btls=yes\b/.test(line));
    await hub.logged(/\btls=yes\b/);
    const port = /address=\S*?:(\d+)/.exec(secured())[1];
    const trust = ['--cacert', file('own.pem')];
    return { hub, ways: {
        'HTTP/1.1': [hub.url, []],
        'HTTP/2': [hub.url, ['--h2', '--streams-per-connection', '10']],
        'HTTP/1.1 over TLS': [`https://127.0.0.1:${port}`, trust],
        'HTTP/2 over TLS': [`https://127.0.0.1:${port}`, [...trust, '--h2', '--streams-per-connection', '10']],
    } };
}

test('nothing is lost in any of four ways, whatever is cut', { hub: null, seconds: 120 }, async ({ start }) => {
    const { hub, ways } = await both(start);
    for (const [way, [url, carrier]] of Object.entries(ways)) {
        const before = await hub.stats();
        const result = await run(url, [...carrier, '--subscribers', '60', '--channels', '3', '--rate', '200',
            '--publishers', '4', '--duration', '2', '--storm', '40', '--storm-every', '0.4', '--slow', '10',
            '--slow-bytes', '20000']);
        assert.equal(result.code, 0, `${way}: ${result.error}`);
        assert.deepEqual(counted(result), none, way);
        const { counts, options } = result.json;
        assert.equal(counts.deliveries, counts.expected, way);
        assert.equal(counts.acknowledged, 400, way);
        /* One every 0.4 s, but for the last if the machine stood still then. */
        assert.ok(counts.storms === 4 || counts.storms === 3, `${way}: ${counts.storms} storms`);
        assert.ok(counts.storm_cuts > 20, `${way}: ${counts.storm_cuts} cuts`);
        assert.equal(counts.connects, 60 + counts.storm_cuts, way);
        assert.equal(options.tls, way.includes('TLS'));
        assert.equal(options.streams_per_connection, way.includes('HTTP/2') ? 10 : 0);
        /* Six connections for the streams at first, and some again after every second storm. */
        const opened = (await hub.stats()).http2_connections - before.http2_connections;
        assert.ok(way.includes('HTTP/2') ? opened >= 7 && opened <= 30 : opened === 0, `${way}: ${opened}`);
    }
});

test('messages that are longer than a window', { hub: null }, async ({ start }) => {
    const { ways } = await both(start);
    for (const [way, [url, carrier]] of Object.entries(ways)) {
        const result = await run(url, [...carrier, '--subscribers', '20', '--rate', '20', '--duration', '1',
            '--size', '300000']);
        assert.equal(result.code, 0, `${way}: ${result.error}`);
        assert.deepEqual(counted(result), none, way);
        /* Who is too slow for so much is told what it has missed. */
        assert.equal(result.json.counts.deliveries + result.json.checks.announced, 20 * 20, way);
    }
});

test('spatectl bench hands on whom to trust, and a prefix', { hub: null }, async ({ start, defer }) => {
    const { hub, ways } = await both(start);
    const [url] = ways['HTTP/1.1 over TLS'];
    const args = ['--', '--subscribers', '5', '--rate', '20', '--duration', '0.5', '--quiet'];
    const trusting = await ctl(null, ['bench', 'hot', '--url', url, '--cacert', file('own.pem'), ...args]);
    assert.equal(trusting.code, 0, trusting.error);
    /* As a proxy moves a hub. */
    const proxy = http.createServer((request, response) => {
        const inner = http.request(`${hub.url}${request.url.replace('/moved', '')}`,
            { method: request.method, headers: request.headers }, (answer) => {
                response.writeHead(answer.statusCode, answer.headers);
                answer.pipe(response);
            });
        response.on('close', () => inner.destroy());
        inner.on('error', () => response.destroy());
        request.pipe(inner);
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    defer(() => {
        proxy.closeAllConnections();
        proxy.close();
    });
    const moved = await ctl(null, ['bench', 'hot', '--url', `http://127.0.0.1:${proxy.address().port}/moved/`, ...args]);
    assert.equal(moved.code, 0, moved.error + moved.out);
    assert.match(moved.out, /no faults/);
});

test('a certificate that is not trusted, or is for another, is told', { hub: null }, async ({ start, defer }) => {
    const { ways } = await both(start);
    const few = ['--subscribers', '3', '--connect-timeout', '1'];
    const [url] = ways['HTTP/1.1 over TLS'];
    /* Each of them tries for a second, beside the others. */
    await Promise.all([['--cacert', file('stranger.pem')], [], ['--h2']].map(async (args) => {
        const result = await run(url, [...few, ...args]);
        assert.equal(result.code, 3);
        assert.match(result.error, /certificate is not trusted: self-signed certificate/);
        assert.match(result.error, /--cacert/);
    }));
    const other = https.createServer(keys('elsewhere'), (request, response) => response.end());
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    defer(() => other.close());
    const result = await run(`https://127.0.0.1:${other.address().port}`,
        [...few, '--cacert', file('elsewhere.pem')]);
    assert.equal(result.code, 3);
    assert.match(result.error, /not trusted: IP address mismatch/);
});

/* What spate-load says of a server to which nobody can connect. */
async function refusal(server, defer, args, scheme = 'http') {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => {
        server.closeAllConnections?.();
        server.close();
    });
    const result = await run(`${scheme}://127.0.0.1:${server.address().port}`,
        ['--subscribers', '3', '--connect-timeout', '1', ...args]);
    assert.equal(result.code, 3, result.error);
    return result.error;
}

test('servers that do not speak HTTP/2 are told', { hub: null }, async ({ defer }) => {
    const only1 = https.createServer(keys('own'), (request, response) => response.end());
    const clear = http.createServer((request, response) => response.end());
    const plain = http.createServer((request, response) => response.end());
    const [ofOnly1, ofClear, ofPlain] = await Promise.all([
        refusal(only1, defer, ['--cacert', file('own.pem'), '--h2'], 'https'),
        refusal(clear, defer, ['--h2']), refusal(plain, defer, ['--insecure'], 'https')]);
    assert.match(ofOnly1, /did not choose HTTP\/2 \(ALPN\)/);
    assert.match(ofClear, /does not speak HTTP\/2, but HTTP\/1\.1/);
    assert.match(ofPlain, /TLS: |during the TLS handshake/);
});

test('streams that are refused, too few of them, and GOAWAY are told', { hub: null }, async ({ start, defer }) => {
    const refusing = http2.createServer();
    refusing.on('stream', (stream) => stream.on('error', () => {})
        .close(http2.constants.NGHTTP2_REFUSED_STREAM));
    const leaving = http2.createServer();
    leaving.on('stream', (stream) => stream.on('error', () => {})
        .session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM));
    const [ofRefusing, ofLeaving] = await Promise.all([
        refusal(refusing, defer, ['--h2']), refusal(leaving, defer, ['--h2'])]);
    assert.match(ofRefusing, /refused a stream \(REFUSED_STREAM\)/);
    assert.match(ofLeaving, /GOAWAY ENHANCE_YOUR_CALM/);
    const hub = await start({ tls: false, h2: true, args: ['--http2-streams-max', '5'] });
    const result = await run(hub.url, ['--h2', '--subscribers', '20', '--streams-per-connection', '10',
        '--connect-timeout', '1']);
    assert.equal(result.code, 3);
    assert.match(result.error, /allows 5 streams on a connection, --streams-per-connection asks for 10/);
});

/* A server of one channel over HTTP/2 that keeps everything; `deliver` may do wrong. */
async function server(defer, deliver = (client, frame) => client.write(frame), answer = (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('ok');
}) {
    const clients = new Set();
    const kept = [];
    const one = http2.createServer();
    let opened = 0;
    one.on('stream', (stream, headers) => {
        stream.on('error', () => {});
        if (headers[':method'] === 'GET') {
            stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
            stream.write(': hello\n\n');
            stream.number = opened++;
            kept.slice(Number(headers['last-event-id'] ?? 0)).forEach((frame) => stream.write(frame));
            clients.add(stream);
            stream.on('close', () => clients.delete(stream));
            return;
        }
        let body = '';
        stream.setEncoding('latin1').on('data', (text) => (body += text)).on('end', () => {
            const frame = `id: ${kept.length + 1}\ndata: ${body}\n\n`;
            kept.push(frame);
            clients.forEach((client) => deliver(client, frame, kept.length));
            answer(stream);
        });
    });
    const sessions = new Set();
    let sessionCount = 0;
    one.on('session', (session) => {
        sessionCount++;
        sessions.add(session);
        session.on('close', () => sessions.delete(session)).on('error', () => {});
    });
    one.listen(0, '127.0.0.1');
    await once(one, 'listening');
    defer(() => {
        sessions.forEach((session) => session.destroy());
        one.close();
    });
    return { url: `http://127.0.0.1:${one.address().port}/events`, sessions, clients, kept,
        opened: () => sessionCount };
}

const small = ['--h2', '--publish', '/publish', '--subscribers', '20', '--streams-per-connection', '5',
    '--rate', '400', '--duration', '0.5'];

test('one delivery lost over HTTP/2', { hub: null }, async ({ defer }) => {
    const { url } = await server(defer, (client, frame, number) =>
        number === 100 && client.number === 7 ? undefined : client.write(frame));
    const result = await run(url, small);
    assert.equal(result.code, 1, result.error);
    assert.deepEqual(counted(result), { ...none, lost: 1 });
});

test('one delivery doubled over HTTP/2, and two swapped', { hub: null }, async ({ defer }) => {
    let held = null;
    const { url } = await server(defer, (client, frame, number) => {
        if (client.number === 3 && number === 50) {
            client.write(frame);
        } else if (client.number === 4 && number === 60) {
            held = frame;
            return;
        } else if (client.number === 4 && number === 61) {
            client.write(frame);
            frame = held;
        }
        client.write(frame);
    });
    const result = await run(url, small);
    assert.equal(result.code, 1, result.error);
    assert.deepEqual(counted(result), { ...none, duplicates: 1, out_of_order: 1 });
});

test('a server that leaves its connections is followed to new ones', { hub: null }, async ({ defer }) => {
    let left = 0;
    const { url, sessions, clients, opened } = await server(defer, (client, frame, number) => {
        client.write(frame);
        if (number % 40 === 0 && number <= 160 && left < number) {
            left = number;
            /* Streams go on, new ones are to go elsewhere; then the streams end, too. */
            sessions.forEach((session) => session.goaway());
            setImmediate(() => clients.forEach((one) => one.number % 2 === 0 && one.end()));
        }
    });
    const result = await run(url, small);
    assert.equal(result.code, 0, result.error);
    assert.deepEqual(counted(result), none);
    assert.ok(result.json.counts.cut >= 10, `${result.json.counts.cut} streams ended`);
    /* At first four for those who listen and one for the one who publishes. */
    assert.ok(opened() >= 8, `${opened()} connections`);
    assert.equal(result.json.counts.unanswered, 0);
});

test('answers whose streams end after the next request has been sent', { hub: null }, async ({ defer }) => {
    let waiting = null;
    const { url } = await server(defer, undefined, (stream) => {
        stream.respond({ ':status': 200, 'content-length': 2 });
        stream.write('ok');
        waiting?.end();
        waiting = stream;
    });
    const result = await run(url, small);
    assert.equal(result.code, 0, result.error);
    assert.deepEqual(counted(result), none);
    assert.equal(result.json.counts.acknowledged, 200);
    assert.equal(result.json.checks.unacknowledged, 0);
});
