// The hub with its profile and without, in turns; see bench/profile_cost.

import { execFileSync, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

const root = new URL('..', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    starts: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '30' },
    seconds: { type: 'string', default: '0.1' },
    io: { type: 'string', default: 'io_uring' },
  },
});
const { seconds } = options;

const loads = [
  { name: 'one event at a time to 1000 subscribers', subscribers: 1000, channels: 1,
    command: `closed all 1 ${seconds}`, per: 'deliveries' },
  { name: '16 events under way to 1000 subscribers', subscribers: 1000, channels: 1,
    command: `closed all 16 ${seconds}`, per: 'deliveries' },
  { name: '1000 channels of one subscriber each', subscribers: 1000, channels: 1000,
    command: `closed all 64 ${seconds}`, per: 'deliveries' },
  { name: 'one event at a time to one subscriber', subscribers: 1, channels: 1,
    command: `closed all 1 ${seconds}`, per: 'deliveries' },
  { name: 'publishing to nobody', subscribers: 0, channels: 1,
    command: `publish 64 ${seconds}`, per: 'published' },
];

// The parts of the profile that cost something, and how often a hub has needed each.
const parts = JSON.parse(execFileSync(`${root}build/release/bin/bench_profile_parts`));

async function needs({ port }) {
  const json = await (await fetch(`http://127.0.0.1:${port}/debug/fanout?format=json`)).json();
  const of = Object.fromEntries([...json.stages, ...json.measures].map((one) => [one.name, one.count]));
  return { published: of.parse, taken: of.queue, settled: of.total, turns: of.turn,
           sending_turns: of.sends, sends: json.event_sends,
           work: { deliveries: json.deliveries, published: json.published } };
}

const children = [];

// One line of JSON for each line of text.
class Talk {
  constructor(cpu, program, args, stdio) {
    this.child = spawn('taskset', ['-c', String(cpu), program, ...args], { stdio });
    children.push(this.child);
    const input = this.child[stdio[1] === 'pipe' ? 'stdout' : 'stderr'];
    this.lines = createInterface({ input })[Symbol.asyncIterator]();
  }

  async line() {
    const { value, done } = await this.lines.next();
    if (done) {
      throw new Error('it ended');
    }
    return value;
  }

  async ask(text) {
    this.child.stdin.write(`${text}\n`);
    return JSON.parse(await this.line());
  }

  async stop(end) {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    end(this.child);
    await gone;
    children.splice(children.indexOf(this.child), 1);
  }
}

process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

async function start(folder, load) {
  const server = new Talk(0, `${root}build/${folder}/bin/spate`,
    ['--listen', '127.0.0.1:0', '--shards', '1', '--io', options.io, '--drain-seconds', '0'],
    ['ignore', 'ignore', 'pipe']);
  let port;
  while (port === undefined) {
    port = /msg=listening address=127.0.0.1:(\d+)/.exec(await server.line())?.[1];
  }
  // The log is of no interest, but must be taken.
  (async () => { for await (const line of server.lines) void line; })();
  const client = new Talk(availableParallelism() - 1, `${root}build/release/bin/bench_client`,
    ['--port', port, '--channels', String(load.channels), '--size', '160', '--subscribe', '/sse/c%u',
      '--publish', '/publish/c%u', '--pid', String(server.child.pid)], ['pipe', 'pipe', 'inherit']);
  await client.ask('publish 1 0.1');
  if (load.subscribers > 0) {
    await client.ask(`connect ${load.subscribers}`);
  }
  await client.ask(load.command); // warm
  return { server, client, port };
}

async function cost({ client }, load) {
  const result = await client.ask(load.command);
  const work = result[load.per];
  if (!(work > 0)) {
    throw new Error(`no ${load.per} in ${JSON.stringify(result)}`);
  }
  return result.server_seconds / work * 1e6;
}

// The mean of the cheapest quarter: what else the machine does can only make a run dearer.
function cheap(values) {
  const sorted = [...values].sort((a, b) => a - b).slice(0, Math.max(1, values.length >> 2));
  return sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
}

const again = (values) => values.map(() => values[Math.floor(Math.random() * values.length)]);

function interval({ on, off }) {
  const ratios = Array.from({ length: 2000 }, () => cheap(again(on)) / cheap(again(off)))
    .sort((a, b) => a - b);
  return [ratios[50], ratios[1949]];
}

const percent = (ratio) => `${ratio >= 1 ? '+' : ''}${((ratio - 1) * 100).toFixed(2)} %`;

console.log(`${options.io}; ${'load'.padEnd(42)}  without      with     cost   95 % of resamples       parts`);
console.log(`parts in ns: ${JSON.stringify(parts)}`);
for (const load of loads) {
  const costs = { on: [], off: [] };
  let parted = 0;
  for (let i = 0; i < Number(options.starts); i++) {
    const on = await start('release', load);
    const off = await start('profile_off', load);
    const before = await needs(on);
    for (let round = 0; round < Number(options.rounds); round++) {
      const order = round % 2 === 0 ? [['on', on], ['off', off]] : [['off', off], ['on', on]];
      for (const [name, one] of order) {
        costs[name].push(await cost(one, load));
      }
    }
    const after = await needs(on);
    const spent = Object.entries(parts)
      .reduce((sum, [name, ns]) => sum + ns * (after[name] - before[name]), 0);
    parted += spent / (after.work[load.per] - before.work[load.per]) / 1000 / Number(options.starts);
    for (const { server, client } of [on, off]) {
      await client.stop((child) => child.stdin.end());
      await server.stop((child) => child.kill('SIGTERM'));
    }
  }
  const [low, high] = interval(costs);
  const [without, with_] = [cheap(costs.off), cheap(costs.on)];
  console.log(`${load.name.padEnd(54)} ${without.toFixed(3)} us  ${with_.toFixed(3)} us `
    + ` ${percent(with_ / without).padStart(8)}   ${`${percent(low)} to ${percent(high)}`.padEnd(21)}`
    + ` ${percent(1 + parted / without).padStart(8)}`);
}
