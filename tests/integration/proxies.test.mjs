/* The recipes of docs/guides/proxies.md, run by the real proxies. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Skip, test } from './harness.mjs';
import { settings } from './hub.mjs';
import { Stream } from './stream.mjs';
import { until } from './until.mjs';
import { Client } from './wire.mjs';

const guides = fileURLToPath(new URL('../../docs/guides/', import.meta.url));

async function freePort() {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

/* Replaces what must be there, so that a recipe that changes does not slip past its test. */
function replaced(text, changes) {
    for (const [from, to] of changes) {
        assert.ok(text.includes(from), `the recipe has no ${JSON.stringify(from)}`);
        text = text.replaceAll(from, to);
    }
    return text;
}

/* How a recipe becomes one of this test; `at` has plain, tls, hub (ports) and folder. */
const proxies = {
    nginx: {
        file: 'nginx.conf',
        changes: ({ plain, tls, hub, folder }) => [
            ['listen 443 ssl http2;', `listen 127.0.0.1:${plain}; listen 127.0.0.1:${tls} ssl http2;`],
            ['/etc/ssl/spate', `${folder}/spate`], ['127.0.0.1:8080', `127.0.0.1:${hub}`], ['60s', '2s'],
            ['40000', '1000'], ['100000', '2000'],
            ['http {', `http { access_log off; ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
                .map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}`]],
        command: (file, folder) => ['/usr/sbin/nginx', ['-c', file, '-p', folder, '-e', 'stderr', '-g',
            `daemon off; master_process off; pid ${folder}/pid;`]],
    },
    haproxy: {
        file: 'haproxy.cfg',
        changes: ({ plain, tls, hub, folder }) => [
            ['bind :443', `bind 127.0.0.1:${plain}\n    bind 127.0.0.1:${tls}`], ['40000', '1000'],
            ['/etc/ssl/spate', `${folder}/spate`], ['127.0.0.1:8080', `127.0.0.1:${hub}`], ['60s', '2s']],
        command: (file) => ['/usr/sbin/haproxy', ['-db', '-f', file]],
    },
    caddy: {
        file: 'Caddyfile',
        changes: ({ plain, hub }) => [
            ['example.org {', `{\n\tadmin off\n}\nhttp://:${plain} {\n\tbind 127.0.0.1`],
            ['127.0.0.1:8080', `127.0.0.1:${hub}`]],
        command: (file) => ['/usr/bin/caddy', ['run', '--config', file, '--adapter', 'caddyfile']],
    },
};

/* Runs a proxy in front of the hub; {plain, tls}: its ports. */
async function start(name, hub, defer) {
    const proxy = proxies[name];
    const folder = mkdtempSync(path.join(os.tmpdir(), 'spate-proxy-'));
    defer(() => rmSync(folder, { recursive: true }));
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
        '-subj', '/CN=localhost', '-keyout', `${folder}/spate.key`, '-out', `${folder}/spate.crt`],
    { stdio: 'ignore' });
    writeFileSync(`${folder}/spate.pem`,
        readFileSync(`${folder}/spate.crt`, 'utf8') + readFileSync(`${folder}/spate.key`, 'utf8'));
    const at = { plain: await freePort(), tls: await freePort(), hub: hub.port, folder };
    const file = path.join(folder, proxy.file);
    writeFileSync(file, replaced(readFileSync(path.join(guides, proxy.file), 'utf8'), proxy.changes(at)));
    const [program, args] = proxy.command(file, folder);
    const child = spawn(program, args, { env: { PATH: process.env.PATH, HOME: folder } });
    let log = '';
    let missing = false;
    child.on('error', () => (missing = true));
    child.stdout.on('data', (text) => (log += text));
    child.stderr.on('data', (text) => (log += text));
    defer(async () => {
        if (child.pid !== undefined && child.exitCode === null) {
            child.kill('SIGKILL');
            await once(child, 'close');
        }
    });
    const client = new Client({ port: at.plain });
    defer(() => client.close());
    await until(`${name} passing requests on`, async () => {
        if (missing) {
            throw new Skip(`there is no ${program} here`);
        }
        assert.equal(child.exitCode, null, log);
        return (await client.request('GET', '/readyz').catch(() => null))?.status === 200;
    });
    return at;
}

const token = { AUTH_TOKEN: 'secret' };
const publish = (hub, channel, data) =>
    hub.publish(channel, data, { headers: { Authorization: 'Bearer secret' } });

/* The proxies are the ones that speak TLS. */
export const hubOptions = { tls: false };

/* Slower hubs, under sanitizers, show nothing more of the proxies. */
const tried = settings.slow > 1 ? [] : Object.keys(proxies);

for (const name of tried) {
    test(`${name} passes events on at once, resumes, and lets go`, { hub: { tls: false, env: token } }, async ({ hub, defer }) => {
        const { plain } = await start(name, hub, defer);
        const stream = await Stream.open({ port: plain }, '/sse/a?client=ada');
        defer(() => stream.close());
        const { id } = await publish(hub, 'a', '1');
        await stream.when('an event, alone', () => stream.events.length === 1);
        await publish(hub, 'a', '2');
        await stream.when('another', () => stream.events.length === 2);
        stream.close();
        await hub.logged(/msg=disconnect client=ada/);

        const again = await Stream.open({ port: plain }, '/sse/a', { headers: { 'Last-Event-ID': id } });
        defer(() => again.close());
        await again.when('what was missed', () => again.events.length === 1);
        assert.equal(again.events[0].data, '2');

        const client = new Client({ port: plain });
        defer(() => client.close());
        const headers = { 'Content-Type': 'text/plain' };
        assert.equal((await client.request('POST', '/publish/a', { headers, body: 'x' })).status, 401);
        headers.Authorization = 'Bearer secret';
        assert.equal((await client.request('POST', '/publish/a', { headers, body: '3' })).status, 200);
        await again.when('what came through the proxy', () => again.events.length === 2);
    });

    test(`${name} marks publishers, so that protected mode holds`, async ({ hub, defer }) => {
        const { plain } = await start(name, hub, defer);
        const client = new Client({ port: plain });
        defer(() => client.close());
        const headers = { 'Content-Type': 'text/plain' };
        assert.equal((await client.request('POST', '/publish/a', { headers, body: 'x' })).status, 401);
    });

    test(`${name} keeps a silent stream for the sake of its heartbeats`,
        { hub: { tls: false, args: ['--heartbeat-seconds', '1'] } }, async ({ hub, defer }) => {
            const { plain } = await start(name, hub, defer);
            const stream = await Stream.open({ port: plain }, '/sse/a');
            defer(() => stream.close());
            /* Three of them, behind the first words, take longer than the proxy would wait. */
            await stream.when('heartbeats', () => stream.comments.length >= 4 || stream.ended, 20);
            assert.ok(!stream.ended);
            await hub.publish('a', 'still here');
            await stream.when('an event', () => stream.events.length === 1);
        });
}

/* Caddy has no time-out of that kind. */
for (const name of tried.filter((one) => one !== 'caddy')) {
    test(`${name} ends a stream without heartbeats`,
        { hub: { tls: false, args: ['--heartbeat-seconds', '3600'] } }, async ({ hub, defer }) => {
            const { plain } = await start(name, hub, defer);
            const stream = await Stream.open({ port: plain }, '/sse/a');
            defer(() => stream.close());
            await stream.when('the end', () => stream.ended, 20);
        });

    test(`${name} carries dozens of streams over one HTTP/2 connection`, { hub: { tls: false } }, async ({ hub, defer }) => {
        const { tls } = await start(name, hub, defer);
        const session = http2.connect(`https://127.0.0.1:${tls}`, { rejectUnauthorized: false });
        defer(() => session.destroy());
        const texts = Array.from({ length: 60 }, () => '');
        texts.forEach((_, index) => {
            const stream = session.request({ ':path': `/sse/many?client=c${index}` });
            stream.setEncoding('utf8').on('data', (text) => (texts[index] += text));
        });
        await until('all of them open', () => texts.every((text) => text.includes('retry:')));
        assert.equal(session.alpnProtocol, 'h2');
        await hub.publish('many', 'for everybody');
        await until('the event on all of them', () => texts.every((text) => text.includes('data: for everybody')));
    });
}
