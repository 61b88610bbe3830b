// The model of docs/scale.md; see bench/scale_model.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { lines } from './picture.mjs';
import { digits, median, replaceSection, table } from './text.mjs';

const root = new URL('..', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    bin: { type: 'string', default: join(root, 'build/release/bin') },
    gbit: { type: 'string', default: '100' },
    packets: { type: 'string', default: '30' },
    rate: { type: 'string', default: '1' },
    size: { type: 'string', default: '160' },
    heartbeat: { type: 'string', default: '15' },
    doc: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(readFileSync(join(root, 'bench/scale_model'), 'utf8').split('\n')
    .filter((line) => line.startsWith('#')).slice(1).map((line) => line.slice(2)).join('\n'));
  process.exit(0);
}

function results(name) {
  const file = join(root, 'docs/performance', `${name}.json`);
  if (!existsSync(file)) {
    console.error(`bench/scale_model: ${file} is missing; bench/${{ results: 'compare', shards: 'shards', contention: 'contention' }[name]} --doc makes it`);
    process.exit(2);
  }
  return JSON.parse(readFileSync(file, 'utf8'));
}

// ---- What was measured ----------------------------------------------------------------------------

const compare = results('results');
const shards = results('shards');
const contention = results('contention');
const hot = compare.worlds['hot-10000'];
const spate = 'spate-uring';
const of = (list, field) => median(list.map((entry) => entry[field]));
const ns = (sweep, n) => of(contention.results[sweep][n], 'publisher_ns');

const measured = {
  // Without the receiving half: the subscribers of bench/shards do not read.
  sendUs: of(shards.results.one.io_uring[1], 'cpu'),
  sharedSendUs: of(shards.results['all-16'].io_uring[1], 'cpu'),
  loopbackUs: median(hot.results.one[spate].map((r) => (r.server_seconds * 1e6) / r.deliveries)),
  acceptUs: median(hot.results.connect[spate].map((r) => (r.server_seconds * 1e6) / r.subscribers)),
  userBytes: Math.max(hot.memory[spate].user, hot.memory[spate].userAfter),
  // It was measured for both ends, which are alike.
  kernelBytes: hot.memory[spate].kernel / 2,
  publishUs: median(compare.worlds.publish.results.publish[spate].map((r) => (r.server_seconds * 1e6) / r.published)),
  lockNs: ns('nobody', 1),
  // Of more than eight, some wake others (core/relay.h).
  wakeNs: (ns('quiet', 8) - ns('quiet', 1)) / 7,
  entryNs: (ns('burst', 64) - ns('burst', 1)) / 63,
  gain: median(shards.results.one.io_uring[2].map((r, i) => (2 * shards.results.one.io_uring[1][i].cpu) / r.cpu)),
};
// Wake-ups one after the other until all shards are awake.
const wakesInARow = (cores) => (cores <= 8 ? cores : 8 * Math.ceil(Math.log(cores) / Math.log(8)));

// ---- What is known --------------------------------------------------------------------------------

// An event's lines and its chunk around the data; then TCP with timestamps, IP, Ethernet with its gap.
const eventBytes = Number(options.size) + 50;
const segments = Math.ceil(eventBytes / 1448);
const wireBytes = eventBytes + segments * (32 + 20 + 38);
const rate = Number(options.rate);
const heartbeat = Number(options.heartbeat);
const wirePerSecond = (Number(options.gbit) * 1e9) / 8;
const packetsPerSecond = Number(options.packets) * 1e6;

// ---- One machine ----------------------------------------------------------------------------------

// Everything is as CPU seconds, bytes and seconds of one second of operation.
function machine(subscribers, cores) {
  const sends = subscribers * (rate + 1 / heartbeat);
  const use = {
    CPU: (subscribers * rate * measured.sendUs + (subscribers / heartbeat) * measured.sendUs) / 1e6 / cores,
    wire: (subscribers * rate * wireBytes + (subscribers / heartbeat) * 100) / wirePerSecond,
    packets: (sends * segments) / packetsPerSecond,
    sequencer: (rate * (measured.lockNs + cores * measured.entryNs)) / 1e9,
    'waking shards': (rate * Math.min(cores, 8) * measured.wakeNs) / 1e9,
  };
  const broadcast = {
    CPU: (subscribers * measured.sendUs) / 1e6 / cores,
    wire: (subscribers * wireBytes) / wirePerSecond,
    packets: (subscribers * segments) / packetsPerSecond,
    'waking shards': (wakesInARow(cores) * measured.wakeNs) / 1e9,
  };
  const first = Object.entries(use).sort((a, b) => b[1] - a[1])[0];
  return { subscribers, cores, use, broadcast, first,
           memory: subscribers * (measured.userBytes + measured.kernelBytes),
           perCore: subscribers / cores,
           rateMost: rate / first[1],
           storm: (subscribers * measured.acceptUs) / 1e6 / cores };
}

const gb = (bytes) => `${digits(bytes / 1e9)} GB`;
const percent = (share) => `${digits(share * 100)} %`;
const seconds = (s) => (s >= 1 ? `${digits(s)} s` : `${digits(s * 1000)} ms`);
const millions = (n) => n.toLocaleString('en');

const inputs = table(['what', 'measured', 'by'], [
  ['a send of one event to one subscriber, without the receiving half', `${digits(measured.sendUs)} µs of CPU`, 'bench/shards, one at a time'],
  ['the same with the receiving half, on loopback', `${digits(measured.loopbackUs)} µs`, 'bench/compare, hot-10000 one'],
  ['a delivery where events share sends (16 under way)', `${digits(measured.sharedSendUs)} µs`, 'bench/shards'],
  ['two shards against one, by CPU time', `${digits(measured.gain)} ×`, 'bench/shards, one at a time'],
  ['a subscriber that connects', `${digits(measured.acceptUs)} µs`, 'bench/compare, hot-10000 connect'],
  ['a publish, all of it', `${digits(measured.publishUs)} µs`, 'bench/compare, publish'],
  ['of that the sequencer, nobody listens', `${digits(measured.lockNs)} ns`, 'bench/contention'],
  ['... and for each shard that listens, with the wake-ups between turns', `${digits(measured.entryNs)} ns`, 'bench/contention, 16 in a turn'],
  ['... and if that shard sleeps', `${digits(measured.wakeNs)} ns`, 'bench/contention, all asleep'],
  ['events a second at which the lock is always held: one shard listens', millions(Math.round(1e9 / (measured.lockNs + measured.entryNs))), 'computed'],
  ['... 64 listen', millions(Math.round(1e9 / (measured.lockNs + 64 * measured.entryNs))), 'computed'],
  ['user memory of a subscriber', `${Math.round(measured.userBytes)} B`, 'bench/compare, hot-10000'],
  ['kernel memory of its connection, this end', `${Math.round(measured.kernelBytes)} B`, 'bench/compare, hot-10000'],
]);

const steps = [[10000, 1], [100000, 1], [1000000, 4], [1000000, 16], [10000000, 64], [10000000, 256]].map(([n, cores]) => machine(n, cores));
const byStep = table(
  ['subscribers', 'cores', 'memory', ...Object.keys(steps[0].use), 'first', 'events a second at most', 'one broadcast takes', 'all reconnect in'],
  steps.map((step) => [millions(step.subscribers), step.cores, gb(step.memory), ...Object.values(step.use).map(percent),
                       step.first[0], digits(step.rateMost), `${seconds(Math.max(...Object.values(step.broadcast)))} (${Object.entries(step.broadcast).sort((a, b) => b[1] - a[1])[0][0]})`,
                       seconds(step.storm)]));

// ---- Fleets ---------------------------------------------------------------------------------------

// Hubs know nothing of one another: who publishes tells each of them.
const fleets = [[10000000, 10], [100000000, 10], [100000000, 100], [1000000000, 1000]].map(([subscribers, hubs]) => {
  const one = machine(subscribers / hubs, 64);
  return [millions(subscribers), hubs, millions(subscribers / hubs), gb(one.memory), percent(one.use.CPU), one.first[0],
          `${digits(hubs * rate)} requests/s`, `${digits((hubs * rate * 300 * 8) / 1e6)} Mbit/s`];
});
const byFleet = table(['subscribers', 'hubs of 64 cores', 'on each', 'memory of each', 'its CPU', 'first', 'each event is published', 'which is'], fleets);

// ---- The simulator --------------------------------------------------------------------------------

const counts = [1, 2, 4, 8, 16, 32, 64];
const simulated = counts.map((n) => {
  console.log(`the simulator runs with ${n} shards`);
  const text = execFileSync(join(options.bin, 'spate_sim'), ['--seed', '1', '--seeds', '10', '--shards', String(n), '--measure', '4'],
                            { encoding: 'utf8' });
  return JSON.parse(text.split('\n').find((line) => line.startsWith('{')));
});
const bySimulator = table(
  ['shards', 'events', 'queue entries for each', 'wake-ups', 'turns of all shards', 'sends for each subscriber', 'waiting in a queue, mean', 'p99', 'most', 'refused'],
  simulated.map((s) => [s.shards, s.events, ...['entries_per_event', 'wakes_per_event', 'turns_per_event'].map((field) => digits(s[field])),
                        (s.sends_per_event / s.deliveries_per_event).toFixed(2), digits(s.depth_mean), s.depth_p99, s.depth_max, s.refused]));

// ---- The report -----------------------------------------------------------------------------------

const sizes = [10000, 100000, 1000000, 10000000, 100000000];
const picture = lines(`One event to all on 64 cores and ${options.gbit} Gbit/s: seconds`, 'subscribers',
  ['CPU', 'wire', 'packets', 'waking shards'].map((name) => ({
    name, points: sizes.map((n) => [n, machine(n, 64).broadcast[name]]) })), { format: (n) => String(Number(n.toPrecision(2))) });
const sections = {
  'bench/scale_model inputs': inputs,
  'bench/scale_model machines': [
    `${rate} event${rate === 1 ? '' : 's'} of ${options.size} bytes a second to everybody, one send each; a heartbeat every ${heartbeat} s;`,
    `an interface of ${options.gbit} Gbit/s and ${options.packets} million packets a second.`, '', byStep, '',
    '![What one event to all takes](performance/scale.svg)'].join('\n'),
  'bench/scale_model fleets': byFleet,
  'bench/scale_model simulator': bySimulator,
};
console.log(Object.values(sections).join('\n\n'));
if (options.doc) {
  mkdirSync(join(root, 'docs/performance'), { recursive: true });
  writeFileSync(join(root, 'docs/performance/scale.svg'), picture);
  for (const [maker, text] of Object.entries(sections)) {
    replaceSection(join(root, 'docs/scale.md'), maker, text);
  }
}
