// What a client may send on one connection, and what must be made of it.
//
// Each case: `name`, `raw` (every character is one byte), `expect`: the number of requests that are
// read, and how reading ends: 'open', 'closed', 'incomplete', or the status of a refusal.
//
// compare.mjs holds this against our parser and against the HTTP server of Node.js. Where the two
// programs differ the case must say why, or the comparison fails:
//
//   stricter   we refuse what Node.js reads
//   laxer      we read what Node.js refuses: to be argued for with care
//   differs    both read it, but not as the same requests: to be argued for with even more care

export const cases = [];

const HOST = 'Host: a\r\n';

function add(name, raw, requests, end, notes = {}) {
  cases.push({ name, raw, expect: { requests, end }, ...notes });
}

// `count` whole requests, after which the connection stays open.
function reads(name, raw, { count = 1, end = 'open', ...notes } = {}) {
  add(name, raw, count, end, notes);
}

// Refused with `status`, after `count` whole requests.
function refuses(name, status, raw, { count = 0, ...notes } = {}) {
  add(name, raw, count, status, notes);
}

function waits(name, raw, { count = 0, ...notes } = {}) {
  add(name, raw, count, 'incomplete', notes);
}

const get = (line, fields = HOST) => `${line}\r\n${fields}\r\n`;
const post = (fields, body = '') => `POST /p HTTP/1.1\r\n${HOST}${fields}\r\n${body}`;
const chunked = (body) => post('Transfer-Encoding: chunked\r\n', body);
const NEXT = get('GET /next HTTP/1.1');

// Reasons that many cases share.
const WHY = {
  blanks: 'RFC 9112, 3: a parser may split a request line at any whitespace; two that do it ' +
    'differently see different targets',
  escape: 'RFC 3986, 2.1: a percent sign without two digits after it is decoded differently by ' +
    'different programs',
  target: 'RFC 9112, 3.2: not one of the four forms; Node.js hands any text to the application',
  host: 'RFC 9112, 3.2: an invalid Host must be answered with 400; Node.js leaves that to the ' +
    'application',
  hosts: 'RFC 9112, 3.2: more than one Host must be answered with 400; Node.js takes the first',
  version: 'only HTTP/1.0 and HTTP/1.1 are spoken',
  coding: 'RFC 9112, 6.1: an unknown transfer coding must be answered with 501; Node.js hands ' +
    'the coded bytes to the application',
  codingList: 'RFC 9112, 7: one `chunked`, once and last; empty list elements are read in two ' +
    'ways by proxies',
  codingEmpty: 'RFC 9112, 6.1: the list of codings has at least one; Node.js reads the message ' +
    'as if it had no body',
  oldCoding: 'RFC 9112, 6.1: Transfer-Encoding in HTTP/1.0 is faulty framing',
  digits: 'a size has at most 16 digits, so that it cannot overflow; leading zeros only serve ' +
    'to confuse',
  trailer: 'RFC 9110, 6.5.1: fields about framing and routing must not come in trailers; ' +
    'Node.js passes them on as trailers',
  extension: 'RFC 9112, 7.1.1: not the form of a chunk extension; nobody sends any, but some ' +
    'parsers split there',
  backslash: 'some programs read a backslash of a path as a slash',
  tab: 'RFC 9110, 5.5: whitespace around a value, a tab too, is no part of it; Node.js trims ' +
    'spaces only here',
  upgrade: 'RFC 9110, 7.8: a server may ignore Upgrade; Node.js does, but then drops the bytes ' +
    'behind that request',
  expect: 'RFC 9110, 10.1.1: the only expectation is 100-continue',
  emptyLines: 'RFC 9112, 2.2 asks to ignore at least one empty line; a flood of them is not a ' +
    'request',
};

// --- Request lines -------------------------------------------------------------------------------

reads('a plain GET', get('GET / HTTP/1.1'));
reads('a GET with path and query', get('GET /sse/a?b=c&d HTTP/1.1'));
for (const method of ['HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND', 'M-SEARCH',
  'REPORT']) {
  reads(`method ${method}`, get(`${method} /x HTTP/1.1`));
}
for (const [name, method] of [
  ['in lower case', 'get'], ['in mixed case', 'Get'], ['that is unknown', 'FOO'], ['of one letter',
    'G'],
  ['with odd token characters', "!#$%&'*+-.^_`|~"], ['with a known prefix', 'GETX'],
    ['of a truncated name', 'POS'],
]) {
  reads(`a method ${name}`, get(`${method} /x HTTP/1.1`), {
    laxer: 'RFC 9110, 9.1: any token is a method; the router answers 405 or 501. It does not ' +
      'change the framing',
  });
}
for (const [name, line] of [
  ['a space before the method', ' GET / HTTP/1.1'], ['a tab before the method', '\tGET / HTTP/1.1'],
  ['a tab after the method', 'GET\t/ HTTP/1.1'],
  ['a tab after the target', 'GET /\tHTTP/1.1'], ['a space in the target', 'GET /a b HTTP/1.1'],
  ['no method', '/ HTTP/1.1'], ['a method in parentheses', '(GET) / HTTP/1.1'],
  ['a quoted method', '"GET" / HTTP/1.1'], ['a colon in the method', 'GE:T / HTTP/1.1'],
  ['a byte above 0x7f in the method', 'G\xc9T / HTTP/1.1'], ['a comma in the method',
    'GET,POST / HTTP/1.1'],
  ['nothing after the method', 'GET'], ['only a space after the method', 'GET '],
  ['a vertical tab between', 'GET\x0b/\x0bHTTP/1.1'], ['a form feed between',
    'GET\x0c/\x0cHTTP/1.1'],
]) {
  refuses(`request line with ${name}`, 400, get(line));
}
refuses('two spaces after the method', 400, get('GET  / HTTP/1.1'), { stricter: WHY.blanks });
refuses('two spaces after the target', 400, get('GET /  HTTP/1.1'), { stricter: WHY.blanks });
refuses('a space after the version', 400, get('GET / HTTP/1.1 '));
refuses('a tab after the version', 400, get('GET / HTTP/1.1\t'));
refuses('no version (HTTP/0.9)', 400, 'GET /\r\n\r\n', { stricter: WHY.version });
refuses('no version but a space', 400, 'GET / \r\n\r\n');
refuses('a very long method', 501, get(`${'A'.repeat(33)} / HTTP/1.1`));
refuses('CONNECT', 501, get('CONNECT a:80 HTTP/1.1', 'Host: a:80\r\n'));
refuses('CONNECT with a path', 501, get('CONNECT / HTTP/1.1'));

for (const version of ['HTTP/1', 'HTTP/11', 'HTTP/1.10', 'HTTP/01.1', 'HTTP/1,1', 'HTTPS/1.1',
  'http/1.1', 'Http/1.1',
  'HTTP 1.1', 'HTTP/ 1.1', 'HTTP /1.1', 'HTTP/1. 1', 'HTTP/x.1', 'HTTP/1.x', 'HTTP/-1.1',
    'HTTP/1.1.1', 'HTP/1.1',
  'XHTTP/1.1', 'HTTP\\1.1', '1.1', 'ICE/1.0']) {
  refuses(`version ${version}`, 400, get(`GET / ${version}`));
}
refuses('version RTSP/1.0', 400, get('GET / RTSP/1.0'), { stricter: WHY.version });
for (const version of ['HTTP/1.2', 'HTTP/1.9', 'HTTP/2.1', 'HTTP/3.0', 'HTTP/9.9', 'HTTP/0.0']) {
  refuses(`version ${version}`, 505, get(`GET / ${version}`));
}
for (const version of ['HTTP/0.9', 'HTTP/2.0']) {
  refuses(`version ${version}`, 505, get(`GET / ${version}`), { stricter: WHY.version });
}
refuses('the preface of HTTP/2', 505, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
refuses('a TLS ClientHello', 400, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03');
refuses('JSON without a request', 400, '{"data":"x"}\r\n\r\n');
refuses('an SSH banner', 400, 'SSH-2.0-OpenSSH_9.2\r\n');
refuses('a proxy protocol line', 400, `PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n${NEXT}`);

// --- Targets -------------------------------------------------------------------------------------

for (const target of ['/', '/?', '/??', '//', '//a//b', '/a/../b/./c', '/%2F%2e%2E/', '/%00',
  '/%c3%a9', '/a;b=c', '/a,b',
  "/-._~!$&'()*+,;=:@", '/?a=/b?c:d@e', '/http://b/', '/a|b', '/?a={"b":[1]}', '/?q=a^b`c<d>', '/*',
    '/a//']) {
  reads(`target ${target}`, get(`GET ${target} HTTP/1.1`));
}
reads('OPTIONS *', get('OPTIONS * HTTP/1.1'));
refuses('GET *', 400, get('GET * HTTP/1.1'), { stricter: WHY.target });
refuses('OPTIONS **', 400, get('OPTIONS ** HTTP/1.1'), { stricter: WHY.target });
refuses('OPTIONS *?a', 400, get('OPTIONS *?a HTTP/1.1'), { stricter: WHY.target });
for (const target of ['a', 'a/b', '?a', 'a:80', '.', '..', '\\', 'mailto:a', 'http:/a/', 'http:a',
  'http//a/', '%2F', ':80',
  '@a', '[::1]']) {
  refuses(`target ${target}`, 400, get(`GET ${target} HTTP/1.1`));
}
for (const target of ['ftp://a/', 'ws://a/', 'file:///etc/passwd']) {
  refuses(`target ${target}`, 400, get(`GET ${target} HTTP/1.1`), { stricter: WHY.target });
}
for (const target of ['/%', '/%4', '/%4g', '/%g4', '/%%41', '/a%2', '/?a=%', '/?a=%zz']) {
  refuses(`target ${target}`, 400, get(`GET ${target} HTTP/1.1`), { stricter: WHY.escape });
}
refuses('target /% 41', 400, get('GET /% 41 HTTP/1.1'));
refuses('a backslash in the path', 400, get('GET /a\\b HTTP/1.1'), { stricter: WHY.backslash });
reads('a backslash in the query', get('GET /a?b\\c HTTP/1.1'));
refuses('a fragment after the path', 400, get('GET /a#b HTTP/1.1'), { stricter: WHY.target });
refuses('a fragment after the query', 400, get('GET /a?b#c HTTP/1.1'), { stricter: WHY.target });
refuses('raw UTF-8 in the path', 400, get('GET /\xc3\xa9 HTTP/1.1'));
refuses('raw UTF-8 in the query', 400, get('GET /?\xc3\xa9 HTTP/1.1'));
refuses('byte 0xff in the path', 400, get('GET /\xff HTTP/1.1'));
for (const [name, byte] of [['NUL', '\x00'], ['SOH', '\x01'], ['DEL', '\x7f'], ['ESC', '\x1b'],
  ['BS', '\x08']]) {
  refuses(`${name} in the path`, 400, get(`GET /a${byte}b HTTP/1.1`));
  refuses(`${name} in the query`, 400, get(`GET /?a${byte}b HTTP/1.1`));
}

reads('an absolute target', get('GET http://b/c?d HTTP/1.1'));
reads('an absolute target with a port', get('GET http://b:8080/c HTTP/1.1'));
reads('an absolute target with an address', get('GET http://[::1]:80/c HTTP/1.1'));
reads('an absolute target without a path', get('GET http://b HTTP/1.1'));
reads('an absolute target with a query and no path', get('GET http://b?c HTTP/1.1'));
reads('an absolute https target', get('GET https://b/c HTTP/1.1'));
reads('an absolute target in upper case', get('GET HTTP://B/c HTTP/1.1'));
reads('OPTIONS of a whole server', get('OPTIONS http://b HTTP/1.1'));
for (const target of ['http://', 'http:///a', 'http://?a', 'http://:80/', 'http://u@b/',
  'http://u:p@b/', 'http://b:x/',
  'http://b:65536/', 'http://b,c/', 'http://b%41/', 'http://[::1/', 'http://[::g]/', 'http://b/#c',
    'https://']) {
  refuses(`absolute target ${target}`, 400, get(`GET ${target} HTTP/1.1`),
    { stricter: WHY.target });
}
refuses('a space in the host of a target', 400, get('GET http://b c/ HTTP/1.1'));
refuses('a backslash in the host of a target', 400, get('GET http://b\\c/ HTTP/1.1'));
refuses('an absolute target without Host', 400, get('GET http://b/ HTTP/1.1', ''));

// --- Lines and fields ----------------------------------------------------------------------------

refuses('bare line feeds everywhere', 400, 'GET / HTTP/1.1\nHost: a\n\n');
refuses('a bare line feed after the request line', 400, 'GET / HTTP/1.1\nHost: a\r\n\r\n');
refuses('a bare line feed after a field', 400, 'GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n');
refuses('a bare line feed as the empty line', 400, 'GET / HTTP/1.1\r\nHost: a\r\n\n');
refuses('a bare carriage return after the request line', 400, 'GET / HTTP/1.1\rHost: a\r\n\r\n');
refuses('a bare carriage return after a field', 400, 'GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n');
refuses('a bare carriage return in a value', 400, get('GET / HTTP/1.1', `${HOST}X: a\rb\r\n`));
refuses('two carriage returns', 400, 'GET / HTTP/1.1\r\r\nHost: a\r\n\r\n');
refuses('two carriage returns after a field', 400, 'GET / HTTP/1.1\r\nHost: a\r\r\n\r\n');
refuses('a carriage return instead of the empty line', 400, 'GET / HTTP/1.1\r\nHost: a\r\n\rX');
refuses('line feed before carriage return', 400, 'GET / HTTP/1.1\n\rHost: a\n\r\n\r');
refuses('a folded value', 400, get('GET / HTTP/1.1', `${HOST}X: a\r\n b\r\n`));
refuses('a value folded with a tab', 400, get('GET / HTTP/1.1', `${HOST}X: a\r\n\tb\r\n`));
refuses('a folded Host', 400, get('GET / HTTP/1.1', 'Host:\r\n a\r\n'));
refuses('a folded Transfer-Encoding', 400, post('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n'));
refuses('a folded line of nothing', 400, get('GET / HTTP/1.1', `${HOST}X: a\r\n \r\n`));
refuses('a space before the first field', 400, get('GET / HTTP/1.1', ` ${HOST}`));
refuses('a tab before the first field', 400, get('GET / HTTP/1.1', `\t${HOST}`));
refuses('a line of a space before the first field', 400, get('GET / HTTP/1.1', ` \r\n${HOST}`));
refuses('a space before the colon', 400, get('GET / HTTP/1.1', 'Host : a\r\n'));
refuses('a tab before the colon', 400, get('GET / HTTP/1.1', 'Host\t: a\r\n'));
refuses('a space before the colon of Content-Length', 400, post('Content-Length : 1\r\n', 'x'));
refuses('a space before the colon of Transfer-Encoding', 400,
  post('Transfer-Encoding : chunked\r\n', '0\r\n\r\n'));
refuses('a space in a field name', 400, get('GET / HTTP/1.1', `${HOST}X Y: a\r\n`));
refuses('a field without a colon', 400, get('GET / HTTP/1.1', `${HOST}X\r\n`));
refuses('an empty field name', 400, get('GET / HTTP/1.1', `${HOST}: a\r\n`));
refuses('only a colon', 400, get('GET / HTTP/1.1', `${HOST}:\r\n`));
for (const byte of ['(', ')', ',', '/', ';', '<', '=', '>', '?', '@', '[', '\\', ']', '{', '}', '"',
  '\x00', '\x01', '\x7f', '\x80', '\xe9']) {
  const name = byte > ' ' && byte < '\x7f' ? byte : `0x${byte.charCodeAt(0).toString(16)}`;
  refuses(`${name} in a field name`, 400, get('GET / HTTP/1.1', `${HOST}X${byte}Y: a\r\n`));
}
for (const byte of ['\x00', '\x01', '\x08', '\x0b', '\x0c', '\x1f', '\x7f']) {
  refuses(`0x${byte.charCodeAt(0).toString(16)} in a value`, 400, get('GET / HTTP/1.1',
    `${HOST}X: a${byte}b\r\n`));
}
reads('bytes above 0x7f in a value', get('GET / HTTP/1.1', `${HOST}X: \x80\xc3\xa9\xff\r\n`));
reads('a tab in a value', get('GET / HTTP/1.1', `${HOST}X: a\tb\r\n`));
reads('an empty value', get('GET / HTTP/1.1', `${HOST}X:\r\nY: \r\nZ:\t\r\n`));
reads('no space after the colon', get('GET / HTTP/1.1', 'Host:a\r\nX:b\r\n'));
reads('much whitespace around a value', get('GET / HTTP/1.1', 'Host: \t a \t \r\n'));
reads('colons in a value', get('GET / HTTP/1.1', `${HOST}X: a: b::c\r\n`));
reads('odd token characters in a name', get('GET / HTTP/1.1', `${HOST}!#$%&'*+-.^_\`|~: a\r\n`));
reads('an underscore in Content_Length', get('GET / HTTP/1.1', `${HOST}Content_Length: 5\r\n`));
reads('names that only resemble', get('GET / HTTP/1.1',
  `${HOST}Content-Length-X: 5\r\nX-Transfer-Encoding: chunked\r\nHosts: b\r\n`));
reads('60 fields', get('GET / HTTP/1.1', HOST + Array.from({ length: 59 }, (_,
  i) => `X-${i}: y\r\n`).join('')));
refuses('101 fields', 431, get('GET / HTTP/1.1', HOST + Array.from({ length: 100 }, (_,
  i) => `X-${i}: y\r\n`).join('')), {
  stricter: 'at most 100 fields; the limit of Node.js is 2000, beyond which it drops them silently',
});
refuses('a head of more than 16 KiB', 431, get('GET / HTTP/1.1',
  `${HOST}X: ${'y'.repeat(17000)}\r\n`));
refuses('a target of more than 16 KiB', 414, get(`GET /${'y'.repeat(17000)} HTTP/1.1`));

// --- Empty lines before a request, and the like --------------------------------------------------

reads('one empty line before the request', `\r\n${NEXT}`);
reads('four empty lines before the request', `\r\n\r\n\r\n\r\n${NEXT}`);
refuses('five empty lines before the request', 400, `\r\n\r\n\r\n\r\n\r\n${NEXT}`,
  { stricter: WHY.emptyLines });
reads('an empty line between requests', `${NEXT}\r\n${NEXT}`, { count: 2 });
reads('an empty line after a body', post('Content-Length: 1\r\n', `x\r\n${NEXT}`), { count: 2 });
refuses('a bare line feed before the request', 400, `\n${NEXT}`, {
  stricter: 'RFC 9112, 2.2: an empty line is CRLF; nothing else before a request is ignored',
});
refuses('a bare carriage return before the request', 400, `\r${NEXT}`, {
  stricter: 'RFC 9112, 2.2: an empty line is CRLF; nothing else before a request is ignored',
});
refuses('a space before the second request', 400, `${NEXT} ${NEXT}`, { count: 1 });
reads('nothing at all', '', { count: 0 });
reads('only an empty line', '\r\n', { count: 0 });
waits('half a request line', 'GET / HT');
waits('half a field', 'GET / HTTP/1.1\r\nHos');
waits('no empty line', 'GET / HTTP/1.1\r\nHost: a\r\n');
waits('half an empty line', 'GET / HTTP/1.1\r\nHost: a\r\n\r');
waits('a second request that is cut off', `${NEXT}GET /b HTTP/1.1\r\n`, { count: 1 });

// --- Host ----------------------------------------------------------------------------------------

refuses('no Host', 400, get('GET / HTTP/1.1', ''));
refuses('no Host among other fields', 400, get('GET / HTTP/1.1', 'X: a\r\n'));
reads('no Host in HTTP/1.0', get('GET / HTTP/1.0', ''), { end: 'closed' });
refuses('two equal Hosts', 400, get('GET / HTTP/1.1', HOST + HOST), { stricter: WHY.hosts });
refuses('two different Hosts', 400, get('GET / HTTP/1.1', `${HOST}host: b\r\n`),
  { stricter: WHY.hosts });
refuses('two Hosts in HTTP/1.0', 400, get('GET / HTTP/1.0', `${HOST}HOST: b\r\n`),
  { stricter: WHY.hosts });
refuses('two Hosts, one empty', 400, get('GET / HTTP/1.1', `${HOST}Host:\r\n`),
  { stricter: WHY.hosts });
for (const host of ['a', 'a.b', 'A.B.', 'a:80', 'a:', 'a:00080', '127.0.0.1:1', '[::1]',
  '[::1]:8080', '[2001:db8::1]', 'a_b', 'xn--a']) {
  reads(`Host ${host}`, get('GET / HTTP/1.1', `Host: ${host}\r\n`));
}
for (const host of ['', ' ', ':80', 'a b', 'a,b', 'a, b', 'u@a', 'a/b', '/', 'a?b', 'a#b', 'a:b',
  'a:65536', 'a:-1', 'a:+1', 'a: 80',
  'a:80:80', '[::1', '::1', '[]', '[::1]x', '[::1]80', '[1.2.3.4]', '[::1%25eth0]', '[v1.x]',
    'a%41', 'a\\b', '"a"', '<a>', 'a|b',
  'a^b', '{a}', 'http://a', 'http://a/', '\xe9', 'a\tb', 'a:99999999999999999999']) {
  refuses(`Host '${host}'`, 400, get('GET / HTTP/1.1', `Host: ${host}\r\n`),
    { stricter: WHY.host });
}

// --- Content-Length ------------------------------------------------------------------------------

reads('a body of known length', post('Content-Length: 5\r\n', 'hello'));
reads('a body of no length', post('Content-Length: 0\r\n'));
reads('a POST without a body', post(''));
reads('a GET with a body', get('GET /p HTTP/1.1', `${HOST}Content-Length: 3\r\n`) + 'abc');
reads('a body that looks like a request', post(`Content-Length: ${NEXT.length}\r\n`, NEXT));
reads('a body of all bytes', post('Content-Length: 256\r\n', Array.from({ length: 256 }, (_,
  i) => String.fromCharCode(i)).join('')));
reads('zeros before the length', post('Content-Length: 0005\r\n', 'hello'));
reads('spaces around the length', post('Content-Length:   5  \r\n', 'hello'));
reads('a tab after the length', post('Content-Length: 5\t\r\n', 'hello'), { laxer: WHY.tab });
waits('a body that is cut off', post('Content-Length: 6\r\n', 'hello'));
waits('a body of 2^64-1 bytes', post('Content-Length: 18446744073709551615\r\n', 'hello'));
for (const length of ['+5', '-5', '-0', '0x5', '5.0', '5e0', '5,5', '5, 5', '5,', ',5', '5;', '5 5',
  '5a', 'a', '"5"', "'5'", '5\t5', '0 5',
  '\xb2', '18446744073709551616', '99999999999999999999999999', '5_0', '٥']) {
  const bytes = Buffer.from(length,
    /[^\x00-\xff]/.test(length) ? 'utf8' : 'latin1').toString('latin1');
  refuses(`Content-Length ${length}`, 400, post(`Content-Length: ${bytes}\r\n`, 'hello'));
}
refuses('an empty Content-Length', 400, post('Content-Length:\r\n', 'hello'));
refuses('a blank Content-Length', 400, post('Content-Length: \r\n', 'hello'));
refuses('two equal Content-Lengths', 400, post('Content-Length: 5\r\nContent-Length: 5\r\n',
  'hello'));
refuses('two different Content-Lengths', 400, post('Content-Length: 5\r\nContent-Length: 6\r\n',
  'hello'));
refuses('two Content-Lengths in other case', 400, post('Content-Length: 5\r\ncONTENT-lENGTH: 0\r\n',
  'hello'));

// --- Transfer-Encoding ---------------------------------------------------------------------------

for (const coding of ['chunked', 'CHUNKED', 'Chunked', '\tchunked', 'chunked  ']) {
  reads(`Transfer-Encoding '${coding}'`, post(`Transfer-Encoding: ${coding}\r\n`,
    '5\r\nhello\r\n0\r\n\r\n'));
}
reads("Transfer-Encoding 'chunked' and a tab", post('Transfer-Encoding: chunked\t\r\n',
  '0\r\n\r\n'), { laxer: WHY.tab });
for (const [status, coding, notes] of [
  [501, 'gzip', {}], [501, 'identity', {}], [501, 'xchunked', {}], [501, 'chunkedx', {}], [501,
    'chunk', {}], [501, 'x-chunked', {}],
  [501, 'gzip, chunked', { stricter: WHY.coding }], [501, 'identity, chunked',
    { stricter: WHY.coding }],
  [501, 'gzip,chunked', { stricter: WHY.coding }], [501, 'xchunked, chunked',
    { stricter: WHY.coding }],
  [400, 'chunked, chunked', {}], [400, 'chunked,chunked', {}],
  [400, 'chunked, gzip', {}], [400, 'chunked, identity', {}], [400, ', chunked',
    { stricter: WHY.codingList }],
  [400, ',chunked', { stricter: WHY.codingList }], [400, 'chunked,', {}], [400, 'chunked ,', {}],
    [400, '', { stricter: WHY.codingEmpty }],
  [400, ' ', { stricter: WHY.codingEmpty }],
  [400, '"chunked"', {}], [400, 'chunked;a=b', {}], [400, 'chunked foo', {}], [400, 'foo chunked',
    {}], [501, "'chunked'", {}],
  [400, 'chunked\t\x0b', {}], [400, '\x0bchunked', {}], [400, 'chun\x00ked', {}], [400,
    'gzip;q=1, chunked', { stricter: WHY.coding }],
  [400, 'chunked\xa0', {}], [400, '\xa0chunked', {}],
]) {
  refuses(`Transfer-Encoding '${coding}'`, status, post(`Transfer-Encoding: ${coding}\r\n`,
    '5\r\nhello\r\n0\r\n\r\n'), notes);
}
const CL = 'Content-Length: 5\r\n';
const TE = 'Transfer-Encoding: chunked\r\n';
refuses('Content-Length, then Transfer-Encoding', 400, post(CL + TE, '0\r\n\r\n'));
refuses('Transfer-Encoding, then Content-Length', 400, post(TE + CL, '0\r\n\r\n'));
refuses('both, with Content-Length 0', 400, post(`Content-Length: 0\r\n${TE}`, '0\r\n\r\n'));
refuses('both, with another coding', 400, post(`${CL}Transfer-Encoding: gzip\r\n`, 'hello'));
refuses('both, with an empty coding', 400, post(`${CL}Transfer-Encoding:\r\n`, 'hello'));
refuses('both, with a coding that only resembles', 400, post(`${CL}Transfer-Encoding: xchunked\r\n`,
  'hello'));
refuses('both, between other fields', 400, post(`A: b\r\n${CL}C: d\r\n${TE}E: f\r\n`, '0\r\n\r\n'));
refuses('Transfer-Encoding twice', 400, post(TE + TE, '0\r\n\r\n'));
refuses('Transfer-Encoding twice, gzip and chunked', 501, post(`Transfer-Encoding: gzip\r\n${TE}`,
  '0\r\n\r\n'), { stricter: WHY.coding });
refuses('Transfer-Encoding twice, chunked and identity', 400,
  post(`${TE}Transfer-Encoding: identity\r\n`, '0\r\n\r\n'));
refuses('Transfer-Encoding twice, chunked and empty', 400, post(`${TE}Transfer-Encoding:\r\n`,
  '0\r\n\r\n'), { stricter: WHY.codingList });
refuses('Transfer-Encoding in HTTP/1.0', 400, `POST /p HTTP/1.0\r\n${HOST}${TE}\r\n0\r\n\r\n`,
  { stricter: WHY.oldCoding });
refuses('both in HTTP/1.0', 400, `POST /p HTTP/1.0\r\n${HOST}${CL}${TE}\r\n0\r\n\r\n`);
reads('Transfer_Encoding with an underscore',
  post('Transfer_Encoding: chunked\r\nContent-Length: 5\r\n', 'hello'));
reads('a TE field', post('TE: trailers, chunked\r\nContent-Length: 5\r\n', 'hello'));
reads('a Content-Encoding', post('Content-Encoding: gzip\r\nContent-Length: 5\r\n', 'hello'));
reads('a GET with a chunked body', get('GET /p HTTP/1.1', HOST + TE) + '1\r\nx\r\n0\r\n\r\n');

// --- Chunked bodies ------------------------------------------------------------------------------

reads('no chunk but the last', chunked('0\r\n\r\n'));
reads('two chunks', chunked('5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n'));
reads('a size in upper case', chunked('A\r\n0123456789\r\n0\r\n\r\n'));
reads('a size in lower case', chunked('a\r\n0123456789\r\n0\r\n\r\n'));
reads('zeros before a size', chunked('0005\r\nhello\r\n0000\r\n\r\n'));
reads('sixteen digits', chunked('0000000000000005\r\nhello\r\n0\r\n\r\n'));
refuses('seventeen digits', 400, chunked('00000000000000005\r\nhello\r\n0\r\n\r\n'),
  { stricter: WHY.digits });
refuses('seventeen zeros', 400, chunked('00000000000000000\r\n\r\n'), { stricter: WHY.digits });
refuses('a size beyond 64 bits', 400, chunked('10000000000000000\r\nhello\r\n0\r\n\r\n'));
refuses('a size that wraps to 5', 400, chunked('10000000000000005\r\nhello\r\n0\r\n\r\n'));
waits('a size of 2^64-1', chunked('ffffffffffffffff\r\nhello'));
reads('line ends within a chunk', chunked('4\r\n\r\n\r\n\r\n0\r\n\r\n'));
reads('a last chunk within a chunk', chunked('5\r\n0\r\n\r\n\r\n0\r\n\r\n'));
for (const [name, body] of [
  ['an empty size', '\r\nhello\r\n0\r\n\r\n'], ['a space before a size',
    ' 5\r\nhello\r\n0\r\n\r\n'],
  ['a tab before a size', '\t5\r\nhello\r\n0\r\n\r\n'], ['a plus', '+5\r\nhello\r\n0\r\n\r\n'],
  ['a minus', '-5\r\nhello\r\n0\r\n\r\n'], ['0x', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['no hexadecimal digit', 'g\r\nhello\r\n0\r\n\r\n'],
  ['a letter after a size', '5g\r\nhello\r\n0\r\n\r\n'], ['an h after a size',
    '5h\r\nhello\r\n0\r\n\r\n'],
  ['a comma in a size', '5,5\r\nhello\r\n0\r\n\r\n'], ['an underscore in a size',
    '0_5\r\nhello\r\n0\r\n\r\n'],
  ['a point in a size', '5.0\r\nhello\r\n0\r\n\r\n'], ['a quoted size',
    '"5"\r\nhello\r\n0\r\n\r\n'],
  ['a space after a size', '5 \r\nhello\r\n0\r\n\r\n'], ['a tab after a size',
    '5\t\r\nhello\r\n0\r\n\r\n'],
  ['a NUL after a size', '5\x00\r\nhello\r\n0\r\n\r\n'], ['a bare line feed after a size',
    '5\nhello\r\n0\r\n\r\n'],
  ['a bare carriage return after a size', '5\rhello\r\n0\r\n\r\n'],
    ['two carriage returns after a size', '5\r\r\nhello\r\n0\r\n\r\n'],
  ['a bare line feed after a chunk', '5\r\nhello\n0\r\n\r\n'],
    ['a bare carriage return after a chunk', '5\r\nhello\r0\r\n\r\n'],
  ['nothing after a chunk', '5\r\nhello0\r\n\r\n'], ['a chunk longer than its size',
    '5\r\nhello world\r\n0\r\n\r\n'],
  ['a chunk shorter than its size', '5\r\nhell\r\n0\r\n\r\n'], ['an empty line between chunks',
    '5\r\nhello\r\n\r\n0\r\n\r\n'],
  ['a bare line feed after the last size', '0\n\r\n'], ['a bare line feed at the end', '0\r\n\n'],
  ['a bare carriage return at the end', '0\r\n\rx'], ['two bytes instead of a line end',
    '5\r\nhelloXX0\r\n\r\n'],
]) {
  refuses(`chunks with ${name}`, 400, chunked(body));
}
waits('a chunked body without an end', chunked('5\r\nhello\r\n'));
waits('a chunked body without the empty line', chunked('5\r\nhello\r\n0\r\n'));
waits('a chunk that is cut off', chunked('5\r\nhel'));

for (const extension of [';a', ';a=b', ';a=b;c=d', ';a="b"', ';a="b c;d"', ';a=""', ';a="\\"";c']) {
  reads(`chunk extension ${extension}`, chunked(`5${extension}\r\nhello\r\n0\r\n\r\n`));
}
for (const extension of [';', ';a;', ';a=b=c', ';a="b', ';a="b"c', ';(', ' ;a', ';a ', ';a =b',
  ';a= b', '; a', ';a="b" ',
  ';a\x01', ';a="\x00"', ';\x7f', ';a\n', ';a\r', ';a=b\n0', ';\nx', ';a="\x0d"', ';a="\x0a"']) {
  const shown = JSON.stringify(extension);
  refuses(`chunk extension ${shown}`, 400, chunked(`5${extension}\r\nhello\r\n0\r\n\r\n`));
}
for (const extension of [';;a', ';a=', ';=b']) {
  refuses(`chunk extension ${extension}`, 400, chunked(`5${extension}\r\nhello\r\n0\r\n\r\n`),
    { stricter: WHY.extension });
}
refuses('chunk extensions of 2000 bytes', 413,
  chunked(`5;${'a'.repeat(2000)}\r\nhello\r\n0\r\n\r\n`), {
  stricter: 'at most 1024 bytes of extensions in a body; Node.js allows 16 KiB',
});
reads('trailers', chunked('5\r\nhello\r\n0\r\nDigest: x\r\nX:\r\n\r\n'));
for (const trailer of [' a: b', ': b', 'a', 'a b: c', 'a : b', 'a: b\n', 'a: b\rc', 'a: \x01',
  'a: b\r\n c', '(: b', 'a\x00: b', 'a: \x00', 'a: \x7f',
  'GET / HTTP/1.1']) {
  refuses(`trailer ${JSON.stringify(trailer)}`, 400, chunked(`0\r\n${trailer}\r\n\r\n`));
}
refuses('a Content-Length as trailer', 400, chunked('0\r\nContent-Length: 5\r\n\r\n'));
refuses('a Transfer-Encoding as trailer', 400, chunked('0\r\nTransfer-Encoding: chunked\r\n\r\n'));
refuses('a Host as trailer', 400, chunked('0\r\nHost: b\r\n\r\n'), { stricter: WHY.trailer });
refuses('trailers of 5000 bytes', 431, chunked(`0\r\nX: ${'y'.repeat(5000)}\r\n\r\n`), {
  stricter: 'at most 4096 bytes of trailers; Node.js allows 16 KiB',
});

// --- Connection, Expect, Upgrade -----------------------------------------------------------------

const connection = (value, version = '1.1') => get(`GET / HTTP/${version}`,
  `${HOST}Connection: ${value}\r\n`);
reads('Connection: close', connection('close'), { end: 'closed' });
reads('Connection: CLOSE', connection('CLOSE'), { end: 'closed' });
reads('Connection: close in a list', connection('x, close'), { end: 'closed' });
reads('Connection: close first in a list', connection('close, x'), { end: 'closed' });
reads('Connection: keep-alive', connection('keep-alive'));
reads('Connection: closed', connection('closed'));
reads('Connection: not-close', connection('not-close'));
reads('an empty Connection', connection(''));
reads('Connection twice', get('GET / HTTP/1.1', `${HOST}Connection: x\r\nConnection: close\r\n`),
  { end: 'closed' });
reads('HTTP/1.0', get('GET / HTTP/1.0'), { end: 'closed' });
reads('HTTP/1.0 with keep-alive', connection('keep-alive', '1.0'));
reads('HTTP/1.0 with Keep-Alive in a list', connection('x, Keep-Alive', '1.0'));
reads('HTTP/1.0 with close', connection('close', '1.0'), { end: 'closed' });
reads('HTTP/1.0 with a body', `POST /p HTTP/1.0\r\n${CL}\r\nhello`, { end: 'closed' });
reads('a request after Connection: close is not read', connection('close') + NEXT,
  { end: 'closed' });
reads('garbage after Connection: close is not read', connection('close') + '\x00\x01',
  { end: 'closed' });
reads('a request after HTTP/1.0 is not read', get('GET / HTTP/1.0') + NEXT, { end: 'closed' });
reads('Expect: 100-continue', post(`${CL}Expect: 100-continue\r\n`, 'hello'));
reads('Expect: 100-Continue', post(`${CL}Expect: 100-Continue\r\n`, 'hello'));
reads('Expect with a chunked body', post(`${TE}Expect: 100-continue\r\n`,
  '5\r\nhello\r\n0\r\n\r\n'));
reads('Expect without a body', get('GET / HTTP/1.1', `${HOST}Expect: 100-continue\r\n`));
refuses('Expect: 200-ok', 417, post(`${CL}Expect: 200-ok\r\n`, 'hello'));
refuses('an empty Expect', 417, post(`${CL}Expect:\r\n`, 'hello'));
refuses('Expect: 100-continue among others', 417, post(`${CL}Expect: 100-continue, x\r\n`, 'hello'),
  { stricter: WHY.expect });
refuses('Expect: 100-continue-not', 417, post(`${CL}Expect: 100-continue-not\r\n`, 'hello'),
  { stricter: WHY.expect });
reads('an Upgrade that is ignored', get('GET / HTTP/1.1',
  `${HOST}Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n`));
reads('an Upgrade without Connection', get('GET / HTTP/1.1', `${HOST}Upgrade: websocket\r\n`));
reads('an Upgrade, then another request', get('GET / HTTP/1.1',
  `${HOST}Connection: Upgrade\r\nUpgrade: x\r\n`) + NEXT, {
  count: 2, differs: WHY.upgrade,
});
reads('an Upgrade with a body', post(`${CL}Connection: Upgrade\r\nUpgrade: x\r\n`, `hello${NEXT}`),
  { count: 2, differs: WHY.upgrade });

// --- Pipelining and smuggling --------------------------------------------------------------------

reads('two requests', NEXT + NEXT, { count: 2 });
reads('three requests',
  get('GET /1 HTTP/1.1') + get('GET /2?x HTTP/1.1') + get('DELETE /3 HTTP/1.1'), { count: 3 });
reads('a POST, then a GET', post(CL, 'hello') + NEXT, { count: 2 });
reads('a chunked POST, then a GET', chunked('5\r\nhello\r\n0\r\n\r\n') + NEXT, { count: 2 });
reads('a chunked POST with trailers, then a GET', chunked('5\r\nhello\r\n0\r\nX: y\r\n\r\n') + NEXT,
  { count: 2 });
reads('two chunked POSTs', chunked('1\r\na\r\n0\r\n\r\n') + chunked('1\r\nb\r\n0\r\n\r\n'),
  { count: 2 });
reads('POSTs of both kinds', post(CL, 'hello') + chunked('1\r\nb\r\n0\r\n\r\n') + post(CL, 'world'),
  { count: 3 });
reads('HEAD, OPTIONS, GET', get('HEAD /1 HTTP/1.1') + get('OPTIONS * HTTP/1.1') + NEXT,
  { count: 3 });
reads('HTTP/1.0 keep-alive, then HTTP/1.1', connection('keep-alive', '1.0') + NEXT, { count: 2 });
reads('a body that is one byte short of the request in it',
  post(`Content-Length: ${NEXT.length}\r\n`, NEXT) + NEXT, { count: 2 });
refuses('a good request, then garbage', 400, NEXT + '\x01\x02', { count: 1 });
refuses('a good request, then one without Host', 400, NEXT + get('GET / HTTP/1.1', ''),
  { count: 1 });
refuses('a good request, then both framings', 400, NEXT + post(CL + TE, '0\r\n\r\n'), { count: 1 });
refuses('two good requests, then a folded field', 400, NEXT + NEXT + get('GET / HTTP/1.1',
  `${HOST}X: a\r\n b\r\n`), { count: 2 });
refuses('a body longer than its length', 400, post(CL, 'hello, world') + NEXT, { count: 1 });
refuses('CL.TE: a length and a chunked body', 400, post(`Content-Length: 6\r\n${TE}`,
  '0\r\n\r\nG'));
refuses('TE.CL: a chunked body and a length', 400, post(`${TE}Content-Length: 3\r\n`,
  '1\r\nZ\r\n0\r\n\r\n'));
refuses('TE.TE: a hidden second coding', 501, post(`Transfer-Encoding: x\r\n${TE}`, '0\r\n\r\n'),
  { stricter: WHY.coding });
refuses('TE.TE: a second coding with a space', 400, post(`${TE}Transfer-Encoding : x\r\n`,
  '0\r\n\r\n'));
refuses('a coding behind a bare line feed', 400, post('X: y\nTransfer-Encoding: chunked\r\n',
  '0\r\n\r\n'));
refuses('a coding behind a bare carriage return', 400, post('X: y\rTransfer-Encoding: chunked\r\n',
  '0\r\n\r\n'));
refuses('a length behind a bare line feed', 400, post('X: y\nContent-Length: 5\r\n', 'hello'));
refuses('a length behind a NUL', 400, post('X: y\x00\r\nContent-Length: 5\r\n', 'hello'));
refuses('a name with a NUL before it', 400, post('\x00Transfer-Encoding: chunked\r\n',
  '0\r\n\r\n'));
refuses('a field with a vertical tab before it', 400, post('\x0bTransfer-Encoding: chunked\r\n',
  '0\r\n\r\n'));
refuses('a quoted field name', 400, post('"Transfer-Encoding": chunked\r\n', '0\r\n\r\n'));
refuses('a request without fields, then another', 400, `GET / HTTP/1.1\r\n\r\n${NEXT}`, {
  stricter: 'nothing is read behind a request that was refused; Node.js refuses the first for ' +
    'its Host and then reads the second',
});
refuses('a request behind a bare line feed in the target', 400,
  `GET /a\nGET /b HTTP/1.1\r\n${HOST}\r\n`);
refuses('two request lines', 400, `GET /a HTTP/1.1\r\nGET /b HTTP/1.1\r\n${HOST}\r\n`);
refuses('a version in the target', 400, get('GET /a HTTP/1.1 HTTP/1.1'));
reads('the last chunk, then a request at once', chunked('0\r\n\r\n') + NEXT, { count: 2 });
refuses('a chunked body, then stray bytes', 400, chunked('0\r\n\r\n') + '0\r\n\r\n', { count: 1 });
reads('a body without any framing', post('', 'hello') + NEXT, {
  count: 2,
  laxer: 'RFC 9112, 6.3: the body is none, so the second method is helloGET; any token is a ' +
    'method, and the router refuses it',
});
refuses('a body without any framing that is no token', 400, post('', '{"a":1}') + NEXT,
  { count: 1 });
