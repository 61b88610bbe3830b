// The servers that bench/compare runs side by side, each set up as its documentation says for this
// use: one process (or thread) that does the work, pinned to one CPU, no log of requests.
//
// A peer: { name, title, wanted(), start(place) → { pids, client: [options of bench_client], stop } }.
// `place` is { directory, port, cpu, bin }; ports from `port` to `port + 9` are the peer's own.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';

const nchanModule = '/usr/lib/nginx/modules/ngx_nchan_module.so';

function onPath(program) {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, program)));
}

const children = new Set();

// At the end, however it comes: no server stays behind.
export function stopTheRest() {
  for (const child of children) {
    child.kill('SIGTERM');
  }
}

export function pinned(cpu, program, args, options = {}) {
  const child = spawn('taskset', ['-c', String(cpu), program, ...args],
                      { stdio: ['ignore', 'ignore', 'pipe'], ...options });
  children.add(child);
  child.once('exit', () => children.delete(child));
  child.complaints = '';
  child.stderr.on('data', (bytes) => { child.complaints += bytes; });
  return child;
}

export async function listening(port, child) {
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) {
      throw new Error(`it ended at once: ${child.complaints}`);
    }
    const open = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
      socket.on('error', () => resolve(false));
    });
    if (open) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on port ${port}: ${child.complaints}`);
}

export async function ended(child, signal = 'SIGTERM') {
  if (child.exitCode === null && child.signalCode === null) {
    const end = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), 5000);
    await end;
    clearTimeout(late);
  }
}

function childrenOf(pid) {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((candidate) => {
    try {
      return Number(readFileSync(`/proc/${candidate}/stat`, 'utf8').split(') ')[1].split(' ')[1]) === pid;
    } catch {
      return false;
    }
  });
}

// The master listens before it makes its workers.
export async function nginxWorkers(child, count) {
  for (let tries = 0; tries < 200; tries++) {
    const workers = childrenOf(child.pid);
    if (workers.length >= count) {
      return workers;
    }
    await new Promise((resolve) => setTimeout(resolve, 20)); // nobody tells of a fork: it is asked for
  }
  throw new Error(`nginx has not made its ${count} workers: ${child.complaints}`);
}

function spate(io) {
  return {
    name: `spate-${io === 'epoll' ? 'epoll' : 'uring'}`,
    title: `Spate, ${io}`,
    wanted: () => true,
    // io_uring has a table of descriptors for each shard, and epoll shares the process's.
    oneTable: io === 'epoll',
    async start({ port, cpu, bin, processes = 1 }) {
      const child = pinned(cpu, join(bin, 'spate'),
                           ['--listen', `127.0.0.1:${port}`, '--shards', String(processes), '--io', io,
                            '--log-level', 'error', '--drain-seconds', '0']);
      await listening(port, child);
      return {
        pids: [child.pid],
        client: ['--subscribe', '/sse/c%u', '--publish', '/publish/c%u'],
        several: ['--subscribe', '/sse?channel=c%u', '--more', '&channel=c%u'],
        stop: () => ended(child),
      };
    },
  };
}

// The numbers of connections and of requests on one of them are nginx's limits, not its speed. One
// worker is what one CPU gets. History as long as Spate's by default.
export const nginxConf = (directory, port, processes = 1) => `
load_module ${nchanModule};
daemon off;
user root;
worker_processes ${processes};
worker_rlimit_nofile 20000;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log crit;
events { worker_connections 19990; use epoll; multi_accept on; }
http {
  access_log off;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_buffer_size 128k;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  nchan_shared_memory_size 1G;
  nchan_message_buffer_length 1000;
  nchan_message_timeout 5m;
  server {
    listen 127.0.0.1:${port} backlog=4096${processes > 1 ? ' reuseport' : ''};
    location ~ ^/sse/(.+)$ {
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_channel_id_split_delimiter ",";
      nchan_eventsource_ping_interval 15;
      nchan_subscriber_first_message newest;
    }
    location ~ ^/publish/(.+)$ {
      nchan_publisher http;
      nchan_channel_id $1;
    }
  }
}
`;

const nchan = {
  name: 'nchan',
  title: 'nginx with nchan',
  wanted: () => onPath('nginx') && existsSync(nchanModule),
  async start({ directory, port, cpu, processes = 1 }) {
    mkdirSync(directory, { recursive: true });
    const file = join(directory, 'nginx.conf');
    writeFileSync(file, nginxConf(directory, port, processes));
    const child = pinned(cpu, 'nginx', ['-p', directory, '-c', file, '-e', join(directory, 'error.log')]);
    await listening(port, child);
    return {
      pids: await nginxWorkers(child, processes),
      client: ['--subscribe', '/sse/c%u', '--publish', '/publish/c%u'],
      several: ['--subscribe', '/sse/c%u', '--more', ',c%u'],
      stop: () => ended(child),
    };
  },
};

const bare = {
  name: 'bare',
  title: 'bare send() loop',
  wanted: () => true,
  oneChannel: true,
  async start({ port, cpu, bin }) {
    const child = pinned(cpu, join(bin, 'bench_bare'), [String(port)]);
    await listening(port, child);
    return { pids: [child.pid], client: [], stop: () => ended(child) };
  },
};

const pushpinConf = (directory, port) => `
[global]
include={libdir}/internal.conf
rundir=${directory}/run
ipc_prefix=bench-
port_offset=0
[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:${port}
logdir=${directory}/log
log_level=1
client_buffer_size=8192
client_maxconn=19000
condure_bin=condure
[proxy]
routesfile=${directory}/routes
auto_cross_origin=false
sig_iss=pushpin
sig_key=changeme
updates_check=off
zurl_out_specs=ipc://${directory}/run/zurl-in
zurl_out_stream_specs=ipc://${directory}/run/zurl-in-stream
zurl_in_specs=ipc://${directory}/run/zurl-out
[handler]
push_in_spec=tcp://127.0.0.1:${port + 2}
push_in_sub_specs=tcp://127.0.0.1:${port + 3}
push_in_sub_connect=false
push_in_http_addr=127.0.0.1
push_in_http_port=${port + 1}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
stats_spec=ipc://{rundir}/{ipc_prefix}stats
command_spec=tcp://127.0.0.1:${port + 4}
message_rate=10000000
message_hwm=10000000
message_wait=5000
id_cache_ttl=60
connection_subscription_max=20
subscription_linger=60
`;

const zurlConf = (directory) => `
[General]
instance_id=
in_spec=ipc://${directory}/run/zurl-in
in_stream_spec=ipc://${directory}/run/zurl-in-stream
out_spec=ipc://${directory}/run/zurl-out
in_req_spec=
defpolicy=allow
allow=
deny=
max_open_requests=20000
buffer_size=200000
timeout=600
in_hwm=100000
out_hwm=100000
`;

// Pushpin is a proxy: an origin, here this program, tells it by header fields to hold each stream.
// The processes that do the work after that count; all of them share the one CPU.
const pushpin = {
  name: 'pushpin',
  title: 'Pushpin',
  wanted: () => onPath('pushpin') && onPath('zurl') && onPath('condure'),
  // More at a time than that are turned away while they connect.
  subscribersMax: 1000,
  async start({ directory, port, cpu }) {
    mkdirSync(join(directory, 'run'), { recursive: true });
    mkdirSync(join(directory, 'log'), { recursive: true });
    writeFileSync(join(directory, 'pushpin.conf'), pushpinConf(directory, port));
    writeFileSync(join(directory, 'zurl.conf'), zurlConf(directory));
    writeFileSync(join(directory, 'routes'), `* 127.0.0.1:${port + 9}\n`);
    const origin = http.createServer((request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Grip-Hold': 'stream',
                                'Grip-Channel': request.url.split('/').pop() });
      response.end(':\n\n');
    });
    await new Promise((resolve) => origin.listen(port + 9, '127.0.0.1', 4096, resolve));
    const zurl = pinned(cpu, 'zurl', [`--config=${join(directory, 'zurl.conf')}`]);
    const child = pinned(cpu, 'pushpin', [`--config=${join(directory, 'pushpin.conf')}`]);
    await listening(port, child);
    await listening(port + 1, child);
    return {
      pids: [...childrenOf(child.pid), zurl.pid],
      client: ['--publish-port', String(port + 1), '--publish', '/publish/', '--once', '1',
               '--type', 'application/json',
               '--before', '{"items":[{"channel":"c0","formats":{"http-stream":{"content":"data: ',
               '--after', '\\n\\n"}}}]}'],
      stop: async () => { await ended(child); await ended(zurl); origin.close(); },
    };
  },
};

export const peers = [spate('io_uring'), spate('epoll'), nchan, bare, pushpin];

export function versionOf(name) {
  const packages = { nchan: 'libnginx-mod-nchan', pushpin: 'pushpin' };
  if (packages[name] === undefined) {
    return '';
  }
  try {
    return execFileSync('dpkg-query', ['-W', '-f=${Version}', packages[name]], { encoding: 'utf8' });
  } catch {
    return 'not from a package';
  }
}
