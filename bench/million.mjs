// A million subscribers on one machine; see bench/million.

import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { cpus, totalmem, release } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { report } from './million_report.mjs';
import * as world from './million_world.mjs';

const root = new URL('..', import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    subscribers: { type: 'string', default: '1000000' },
    storm: { type: 'string' },
    vanish: { type: 'string', default: '10' },
    heartbeat: { type: 'string', default: '30' },
    'user-timeout': { type: 'string', default: '20' },
    shards: { type: 'string' },
    io: { type: 'string', default: 'io_uring' },
    minutes: { type: 'string', default: '15' },
    tune: { type: 'boolean', default: false },
    bin: { type: 'string', default: join(root, 'build/release/bin') },
    out: { type: 'string', default: join(root, 'build/million') },
    doc: { type: 'boolean', default: false },
  },
});

// What goes wrong in the run, and not in this script.
class Failure extends Error {}

const say = (text) => console.log(text);
const grouped = (number) => Math.round(number).toLocaleString('en-US');
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
const seconds = () => performance.now() / 1000;

function count(name, least, most) {
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < least || value > most) {
    console.error(`bench/million: --${name} is a number from ${least} to ${most}; see bench/million --help`);
    process.exit(2);
  }
  return value;
}

function readPlan() {
  const plan = {
    asked: count('subscribers', 100, 4000000),
    vanish: count('vanish', 1, 50),
    heartbeat: count('heartbeat', 1, 3600),
    userTimeout: count('user-timeout', 1, 3600),
    minutes: count('minutes', 1, 600),
    io: options.io,
    out: resolve(options.out),
  };
  if (plan.io !== 'io_uring' && plan.io !== 'epoll') {
    console.error('bench/million: --io is io_uring or epoll');
    process.exit(2);
  }
  const [least] = world.limits(plan.io, options.tune);
  plan.subscribers = Math.min(plan.asked, least.count);
  if (plan.subscribers < 100) {
    console.error(`bench/million: this machine has no room for it: ${least.why}`);
    process.exit(1);
  }
  if (plan.subscribers < plan.asked) {
    plan.scaled = `${grouped(plan.subscribers)} subscribers instead of ${grouped(plan.asked)}: ${least.why}`;
    say(`this machine is too small: ${plan.scaled}`);
  }
  plan.vanishing = Math.floor(plan.subscribers * plan.vanish / 100);
  plan.staying = plan.subscribers - plan.vanishing;
  plan.storm = options.storm === undefined ? Math.floor(plan.subscribers / 5) : count('storm', 1, plan.staying);
  plan.storm = Math.min(plan.storm, plan.staying);
  plan.shards = options.shards === undefined
    ? Math.max(cpus().length, Math.ceil(plan.subscribers / world.perShard())) : count('shards', 1, world.shardsMax);
  return plan;
}

// --- What is looked at ---------------------------------------------------------------------------

const field = (text, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);

function processUsage(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  const memory = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return {
    user: Number(stat[11]) / 100,
    kernel: Number(stat[12]) / 100,
    pss: field(memory, 'Pss') * 1024,
    rss: field(memory, 'Rss') * 1024,
  };
}

function kernelMemory(places) {
  const info = readFileSync('/proc/meminfo', 'utf8');
  const sockets = places.far.run('cat', '/proc/net/sockstat');
  const socketPages = Number(/^TCP:.* mem (\d+)/m.exec(sockets)[1]); // of all namespaces
  return (field(info, 'Slab') + field(info, 'PageTables') + field(info, 'KernelStack')) * 1024 + socketPages * 4096;
}

function get(socketPath, path) {
  return new Promise((done, fail) => {
    const request = http.get({ socketPath, path, agent: false, timeout: 60000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece) => { text += piece; });
      response.on('end', () => done(text)).on('error', fail);
    });
    request.on('error', fail).on('timeout', () => request.destroy(new Error('the hub does not answer')));
  });
}

// --- The hub and its load ------------------------------------------------------------------------

// A child whose end, unless it is wished for, is the end of the run.
class Program {
  constructor(name, child) {
    this.name = name;
    this.child = child;
    this.pid = child.pid;
    this.ended = new Promise((done) => {
      child.once('error', (error) => done(String(error)));
      child.once('close', (code, signal) => done(code ?? signal));
    });
    this.isWatched = true;
    this.broken = this.ended.then((how) => {
      if (this.isWatched) {
        throw new Failure(`${this.name} ended: ${how}`);
      }
    });
    this.broken.catch(() => {});
  }

  async end(act, patience) {
    this.isWatched = false;
    act();
    const late = setTimeout(() => this.child.kill('SIGKILL'), patience * 1000);
    const how = await this.ended;
    clearTimeout(late);
    return how;
  }
}

async function startHub(plan, places) {
  const socket = join(plan.out, 'hub.sock');
  const log = join(plan.out, 'hub.log');
  rmSync(socket, { force: true });
  const child = places.hub.spawn(join(options.bin, 'spate'), [
    '--listen', `${world.hubAddress}:8080`, '--listen', `unix:${socket}`, '--io', plan.io,
    '--shards', String(plan.shards), '--heartbeat-seconds', String(plan.heartbeat),
    '--user-timeout-seconds', String(plan.userTimeout), '--keepalive-seconds', '3600', '--drain-seconds', '0',
    '--tcp-keepalive-idle-seconds', '3600', '--log-level', 'warn', // heartbeats find who has gone
  ], { stdio: ['ignore', 'ignore', openSync(log, 'w')], env: { ...process.env, AUTH_TOKEN: 'million' } });
  const hub = new Program('the hub', child);
  hub.socket = socket;
  for (let tries = 0; ; tries++) {
    try {
      plan.connectionsMax = Number(/^spate_connections_max (\d+)/m.exec(await get(socket, '/metrics'))[1]);
      break;
    } catch (error) {
      if (tries === 600) {
        throw new Failure(`the hub did not start within 30 s: ${error.message}`);
      }
    }
    await Promise.race([pause(50), hub.broken]);
  }
  // On a machine that is too busy, a request may come too late for the hub.
  hub.stats = async (tries = 5) => {
    try {
      return JSON.parse(await get(socket, '/stats'));
    } catch (error) {
      if (tries === 1 || !hub.isWatched) {
        throw new Failure(`the hub does not answer: ${error.message}`);
      }
      await Promise.race([pause(1000), hub.broken]);
      return hub.stats(tries - 1);
    }
  };
  return hub;
}

// spate-load, which does what it is told step by step.
function startLoad(plan, places, hub) {
  const sources = (amount) => Math.ceil(amount / 4000);
  const child = places.far.spawn(join(options.bin, 'spate-load'), [
    '--quiet', '--steps', '-', '--json', join(plan.out, 'load.json'), '--pid', String(hub.pid),
    '--subscribers', String(plan.subscribers), '--connect-timeout', '900', '--drain', '300',
    '--source', `${world.stayNetwork.replace(/0$/, '1')}+${sources(plan.subscribers)}`,
    '--vanishing', String(plan.vanish), '--vanishing-source', `${world.goneNetwork.replace(/0$/, '1')}+${sources(plan.vanishing)}`,
    '--publish', '/publish/broadcast', `http://${world.hubAddress}:8080`,
  ], { stdio: ['pipe', 'pipe', openSync(join(plan.out, 'load.log'), 'w')], env: { ...process.env, SPATE_TOKEN: 'million' } });
  const load = new Program('spate-load', child);
  load.began = seconds();
  child.stdin.on('error', () => {});
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  load.step = async (line) => {
    child.stdin.write(`${line}\n`);
    const { value, done } = await Promise.race([lines.next(), load.broken]);
    const result = done ? null : JSON.parse(value);
    if (!result?.ok) {
      throw new Failure(`spate-load: "${line}" failed: ${value ?? 'it ended'}`);
    }
    return result;
  };
  return load;
}

// --- The run -------------------------------------------------------------------------------------

class Run {
  phases = [];
  samples = []; // of the hub: { at, streams, heartbeats, deliveries }
  #shown = 0;

  constructor(plan, places, hub) {
    Object.assign(this, { plan, places, hub, begin: seconds() });
  }

  usage() {
    return { at: seconds() - this.begin, ...processUsage(this.hub.pid), machine: kernelMemory(this.places) };
  }

  // Looks at the hub once a second while something goes on.
  async look() {
    const stats = await this.hub.stats();
    this.samples.push({ at: seconds() - this.begin, streams: stats.streams, heartbeats: stats.heartbeats,
      deliveries: stats.deliveries });
    return stats;
  }

  show(name, text, now = false) {
    if (process.stdout.isTTY) {
      process.stdout.write(`\r${name}: ${text}\x1b[K${now ? '\n' : ''}`);
    } else if (now || seconds() - this.#shown > 5) {
      this.#shown = seconds();
      say(`${(seconds() - this.begin).toFixed(0).padStart(4)} s  ${name}: ${text}`);
    }
  }

  // One phase: `act` does it, `progress` tells of it from the hub's numbers as long as it goes on.
  async phase(name, progress, act) {
    const before = this.usage();
    let isOver = false;
    const acting = act().finally(() => { isOver = true; });
    const watching = (async () => {
      while (!isOver) {
        this.show(name, progress(await this.look()));
        await Promise.race([pause(1000), acting.catch(() => {})]);
      }
    })();
    watching.catch(() => {});
    const result = await acting;
    await watching;
    const after = this.usage();
    this.show(name, progress(await this.look()), true);
    const phase = { name, from: before.at, to: after.at, seconds: after.at - before.at, before, after,
      cpu: after.user + after.kernel - before.user - before.kernel, result };
    this.phases.push(phase);
    return phase;
  }

  // Until the hub has so many streams. Who was cut for no reason comes back, and is told in the end.
  async streams(wanted, patience) {
    const until = seconds() + patience;
    let stats;
    do {
      await pause(200);
      stats = await this.hub.stats();
      if (seconds() > until) {
        throw new Failure(`the hub has ${grouped(stats.streams)} streams after ${patience} s, and not ${grouped(wanted)}`);
      }
    } while (stats.streams !== wanted);
  }
}

function expect(what, is, should) {
  if (is !== should) {
    throw new Failure(`${what}: ${grouped(is)}, and should be ${grouped(should)}`);
  }
}

const streamsOf = (total) => ({ streams }) => `${grouped(streams)} of ${grouped(total)} streams`;

async function connectAll(run, load) {
  const { plan } = run;
  await run.phase('connect', streamsOf(plan.subscribers), async () => {
    const { open } = await load.step('hold 0'); // answered once all are connected, or cannot be
    expect('subscribers that could connect', open, plan.subscribers);
    await run.streams(plan.subscribers, 120);
  });
}

async function idle(run) {
  const { plan, hub } = run;
  const begun = await hub.stats();
  const wanted = 2 * plan.subscribers;
  await run.phase('idle', ({ heartbeats }) => `${grouped(heartbeats - begun.heartbeats)} of ${grouped(wanted)} heartbeats`,
    async () => {
      const until = seconds() + 6 * plan.heartbeat + 60;
      let stats;
      do {
        await pause(200);
        stats = await hub.stats();
        if (seconds() > until) {
          throw new Failure(`only ${grouped(stats.heartbeats - begun.heartbeats)} of ${grouped(wanted)} heartbeats came`);
        }
      } while (stats.heartbeats - begun.heartbeats < wanted);
      await run.streams(plan.subscribers, 120);
    });
}

async function broadcast(run, load) {
  const { plan, hub } = run;
  const { deliveries } = await hub.stats();
  await run.phase('broadcast', (stats) => `${grouped(stats.deliveries - deliveries)} of ${grouped(plan.subscribers)} sent`,
    async () => {
      const result = await load.step('publish 1');
      expect('deliveries of the broadcast', result.deliveries, plan.subscribers);
      return result;
    });
}

async function vanish(run, load, cut) {
  const { plan } = run;
  await run.phase('vanish', streamsOf(plan.staying), async () => {
    const { vanished } = await load.step('vanish');
    expect('subscribers that vanish', vanished, plan.vanishing);
    cut();
    const begin = seconds();
    await run.streams(plan.staying, 3 * plan.heartbeat + 5 * plan.userTimeout + 120);
    return { noticedAfter: seconds() - begin };
  });
}

// Some are cut, `missed` messages are published, and then they all come back at once, while `meanwhile`
// more are published.
async function storm(run, load, name, missed, meanwhile) {
  const { plan, hub } = run;
  await run.phase(`${name}: cut`, streamsOf(plan.staying - plan.storm), async () => {
    await load.step(`cut ${plan.storm}`);
    await run.streams(plan.staying - plan.storm, 120);
  });
  await run.phase(`${name}: publish`, ({ deliveries }) => `${grouped(deliveries)} sent in all`,
    () => load.step(`publish ${missed}`));
  const before = await hub.stats();
  await run.phase(name, streamsOf(plan.staying), async () => {
    const result = await load.step(`return ${meanwhile}`);
    await run.streams(plan.staying, 120);
    const after = await hub.stats();
    expect('gaps', after.gaps - before.gaps, 0);
    return { ...result, resumes: plan.storm, missed, meanwhile, caughtUp: after.deliveries - before.deliveries };
  });
}

function spread(stats) {
  const counts = stats.shards.map(({ connections }) => connections);
  return { least: Math.min(...counts), most: Math.max(...counts) };
}

async function finish(run, load) {
  const code = await load.end(() => load.child.stdin.end(), 120);
  const result = JSON.parse(readFileSync(join(run.plan.out, 'load.json'), 'utf8'));
  if (code !== 0 || !result.checks.ok) {
    throw new Failure(`spate-load found faults (${code}): ${JSON.stringify(result.checks)}`);
  }
  await run.phase('leave', streamsOf(0), () => run.streams(0, 120));
  const how = await run.hub.end(() => run.hub.child.kill('SIGTERM'), 60);
  if (how !== 0) {
    throw new Failure(`the hub ended with ${how}`);
  }
  return result;
}

async function runAll(plan, places) {
  const hub = await startHub(plan, places);
  const run = new Run(plan, places, hub);
  say(`hub ${hub.pid}: ${plan.shards} shards, ${grouped(plan.connectionsMax)} connections at most; ${plan.io}`);
  run.base = run.usage();
  const load = startLoad(plan, places, hub);
  const all = async () => {
    await connectAll(run, load);
    run.spread = spread(await hub.stats());
    await idle(run);
    await broadcast(run, load);
    await vanish(run, load, places.cut);
    await storm(run, load, 'storm', 3, 0);
    await storm(run, load, 'storm with messages', 1, 3);
    run.load = await finish(run, load);
  };
  try {
    await Promise.race([all(), hub.broken.then(() => new Promise(() => {}))]);
  } catch (error) {
    // What the hub and its load have to say to it.
    const stats = await Promise.race([hub.stats(1), pause(5000)]).catch(() => undefined);
    writeFileSync(join(plan.out, 'stats.json'), `${JSON.stringify(stats ?? null)}\n`);
    await Promise.race([load.end(() => load.child.kill('SIGINT'), 10), pause(10000)]);
    throw error;
  }
  // Both count from when they began.
  run.loadBegan = load.began - run.begin;
  return run;
}

// --- From the outside ----------------------------------------------------------------------------

const plan = readPlan();
mkdirSync(plan.out, { recursive: true });
let ending = null;
const tuning = world.tuneFirst(plan.subscribers, options.tune, say);

async function end(code, why) {
  if (ending === null) {
    ending = code;
    if (why !== undefined) {
      console.error(`\nbench/million: ${why}`);
    }
    await tuning.untune();
    process.exit(code);
  }
}

process.on('SIGINT', () => end(130, 'interrupted'));
process.on('SIGTERM', () => end(143, 'terminated'));
setTimeout(() => end(1, `not done within ${plan.minutes} minutes`), plan.minutes * 60000).unref();

try {
  const places = await world.makePlaces();
  world.tunePlaces(plan.subscribers, options.tune, places, say);
  const run = await runAll(plan, places);
  if (ending === null) {
    const machine = { cpus: cpus().length, model: cpus()[0].model, gib: totalmem() / 1024 ** 3, kernel: release() };
    report(run, { machine, tuned: options.tune, root, write: options.doc });
    say(`${join(plan.out, 'results.json')}, ${join(plan.out, 'million.svg')}`);
    places.hub.close();
    places.far.close();
    await end(0);
  }
} catch (error) {
  const log = join(plan.out, 'hub.log');
  const last = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n  ') : '';
  await end(1, error instanceof Failure ? `${error.message}\n  last of the hub's log:\n  ${last}` : error.stack);
}
