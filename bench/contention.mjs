// Runs bench_contention over numbers of shards and publishers; see bench/contention.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { lines } from './picture.mjs';
import { digits, machine, median, replaceSection, table } from './text.mjs';

const root = new URL('..', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    bin: { type: 'string', default: join(root, 'build/release/bin') },
    out: { type: 'string', default: join(root, 'build/contention') },
    rounds: { type: 'string', default: '3' },
    events: { type: 'string', default: '20000' },
    doc: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(readFileSync(join(root, 'bench/contention'), 'utf8').split('\n')
    .filter((line) => line.startsWith('#')).slice(1).map((line) => line.slice(2)).join('\n'));
  process.exit(0);
}

const counts = [1, 2, 4, 8, 16, 32, 64];
const sweeps = [
  ...counts.map((n) => ({ name: 'busy', n, args: ['--to', 'everybody', '--shards', n] })),
  ...counts.map((n) => ({ name: 'burst', n, args: ['--to', 'everybody', '--shards', n, '--burst', 16] })),
  ...counts.map((n) => ({ name: 'quiet', n, args: ['--to', 'everybody', '--shards', n, '--quiet', 1, '--events', 300] })),
  ...counts.map((n) => ({ name: 'nobody', n, args: ['--to', 'nobody', '--publishers', n] })),
  ...counts.map((n) => ({ name: 'one', n, args: ['--to', 'one', '--shards', 64, '--publishers', n] })),
  ...counts.map((n) => ({ name: 'everybody', n, args: ['--to', 'everybody', '--shards', 64, '--publishers', n] })),
  ...counts.map((n) => ({ name: 'mailbox', n, args: ['--to', 'mailbox', '--publishers', n] })),
];

const measured = { machine: machine(), rounds: Number(options.rounds), results: {} };
for (let round = 0; round < measured.rounds; round++) {
  for (const { name, n, args } of sweeps) {
    const text = execFileSync(join(options.bin, 'bench_contention'), ['--events', options.events, ...args].map(String),
                              { encoding: 'utf8' });
    ((measured.results[name] ??= {})[n] ??= []).push(JSON.parse(text));
  }
  console.log(`round ${round + 1} of ${measured.rounds}`);
}
mkdirSync(options.out, { recursive: true });
writeFileSync(join(options.out, 'results.json'), `${JSON.stringify(measured, null, 1)}\n`);

const value = (name, n, field) => median(measured.results[name][n].map((result) => result[field]));
const shown = (name, n, field) => digits(value(name, n, field));

const byShards = table(
  ['shards that listen', '16 in a turn: publisher ns', 'wake-ups', 'one in a turn: publisher ns', 'wake-ups',
   'all asleep: publisher ns', 'wake-ups', '16 in a turn: ns of a shard for its entry'],
  counts.map((n) => [n, ...['burst', 'busy', 'quiet'].flatMap((name) =>
    [shown(name, n, 'publisher_ns'), shown(name, n, 'wakes')]), digits(value('burst', n, 'shards_ns') / n)]));
const byPublishers = table(
  ['publishers', 'nobody listens: ns', 'lock was held', 'slept', 'one listens: ns', 'lock was held', 'slept',
   '64 shards listen: ns', 'lock was held', 'slept', 'mail to one shard: ns'],
  counts.map((n) => [n, ...['nobody', 'one', 'everybody'].flatMap((name) =>
    [shown(name, n, 'publisher_ns'), shown(name, n, 'contended'), shown(name, n, 'sleeps')]),
    shown('mailbox', n, 'publisher_ns')]));
const picture = lines('CPU of the publisher for one event, ns', 'shards, or publishers', [
  ['burst', 'all shards listen, 16 events in a turn'], ['busy', 'all shards listen, one in a turn'],
  ['quiet', 'all shards listen and sleep'],
  ['nobody', 'many publishers, nobody listens'], ['one', 'many publishers, one of 64 listens'],
  ['everybody', 'many publishers, 64 listen'], ['mailbox', 'many post mail to one shard'],
].map(([name, title]) => ({ name: title, points: counts.map((n) => [n, value(name, n, 'publisher_ns')]) })),
{ format: digits });

const text = [`Measured on ${measured.machine}, medians of ${measured.rounds} rounds. Each number is for one event.`, '',
              byShards, '', byPublishers, '', '![What an event costs its publisher](performance/contention.svg)'].join('\n');
console.log(`\n${text}`);
if (options.doc) {
  mkdirSync(join(root, 'docs/performance'), { recursive: true });
  writeFileSync(join(root, 'docs/performance/contention.svg'), picture);
  writeFileSync(join(root, 'docs/performance/contention.json'), `${JSON.stringify(measured, null, 1)}\n`);
  replaceSection(join(root, 'docs/scale.md'), 'bench/contention', text);
}
