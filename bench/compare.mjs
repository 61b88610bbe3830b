// Runs hubs side by side under the same load and prints ratios; see bench/compare.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

import { peers, stopTheRest, versionOf } from './peers.mjs';
import { report } from './report.mjs';
import { median } from './text.mjs';
import { runTlsWorld, tlsWorlds } from './worlds_tls.mjs';

const root = new URL('..', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    bin: { type: 'string', default: join(root, 'build/release/bin') },
    out: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '0.8' },
    size: { type: 'string', default: '160' },
    peers: { type: 'string' },
    worlds: { type: 'string' },
    more: { type: 'boolean', default: false },
    doc: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(readFileSync(join(root, 'bench/compare'), 'utf8').split('\n')
    .filter((line) => line.startsWith('#')).slice(1).map((line) => line.slice(2)).join('\n'));
  process.exit(0);
}

const lastCpu = availableParallelism() - 1;
const seconds = Number(options.seconds);

// What is done in each world, in every round, with every peer in turn.
const strict = `closed all 1 ${seconds}`;
const hotRows = [
  { row: 'one', command: strict },
  { row: 'first-1', command: `closed first 1 ${seconds}` },
  { row: 'first-2', command: `closed first 2 ${seconds}` },
  { row: 'all-16', command: `closed all 16 ${seconds}` },
];
const descriptors = Number(readFileSync('/proc/self/limits', 'utf8')
  .match(/Max open files\s+(\d+)/)[1]);
const most = Math.floor((descriptors - 500) / 500) * 500;
const sizes = [20, 160, 1024, 4096, 65536];
const worlds = {
  'hot-1000': { subscribers: 1000, channels: 1, rows: hotRows, open: true },
  'hot-10000': { subscribers: Math.min(10000, most), channels: 1, rows: hotRows, open: true },
  // nginx gives connections up when a sixteenth of them is left.
  channels: { subscribers: Math.min(100000, most - 1500), channels: Math.min(100000, most - 1500),
              rows: [{ row: 'channels', command: `closed all 64 ${seconds}` }] },
  publish: { subscribers: 0, channels: 1,
             rows: [{ row: 'publish', command: `publish 64 ${seconds}` }] },
  // Those of --more.
  ...Object.fromEntries(sizes.map((size) => [`size-${size}`, {
    subscribers: 1000, channels: 1, size,
    rows: hotRows.filter(({ row }) => row === 'one' || row === 'all-16') }])),
  // A few channels have most of the subscribers.
  zipf: { subscribers: Math.min(10000, most), channels: 100, zipf: true,
          rows: [{ row: 'channels-1', command: strict }, { row: 'channels-64', command: `closed all 64 ${seconds}` }] },
  // The same, and each subscriber has five of them on one stream.
  several: { subscribers: Math.min(10000, most), channels: 100, zipf: true, each: 5,
             rows: [{ row: 'channels-1', command: strict }, { row: 'channels-64', command: `closed all 64 ${seconds}` }] },
  // More connections than a process may have descriptors: several shards, workers and clients.
  'channels-100000': { subscribers: 100000, channels: 100000, processes: 6,
                       rows: [{ row: 'channels', command: `closed all 10 ${seconds}` }] },
};
const moreWorlds = [...sizes.map((size) => `size-${size}`), 'zipf', 'several', 'channels-100000'];

// ---- One client of one peer ---------------------------------------------------------------------

class Client {
  constructor(port, server, world, paths = server.client) {
    if (server.pids.length === 0) {
      throw new Error('a server without a process: its CPU time would be nothing');
    }
    const args = ['--port', String(port), '--channels', String(world.channels),
                  '--size', String(world.size ?? options.size), ...paths];
    if (world.each > 1) {
      args.push('--each', String(world.each), ...server.several);
    }
    if (world.zipf) {
      args.push('--zipf', '1');
    }
    for (const pid of server.pids) {
      args.push('--pid', String(pid));
    }
    this.child = spawn('taskset', ['-c', String(lastCpu), join(options.bin, 'bench_client'), ...args],
                       { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async ask(command) {
    this.child.stdin.write(`${command}\n`);
    const { value, done } = await this.lines.next();
    if (done) {
      throw new Error(`the load client ended at "${command}"`);
    }
    return JSON.parse(value);
  }

  async close() {
    if (this.child.exitCode !== null) {
      return;
    }
    const end = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.stdin.end();
    await end;
  }
}

// Several clients that do the same at the same time, each with channels of its own.
class Clients {
  constructor(port, server, world) {
    const count = world.processes;
    this.clients = Array.from({ length: count }, (_, index) => new Client(
      port, server, { ...world, channels: Math.floor(world.channels / count) },
      // From an address of its own each: one has 28,000 ports.
      [...server.client.map((word) => word.replace('c%u', `p${index}-c%u`)), '--address', String(10 * index)]));
  }

  async ask(command) {
    const [name, number] = command.split(' ');
    const each = name === 'connect' ? `connect ${Math.floor(Number(number) / this.clients.length)}` : command;
    const results = await Promise.all(this.clients.map((client) => client.ask(each)));
    const merged = {};
    for (const key of Object.keys(results[0])) {
      const values = results.map((result) => result[key]);
      // They began together, so the longest time is that of all; and the worst latency is told.
      merged[key] = /^(seconds|server_seconds|.*_us)$/.test(key) ? Math.max(...values)
        : values.reduce((sum, value) => sum + value, 0);
    }
    return merged;
  }

  async close() {
    await Promise.all(this.clients.map((client) => client.close()));
  }
}

// ---- Memory -------------------------------------------------------------------------------------

function userBytes(pids) {
  let sum = 0;
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    sum += Number(text.match(/^Pss:\s+(\d+)/m)[1]) * 1024;
  }
  return sum;
}

// All that the kernel has in its slabs; null where only root may see it.
function kernelBytes() {
  try {
    return readFileSync('/proc/slabinfo', 'utf8').split('\n').slice(2).reduce((sum, line) => {
      const [, active, , size] = line.split(/\s+/);
      return sum + (active === undefined ? 0 : Number(active) * Number(size));
    }, 0);
  } catch {
    return null;
  }
}

// ---- Worlds -------------------------------------------------------------------------------------

function say(text) {
  process.stdout.write(`${text}\n`);
}

function check(result, where) {
  const problems = [];
  if (result.gaps > 0) problems.push(`${result.gaps} events lost, and nothing said`);
  if (result.told > 0) problems.push(`${result.told} events left out, as it said`);
  if (result.repeated > 0) problems.push(`${result.repeated} repetitions`);
  if (result.closed > 0) problems.push(`${result.closed} streams closed`);
  if (result.refused > 0) problems.push(`${result.refused} publishes refused`);
  const known = result.deliveries + result.gaps + result.told;
  if (known < result.expected) {
    problems.push(`${result.expected - known} deliveries missing`);
  }
  if (problems.length > 0) {
    say(`  ${where}: ${problems.join(', ')}`);
  }
  return result;
}

async function startAll(worldName, world, wanted, running) {
  for (const [index, peer] of wanted.entries()) {
    const tooMany = world.subscribers > (peer.subscribersMax ?? Infinity) ||
      (peer.oneTable && world.subscribers > most);
    if (tooMany || (peer.oneChannel && world.channels > 1) || (peer.oneChannel && world.subscribers === 0)) {
      continue;
    }
    const port = 19000 + index * 10;
    const directory = join(options.out, 'run', `${worldName}-${peer.name}`);
    const server = await peer.start({ directory, port, cpu: 0, bin: options.bin,
                                      processes: world.processes ?? 1 });
    const client = world.processes > 1 ? new Clients(port, server, world) : new Client(port, server, world);
    const one = { name: peer.name, title: peer.title, server, client };
    running.push(one);
    await client.ask('publish 1 0.2'); // warm, and the publisher's connection is there
    const userBefore = userBytes(server.pids);
    const kernelBefore = kernelBytes();
    if (world.subscribers > 0) {
      one.connect = check(await client.ask(`connect ${world.subscribers}`), `${peer.name} connect`);
      one.userIdle = (userBytes(server.pids) - userBefore) / world.subscribers;
      one.kernelIdle = kernelBefore === null ? null
        : (kernelBytes() - kernelBefore) / world.subscribers;
      one.userBefore = userBefore;
    }
    say(`  ${peer.name}: ${one.connect?.subscribers ?? 0} subscribers`);
  }
}

async function runRow(running, results, { row, command }, where) {
  for (const one of running) {
    const text = typeof command === 'function' ? command(one) : command;
    if (text !== null) {
      const result = check(await one.client.ask(text), `${where} ${row} ${one.name}`);
      ((results[row] ??= {})[one.name] ??= []).push(result);
    }
  }
}

// The rates at which no server can hide: half of what nchan can do, and ten times as much.
function openRows(results, world) {
  const measured = results['all-16']?.nchan;
  if (measured === undefined) {
    return [];
  }
  const saturation = median(measured.map((r) => r.deliveries / r.seconds)) / world.subscribers;
  const slow = saturation / 2;
  const fast = saturation * 10;
  say(`  nchan is saturated at ${saturation.toFixed(1)} messages a second`);
  return [
    { row: 'open-half', command: `open ${slow.toFixed(2)} ${Math.min(8, Math.max(2, 20 / slow)).toFixed(1)}` },
    { row: 'open-10x',
      command: (one) => (one.name.startsWith('spate') ? `open ${fast.toFixed(1)} 3` : null) },
  ];
}

async function runWorld(name, wanted) {
  const world = worlds[name];
  const results = {};
  say(`${name}: ${world.subscribers} subscribers, ${world.channels} channel${world.channels > 1 ? 's' : ''}`);
  const running = [];
  try {
    await startAll(name, world, wanted, running);
    const rounds = Number(options.rounds);
    for (let round = 0; round < rounds; round++) {
      say(`  round ${round + 1} of ${rounds}`);
      for (const row of world.rows) {
        await runRow(running, results, row, name);
      }
    }
    if (world.open) {
      for (let round = 0; round < Math.ceil(rounds / 2); round++) {
        for (const row of openRows(results, world)) {
          await runRow(running, results, row, name);
        }
      }
    }
    const memory = {};
    for (const one of running.filter((each) => each.connect !== undefined)) {
      memory[one.name] = {
        user: one.userIdle, kernel: one.kernelIdle,
        userAfter: (userBytes(one.server.pids) - one.userBefore) / world.subscribers,
      };
      (results.connect ??= {})[one.name] = [one.connect];
    }
    return { subscribers: world.subscribers, channels: world.channels,
             size: world.size ?? Number(options.size), results, memory };
  } finally {
    for (const one of running) {
      await one.client.close();
      await one.server.stop();
    }
  }
}

// Worlds of --more may be measured one by one: those that were not measured now are as they were told last.
function withEarlier(worlds) {
  const file = join(root, 'docs/performance/more.json');
  const all = { ...(existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).worlds : {}), ...worlds };
  return Object.fromEntries(moreWorlds.filter((name) => name in all).map((name) => [name, all[name]]));
}

process.on('exit', stopTheRest);
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => process.exit(1));
}

async function main() {
  options.peers ??= options.more ? 'spate-uring,spate-epoll,nchan,bare'
    : 'spate-uring,spate-epoll,nchan,bare,pushpin';
  options.worlds ??= options.more ? moreWorlds.join(',') : 'hot-1000,hot-10000,channels,publish,tls-1000,h2-1000';
  options.out ??= join(root, options.more ? 'build/compare-more' : 'build/compare');
  const names = options.peers.split(',');
  const wanted = peers.filter((peer) => names.includes(peer.name));
  const present = wanted.filter((peer) => peer.wanted());
  for (const peer of wanted.filter((each) => !present.includes(each))) {
    say(`${peer.title} is not installed here; it is left out`);
  }
  rmSync(options.out, { recursive: true, force: true });
  mkdirSync(options.out, { recursive: true });
  const measured = {
    date: new Date().toISOString().slice(0, 10),
    machine: { cpu: cpus()[0].model.trim(), count: cpus().length,
               kernel: execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim().split('-')[0] },
    rounds: Number(options.rounds), size: Number(options.size),
    peers: present.map((peer) => ({ name: peer.name, title: peer.title,
                                    version: versionOf(peer.name) })),
    worlds: {},
  };
  for (const name of options.worlds.split(',')) {
    measured.worlds[name] = tlsWorlds[name] === undefined ? await runWorld(name, present)
      : await runTlsWorld(name, present, { options, cpu: lastCpu, say, check });
    writeFileSync(join(options.out, 'results.json'), `${JSON.stringify(measured, null, 1)}\n`);
  }
  say('');
  if (options.more && options.doc) {
    measured.worlds = withEarlier(measured.worlds);
  }
  report(measured, { root, write: options.doc, more: options.more });
}

await main();
