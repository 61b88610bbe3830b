// The subscribers of bench/h2: h1 or h2, tls or clear, port, how many, how many of them on a connection.
// Told by lines on standard input, each of which is answered by a number.

import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { createInterface } from 'node:readline';
import tls from 'node:tls';

const [kind, security, port, count, perConnection] = process.argv.slice(2)
  .map((text, i) => (i < 2 ? text : Number(text)));
const path = '/sse/bench';
let events = 0;
let open = 0;

// Counts the ends of lines that begin with "data:", wherever the bytes are cut.
function counter() {
  let carry = '';
  return (bytes) => {
    const text = carry + bytes.toString('latin1');
    for (let at = text.indexOf('\ndata:'); at >= 0; at = text.indexOf('\ndata:', at + 6)) {
      events++;
    }
    carry = text.slice(-5);
  };
}

function opened(take) {
  let first = true;
  return (bytes) => {
    open += first ? 1 : 0;
    first = false;
    take(bytes);
  };
}

async function connectOne() {
  const where = { host: '127.0.0.1', port, rejectUnauthorized: false };
  const socket = security === 'tls' ? tls.connect(where) : net.connect(where);
  await once(socket, security === 'tls' ? 'secureConnect' : 'connect');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n`);
  socket.on('data', opened(counter()));
}

async function connectMany(streams) {
  const session = http2.connect(`${security === 'tls' ? 'https' : 'http'}://127.0.0.1:${port}`,
    { rejectUnauthorized: false, settings: { initialWindowSize: 1 << 20 } });
  session.setMaxListeners(0);
  await once(session, 'connect');
  session.setLocalWindowSize(1 << 24);
  for (let i = 0; i < streams; i++) {
    session.request({ ':path': path, accept: 'text/event-stream' }).on('data', opened(counter()));
  }
}

// A minute at most: what is told then is less than was asked for, and bench/h2 says so.
async function until(condition) {
  for (let i = 0; !condition() && i < 6000; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function connect(target) {
  for (let begun = open; begun < target;) {
    const streams = kind === 'h2' ? Math.min(perConnection, target - begun) : 1;
    const batch = kind === 'h2' ? 1 : Math.min(50, target - begun);
    await Promise.all(Array.from({ length: batch },
      () => (kind === 'h2' ? connectMany(streams) : connectOne())));
    begun += streams * batch;
    await until(() => open >= begun);
  }
  return open;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(' ');
  if (command === 'warm') {
    console.log(await connect(1));
    events = 0;
  } else if (command === 'connect') {
    console.log(await connect(count + 1));
    events = 0;
  } else {
    await until(() => events >= Number(argument));
    console.log(events);
  }
}
