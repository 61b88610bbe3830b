// Where bench/million takes place: two network namespaces, two wires between them, and the kernel's
// limits. A namespace lives as long as the processes in it, and they all die with this one (by a pipe
// or by PR_SET_PDEATHSIG), so that nothing has to be cleaned up, however this one ends.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

const number = (path) => Number(readFileSync(path, 'utf8').trim().split(/\s+/)[0]);

// A network namespace, held by a process that ends when its standard input does.
export class Place {
  static async make() {
    const place = new Place();
    place.holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'pipe', 'pipe'] });
    let complaint = '';
    place.holder.stderr.on('data', (text) => { complaint += text; });
    place.holder.stdin.on('error', () => {});
    place.holder.stdin.write('there\n');
    const ready = once(place.holder.stdout, 'data').then(() => true);
    const failed = once(place.holder, 'close').then(() => false);
    if (!await Promise.race([ready, failed])) {
      throw new Error(`no network namespace can be made here: ${complaint.trim()}`);
    }
    place.ip('link', 'set', 'lo', 'up');
    return place;
  }

  enter(program, ...args) {
    return ['nsenter', '-t', String(this.holder.pid), '-n', program, ...args];
  }

  run(program, ...args) {
    const [first, ...rest] = this.enter(program, ...args);
    return execFileSync(first, rest, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  }

  ip(...args) {
    return this.run('ip', ...args);
  }

  // A process in it, which does not outlive this one.
  spawn(program, args, options) {
    return spawn('setpriv', ['--pdeathsig', 'KILL', ...this.enter(program, ...args)], options);
  }

  close() {
    this.holder.stdin.end();
  }
}

// Addresses: the hub's, and as many as it takes of two networks for those who stay and those who vanish.
export const hubAddress = '10.99.0.1';
const farAddress = '10.99.0.2';
const hubAddressGone = '10.99.0.5';
const farAddressGone = '10.99.0.6';
export const stayNetwork = '10.100.0.0';
export const goneNetwork = '10.101.0.0';

// Two wires from the hub's place to that of the load. The subscribers that will vanish come over the
// second, by the address they connect from.
export async function makePlaces() {
  const hub = await Place.make();
  const far = await Place.make();
  const pid = String(far.holder.pid);
  for (const [wire, near, farther] of [['stay', hubAddress, farAddress],
                                       ['gone', hubAddressGone, farAddressGone]]) {
    hub.ip('link', 'add', wire, 'type', 'veth', 'peer', 'name', wire, 'netns', pid);
    hub.ip('addr', 'add', `${near}/30`, 'dev', wire);
    hub.ip('link', 'set', wire, 'up');
    far.ip('addr', 'add', `${farther}/30`, 'dev', wire);
    far.ip('link', 'set', wire, 'up');
  }
  hub.ip('route', 'add', `${stayNetwork}/16`, 'via', farAddress);
  hub.ip('route', 'add', `${goneNetwork}/16`, 'via', farAddressGone);
  far.ip('route', 'add', 'local', `${stayNetwork}/16`, 'dev', 'lo');
  far.ip('route', 'add', 'local', `${goneNetwork}/16`, 'dev', 'lo');
  far.ip('route', 'add', 'default', 'via', hubAddressGone, 'dev', 'gone', 'table', '101');
  far.ip('rule', 'add', 'from', `${goneNetwork}/16`, 'lookup', '101');
  return { hub, far, cut: () => far.ip('link', 'set', 'gone', 'down') };
}

// What one subscriber takes of this machine: two sockets and their files in the kernel, and both
// programs' memory, with some room.
const bytesPerSubscriber = 12 * 1024;
const bytesKeptFree = 1.5 * 1024 ** 3;
const workersMax = 256;
export const shardsMax = 256;

export function descriptors() {
  return Number(/Max open files\s+\d+\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))[1]);
}

// A shard's share of the descriptors: the kernel spreads connections by chance.
export const perShard = () => Math.floor((descriptors() - 128) * 0.85);

// How many subscribers there can be, and what says so: [{ count, why }], the least first.
export function limits(io, tuned) {
  const memory = /MemAvailable:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))[1] * 1024;
  const [used] = readFileSync('/proc/sys/fs/file-nr', 'utf8').split('\t').map(Number);
  const files = tuned ? Infinity : number('/proc/sys/fs/file-max') - used;
  const least = [
    { count: (memory - bytesKeptFree) / bytesPerSubscriber,
      why: `${(memory / 1024 ** 3).toFixed(1)} GiB of memory are available` },
    { count: files / 2.1, why: `fs.file-max leaves ${files} files (--tune raises it)` },
    { count: workersMax * (descriptors() - 2000), why: `a process has ${descriptors()} descriptors` },
    io === 'epoll'
      ? { count: descriptors() - 1200, why: `with epoll all share ${descriptors()} descriptors` }
      : { count: shardsMax * perShard(), why: `a ring has ${descriptors()} descriptors` },
  ];
  return least.map(({ count, why }) => ({ count: Math.floor(count), why }))
    .sort((a, b) => a.count - b.count);
}

// The kernel's limits that matter for so many: { name, value, why, place? }. Those with a place belong to
// that namespace alone and go with it.
function wanted(count) {
  const hash = 2 ** Math.max(16, Math.ceil(Math.log2(count * 2)));
  return [
    { name: 'fs/file-max', value: Math.ceil(count * 2.2), why: 'two sockets for each subscriber' },
    { name: 'net/ipv4/tcp_child_ehash_entries', value: hash,
      why: 'a table of connections for each namespace, with short chains' },
    { name: 'net/ipv4/tcp_mem', value: [count, Math.ceil(count * 1.5), count * 2],
      why: 'pages for what is under way to everybody at once' },
    { name: 'net/core/netdev_max_backlog', value: Math.min(65536, count),
      why: 'packets that were sent within one moment; the kernel drops what is more' },
    { name: 'net/core/somaxconn', place: 'hub', value: 4096, why: 'connections that wait to be accepted' },
    { name: 'net/ipv4/tcp_max_syn_backlog', place: 'hub', value: 4096,
      why: 'handshakes that are not complete' },
    { name: 'net/ipv4/ip_local_port_range', place: 'far', value: [1024, 65535], exactly: true,
      why: 'ports for each address to connect from' },
    { name: 'net/ipv4/tcp_max_tw_buckets', place: 'far', value: count,
      why: 'ends of connections, after a storm' },
  ];
}

const numbers = (text) => text.trim().split(/\s+/).map(Number);

function read(setting, places) {
  const path = `/proc/sys/${setting.name}`;
  try {
    return numbers(setting.place ? places[setting.place].run('cat', path) : readFileSync(path, 'utf8'));
  } catch {
    return null; // this kernel, or this namespace, has none
  }
}

function isEnough(setting, now) {
  const want = [setting.value].flat();
  return now.length === want.length && want.every((value, i) => (setting.exactly ? now[i] === value : now[i] >= value));
}

// Sets what belongs to the machine, and has it set back by a process that waits for the end of this one.
function tuneMachine(settings, say) {
  const guard = spawn('sh', ['-c', 'cat >/dev/null; while [ $# -gt 1 ]; do printf %s "$2" >"$1"; shift 2; done',
    'guard', ...settings.flatMap(({ name, now }) => [`/proc/sys/${name}`, now.join(' ')])],
    { stdio: ['pipe', 'ignore', 'inherit'], detached: true });
  guard.stdin.on('error', () => {});
  for (const { name, value } of settings) {
    set(name, value, null, say);
  }
  return guard;
}

function set(name, value, place, say) {
  const text = [value].flat().join(' ');
  const args = ['sh', '-c', 'printf %s "$2" >"$1"', 'set', `/proc/sys/${name}`, text];
  try {
    execFileSync(...(([first, ...rest]) => [first, rest])(place ? place.enter(...args) : args),
                 { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch {
    say(`  ${name.replaceAll('/', '.')} could not be set`);
  }
}

const show = (setting) => `  ${setting.name.replaceAll('/', '.')} = ${[setting.value].flat().join(' ')}`
  + `${setting.now === null ? '' : ` (now ${setting.now.join(' ')})`}: ${setting.why}`
  + `${setting.place ? `; of the ${setting.place === 'hub' ? 'hub\'s' : 'load\'s'} namespace` : ''}`;

// Prints what would help and is not so; with `tune` it is done. First the machine's, before there are
// places, then theirs. Returns { untune }.
export function tuneFirst(count, tune, say) {
  const short = wanted(count).filter(({ place }) => !place)
    .map((setting) => ({ ...setting, now: read(setting) }))
    .filter((setting) => setting.now !== null && !isEnough(setting, setting.now));
  if (short.length > 0) {
    say(tune ? 'set for the time of the run:' : 'would help, and is set with --tune:');
    short.forEach((setting) => say(show(setting)));
  }
  const guard = tune && short.length > 0 ? tuneMachine(short, say) : null;
  return {
    tuned: tune,
    async untune() {
      if (guard !== null && guard.exitCode === null) {
        const end = once(guard, 'exit');
        guard.stdin.end();
        await end;
      }
    },
  };
}

export function tunePlaces(count, tune, places, say) {
  const short = wanted(count).filter(({ place }) => place)
    .map((setting) => ({ ...setting, now: read(setting, places) }))
    .filter((setting) => setting.now !== null && !isEnough(setting, setting.now));
  if (short.length > 0 && !tune) {
    say('would help in the namespaces, and is set with --tune:');
  }
  short.forEach((setting) => {
    say(show(setting));
    if (tune) {
      set(setting.name, setting.value, places[setting.place], say);
    }
  });
}
