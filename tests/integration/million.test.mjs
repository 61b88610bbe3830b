/* bench/million, small: that it counts right, finds nothing wrong with the hub, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Skip, test } from './harness.mjs';
import { cleanEnvironment, settings } from './hub.mjs';
import { until, within } from './until.mjs';

const script = fileURLToPath(new URL('../../bench/million.mjs', import.meta.url));
const io = settings.io === 'epoll' ? 'epoll' : 'io_uring';

class Million {
    text = '';

    constructor(defer, args) {
        this.out = mkdtempSync(path.join(tmpdir(), 'spate-million-'));
        defer(() => rmSync(this.out, { recursive: true, force: true }));
        this.process = spawn(process.execPath, [script, '--bin', path.dirname(settings.spate),
            '--io', io, '--out', this.out, ...args], { env: cleanEnvironment() });
        for (const stream of [this.process.stdout, this.process.stderr]) {
            stream.setEncoding('utf8').on('data', (text) => (this.text += text));
        }
        defer(() => this.process.kill('SIGTERM'));
        this.closed = once(this.process, 'close');
    }

    async ended(seconds) {
        const [code, signal] = await within('the end of bench/million', this.closed, seconds);
        if (/no network namespace can be made here/.test(this.text)) {
            throw new Skip('no network namespace can be made here');
        }
        return code ?? signal;
    }

    /* All processes under it. */
    family() {
        const parents = new Map();
        for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
            try {
                const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1);
                parents.set(Number(pid), Number(stat.split(' ')[1]));
            } catch {
                continue; /* it has just ended */
            }
        }
        const isOurs = (pid) => pid === this.process.pid || (parents.has(pid) && isOurs(parents.get(pid)));
        return [...parents.keys()].filter((pid) => pid !== this.process.pid && isOurs(pid));
    }
}

function isThere(pid) {
    try {
        process.kill(pid, 0);
        return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
        return false;
    }
}

test('a small one, with the counts that it must have', { hub: null, seconds: 170 }, async ({ defer }) => {
    /* As many shards as a million has: what each of them costs shows in the memory. */
    const count = io === 'epoll' ? 3000 : 12000;
    const million = new Million(defer, ['--subscribers', String(count), '--heartbeat', '2',
        '--user-timeout', '2', '--shards', io === 'epoll' ? '2' : '59']);
    assert.equal(await million.ended(160), 0, million.text);
    const results = JSON.parse(readFileSync(path.join(million.out, 'results.json'), 'utf8'));
    const staying = count * 0.9;
    const back = count / 5;
    assert.equal(results.options.subscribers, count);
    assert.equal(results.scaled, null);
    assert.equal(results.broadcast.received, count);
    assert.equal(results.vanish.count, count / 10);
    assert.deepEqual(results.storms.map(({ subscribers, missed, meanwhile, caught_up }) =>
        ({ subscribers, missed, meanwhile, caught_up })), [
        { subscribers: back, missed: 3, meanwhile: 0, caught_up: back * 3 },
        { subscribers: back, missed: 1, meanwhile: 3, caught_up: back + 3 * staying }]);
    assert.equal(results.expected, count + 7 * staying);
    assert.equal(results.deliveries, results.expected);
    assert.ok(results.checks.ok);
    assert.equal(results.broken, 0);
    assert.equal(results.checks.vanished, count / 10);
    assert.ok(io === 'epoll' || results.memory.user_bytes_each < 2500,
        `${results.memory.user_bytes_each} bytes each`);
    const picture = readFileSync(path.join(million.out, 'million.svg'), 'utf8');
    assert.match(picture, /latency of what arrives/);
    assert.doesNotMatch(picture, /NaN|undefined/);
});

for (const [signal, how] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGKILL', 'SIGKILL']]) {
    test(`${signal}: nothing of it stays`, { hub: null, seconds: 60 }, async ({ defer }) => {
        const million = new Million(defer, ['--subscribers', '2000', '--heartbeat', '3600']);
        await until('everybody being connected', () => /idle:/.test(million.text)
            || million.process.exitCode !== null, 30);
        if (million.process.exitCode !== null) {
            await million.ended();
        }
        const pids = million.family();
        assert.ok(pids.length >= 5, million.text); /* two places, the hub, spate-load and its worker */
        million.process.kill(signal);
        assert.equal(await million.ended(20), how, million.text);
        await until('all its processes being gone', () => !pids.some(isThere), 20);
    });
}

test('wrong usage is told', { hub: null }, async ({ defer }) => {
    for (const args of [['--subscribers', '3'], ['--subscribers', 'many'], ['--io', 'select'], ['--vanish', '90']]) {
        const million = new Million(defer, args);
        assert.equal(await million.ended(10), 2, million.text);
        assert.match(million.text, /bench\/million: --/);
    }
});
