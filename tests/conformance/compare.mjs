// Holds every case of http_cases.mjs against our parser and against the HTTP server of Node.js.
//
//     node tests/conformance/compare.mjs <path of http_parse_cli> [--verbose]
//
// A case passes if our parser does what the case says, and if it agrees with Node.js on every
// request, or differs only as the case declares. A declaration that is not needed (any more) fails.
// The declarations are about Node.js 20. Other versions refuse more or less than it does, so that with
// them nothing is made of what we alone refuse; what we alone read must be declared all the same.
// The last line is "N passed, N failed"; the exit status is 1 if anything failed.

import { spawnSync } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';

import { cases } from './http_cases.mjs';

const DEADLINE_MS = 5000;
const DECLARED_MAJOR = 20;
const NODE_MAJOR = Number.parseInt(process.versions.node, 10);

// --- Ours ----------------------------------------------------------------------------------------

function runOurs(program) {
  const frames = cases.flatMap(({ raw }) => {
    const bytes = Buffer.from(raw, 'latin1');
    return [Buffer.from(`${bytes.length}\n`), bytes];
  });
  const run = spawnSync(program, { input: Buffer.concat(frames), maxBuffer: 1 << 28 });
  if (run.error || run.status !== 0) {
    throw new Error(`${program}: ${run.error?.message ?? run.stderr.toString()}`);
  }
  const lines = run.stdout.toString('latin1').split('\n').slice(0, -1);
  if (lines.length !== cases.length) {
    throw new Error(`${program}: ${lines.length} answers to ${cases.length} cases`);
  }
  return lines.map((line) => JSON.parse(line));
}

// --- Node.js -------------------------------------------------------------------------------------

// What the server makes of the one connection that is open at a time.
let seen = null;

function createServer() {
  const server = http.createServer({ insecureHTTPParser: false });
  server.httpAllowHalfOpen = true;
  const take = (request, response) => {
    const current = seen;
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      current.requests.push({
        method: request.method,
        target: request.url,
        host: request.headers.host ?? '',
        version: request.httpVersionMinor,
        keepAlive: response.shouldKeepAlive,
        body: Buffer.concat(chunks).toString('latin1'),
      });
      response.writeHead(200, { 'Content-Length': 0 }).end();
    });
  };
  server.on('request', take);
  server.on('checkExpectation', (request, response) => {
    seen.refusal = 'an expectation';
    response.writeHead(417, { Connection: 'close' }).end();
  });
  server.on('connect', (request, socket) => {
    seen.refusal = 'CONNECT';
    socket.destroy();
  });
  server.on('clientError', (error, socket) => {
    seen.errors.push(error.code);
    socket.destroy();
  });
  return server;
}

// Sends all bytes, then ends, then waits until the server has closed.
function sendCase(port, raw) {
  seen = { requests: [], errors: [], refusal: null };
  const current = seen;
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const received = [];
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error('Node.js did not close the connection'));
    }, DEADLINE_MS);
    socket.on('data', (chunk) => received.push(chunk));
    // A reset is one of the ways in which the server refuses.
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve({ ...current, answer: Buffer.concat(received).toString('latin1') });
    });
    socket.end(Buffer.from(raw, 'latin1'));
  });
}

// How reading ended for Node.js, in the words of our program.
function endOf(result) {
  // It refuses bytes behind the last request of a connection, which we do not look at.
  const errors = result.errors.filter((code) => code !== 'HPE_CLOSED_CONNECTION');
  if (errors.includes('HPE_INVALID_EOF_STATE')) {
    return 'incomplete';
  }
  if (errors.length > 0 || result.refusal || /HTTP\/1\.1 [45]\d\d /.test(result.answer)) {
    return 'refused';
  }
  const last = result.requests.at(-1);
  return last && !last.keepAlive ? 'closed' : 'open';
}

async function runNode() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const results = [];
  for (const { name, raw } of cases) {
    try {
      const result = await sendCase(server.address().port, raw);
      results.push({ ...result, end: endOf(result) });
    } catch (error) {
      throw new Error(`${name}: ${error.message}`);
    }
  }
  server.close();
  server.closeAllConnections();
  return results;
}

// --- Comparison ----------------------------------------------------------------------------------

// The path and query of a target, by other means than ours.
function split(method, target) {
  const absolute = /^https?:\/\/[^/?]*/i.exec(target);
  const rest = absolute ? target.slice(absolute[0].length) : target;
  const [path] = rest.split('?', 1);
  const bare = rest === '' && method === 'OPTIONS' ? '*' : '/';
  return { path: path || bare, query: rest.slice(path.length + 1), absolute: absolute !== null };
}

function requestDifference(ours, theirs) {
  for (const key of ['method', 'target', 'version', 'keepAlive', 'body']) {
    if (ours[key] !== theirs[key]) {
      return `${key}: ${JSON.stringify(ours[key])} and ${JSON.stringify(theirs[key])}`;
    }
  }
  const { path, query, absolute } = split(theirs.method, theirs.target);
  if (ours.path !== path || ours.query !== query) {
    return `path and query of ${theirs.target}: ${ours.path} and ${ours.query}`;
  }
  if (!absolute && ours.host !== theirs.host) {
    return `host: ${ours.host} and ${theirs.host}`;
  }
  return null;
}

function requestsDifference(ours, theirs, count) {
  for (let i = 0; i < count; i++) {
    const difference = requestDifference(ours[i], theirs[i]);
    if (difference !== null) {
      return `request ${i + 1}, ${difference}`;
    }
  }
  return null;
}

// What the case would have to declare: [kind, text], or null if both programs agree.
function disagreement(ours, theirs) {
  const common = Math.min(ours.requests.length, theirs.requests.length);
  const difference = requestsDifference(ours.requests, theirs.requests, common);
  if (difference !== null) {
    return ['differs', difference];
  }
  const counts = `${ours.requests.length} requests, then ${ours.end}; Node.js ` +
    `${theirs.requests.length}, then ${theirs.end} ${theirs.errors.join()}`;
  if (ours.end === 'refused') {
    const same = theirs.end === 'refused' && theirs.requests.length === ours.requests.length;
    const more = theirs.requests.length < ours.requests.length ? 'laxer' : 'stricter';
    return same ? null : [more, counts];
  }
  if (theirs.end === 'refused') {
    return ['laxer', counts];
  }
  if (ours.end !== theirs.end || ours.requests.length !== theirs.requests.length) {
    return ['differs', counts];
  }
  return null;
}

// All that is wrong with a case.
function problems(test, ours, theirs) {
  const found = [];
  const end = ours.end === 'refused' ? ours.status : ours.end;
  if (ours.requests.length !== test.expect.requests || end !== test.expect.end) {
    found.push(`${ours.requests.length} requests, then ${end} ${ours.reason}; ` +
      `not ${test.expect.requests}, then ${test.expect.end}`);
  }
  const [kind, text] = disagreement(ours, theirs) ?? [null, null];
  for (const declared of ['stricter', 'laxer', 'differs']) {
    if (declared === 'stricter' && NODE_MAJOR !== DECLARED_MAJOR) {
      continue;
    }
    if (declared === kind && !test[declared]) {
      found.push(`undeclared, ${kind}: ${text}`);
    } else if (declared !== kind && test[declared]) {
      found.push(`declared as ${declared}, but it is not so`);
    }
  }
  return found;
}

const [program, option] = process.argv.slice(2);
if (program === undefined) {
  console.error('usage: node compare.mjs <path of http_parse_cli> [--verbose]');
  process.exit(2);
}
const names = new Set(cases.map(({ name }) => name));
if (names.size !== cases.length) {
  const twice = cases.map(({ name }) => name).filter((name, i, all) => all.indexOf(name) !== i);
  console.error(`names that are used twice: ${twice.join('; ')}`);
  process.exit(2);
}
const ours = runOurs(program);
const theirs = await runNode();
let failed = 0;
cases.forEach((test, i) => {
  const found = problems(test, ours[i], theirs[i]);
  failed += found.length > 0 ? 1 : 0;
  if (found.length > 0 || option === '--verbose') {
    const end = ours[i].end === 'refused' ? `${ours[i].status} ${ours[i].reason}` : ours[i].end;
    console.log(`${found.length > 0 ? 'FAILED' : 'passed'}  ${test.name}  [${end}]`);
  }
  for (const problem of found) {
    console.log(`        ${problem}`);
  }
});
const declared = cases.filter((test) => test.stricter).length;
const laxer = cases.filter((test) => test.laxer).length;
console.log(`${cases.length} cases; declared: ${declared} stricter than Node.js, ${laxer} laxer`);
console.log(`${cases.length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
