/* TLS: handshakes good and bad, certificates that change, tickets, and who may publish with one. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate, createCipheriv, createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { EventSource } from 'eventsource';
import { test } from './harness.mjs';
import { until, within } from './until.mjs';
import { requestText } from './wire.mjs';

export const hubOptions = { tls: true };

const directory = mkdtempSync(path.join(os.tmpdir(), 'spate-tls-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
const file = (name) => path.join(directory, name);

/* A certificate for 127.0.0.1 of that name, signed by itself or by `authority`. */
function certificate(name, { authority, kind = ['ec', 'ec_paramgen_curve:P-256'] } = {}) {
    const openssl = (...args) => execFileSync('openssl', args, { stdio: 'pipe' });
    openssl('req', '-x509', '-newkey', kind[0], '-pkeyopt', kind[1], '-nodes', '-days', '2',
        '-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost',
        ...(authority ? ['-CA', file(`${authority}.pem`), '-CAkey', file(`${authority}.key`)] : []),
        '-keyout', file(`${name}.key`), '-out', file(`${name}.pem`));
    return { cert: readFileSync(file(`${name}.pem`)), key: readFileSync(file(`${name}.key`)) };
}

async function handshake(hub, options = {}) {
    const socket = tls.connect({ host: '127.0.0.1', port: hub.port, rejectUnauthorized: false,
        ...options });
    socket.on('error', () => {});
    socket.on('session', (ticket) => (socket.ticket = ticket));
    await within('the handshake', once(socket, 'secureConnect'));
    return socket;
}

/* Resolves with the error that the client meets. */
function refusal(hub, options) {
    const socket = tls.connect({ host: '127.0.0.1', port: hub.port, rejectUnauthorized: false,
        ...options });
    return within('the refusal', new Promise((resolve, reject) => {
        socket.once('error', resolve);
        /* TLS 1.3: the client is done before the server has looked at its certificate. */
        socket.once('secureConnect', () => socket.write(requestText('GET', '/health')));
        socket.once('data', () => reject(new Error('was not refused')));
        socket.once('close', () => resolve(new Error('closed')));
    })).finally(() => socket.destroy());
}

test('versions 1.2 and 1.3, and nothing older', async ({ hub }) => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
        const socket = await handshake(hub, { minVersion: version, maxVersion: version });
        assert.equal(socket.getProtocol(), version);
        socket.destroy();
    }
    const old = await refusal(hub, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1',
        ciphers: 'DEFAULT@SECLEVEL=0' });
    assert.match(old.code ?? old.message, /SSL|closed|ECONNRESET/);
});

test('ALPN: h2 before http/1.1, none of ours is refused', async ({ hub }) => {
    const both = await handshake(hub, { ALPNProtocols: ['http/1.1', 'h2'] });
    assert.equal(both.alpnProtocol, 'h2');
    both.destroy();
    const one = await handshake(hub, { ALPNProtocols: ['http/1.1'] });
    assert.equal(one.alpnProtocol, 'http/1.1');
    one.destroy();
    const none = await handshake(hub);
    assert.equal(none.alpnProtocol, false);
    none.destroy();
    assert.match((await refusal(hub, { ALPNProtocols: ['spdy/1'] })).code, /NO_APPLICATION_PROTOCOL/);
});

test('clear text on an address of TLS is told so', async ({ hub }) => {
    const socket = net.connect(hub.port, '127.0.0.1');
    socket.end(requestText('GET', '/health'));
    let text = '';
    socket.on('data', (bytes) => (text += bytes));
    await within('the answer', once(socket, 'close'));
    assert.match(text, /^HTTP\/1\.1 400 /);
    assert.match(text, /use https:/);
});

test('garbage instead of a handshake, and in place of a record', { hub: { tls: true } },
    async ({ hub }) => {
        for (const bytes of [Buffer.alloc(100), Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]),
            Buffer.from([0x16, 3, 1, 0xff, 0xff]), Buffer.from([0x80, 0x2e, 1, 3, 0])]) {
            const socket = net.connect(hub.port, '127.0.0.1');
            socket.on('error', () => {});
            socket.write(Buffer.concat([bytes, Buffer.alloc(300, 7)]));
            socket.resume();
            await within('the end', once(socket, 'close'));
        }
        assert.ok((await hub.stats()).tls_handshake_failures >= 4);
        const raw = net.connect(hub.port, '127.0.0.1');
        const socket = tls.connect({ socket: raw, rejectUnauthorized: false });
        socket.on('error', () => {});
        await within('the handshake', once(socket, 'secureConnect'));
        raw.write(Buffer.from([0x17, 3, 3, 0, 20, ...Array(20).fill(9)]));
        await within('the end of the connection',
            new Promise((resolve) => socket.on('close', resolve)));
        assert.equal((await hub.get('/health')).status, 200);
    });

test('a handshake that does not go on is ended', { waits: true, hub: { tls: true, args: ['--header-seconds', '1'] } },
    async ({ hub }) => {
        const silent = net.connect(hub.port, '127.0.0.1').resume();
        const half = net.connect(hub.port, '127.0.0.1').resume();
        half.write(Buffer.from([0x16, 3, 1, 2, 0, 1]));
        await within('the ends', Promise.all([once(silent, 'close'), once(half, 'close')]));
        await until('both counted', async () => (await hub.stats()).tls_handshake_timeouts === 2);
    });

/*
 * A TLS 1.3 client whose records can also be made by hand: `record` seals bytes as the next one of that
 * type, `updateKey` goes on to the next key (RFC 8446, 5.2, 7.2 and 7.3).
 */
async function openBare(hub, options) {
    const raw = net.connect(hub.port, '127.0.0.1').setNoDelay();
    let secret = null;
    let sent = -1; /* records; the first with these keys is Finished's successor */
    const pipe = new Duplex({
        read() {},
        write(bytes, encoding, done) {
            for (let at = 0; sent >= 0 && at < bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
                sent++;
            }
            raw.write(bytes, done);
        },
        final: (done) => raw.end(done),
    });
    raw.on('data', (bytes) => pipe.push(bytes)).on('close', () => pipe.destroy());
    raw.on('error', () => {});
    const socket = tls.connect({ socket: pipe, rejectUnauthorized: false, minVersion: 'TLSv1.3',
        ciphers: 'TLS_AES_128_GCM_SHA256', ...options });
    socket.on('error', () => {});
    socket.on('keylog', (line) => {
        const [name, , hex] = line.toString().trim().split(' ');
        secret = name === 'CLIENT_TRAFFIC_SECRET_0' ? Buffer.from(hex, 'hex') : secret;
    });
    await within('the handshake', once(socket, 'secureConnect'));
    await new Promise((resolve) => setImmediate(resolve)); /* Finished is out */
    sent = 0;
    const derive = (label, len) => createHmac('sha256', secret).update(Buffer.concat([
        Buffer.from([0, len, 6 + label.length]), Buffer.from(`tls13 ${label}`), Buffer.from([0, 1]),
    ])).digest().subarray(0, len);
    socket.updateKey = () => {
        secret = derive('traffic upd', 32);
        sent = 0;
    };
    socket.received = () => raw.bytesRead;
    socket.record = (type, bytes) => {
        const nonce = Buffer.from(derive('iv', 12));
        nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ sent++) >>> 0, 8);
        const head = Buffer.from([0x17, 3, 3, 0, bytes.length + 1 + 16]);
        const cipher = createCipheriv('aes-128-gcm', derive('key', 16), nonce).setAAD(head);
        raw.write(Buffer.concat([head, cipher.update(Buffer.concat([bytes, Buffer.from([type])])),
            cipher.final(), cipher.getAuthTag()]));
    };
    return socket;
}

test('a KeyUpdate in two records', { hub: { tls: true } }, async ({ hub }) => {
    for (const whole of [true, false]) {
        const socket = await openBare(hub, { ALPNProtocols: ['h2'] });
        const path = '/sse/update';
        let text = Buffer.alloc(0);
        socket.on('data', (bytes) => (text = Buffer.concat([text, bytes])));
        socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
            Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
            Buffer.from([0, 0, path.length + 9, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 4, path.length]),
            Buffer.from(path), Buffer.from([1, 3]), Buffer.from('hub')]));
        await until('the stream', () => /retry: /.test(text));
        const settings = text.length;
        socket.record(22, Buffer.from([24, 0, 0, 1]));
        if (whole) {
            await hub.get('/health'); /* so that they come apart */
            socket.record(22, Buffer.from([0]));
            socket.updateKey();
            const before = socket.received();
            socket.record(23, Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0, ...Array(8).fill(7)]));
            await until('the answer to PING', () => socket.received() > before);
        }
        await until('the event, or the end', async () => {
            await hub.publish('update', 'after it');
            return /after it/.test(text.subarray(settings)) || socket.destroyed;
        });
        assert.ok(!whole || /after it/.test(text.subarray(settings)), 'a stream that goes on');
        socket.destroy();
    }
    assert.equal((await hub.get('/health')).status, 200);
});

test('renegotiation is refused', async ({ hub }) => {
    const socket = await handshake(hub, { maxVersion: 'TLSv1.2' });
    const error = await within('the answer', new Promise((resolve) => {
        socket.on('error', resolve);
        socket.on('close', () => resolve(new Error('closed')));
        socket.renegotiate({}, (thrown) => resolve(thrown));
    }));
    assert.ok(error instanceof Error);
    socket.destroy();
    assert.equal((await hub.get('/health')).status, 200);
});

test('a ticket resumes a session, also after a reload', async ({ hub }) => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
        const first = await handshake(hub, { minVersion: version, maxVersion: version });
        first.write(requestText('GET', '/health'));
        const session = await until('a ticket', () => first.ticket);
        first.destroy();
        const before = (await hub.stats()).tls_resumptions;
        hub.signal('SIGHUP');
        await hub.logged(/msg=reloaded/);
        const second = await handshake(hub, { session, minVersion: version, maxVersion: version });
        assert.ok(second.isSessionReused());
        second.write(requestText('GET', '/health'));
        await within('an answer', once(second, 'data'));
        second.destroy();
        await until('it counted', async () => (await hub.stats()).tls_resumptions > before);
    }
});

test('the end of an answer is told from a cut', async ({ hub }) => {
    const socket = await handshake(hub);
    socket.write(requestText('GET', '/health', { Connection: 'close' }));
    socket.resume();
    /* Node emits `end` for close_notify, and an error for a connection that just ends. */
    await within('the end', once(socket, 'end'));
    socket.destroy();
});

test('a certificate is replaced under a stream', { hub: null }, async ({ start, defer }) => {
    certificate('one');
    certificate('two', { kind: ['rsa', 'rsa_keygen_bits:2048'] });
    copyFileSync(file('one.pem'), file('live.pem'));
    copyFileSync(file('one.key'), file('live.key'));
    const hub = await start({ tls: true,
        args: ['--tls-certificate', file('live.pem'), '--tls-key', file('live.key')] });
    const subject = async () => {
        const socket = await handshake(hub);
        const { subject: { CN } } = socket.getPeerCertificate();
        socket.destroy();
        return CN;
    };
    assert.equal(await subject(), 'one');
    const stream = await hub.subscribe('/sse/steady');
    await hub.publish('steady', 'before');
    copyFileSync(file('two.pem'), file('live.pem'));
    copyFileSync(file('two.key'), file('live.key'));
    hub.signal('SIGHUP');
    await hub.logged(/msg=reloaded/);
    await until('the new certificate', async () => await subject() === 'two');
    await hub.publish('steady', 'after');
    await stream.received(2);
    /* A pair that does not match is refused, and the one in force stays. */
    copyFileSync(file('one.key'), file('live.key'));
    hub.signal('SIGHUP');
    await hub.logged(/msg="reload failed".*live\.key/);
    assert.equal(await subject(), 'two');
    await hub.publish('steady', 'still');
    assert.deepEqual((await stream.received(3)).map((event) => event.data),
        ['before', 'after', 'still']);
    defer(async () => stream.close());
});

test('a certificate that changes a hundred times under load', { hub: null, seconds: 120 },
    async ({ start }) => {
        const hub = await start({ tls: true });
        const streams = await Promise.all(Array.from({ length: 20 },
            () => hub.subscribe('/sse/loaded')));
        for (let i = 0; i < 100; i++) {
            hub.signal('SIGHUP');
            const newcomer = await hub.subscribe('/sse/loaded');
            await hub.publish('loaded', String(i));
            await newcomer.received(1);
            newcomer.close();
        }
        for (const stream of streams) {
            await stream.received(100);
            assert.deepEqual(stream.data, Array.from({ length: 100 }, (_, i) => String(i)));
        }
    });

test('who shows a certificate of the authority may publish', { hub: null }, async ({ start }) => {
    certificate('authority');
    certificate('stranger');
    const server = certificate('server');
    const member = certificate('member', { authority: 'authority' });
    const other = certificate('outsider', { authority: 'stranger' });
    writeFileSync(file('server-both.pem'), Buffer.concat([server.cert, server.key]));
    const hub = await start({ tls: true, env: { AUTH_TOKEN: 'secret' },
        args: ['--tls-certificate', file('server-both.pem'),
            '--tls-client-ca', file('authority.pem')] });
    const post = (options) => new Promise((resolve, reject) => {
        const request = https.request({ host: '127.0.0.1', port: hub.port, ca: server.cert,
            method: 'POST', path: '/publish/a', headers: { 'Content-Type': 'text/plain' },
            agent: false, ...options }, (response) => resolve(response.resume().statusCode));
        request.on('error', reject);
        request.end('x');
    });
    assert.equal(await post({}), 401);
    assert.equal(await post(member), 200);
    await assert.rejects(post(other));
    const stream = await hub.subscribe('/sse/a');
    assert.equal(await post(member), 200);
    await stream.received(1);
});

test('bad options are told at start', { hub: null }, async ({ start }) => {
    certificate('alone');
    certificate('another');
    writeFileSync(file('junk.pem'), 'junk\n');
    execFileSync('openssl', ['pkey', '-in', file('alone.key'), '-aes128', '-passout', 'pass:secret',
        '-out', file('locked.key')]);
    const cases = [
        [['--tls-certificate', '/nowhere.pem'], /nowhere\.pem.*No such file/],
        [['--tls-certificate', file('alone.pem')], /cannot use the key.*none in this file.*--tls-key/],
        [['--tls-certificate', file('junk.pem'), '--tls-key', file('alone.key')],
            /cannot use the certificate.*none in this file/],
        [['--tls-certificate', file('alone.pem'), '--tls-key', file('junk.pem')],
            /cannot use the key.*none in this file/],
        [['--tls-certificate', file('alone.pem'), '--tls-key', file('locked.key')], /is encrypted/],
        [['--tls-certificate', file('alone.pem'), '--tls-key', file('another.key')], /mismatch/],
        [['--tls-key', file('alone.key')], /needs? tls_certificate/],
        [['--tls-self-signed', '--tls-client-ca', '/nowhere.pem'], /client CA/],
    ];
    for (const [args, expected] of cases) {
        const error = await start({ tls: true, args }).then(() => null, (thrown) => thrown);
        assert.match(error.hubLog, expected);
    }
    const none = await start({ listen: ['tls:127.0.0.1:0'], tls: false })
        .then(() => null, (thrown) => thrown);
    assert.match(none.hubLog, /tls_self_signed/);
});

test('a certificate that no address uses is told', { hub: null }, async ({ start }) => {
    const hub = await start({ args: ['--tls-self-signed'], listen: ['127.0.0.1:0'], tls: false });
    await hub.logged(/TLS is not used.*tls:127\.0\.0\.1:8443/);
});

test('TLS and clear text side by side, with one stream each', { hub: null }, async ({ start, defer }) => {
    const hub = await start({ listen: ['127.0.0.1:0', 'tls:127.0.0.1:0'], tls: false,
        args: ['--tls-self-signed'] });
    const [clear, secure] = hub.listening();
    const pin = (await hub.logged(/self-signed certificate/)).match(/sha256="?([^" ]+)/)[1];
    const socket = await handshake({ port: Number(secure.split(':')[1]) });
    const shown = new X509Certificate(socket.getPeerCertificate().raw);
    const spki = shown.publicKey.export({ type: 'spki', format: 'der' });
    assert.equal(createHash('sha256').update(spki).digest('base64'), pin);
    const reject = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    const seen = [];
    const sources = [`http://${clear}/sse/both`, `https://${secure}/sse/both`].map((url) => {
        const source = new EventSource(url);
        source.onmessage = (event) => seen.push(event.data);
        return source;
    });
    defer(async () => {
        sources.forEach((source) => source.close());
        socket.destroy();
        if (reject === undefined) {
            delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
        }
    });
    await until('both open', () => sources.every((source) => source.readyState === 1));
    await hub.publish('both', 'hello');
    await until('both events', () => seen.length === 2);
});
