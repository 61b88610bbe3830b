// The worlds of bench/compare over TLS: HTTP/1.1, and HTTP/2 with many streams on a connection. The
// load is spate-load, which speaks both and checks every delivery. Each row is a run of its own: its
// subscribers connect, and only what comes then is measured.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ended, listening, nginxConf, nginxWorkers, pinned } from './peers.mjs';

export const tlsWorlds = {
  'tls-1000': { subscribers: 1000, streams: 0 },
  'h2-1000': { subscribers: 1000, streams: 100 },
};

const rows = [
  { row: 'one', args: ['--window', '1', '--publishers', '1'] },
  { row: 'all-16', args: ['--window', '16', '--publishers', '16'] },
];

// One line of the first table for each; the issue sets no aims here but to be no worse.
export function tlsGoals(worldName) {
  const { subscribers, streams } = tlsWorlds[worldName];
  const what = `${subscribers.toLocaleString('en')} ` + (streams > 0
    ? `streams over TLS, HTTP/2, ${streams} on a connection` : 'subscribers over TLS, HTTP/1.1');
  return [
    { what: `${what}, strictly one message at a time: CPU per delivery`,
      row: 'one', metric: 'cpu', against: 'nchan', most: 1.0 },
    { what: `${what}, 16 messages under way to all: CPU per delivery`,
      row: 'all-16', metric: 'cpu', against: 'nchan', most: 1.0 },
    { what: `${what}, the same: deliveries a second`,
      row: 'all-16', metric: 'rate', against: 'nchan', least: 1.0 },
    { what: `${what}: CPU per accepted subscriber`,
      row: 'connect', metric: 'cpuConnect', against: 'nchan', most: 1.0 },
  ];
}

function makeCertificate(directory) {
  mkdirSync(directory, { recursive: true });
  const made = { certificate: join(directory, 'certificate.pem'), key: join(directory, 'key.pem') };
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
                           '-nodes', '-days', '2', '-subj', '/CN=localhost',
                           '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', made.key,
                           '-out', made.certificate], { stdio: 'ignore' });
  return made;
}

async function startSpate({ port, cpu, bin, tls }, io) {
  const child = pinned(cpu, join(bin, 'spate'),
                       ['--listen', `tls:127.0.0.1:${port}`, '--tls-certificate', tls.certificate,
                        '--tls-key', tls.key, '--shards', '1', '--io', io, '--log-level', 'error',
                        '--drain-seconds', '0']);
  await listening(port, child);
  return { pids: [child.pid], load: [], stop: () => ended(child) };
}

async function startNchan({ directory, port, cpu, tls }) {
  const file = join(directory, 'nginx.conf');
  const clear = `listen 127.0.0.1:${port} backlog=4096;`;
  const conf = nginxConf(directory, port);
  if (!conf.includes(clear)) {
    throw new Error('the configuration of nginx has no such listener any more');
  }
  writeFileSync(file, conf.replace(clear, `listen 127.0.0.1:${port} ssl http2 backlog=4096;
    ssl_certificate ${tls.certificate};
    ssl_certificate_key ${tls.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:16m;
    http2_max_concurrent_streams 1000;`));
  const child = pinned(cpu, 'nginx', ['-p', directory, '-c', file, '-e', join(directory, 'error.log')]);
  await listening(port, child);
  return { pids: await nginxWorkers(child, 1), load: ['--preset', 'nchan', '--publish', '/publish/{channel}'],
           path: '/sse/{channel}', stop: () => ended(child) };
}

const starters = {
  'spate-uring': (place) => startSpate(place, 'io_uring'),
  'spate-epoll': (place) => startSpate(place, 'epoll'),
  nchan: startNchan,
};

function residentBytes(pids) {
  return pids.reduce((sum, pid) => sum + 1024
    * Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m)[1]), 0);
}

async function load(one, world, { options, cpu }, args) {
  const url = `https://127.0.0.1:${one.port}${one.server.path ?? ''}`;
  const all = ['-c', String(cpu), join(options.bin, 'spate-load'), '--quiet', '--json', '-',
               '--workers', '1', '--subscribers', String(world.subscribers), '--size', options.size,
               '--cacert', one.tls.certificate, '--pid', one.server.pids.join(','),
               ...(world.streams > 0 ? ['--h2', '--streams-per-connection', String(world.streams)] : []),
               ...one.server.load, ...args, url];
  const child = spawn('taskset', all, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let error = '';
  child.stdout.on('data', (bytes) => { out += bytes; });
  child.stderr.on('data', (bytes) => { error += bytes; });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (!out.startsWith('{')) {
    throw new Error(`${one.name}: spate-load ended with ${code}: ${error}`);
  }
  return { code, error, ...JSON.parse(out) };
}

// As bench_client would say it.
function resultOf({ checks, counts, milliseconds: { latency }, server, spate_load: own }) {
  return {
    seconds: counts.publish_seconds,
    server_seconds: server.cpu_user_seconds + server.cpu_kernel_seconds,
    client_seconds: own.cpu_share * counts.publish_seconds,
    subscribers: counts.opened, published: counts.published, answered: counts.acknowledged,
    refused: counts.refused, deliveries: counts.deliveries, expected: counts.expected,
    gaps: checks.lost, told: checks.announced, repeated: checks.duplicates, closed: counts.cut,
    p50_us: latency.p50 * 1e3, p90_us: latency.p90 * 1e3, p99_us: latency.p99 * 1e3,
    p999_us: latency.p99_9 * 1e3, max_us: latency.max * 1e3,
  };
}

async function connected(one, world, place) {
  const before = residentBytes(one.server.pids);
  const run = await load(one, world, place, ['--scenario', 'ramp']);
  const { server } = run;
  const us = server.cpu_user_us_per_connection + server.cpu_kernel_us_per_connection;
  one.before = before;
  one.memory = { user: (server.resident_bytes - before) / world.subscribers, kernel: null,
                 userAfter: (server.resident_bytes - before) / world.subscribers };
  return { ...resultOf(run), server_seconds: us * world.subscribers / 1e6 };
}

// `place` is { options, cpu, say, check }: those of bench/compare, and the load's CPU.
export async function runTlsWorld(name, wanted, place) {
  const world = tlsWorlds[name];
  const { options, say, check } = place;
  const results = {};
  const running = [];
  say(`${name}: ${world.subscribers} subscribers over TLS`
      + (world.streams > 0 ? `, ${world.streams} streams on a connection` : ''));
  const tls = makeCertificate(join(options.out, 'run', name));
  try {
    for (const [index, peer] of wanted.filter((each) => starters[each.name] !== undefined).entries()) {
      const directory = join(options.out, 'run', `${name}-${peer.name}`);
      const port = 19400 + index * 10;
      mkdirSync(directory, { recursive: true });
      const server = await starters[peer.name]({ directory, port, cpu: 0, bin: options.bin, tls });
      const one = { name: peer.name, server, port, tls };
      running.push(one);
      (results.connect ??= {})[one.name] = [check(await connected(one, world, place), `${one.name} connect`)];
      say(`  ${peer.name}: ${results.connect[one.name][0].subscribers} subscribers`);
    }
    for (let round = 0; round < Number(options.rounds); round++) {
      say(`  round ${round + 1} of ${options.rounds}`);
      for (const { row, args } of rows) {
        for (const one of running) {
          const run = await load(one, world, place, [...args, '--duration', options.seconds]);
          one.memory.userAfter = (run.server.resident_bytes - one.before) / world.subscribers;
          ((results[row] ??= {})[one.name] ??= []).push(check(resultOf(run), `${name} ${row} ${one.name}`));
        }
      }
    }
    return { subscribers: world.subscribers, channels: 1, results,
             memory: Object.fromEntries(running.map((one) => [one.name, one.memory])) };
  } finally {
    for (const one of running) {
      await one.server.stop();
    }
  }
}
