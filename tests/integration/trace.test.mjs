/* The tracepoints and what is in tools/trace: present, well-formed, and heard where bpftrace works. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { Skip, test } from './harness.mjs';
import { settings } from './hub.mjs';
import { until } from './until.mjs';

const folder = new URL('../../tools/trace/', import.meta.url).pathname;
const scripts = readdirSync(folder).filter((name) => name.endsWith('.bt'));

/* How many arguments each tracepoint has, as docs/profiling.md lists them. */
const PROBES = { published: 3, taken: 2, send: 3, short_send: 2, settled: 5, catch_up: 1, phase: 2, turn: 2 };

/* The notes of the program: name → number of arguments. */
function notes() {
    const text = execFileSync('readelf', ['-n', settings.spate], { encoding: 'utf8', maxBuffer: 1 << 26 });
    const found = {};
    for (const [, name, list] of text
        .matchAll(/Provider: spate\s+Name: (\w+)\s+Location:[^\n]*\n\s+Arguments:([^\n]*)/g)) {
        found[name] = list.trim().split(/\s+/).filter((one) => one !== '').length;
    }
    if (Object.keys(found).length === 0) {
        throw new Skip('the hub was built without <sys/sdt.h>');
    }
    return found;
}

test('every tracepoint is in the program, with its arguments', { hub: null }, async () => {
    assert.deepEqual(notes(), PROBES);
});

test('the scripts name tracepoints and arguments that there are', { hub: null }, async () => {
    const found = notes();
    assert.deepEqual(scripts.sort(), ['loops.bt', 'sends.bt', 'slow.bt', 'stages.bt']);
    for (const script of scripts) {
        const text = readFileSync(folder + script, 'utf8');
        const probes = [...text.matchAll(/^usdt:SPATE:spate:(\w+)\n([^]*?)^\}/gm)];
        assert.ok(probes.length > 0, script);
        for (const [, name, body] of probes) {
            assert.ok(name in found, `${script}: ${name}`);
            for (const [, number] of body.matchAll(/\barg(\d)/g)) {
                assert.ok(Number(number) < found[name], `${script}: ${name} has no arg${number}`);
            }
        }
    }
});

for (const script of scripts) {
    test(`bpftrace attaches ${script}, and it hears the hub`, { seconds: 120 }, async ({ hub, defer }) => {
        notes();
        if (process.getuid() !== 0
            || spawnSync('bpftrace', ['-e', 'BEGIN { exit(); }'], { timeout: 30000 }).status !== 0) {
            throw new Skip('bpftrace is not installed, or may not be used here');
        }
        const stream = await hub.subscribe('/sse/traced');
        const tracer = spawn(`${folder}run`, [script.replace('.bt', ''), String(hub.process.pid), '-B', 'line']);
        let out = '';
        let ended = false;
        tracer.stdout.on('data', (bytes) => (out += bytes));
        tracer.stderr.on('data', (bytes) => (out += bytes));
        tracer.once('close', () => (ended = true));
        defer(async () => {
            tracer.kill('SIGKILL');
            await until('the end of the tracer', () => ended);
        });
        /* A tracepoint gives no sign of being listened to: events go on for as long as attaching takes. */
        await until('the probes', () => /Attaching \d+ probes/.test(out) || ended, 60);
        const begin = Date.now();
        await until('events enough', async () => {
            await hub.publish('traced', 'x');
            return ended || Date.now() - begin > 3000;
        }, 30);
        tracer.kill('SIGINT');
        await until('the end of the tracer', () => ended, 30);
        assert.doesNotMatch(out, /syntax error|couldn't get argument|No probes to attach/i);
        const shows = { 'loops.bt': /@phase_ms\[\d+, 4\]: \d+/, 'sends.bt': /@sends: [1-9]\d*/,
            'slow.bt': /total us/, 'stages.bt': /@total_ns:[^]*@+\|/ };
        assert.match(out, shows[script]);
        stream.close();
    });
}

/* As `perf script` prints them. */
const SAMPLES = `
shard-0  4242 [001]   100.000001:    2004008 cpu-clock:ppp:
	ffffffff81000010 tcp_sendmsg+0x10 ([kernel.kallsyms])
	    55d0c0ffee00 io_turn+0x20 (/usr/bin/spate)
	    55d0c0ffee10 shard_turn+0x1 (/usr/bin/spate)

shard-0  4242 [001]   100.002001:    2004008 cpu-clock:ppp:
	    55d0c0ffee20 fanout_run+0x2f (/usr/bin/spate)
	    55d0c0ffee10 shard_turn+0x1 (/usr/bin/spate)

spate <main>  4241 [000]   100.003001:    2004008 cpu-clock:ppp:
	    55d0c0ffee30 main+0x2f (/usr/bin/spate)

`;

function flamegraph(input) {
    return spawnSync('node', [`${folder}flamegraph.mjs`, 'a <title>'], { input, encoding: 'utf8' });
}

test('a flame graph has the share of every frame', { hub: null }, async () => {
    const { stdout, status } = flamegraph(SAMPLES);
    assert.equal(status, 0);
    const shares = Object.fromEntries([...stdout
        .matchAll(/<title>([^<]*): (\d+) samples, ([\d.]+) %<\/title>/g)]
        .map(([, name, samples, share]) => [name, [Number(samples), share]]));
    assert.deepEqual(shares, {
        all: [3, '100.00'],
        'shard-0': [2, '66.67'],
        shard_turn: [2, '66.67'],
        io_turn: [1, '33.33'],
        tcp_sendmsg: [1, '33.33'],
        fanout_run: [1, '33.33'],
        'spate &#60;main&#62;': [1, '33.33'],
        main: [1, '33.33'],
    });
    assert.match(stdout, /a &#60;title&#62; \(3 samples\)/);
});

test('a flame graph is drawn from folded stacks too, and from nothing it is not', { hub: null },
    async () => {
        const { stdout } = flamegraph('a;b;c 3\na;b 1\n');
        assert.match(stdout, /<title>b: 4 samples, 100.00 %<\/title>/);
        assert.match(stdout, /<title>c: 3 samples, 75.00 %<\/title>/);
        const nothing = flamegraph('');
        assert.equal(nothing.status, 1);
        assert.match(nothing.stderr, /no stacks/);
    });
