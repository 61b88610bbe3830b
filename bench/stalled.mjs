// One stalled subscriber beside many that read; see bench/stalled.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

const root = new URL('..', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    subscribers: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '10' },
    rate: { type: 'string', default: '10' },
    io: { type: 'string', default: 'io_uring' },
  },
});

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];

async function startHub() {
  const hub = spawn(`${root}build/release/bin/spate`,
    ['--listen', '127.0.0.1:0', '--io', options.io], { stdio: ['ignore', 'ignore', 'pipe'] });
  for await (const line of createInterface(hub.stderr)) {
    const match = /msg=listening address=127\.0\.0\.1:(\d+)/.exec(line);
    if (match) {
      hub.stderr.resume();
      return { hub, port: Number(match[1]) };
    }
  }
  throw new Error('the hub did not start');
}

// Asks for the channel of the load, and never reads what comes.
async function stall(port) {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.pause();
  socket.write('GET /sse/stalled HTTP/1.1\r\nHost: localhost\r\n\r\n');
  return socket;
}

const resident = (pid) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

const { hub, port } = await startHub();
const results = { without: [], with: [] };
const rounds = Number(options.rounds);
for (let round = 0; round < rounds; round++) {
  for (const kind of round % 2 === 0 ? ['without', 'with'] : ['with', 'without']) {
    const socket = kind === 'with' ? await stall(port) : null;
    const before = resident(hub.pid);
    const load = spawn(`${root}build/release/bin/spate-load`, [
      '--quiet', '--json', '-', '--subscribers', options.subscribers, '--rate', options.rate,
      '--duration', options.seconds, '--size', '1000', '--publish', '/publish/stalled', `http://127.0.0.1:${port}/sse/stalled`,
    ], { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    load.stdout.on('data', (piece) => (text += piece));
    const [code] = await once(load, 'close');
    const result = JSON.parse(text);
    socket?.destroy();
    results[kind].push(result);
    const { p50, p99 } = result.milliseconds.latency;
    console.log(`round ${round + 1}/${rounds}, ${kind} a stalled one: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, `
      + `${result.counts.deliveries} of ${result.counts.expected} delivered, hub ${before.toFixed(1)} to `
      + `${resident(hub.pid).toFixed(1)} MiB${code === 0 ? '' : ', WITH FAULTS'}`);
  }
}
for (const quantile of ['p50', 'p99']) {
  const of = (kind) => median(results[kind].map((one) => one.milliseconds.latency[quantile]));
  console.log(`${quantile}: ${of('without').toFixed(2)} ms without, ${of('with').toFixed(2)} ms with, `
    + `ratio ${(of('with') / of('without')).toFixed(2)}`);
}
hub.kill('SIGTERM');
await once(hub, 'exit');
