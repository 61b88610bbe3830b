// What a run of bench/million has come to: a table, a picture, results.json, and docs/million.md.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { timeline } from './picture.mjs';

const begin = '<!-- made by bench/million --doc: begin -->';
const end = '<!-- made by bench/million --doc: end -->';

const grouped = (number) => Math.round(number).toLocaleString('en-US');
const short = (number) => (number >= 100 ? grouped(number) : Number(number.toPrecision(3)).toString());
const mib = (bytes) => `${grouped(bytes / 1024 ** 2)} MiB`;
const ms = (value) => (value >= 1000 ? `${short(value / 1000)} s` : `${short(value)} ms`);

// The numbers of the run, each once.
export function results(run, { machine, tuned }) {
  const { plan } = run;
  const phase = (name) => run.phases.find((one) => one.name === name);
  const perCpu = (one, count) => (one.cpu * 1e6) / count;
  const [connect, idle, broadcast, vanish] = ['connect', 'idle', 'broadcast', 'vanish'].map(phase);
  const grown = (of, from, to) => (to[of] - from[of]) / plan.subscribers;
  const storms = ['storm', 'storm with messages'].map((name) => {
    const one = phase(name);
    return { name, subscribers: plan.storm, missed: one.result.missed, meanwhile: one.result.meanwhile,
      seconds: one.seconds, recovery_ms: one.result.recovery_ms, cpu_seconds: one.cpu,
      cpu_us_each: perCpu(one, plan.storm), caught_up: one.result.caughtUp };
  });
  return {
    date: new Date().toISOString().slice(0, 10),
    machine, tuned, scaled: plan.scaled ?? null,
    options: { subscribers: plan.subscribers, vanish: plan.vanishing, storm: plan.storm, shards: plan.shards, io: plan.io,
      heartbeat_seconds: plan.heartbeat, user_timeout_seconds: plan.userTimeout },
    seconds: run.phases.at(-1).to,
    connect: { seconds: connect.seconds, cpu_us_each: perCpu(connect, plan.subscribers), least_on_shard: run.spread.least,
      most_on_shard: run.spread.most },
    memory: {
      hub_bytes_before: run.base.pss, hub_bytes: connect.after.pss,
      user_bytes_each: grown('pss', run.base, connect.after),
      user_bytes_each_idle: grown('pss', run.base, idle.after),
      user_bytes_each_after_broadcast: grown('pss', run.base, broadcast.after),
      kernel_bytes_each: grown('machine', run.base, connect.after),
    },
    idle: { seconds: idle.seconds, cpu_share: idle.cpu / idle.seconds,
      cpu_us_per_heartbeat: perCpu(idle, 2 * plan.subscribers) },
    broadcast: { received: broadcast.result.deliveries, latency_ms: broadcast.result.latency_ms,
      cpu_us_each: perCpu(broadcast, plan.subscribers) },
    vanish: { count: plan.vanishing, noticed_seconds: vanish.result.noticedAfter, cpu_seconds: vanish.cpu },
    storms,
    checks: run.load.checks,
    broken: run.load.counts.cut,
    deliveries: run.load.counts.deliveries,
    expected: run.load.counts.expected,
    phases: run.phases.map(({ name, from, to, cpu }) => ({ name, from, to, cpu })),
  };
}

function table(all) {
  const { options: { subscribers }, connect, memory, idle, broadcast, vanish, storms, checks } = all;
  const latency = ({ first, p50, p99, last }) => `first ${ms(first)}, p50 ${ms(p50)}, p99 ${ms(p99)}, last ${ms(last)}`;
  const rows = [
    ['connecting', `${short(connect.seconds)} s (${grouped(subscribers / connect.seconds)} a second), ${short(connect.cpu_us_each)} µs of the hub's CPU each`],
    ['spread over the shards', `${grouped(connect.least_on_shard)} to ${grouped(connect.most_on_shard)} connections`],
    ['the hub\'s memory (PSS)', `${mib(memory.hub_bytes)}, ${mib(memory.hub_bytes_before)} of it before the first connection`],
    ['user memory per subscriber', `${grouped(memory.user_bytes_each)} B; ${grouped(memory.user_bytes_each_idle)} B after the heartbeats, ${grouped(memory.user_bytes_each_after_broadcast)} B after the broadcast`],
    ['kernel memory per subscriber, both ends', `${grouped(memory.kernel_bytes_each)} B`],
    ['idle', `${short(idle.cpu_share * 100)} % of one CPU for ${grouped((2 * subscribers) / idle.seconds)} heartbeats a second, ${short(idle.cpu_us_per_heartbeat)} µs each`],
    ['one broadcast', `received by ${grouped(broadcast.received)}: ${latency(broadcast.latency_ms)}; ${short(broadcast.cpu_us_each)} µs of the hub's CPU each`],
    ['vanished without a word', `${grouped(vanish.count)}, all noticed ${short(vanish.noticed_seconds)} s after the cut`],
    ...storms.map((storm) => [storm.name,
      `${grouped(storm.subscribers)} back in ${short(storm.seconds)} s (${latency(storm.recovery_ms)}), `
      + `each had missed ${storm.missed}${storm.meanwhile ? `, ${storm.meanwhile} more to everybody meanwhile` : ''}; `
      + `${short(storm.cpu_us_each)} µs of the hub's CPU each${storm.meanwhile ? ', with those' : ''}`]),
    ['checked by spate-load', `${grouped(all.deliveries)} deliveries of ${grouped(all.expected)}; lost ${checks.lost}, duplicates ${checks.duplicates}, out of order ${checks.out_of_order}, corrupt ${checks.corrupt}`],
    ['connections that broke and came back', grouped(all.broken)],
    ['in all', `${short(all.seconds)} s`],
  ];
  return ['| what | measured |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
}

function headline({ date, machine, tuned, scaled, options: of }) {
  return `Measured on ${date}: ${machine.cpus} CPUs (${machine.model.trim()}), ${machine.gib.toFixed(1)} GiB, Linux ${machine.kernel}, `
    + `${of.io}, ${of.shards} shards, a heartbeat every ${of.heartbeat_seconds} s, ${of.user_timeout_seconds} s for what is not `
    + `acknowledged, ${tuned ? 'with' : 'without'} \`--tune\`.${scaled ? ` Scaled down: ${scaled}.` : ''}`;
}

// Rates need a while between two readings, as CPU time comes in steps.
function rates(points, least = 1) {
  const out = [];
  let before = points[0];
  for (const point of points) {
    if (point[0] - before[0] >= least) {
      out.push([point[0], (point[1] - before[1]) / (point[0] - before[0])]);
      before = point;
    }
  }
  return out;
}

function picture(run, all) {
  const samples = run.load.samples.map((sample) => ({ ...sample, at: sample.at_seconds + run.loadBegan }));
  const of = (name) => samples.map((sample) => [sample.at, sample[name]]);
  const sum = (...names) => samples.map((sample) => [sample.at, names.reduce((total, name) => total + sample[name], 0)]);
  const first = samples[0].machine_kernel_bytes;
  const heard = samples.filter(({ p99_ms: p99 }) => p99 > 0);
  return timeline(`${grouped(all.options.subscribers)} subscribers of one hub`, [
    { title: 'streams', format: grouped, series: [
      { name: 'as the hub counts', points: run.samples.map(({ at, streams }) => [at, streams]) },
      { name: 'as the subscribers count', points: of('open') }] },
    { title: 'memory', format: mib, series: [
      { name: 'the hub', points: samples.map((sample) => [sample.at, sample.server_resident_bytes]) },
      { name: 'the kernel, both ends', points: samples.map((sample) => [sample.at, Math.max(0, sample.machine_kernel_bytes - first)]) }] },
    { title: 'CPUs in use', format: (value) => value.toFixed(1), series: [
      { name: 'the hub', points: rates(sum('server_user_seconds', 'server_kernel_seconds')) },
      { name: 'the machine', points: rates(of('machine_busy_seconds')) }] },
    { title: 'latency of what arrives', scale: 'log', format: ms, series: [
      { name: 'p50', dots: true, points: heard.map(({ at, p50_ms: p50 }) => [at, p50]) },
      { name: 'p99', dots: true, points: heard.map(({ at, p99_ms: p99 }) => [at, p99]) }] },
  ], run.phases.filter(({ name }) => !name.includes(': ')).map(({ name, from, to }) => ({ name, at: from, to })));
}

export function report(run, { machine, tuned, root, write }) {
  const all = results(run, { machine, tuned });
  const svg = picture(run, all);
  const text = `${headline(all)}\n\n${table(all)}`;
  console.log(`\n${text}\n`);
  writeFileSync(join(run.plan.out, 'results.json'), `${JSON.stringify(all, null, 2)}\n`);
  writeFileSync(join(run.plan.out, 'million.svg'), svg);
  if (write) {
    const file = join(root, 'docs/million.md');
    const old = readFileSync(file, 'utf8');
    writeFileSync(file, `${old.split(begin)[0]}${begin}\n${text}\n\n![Streams, memory, CPU and latency over time](performance/million.svg)\n${end}${old.split(end)[1] ?? '\n'}`);
    mkdirSync(join(root, 'docs/performance'), { recursive: true });
    writeFileSync(join(root, 'docs/performance/million.svg'), svg);
  }
}
