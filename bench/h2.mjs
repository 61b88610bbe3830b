// HTTP/1.1 and HTTP/2, in clear text and over TLS; see bench/h2.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

const root = new URL('..', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    subscribers: { type: 'string', default: '10000' },
    'tls-subscribers': { type: 'string', default: '2000' },
    streams: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '6' },
    rate: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    io: { type: 'string', default: 'io_uring' },
    doc: { type: 'boolean', default: false },
  },
});
const number = (name) => Number(options[name]);

const worlds = [
  { name: 'HTTP/1.1', tls: false, h2: false, count: number('subscribers') },
  { name: 'HTTP/2', tls: false, h2: true, count: number('subscribers') },
  { name: 'HTTP/1.1 over TLS', tls: true, h2: false, count: number('tls-subscribers') },
  { name: 'HTTP/2 over TLS', tls: true, h2: true, count: number('subscribers') },
];

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];

async function startHub(world) {
  // Two addresses: events are published in clear text, whatever the subscribers speak.
  const hub = spawn(`${root}build/release/bin/spate`, ['--listen', '127.0.0.1:0', '--shards', '1',
    '--io', options.io, '--heartbeat-seconds', '600',
    ...(world.tls ? ['--listen', 'tls:127.0.0.1:0', '--tls-self-signed'] : [])],
  { stdio: ['ignore', 'ignore', 'pipe'] });
  const ports = [];
  for await (const line of createInterface(hub.stderr)) {
    const match = /msg=listening address=\S*127\.0\.0\.1:(\d+)/.exec(line);
    if (match && ports.push(Number(match[1])) === (world.tls ? 2 : 1)) {
      hub.stderr.resume();
      return { hub, publishPort: ports[0], port: ports.at(-1) };
    }
  }
  throw new Error('the hub did not start');
}

function userBytes(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+)/m.exec(text)[1]) * 1024;
}

// Of the whole machine, both ends of each connection.
function kernelBytes() {
  try {
    return readFileSync('/proc/slabinfo', 'utf8').split('\n').slice(2).reduce((sum, line) => {
      const [, objects, , size] = line.split(/\s+/).map(Number);
      return sum + (objects * size || 0);
    }, 0);
  } catch {
    return NaN; // only root may see it
  }
}

function cpuMicroseconds(pid) {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, task) => sum
    + Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1000, 0);
}

function publish(port, data) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, path: '/publish/bench', method: 'POST',
      headers: { 'Content-Type': 'text/plain' } }, (answer) => answer.resume().on('end', resolve));
    request.on('error', reject);
    request.end(data);
  });
}

// The subscribers, in a process of their own: it tells when all are there, and counts events.
async function startClient(world, port) {
  const client = spawn('node', [`${root}bench/h2_client.mjs`, world.h2 ? 'h2' : 'h1', world.tls ? 'tls' : 'clear',
    String(port), String(world.count), options.streams], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
  const ask = async (text) => {
    client.stdin.write(`${text}\n`);
    const { value, done } = await lines.next();
    if (done) {
      throw new Error('the client has ended');
    }
    return Number(value);
  };
  return { client, ask };
}

// What is read stands still: nobody tells when memory has been given back.
async function settle(read) {
  let before = read();
  for (let i = 0; i < 20; i++) {
    await sleep(250);
    const now = read();
    if (Math.abs(now - before) < 16384) {
      return now;
    }
    before = now;
  }
  return before;
}

async function measure(world) {
  const { hub, publishPort, port } = await startHub(world);
  const { client, ask } = await startClient(world, port);
  try {
    await ask('warm'); // one connection of each kind: what exists once exists
    await publish(publishPort, 'x'.repeat(130));
    const user = await settle(() => userBytes(hub.pid));
    const kernel = kernelBytes();
    const opened = await ask('connect');
    if (opened !== world.count + 1) {
      throw new Error(`${opened} subscribers are connected, of ${world.count + 1}`);
    }
    const idle = await settle(() => userBytes(hub.pid));
    const kernelIdle = kernelBytes();
    const before = cpuMicroseconds(hub.pid);
    const total = number('seconds') * number('rate');
    for (let i = 0; i < total; i++) {
      const due = sleep(1000 / number('rate')); // the load is so many a second
      await publish(publishPort, 'x'.repeat(130));
      await due;
    }
    const expected = total * (world.count + 1); // and the one that was there first
    const events = await ask(`events ${expected}`);
    const cpu = cpuMicroseconds(hub.pid) - before;
    if (events !== expected) {
      throw new Error(`${events} events came of ${expected}`);
    }
    const after = await settle(() => userBytes(hub.pid));
    return { user: (idle - user) / world.count, after: (after - user) / world.count,
             kernel: (kernelIdle - kernel) / world.count, cpu: cpu / events };
  } finally {
    client.kill();
    hub.kill('SIGKILL');
    await Promise.all([once(client, 'exit'), once(hub, 'exit')]);
  }
}

const results = new Map(worlds.map((world) => [world.name, []]));
for (let round = 1; round <= number('rounds'); round++) {
  for (const world of worlds) {
    const one = await measure(world);
    results.get(world.name).push(one);
    console.log(`round ${round}/${options.rounds}, ${world.count} of ${world.name}: user ${one.user.toFixed(0)} B, after traffic `
      + `${one.after.toFixed(0)} B, kernel ${one.kernel.toFixed(0)} B, CPU ${one.cpu.toFixed(2)} µs per delivery`);
  }
}

const of = (name, key) => median(results.get(name).map((one) => one[key]));
const table = ['| | subscribers | user memory B | after traffic B | kernel memory B, both ends | CPU µs per delivery | against HTTP/1.1 |',
  '|---|---|---|---|---|---|---|',
  ...worlds.map(({ name, count }) => `| ${name} | ${count} | ${of(name, 'user').toFixed(0)} | ${of(name, 'after').toFixed(0)} | `
    + `${of(name, 'kernel').toFixed(0)} | ${of(name, 'cpu').toFixed(2)} | ${(of(name, 'cpu') / of('HTTP/1.1', 'cpu')).toFixed(2)} |`)];
console.log(`\n${table.join('\n')}`);
if (options.doc) {
  const file = `${root}docs/performance.md`;
  const [begin, end] = ['<!-- made by bench/h2 --doc: begin -->', '<!-- made by bench/h2 --doc: end -->'];
  const text = readFileSync(file, 'utf8');
  const at = text.indexOf(begin);
  if (at < 0 || text.indexOf(end) < at) {
    throw new Error(`${file} has no place for the table`);
  }
  writeFileSync(file, `${text.slice(0, at + begin.length)}\n${table.join('\n')}\n${text.slice(text.indexOf(end))}`);
}
