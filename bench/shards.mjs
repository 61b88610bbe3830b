// Compares numbers of shards; see bench/shards.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

import { digits, machine, median, replaceSection, table } from './text.mjs';

const root = new URL('..', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    bin: { type: 'string', default: join(root, 'build/release/bin') },
    out: { type: 'string', default: join(root, 'build/shards') },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    subscribers: { type: 'string', default: '10000' },
    shards: { type: 'string', default: '1,2' },
    size: { type: 'string', default: '160' },
    io: { type: 'string', default: 'io_uring,epoll' },
    doc: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(readFileSync(join(root, 'bench/shards'), 'utf8').split('\n')
    .filter((line) => line.startsWith('#')).slice(1).map((line) => line.slice(2)).join('\n'));
  process.exit(0);
}

const device = 'spate-sink';
const address = '10.99.0.1';
const port = 8080;
const readers = 64;
const subscribers = Number(options.subscribers);
const rows = [
  { row: 'one', title: 'one at a time', command: `closed all 1 ${options.seconds}` },
  { row: 'all-16', title: '16 under way to all', command: `closed all 16 ${options.seconds}` },
];
const running = new Set();

// A program that answers each line with a line of JSON.
class Program {
  constructor(name, args) {
    this.name = name;
    this.child = spawn(join(options.bin, name), args, { stdio: ['pipe', 'pipe', 'inherit'] });
    running.add(this.child);
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async answer() {
    const { value, done } = await this.lines.next();
    if (done) {
      throw new Error(`${this.name} has ended`);
    }
    return JSON.parse(value);
  }

  ask(line) {
    this.child.stdin.write(`${line}\n`);
    return this.answer();
  }

  async end(signal) {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    if (signal === undefined) {
      this.child.stdin.end();
    } else {
      this.child.kill(signal);
    }
    await ended;
    running.delete(this.child);
  }
}

process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => process.exit(1));
}

function run(...words) {
  execFileSync(words[0], words.slice(1), { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function stats() {
  for (let tries = 0; ; tries++) {
    try {
      return await (await fetch(`http://${address}:${port}/stats`)).json();
    } catch (error) {
      if (tries === 100) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

// The hub has nothing left to deliver.
async function settled() {
  for (let before = await stats(), tries = 0; tries < 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const after = await stats();
    if (after.deliveries === before.deliveries && after.behind === 0) {
      return after;
    }
    before = after;
  }
  throw new Error('the hub is not done with what was published');
}

async function networkUp() {
  const sink = new Program('bench_sink', [device]);
  await sink.answer();
  run('ip', 'link', 'set', 'lo', 'up');
  run('ip', 'address', 'add', `${address}/16`, 'dev', device);
  run('ip', 'link', 'set', device, 'up');
  run('tc', 'qdisc', 'add', 'dev', device, 'clsact');
  run('tc', 'filter', 'add', 'dev', device, 'egress', 'bpf', 'da', 'obj', join(root, 'build/shards/sink.o'),
      'sec', 'classifier');
  return sink;
}

// One hub with so many shards, all rows; the result of each with what the hub itself has counted.
async function measure(sink, io, shards) {
  const hub = new Program('spate', ['--listen', `0.0.0.0:${port}`, '--io', io, '--shards', String(shards),
                                    '--log-level', 'error', '--drain-seconds', '0']);
  await stats();
  const connected = await sink.ask(`connect ${subscribers} ${address} ${port} /sse/c0`);
  const client = new Program('bench_client', ['--port', String(port), '--size', options.size,
                                              '--pid', String(hub.child.pid)]);
  await client.ask(`connect ${readers}`);
  const there = await stats();
  const streams = there.streams ?? there.subscribers;
  if (connected.connected !== subscribers || streams !== subscribers + readers) {
    throw new Error(`${streams} streams, and not ${subscribers + readers}`);
  }
  const results = {};
  await client.ask('closed all 16 0.3');
  for (const { row, command } of rows) {
    const before = await settled();
    const result = await client.ask(command);
    const expected = result.published * (subscribers + readers);
    const after = await settled();
    if (after.deliveries - before.deliveries !== expected || result.gaps > 0) {
      throw new Error(`${after.deliveries - before.deliveries} deliveries, and not ${expected}`);
    }
    results[row] = { rate: expected / result.seconds, cpu: (result.server_seconds * 1e6) / expected,
                     busy: result.server_seconds / result.seconds };
  }
  await client.end();
  await sink.ask('reset');
  await hub.end('SIGTERM');
  return results;
}

async function main() {
  const sink = await networkUp();
  const counts = options.shards.split(',').map(Number);
  const measured = { machine: machine(), subscribers, size: Number(options.size),
                     rounds: Number(options.rounds), results: {} };
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const io of options.io.split(',')) {
      for (const shards of counts) {
        const results = await measure(sink, io, shards);
        for (const { row } of rows) {
          (((measured.results[row] ??= {})[io] ??= {})[shards] ??= []).push(results[row]);
        }
        console.log(`round ${round + 1}: ${io}, ${shards} shards: ` + rows.map(({ row }) =>
          `${row} ${digits(results[row].rate)}/s, ${digits(results[row].cpu)} µs`).join('; '));
      }
    }
  }
  await sink.end();
  writeFileSync(join(options.out, 'results.json'), `${JSON.stringify(measured, null, 1)}\n`);
  const lines = rows.flatMap(({ row, title }) => Object.entries(measured.results[row]).flatMap(([io, byCount]) =>
    counts.map((shards) => {
      const each = (of) => median(byCount[shards].map(of));
      const ratio = (of) => {
        const ratios = byCount[shards].map((r, i) => of(r, byCount[counts[0]][i]));
        return `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`;
      };
      return [title, io, shards, digits(each((r) => r.rate)), digits(each((r) => r.cpu)),
              each((r) => r.busy).toFixed(2),
              ...(shards === counts[0] ? ['', '']
                : [ratio((r, one) => r.rate / one.rate), ratio((r, one) => (one.cpu / r.cpu) * (shards / counts[0]))])];
    })));
  const text = [`Measured on ${measured.machine}: ${subscribers.toLocaleString('en')} subscribers of one channel, events of`,
                `${options.size} bytes, medians of ${options.rounds} rounds in turns.`, '',
                table(['load', 'backend', 'shards', 'deliveries a second', 'CPU µs each', 'CPUs busy', `against ${counts[0]} shard${counts[0] > 1 ? 's' : ''}, by the clock`, 'by CPU time'],
                      lines)].join('\n');
  console.log(`\n${text}`);
  if (options.doc) {
    replaceSection(join(root, 'docs/scale.md'), 'bench/shards', text);
    mkdirSync(join(root, 'docs/performance'), { recursive: true });
    writeFileSync(join(root, 'docs/performance/shards.json'), `${JSON.stringify(measured, null, 1)}\n`);
  }
  process.exit(0);
}

if (availableParallelism() < Math.max(...options.shards.split(',').map(Number))) {
  console.error('bench/shards: there are fewer CPUs than shards, so the ratio says nothing');
}
await main();
