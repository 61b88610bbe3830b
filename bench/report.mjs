// Turns the results of bench/compare into ratios, tables and pictures.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { bars, lines } from './picture.mjs';
import { digits, median, replaceSection, table } from './text.mjs';
import { tlsGoals, tlsWorlds } from './worlds_tls.mjs';

const spates = ['spate-uring', 'spate-epoll'];

const sorted = (values) => [...values].sort((a, b) => a - b);
// What is read off one measurement; `better` is the direction.
const metrics = {
  cpu: { unit: 'µs', of: (r) => (r.server_seconds * 1e6) / r.deliveries },
  cpuPublish: { unit: 'µs', of: (r) => (r.server_seconds * 1e6) / r.published },
  cpuConnect: { unit: 'µs', of: (r) => (r.server_seconds * 1e6) / r.subscribers },
  rate: { unit: '/s', of: (r) => r.deliveries / r.seconds },
  publishesPerCpu: { unit: '/s', of: (r) => r.published / r.server_seconds },
  p50: { unit: 'ms', of: (r) => r.p50_us / 1e3 },
  p99: { unit: 'ms', of: (r) => r.p99_us / 1e3 },
};

// One line of the first table: a metric of a row, against a peer, and what is aimed at.
function goals(worldName, { subscribers, channels, size }) {
  const n = subscribers.toLocaleString('en');
  if (tlsWorlds[worldName] !== undefined) {
    return tlsGoals(worldName);
  }
  if (worldName.startsWith('size-')) {
    const what = `events of ${size.toLocaleString('en')} bytes`;
    return [
      { what: `${what}, one at a time: CPU per delivery`, row: 'one', metric: 'cpu', against: 'bare', most: 1 },
      { what: `${what}, the same`, row: 'one', metric: 'cpu', against: 'nchan', most: 0.62 },
      { what: `${what}, 16 under way to all: CPU per delivery`, row: 'all-16', metric: 'cpu', against: 'bare', most: 1 },
      { what: `${what}, the same`, row: 'all-16', metric: 'cpu', against: 'nchan', most: 0.62 },
      { what: `${what}, the same: deliveries a second`, row: 'all-16', metric: 'rate', against: 'nchan', least: 1 },
    ];
  }
  if (worldName === 'zipf' || worldName === 'several') {
    const what = worldName === 'zipf' ? `${n} subscribers of ${channels} channels of unlike popularity`
      : `${n} subscribers of five of ${channels} channels each`;
    return [
      { what: `${what}, one event at a time: CPU per delivery`, row: 'channels-1', metric: 'cpu', against: 'nchan', most: 0.62 },
      { what: `${what}, 64 under way: CPU per delivery`, row: 'channels-64', metric: 'cpu', against: 'nchan', most: 0.5 },
      { what: `${what}, the same: p99`, row: 'channels-64', metric: 'p99', against: 'nchan', most: 1 },
    ];
  }
  if (worldName.startsWith('channels')) {
    return [{ what: `${n} channels with one subscriber each: CPU per publish and delivery`,
              row: 'channels', metric: 'cpu', against: 'nchan', most: 0.5 }];
  }
  if (worldName === 'publish') {
    return [{ what: 'publishing to nobody, pipelined: publishes per CPU second',
              row: 'publish', metric: 'publishesPerCpu', against: 'nchan', least: 5 }];
  }
  return [
    { what: `${n} subscribers, strictly one message at a time: CPU per delivery`,
      row: 'one', metric: 'cpu', against: 'bare', most: 1.0 },
    { what: `${n}, the same`, row: 'one', metric: 'cpu', against: 'nchan', most: 0.62 },
    { what: `${n}, the next message when the first subscriber has the last: CPU per delivery`,
      row: 'first-1', metric: 'cpu', against: 'bare', most: 0.5 },
    { what: `${n}, two messages ahead of the first subscriber: CPU per delivery`,
      row: 'first-2', metric: 'cpu', against: 'bare', most: 0.5 },
    { what: `${n}, 16 messages under way to all: CPU per delivery`,
      row: 'all-16', metric: 'cpu', against: 'nchan', most: 0.035 },
    { what: `${n}, the same: deliveries a second`,
      row: 'all-16', metric: 'rate', against: 'nchan', least: 25 },
    { what: `${n}, open loop at half of nchan's saturation: p99`,
      row: 'open-half', metric: 'p99', against: 'nchan', most: 0.5 },
    { what: `${n}, connecting: CPU per accepted subscriber`,
      row: 'connect', metric: 'cpuConnect', against: 'nchan', most: 0.5 },
  ];
}

// The ratio of each round, so that what disturbs a whole round falls out; then their median.
function ratio(results, row, metric, name, against) {
  const ours = results[row]?.[name];
  const theirs = results[row]?.[against];
  if (ours === undefined || theirs === undefined) {
    return null;
  }
  const { of } = metrics[metric];
  const all = ours.slice(0, theirs.length).map((r, i) => of(r) / of(theirs[i]));
  return { median: median(all), low: sorted(all)[0], high: sorted(all).at(-1), count: all.length };
}

function shown(value, goal) {
  if (value === null) {
    return '–';
  }
  const met = goal.most !== undefined ? value.median <= goal.most : value.median >= goal.least;
  const text = met ? digits(value.median) : `**${digits(value.median)}**`;
  return value.count > 1 ? `${text} (${digits(value.low)}–${digits(value.high)})` : text;
}

function ratios(measured) {
  const rows = [];
  for (const [name, world] of Object.entries(measured.worlds)) {
    for (const goal of goals(name, world)) {
      const values = spates.map((spate) => ratio(world.results, goal.row, goal.metric, spate, goal.against));
      if (values.every((value) => value === null)) {
        continue;
      }
      const target = goal.most !== undefined ? `≤ ${goal.most}` : `≥ ${goal.least}`;
      rows.push([goal.what, goal.against === 'bare' ? 'bare loop' : goal.against,
                 ...values.map((value) => shown(value, goal)), target]);
    }
  }
  return table(['what', 'against', 'io_uring', 'epoll', 'aim'], rows);
}

// Over TLS each connection pays for OpenSSL; a stream does not.
function memoryAim(name) {
  return tlsWorlds[name] === undefined ? '≤ 256 B' : tlsWorlds[name].streams > 0 ? '≤ 600 B' : 'told';
}

function absolutes(measured) {
  const rows = [];
  for (const [name, world] of Object.entries(measured.worlds)) {
    for (const spate of spates) {
      const fast = world.results['open-10x']?.[spate];
      if (fast !== undefined) {
        const p99 = median(fast.map(metrics.p99.of));
        const behind = fast.some((r) => r.deliveries < r.expected) ? ', deliveries missing' : '';
        rows.push([`${name}, open loop at ten times nchan's saturation: p99`, spate,
                   `${digits(p99)} ms${behind}`, '< 250 ms']);
      }
      const memory = world.memory[spate];
      if (memory !== undefined) {
        rows.push([`${name}: user memory per idle subscriber, before and after traffic`, spate,
                   `${Math.round(memory.user)} B, ${Math.round(memory.userAfter)} B`, memoryAim(name)]);
      }
      const bare = world.memory.bare;
      if (memory?.kernel != null && bare?.kernel != null) {
        rows.push([`${name}: kernel memory per idle subscriber beyond the bare loop's socket`, spate,
                   `${Math.round(memory.kernel - bare.kernel)} B`, 'reported']);
      }
    }
  }
  return table(['what', 'server', 'measured', 'aim'], rows);
}

function backends(measured) {
  const rows = [];
  for (const [name, world] of Object.entries(measured.worlds)) {
    for (const row of Object.keys(world.results)) {
      const metric = { publish: 'cpuPublish', connect: 'cpuConnect' }[row] ?? 'cpu';
      const value = ratio(world.results, row, metric, 'spate-epoll', 'spate-uring');
      if (value !== null) {
        rows.push([`${name} ${row}`, shown(value, { most: 1.3 })]);
      }
    }
  }
  return table(['row', 'CPU of epoll against io_uring (aim ≤ 1.3)'], rows);
}

function numbers(measured) {
  const rows = [];
  for (const [name, world] of Object.entries(measured.worlds)) {
    for (const [row, byPeer] of Object.entries(world.results)) {
      for (const [peer, results] of Object.entries(byPeer)) {
        const cpu = row === 'publish' ? metrics.cpuPublish : row === 'connect' ? metrics.cpuConnect : metrics.cpu;
        const each = (of) => median(results.map(of));
        const rate = row === 'publish' ? each((r) => r.published / r.seconds)
          : row === 'connect' ? each((r) => r.subscribers / r.seconds) : each(metrics.rate.of);
        const timed = row !== 'publish' && row !== 'connect';
        rows.push([name, row, peer, digits(each(cpu.of)), digits(rate),
                   timed ? digits(each(metrics.p50.of)) : '', timed ? digits(each(metrics.p99.of)) : '',
                   each((r) => r.server_seconds / r.seconds).toFixed(2),
                   each((r) => r.client_seconds / r.seconds).toFixed(2)]);
      }
    }
  }
  return table(['world', 'row', 'server', 'CPU µs each', 'each a second', 'p50 ms', 'p99 ms',
                'server busy', 'client busy'], rows);
}

function memories(measured) {
  const rows = [];
  for (const [name, world] of Object.entries(measured.worlds)) {
    for (const [peer, memory] of Object.entries(world.memory)) {
      rows.push([name, peer, Math.round(memory.user), Math.round(memory.userAfter),
                 memory.kernel === null ? '–' : Math.round(memory.kernel)]);
    }
  }
  return table(['world', 'server', 'user B', 'user B after traffic', 'kernel B, both ends'], rows);
}

const rowTitles = {
  one: 'one at a time', 'first-1': 'next when the first has it', 'first-2': 'two ahead of the first',
  'all-16': '16 under way to all',
};

// For the README: each delivery sent by itself, and what is gained when there is something to put together.
function deliveryGroups(world, titles) {
  return ['one', 'all-16'].filter((row) => world.results[row] !== undefined).map((row) => ({
    title: rowTitles[row],
    bars: Object.entries(world.results[row]).filter(([peer]) => peer !== 'spate-epoll').map(([peer, results]) => ({
      name: titles[peer], value: median(results.map(metrics.rate.of)),
    })),
  }));
}

function pictures(measured) {
  const made = {};
  const titles = Object.fromEntries(measured.peers.map((peer) => [peer.name, peer.title]));
  for (const [name, world] of Object.entries(measured.worlds)) {
    if (world.results.one === undefined) {
      continue;
    }
    const groups = Object.entries(rowTitles).filter(([row]) => world.results[row] !== undefined)
      .map(([row, title]) => ({
        title,
        bars: Object.entries(world.results[row]).map(([peer, results]) => ({
          name: titles[peer], value: median(results.map(metrics.cpu.of)),
        })),
      }));
    made[`cpu-${name}`] = bars(`Server CPU per delivery, µs: ${world.subscribers.toLocaleString('en')} subscribers`,
                               groups, { scale: 'log', format: digits });
    if (name === 'hot-1000') {
      made.deliveries = bars('Deliveries a second of one CPU: one channel, 1,000 subscribers', deliveryGroups(world, titles),
                             { format: (value) => Math.round(value).toLocaleString('en'), better: 'longer' });
    }
    const memory = Object.entries(world.memory).map(([peer, m]) => ({
      name: titles[peer], value: Math.max(1, m.user),
    }));
    made[`memory-${name}`] = bars(`User memory per idle subscriber, bytes: ${world.subscribers.toLocaleString('en')} subscribers`,
                                  [{ title: '', bars: memory }], { scale: 'log', format: digits });
  }
  return made;
}

function markdown(measured, made) {
  const peers = measured.peers.filter((peer) => peer.version !== '')
    .map((peer) => `${peer.title} ${peer.version}`).join(', ');
  const images = Object.keys(made).map((name) => `![${name}](performance/${name}.svg)`).join('\n\n');
  return [
    `Measured on ${measured.date}: ${measured.machine.count} virtual CPUs (${measured.machine.cpu}), Linux`,
    `${measured.machine.kernel}, events of ${measured.size} bytes, medians of ${measured.rounds} interleaved rounds, in`,
    `parentheses the least and the greatest. Peers: ${peers === '' ? 'none' : peers}.`,
    'The open loops have half as many rounds; connecting and memory were measured once, and bear no',
    'comparison closer than a few tenths. Kernel memory is that of the whole machine: where other work comes',
    'and goes beside it, it is of no use, and a negative number says so.',
    '', '### Ratios', '', 'Bold: the aim is missed.', '', ratios(measured),
    '', absolutes(measured),
    '', '### The backends', '', backends(measured),
    '', '### Pictures', '', images,
    '', '### All numbers', '', numbers(measured),
    '', 'Memory per idle subscriber:', '', memories(measured),
  ].join('\n');
}

// Of --more: how the CPU of a delivery grows with its size.
function morePictures(measured) {
  const made = {};
  const titles = Object.fromEntries(measured.peers.map((peer) => [peer.name, peer.title]));
  const worlds = Object.entries(measured.worlds).filter(([name]) => name.startsWith('size-')).map(([, world]) => world);
  for (const row of worlds.length > 1 ? ['one', 'all-16'] : []) {
    const series = Object.entries(titles).map(([peer, title]) => ({
      name: title,
      points: worlds.filter((world) => world.results[row]?.[peer] !== undefined)
        .map((world) => [world.size, median(world.results[row][peer].map(metrics.cpu.of))]),
    })).filter(({ points }) => points.length > 0);
    made[`sizes-${row}`] = lines(`Server CPU per delivery, µs: 1,000 subscribers, ${rowTitles[row]}`,
                                 'bytes of data of an event', series, { format: digits });
  }
  return made;
}

function moreMarkdown(measured, made) {
  const images = Object.keys(made).map((name) => `![${name}](performance/${name}.svg)`).join('\n\n');
  return [
    `Measured on ${measured.date}: ${measured.machine.count} virtual CPUs (${measured.machine.cpu}), Linux`,
    `${measured.machine.kernel}, medians of ${measured.rounds} interleaved rounds, in parentheses the least and the`,
    'greatest. Events have 160 bytes where nothing else is said.',
    '', ratios(measured), '', images, '', numbers(measured), '', 'Memory per idle subscriber:', '', memories(measured),
  ].join('\n');
}

export function report(measured, { root, write, more }) {
  const made = more ? morePictures(measured) : pictures(measured);
  const text = more ? moreMarkdown(measured, made) : markdown(measured, made);
  console.log(text);
  if (write) {
    replaceSection(join(root, 'docs/performance.md'), more ? 'bench/compare --more' : 'bench/compare', text);
    const folder = join(root, 'docs/performance');
    writeFileSync(join(folder, more ? 'more.json' : 'results.json'), `${JSON.stringify(measured, null, 1)}\n`);
    mkdirSync(folder, { recursive: true });
    for (const [name, svg] of Object.entries(made)) {
      writeFileSync(join(folder, `${name}.svg`), svg);
    }
  }
}
