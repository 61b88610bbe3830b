/* spate-load --steps: another program decides what happens next. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import path from 'node:path';
import { test } from './harness.mjs';
import { cleanEnvironment, settings } from './hub.mjs';
import { within } from './until.mjs';

export const hubOptions = { tls: false, h2: false };

async function run(url, steps, args = []) {
    const program = path.join(path.dirname(settings.spate), 'spate-load');
    const child = spawn(program, ['--quiet', '--steps', '-', '--io', settings.io, '--subscribers', '40',
        '--workers', '3', '--drain', String(10 * settings.slow), ...args, url], { env: cleanEnvironment() });
    let out = '';
    let error = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (error += text));
    child.stdin.on('error', () => {});
    child.stdin.end(steps.map((step) => `${step}\n`).join(''));
    const [code] = await within('the end of spate-load', once(child, 'close'), 50)
        .finally(() => child.kill('SIGKILL'));
    const lines = out.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));
    return { code, error, lines };
}

const brief = ({ step, ok, open, away, vanished, deliveries, expected, missing }) =>
    [step, ok, open, away, vanished, deliveries, expected, missing];

test('those who are cut catch up when they are back', async ({ hub }) => {
    const { code, error, lines } = await run(hub.url,
        ['# what they get', '', 'publish 5', 'cut 10', 'publish 2 0.01', 'hold 0.1', 'return 2', 'publish']);
    assert.equal(code, 0, error);
    assert.deepEqual(lines.map(brief), [
        ['publish', true, 40, 0, 0, 200, 200, 0],
        ['cut', true, 30, 10, 0, 200, 200, 0],
        ['publish', true, 30, 10, 0, 260, 260, 0],
        ['hold', true, 30, 10, 0, 260, 260, 0],
        ['return', true, 40, 0, 0, 360, 360, 0],
        ['publish', true, 40, 0, 0, 400, 400, 0]]);
    const [published, , , held, returned] = lines;
    assert.ok(published.latency_ms.first <= published.latency_ms.p50);
    assert.ok(published.latency_ms.p99 <= published.latency_ms.last);
    assert.equal(held.latency_ms, null);
    assert.ok(returned.recovery_ms.last > 0);
    assert.match(error, /lost 0, .* no faults/);
});

test('those who vanish are not counted on', async ({ hub }) => {
    const { code, error, lines } = await run(hub.url, ['publish', 'vanish', 'publish', 'cut 10', 'publish', 'return'],
        ['--vanishing', '25', '--vanishing-source', '127.5.0.1+2']);
    assert.equal(code, 0, error);
    assert.deepEqual(lines.map(brief), [
        ['publish', true, 40, 0, 0, 40, 40, 0],
        ['vanish', true, 30, 0, 10, 40, 40, 0],
        ['publish', true, 30, 0, 10, 70, 70, 0],
        ['cut', true, 20, 10, 10, 70, 70, 0],
        ['publish', true, 20, 10, 10, 90, 90, 0],
        ['return', true, 30, 0, 10, 100, 100, 0]]);
});

/* A server that forgets the first event that somebody missed. */
test('what is not caught up is found', { hub: null, seconds: 60 }, async ({ defer }) => {
    const kept = [];
    const clients = new Set();
    const server = http.createServer(async (request, response) => {
        if (request.method === 'GET') {
            response.writeHead(200, { 'Content-Type': 'text/event-stream' });
            response.write(': hello\n\n');
            const last = request.headers['last-event-id'];
            response.write(kept.slice(Number(last ?? Infinity) + 1).join(''));
            clients.add(response);
            response.on('close', () => clients.delete(response));
            return;
        }
        let body = '';
        for await (const bytes of request.setEncoding('latin1')) {
            body += bytes;
        }
        const frame = `id: ${kept.length + 1}\ndata: ${body}\n\n`;
        kept.push(frame);
        clients.forEach((client) => client.write(frame));
        response.end('ok');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => {
        server.closeAllConnections();
        server.close();
    });
    const { code, lines } = await run(`http://127.0.0.1:${server.address().port}/events`,
        ['publish', 'cut 4', 'publish 3', 'return', 'publish'],
        ['--publish', '/publish', '--connect-timeout', '2', '--drain', '1']);
    assert.equal(code, 1);
    assert.deepEqual(lines.map(({ step, ok, missing }) => [step, ok, missing]),
        [['publish', true, 0], ['cut', true, 0], ['publish', true, 0], ['return', false, 4]]);
});

test('what is no step ends the run', async ({ hub }) => {
    for (const step of ['dance', 'cut', 'cut 3 4', 'publish -1', 'publish one', 'hold inf', 'publish 1 2 3',
        'vanish 3', 'x'.repeat(500), `${'# a comment'.padEnd(200)}publish`]) {
        const { code, error, lines } = await run(hub.url, ['publish', step, 'publish']);
        assert.equal(code, 2, `${step}: ${error}`);
        assert.match(error, /not a step/);
        assert.equal(lines.length, 1);
    }
});

test('what cannot be with steps is told', async ({ hub }) => {
    for (const args of [['--rate', '5'], ['--window', '5'], ['--channels', '2'], ['--storm', '5'],
        ['--vanishing', 'x'], ['--vanishing-source', 'x']]) {
        const { code, error } = await run(hub.url, [], args);
        assert.equal(code, 2, args.join(' '));
        assert.match(error, /spate-load: /);
    }
    const { code, error } = await run(hub.url, [], ['--steps', '/nowhere']);
    assert.equal(code, 2);
    assert.match(error, /^spate-load: \/nowhere: No such file or directory\n$/, 'before the run');
});

test('too many cannot be cut', async ({ hub }) => {
    const { code, lines } = await run(hub.url, ['cut 41', 'publish']);
    assert.equal(code, 1);
    assert.deepEqual(lines.map(({ step, ok }) => [step, ok]), [['cut', false]]);
});
