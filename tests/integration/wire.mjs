/*
 * A raw TCP or Unix connection and a strict reader of HTTP/1.x responses on it. It is strict on purpose:
 * what a lenient client forgives is what this suite is here to find.
 */
import assert from 'node:assert/strict';
import net from 'node:net';
import tls from 'node:tls';
import { until } from './until.mjs';

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/* Undoes chunked framing (RFC 9112, 7.1) of a stream of buffers, in any pieces. */
export class Dechunker {
    #pending = null;
    #left = 0; /* of the chunk's data */
    #state = 'size';
    done = false;
    rest = Buffer.alloc(0); /* what came behind the last chunk */

    /* Returns the data in `bytes` as an array of buffers. */
    push(bytes) {
        const data = [];
        let at = 0;
        if (this.#pending !== null) {
            bytes = Buffer.concat([this.#pending, bytes]);
            this.#pending = null;
        }
        while (at < bytes.length && !this.done) {
            if (this.#state === 'data') {
                const take = Math.min(this.#left, bytes.length - at);
                data.push(bytes.subarray(at, at + take));
                at += take;
                this.#left -= take;
                this.#state = this.#left === 0 ? 'data-end' : 'data';
                continue;
            }
            const end = bytes.indexOf('\r\n', at, 'latin1');
            if (end < 0) {
                this.#pending = bytes.subarray(at);
                assert.ok(this.#pending.length < 4096, 'a chunk line without an end');
                return data;
            }
            this.#line(bytes.toString('latin1', at, end));
            at = end + 2;
        }
        if (this.done) {
            this.rest = bytes.subarray(at);
        }
        return data;
    }

    #line(line) {
        switch (this.#state) {
            case 'size':
                assert.match(line, /^[0-9a-fA-F]+$/, `not a chunk size: ${JSON.stringify(line)}`);
                this.#left = parseInt(line, 16);
                this.#state = this.#left === 0 ? 'trailer' : 'data';
                break;
            case 'data-end':
                assert.equal(line, '', 'a chunk is followed by an empty line end');
                this.#state = 'size';
                break;
            default:
                this.done = line === '';
        }
    }
}

class Head {
    constructor(text) {
        const lines = text.split('\r\n');
        const first = /^HTTP\/(1\.[01]) ([1-5][0-9][0-9]) ([ -~]*)$/.exec(lines[0]);
        assert.ok(first, `not a status line: ${JSON.stringify(lines[0])}`);
        this.version = first[1];
        this.status = Number(first[2]);
        this.fields = lines.slice(1).map((line) => {
            const colon = line.indexOf(':');
            assert.ok(colon > 0, `not a field line: ${JSON.stringify(line)}`);
            const name = line.slice(0, colon);
            assert.match(name, TOKEN);
            return [name.toLowerCase(), line.slice(colon + 1).trim()];
        });
    }

    all(name) {
        return this.fields.filter((field) => field[0] === name).map((field) => field[1]);
    }

    /* The value of a field, which must not be there twice; undefined without it. */
    get(name) {
        const values = this.all(name);
        assert.ok(values.length <= 1, `${name} is there ${values.length} times`);
        return values[0];
    }
}

export class Response extends Head {
    constructor(text, body) {
        super(text);
        this.body = body;
    }

    get text() {
        return this.body.toString('utf8');
    }

    get json() {
        assert.match(this.get('content-type') ?? '', /^application\/(problem\+)?json/);
        return JSON.parse(this.text);
    }
}

export class Wire {
    #chunks = [];
    #length = 0;
    #watchers = new Set();
    sink = null; /* takes the received buffers instead of the store, once set by stream() */
    ended = false; /* the hub has sent all it will: FIN or reset */
    error = null;

    /* `target` is {port, host, tls} or {path}; `options` may have localAddress, and those of tls. */
    static connect(target, options = {}) {
        return new Promise((resolve, reject) => {
            const where = { host: '127.0.0.1', ...target, ...options };
            const socket = target.tls ? tls.connect({ rejectUnauthorized: false, ...where })
                                      : net.connect(where);
            socket.setNoDelay(true);
            socket.once('error', reject);
            socket.once(target.tls ? 'secureConnect' : 'connect', () => {
                socket.off('error', reject);
                resolve(new Wire(socket));
            });
        });
    }

    constructor(socket) {
        this.socket = socket;
        socket.on('data', (bytes) => {
            if (this.sink !== null) {
                this.sink(bytes);
            } else {
                this.#chunks.push(bytes);
                this.#length += bytes.length;
            }
            this.#notify();
        });
        socket.on('error', (error) => {
            this.error = error;
        });
        for (const name of ['end', 'close']) {
            socket.on(name, () => {
                this.ended = true;
                this.#notify();
            });
        }
    }

    #notify() {
        for (const watcher of this.#watchers) {
            watcher();
        }
    }

    /* Everything received and not yet consumed, in one buffer. */
    get bytes() {
        if (this.#chunks.length > 1) {
            this.#chunks = [Buffer.concat(this.#chunks)];
        }
        return this.#chunks[0] ?? Buffer.alloc(0);
    }

    #consume(count) {
        const rest = this.bytes.subarray(count);
        this.#chunks = rest.length === 0 ? [] : [rest];
        this.#length = rest.length;
    }

    send(bytes) {
        this.socket.write(bytes);
    }

    /* Resolves when all that was sent has left this process. */
    sendAll(bytes) {
        return new Promise((resolve) => this.socket.write(bytes, () => resolve()));
    }

    /* Sends FIN, and goes on reading. */
    finish() {
        this.socket.end();
    }

    destroy() {
        this.socket.destroy();
    }

    /* Ends it with a reset, where Node can: not under TLS. */
    reset() {
        if (this.socket.encrypted) {
            this.socket.destroy();
        } else {
            this.socket.resetAndDestroy();
        }
    }

    /* Waits for `condition`, looked at whenever something arrives. */
    async when(what, condition, seconds = 10) {
        if (condition()) {
            return;
        }
        let wake;
        const watcher = () => wake?.();
        this.#watchers.add(watcher);
        try {
            await until(
                `${what} (received ${JSON.stringify(this.bytes.toString('latin1', 0, 300))})`,
                async () => {
                    if (condition()) {
                        return true;
                    }
                    await new Promise((resolve) => {
                        wake = resolve;
                        setTimeout(resolve, 100);
                    });
                    return condition();
                },
                seconds,
            );
        } finally {
            this.#watchers.delete(watcher);
        }
    }

    async #headText(seconds) {
        let end = -1;
        await this.when(
            'a response head',
            () => {
                end = this.bytes.indexOf('\r\n\r\n', 0, 'latin1');
                return end >= 0 || this.ended;
            },
            seconds,
        );
        if (end < 0) {
            const seen = this.bytes.toString('latin1', 0, 200);
            throw new Error(`closed without a response, after ${JSON.stringify(seen)}`);
        }
        const text = this.bytes.toString('latin1', 0, end);
        this.#consume(end + 4);
        return text;
    }

    /* The next response's head alone; its body, a stream, goes to `sink` from then on. */
    async stream(sink, seconds) {
        const head = new Head(await this.#headText(seconds));
        this.takeAll(sink);
        return head;
    }

    /* Gives what is here and all that comes to `sink`. */
    takeAll(sink) {
        const rest = this.bytes;
        this.#consume(rest.length);
        this.sink = sink;
        if (rest.length > 0) {
            sink(rest);
        }
    }

    /* The next whole response. An interim 100 is a response of its own. */
    async response({ method = 'GET', seconds = 10 } = {}) {
        const text = await this.#headText(seconds);
        const head = new Head(text);
        return new Response(text, await this.#body(head, method, seconds));
    }

    async #body(head, method, seconds) {
        const coding = head.get('transfer-encoding');
        const length = head.get('content-length');
        if (method === 'HEAD' || head.status < 200 || head.status === 204 || head.status === 304) {
            return Buffer.alloc(0);
        }
        if (coding !== undefined) {
            assert.equal(coding, 'chunked');
            assert.equal(length, undefined, 'chunked and Content-Length together');
            return this.#chunkedBody(seconds);
        }
        if (length !== undefined) {
            assert.match(length, /^[0-9]+$/);
            await this.when('the whole body', () => this.#length >= Number(length) || this.ended,
                seconds);
            assert.ok(this.#length >= Number(length), 'closed inside a body');
            const body = this.bytes.subarray(0, Number(length));
            this.#consume(Number(length));
            return body;
        }
        await this.when('the end of the connection', () => this.ended, seconds);
        const body = this.bytes;
        this.#consume(body.length);
        return body;
    }

    async #chunkedBody(seconds) {
        const dechunker = new Dechunker();
        const data = [];
        for (;;) {
            const bytes = this.bytes;
            this.#consume(bytes.length);
            data.push(...dechunker.push(bytes));
            if (dechunker.done) {
                this.#chunks = dechunker.rest.length === 0 ? [] : [dechunker.rest];
                this.#length = dechunker.rest.length;
                return Buffer.concat(data);
            }
            assert.ok(!this.ended, 'closed inside a chunked body');
            await this.when('the rest of a chunked body', () => this.#length > 0 || this.ended,
                seconds);
        }
    }

    /* Waits for the hub's close; returns what came before it and was not consumed. */
    async end(seconds = 10) {
        await this.when('the hub closing the connection', () => this.ended, seconds);
        return this.bytes;
    }
}

/* The head (and body) of a request, as text; `fields` is an object or an array of pairs. */
export function requestText(method, path, fields = {}, { version = '1.1', host = 'hub' } = {}) {
    const pairs = Array.isArray(fields) ? fields : Object.entries(fields);
    const lines = [`${method} ${path} HTTP/${version}`];
    if (host !== null && !pairs.some(([name]) => name.toLowerCase() === 'host')) {
        lines.push(`Host: ${host}`);
    }
    for (const [name, value] of pairs) {
        lines.push(`${name}: ${value}`);
    }
    return `${lines.join('\r\n')}\r\n\r\n`;
}

/* Requests one after another on one kept-alive connection, made anew when the hub has closed it. */
export class Client {
    #wire = null;
    #last = Promise.resolve();

    constructor(target, options = {}) {
        this.target = target;
        this.options = options;
    }

    request(method, path, { headers = {}, body, seconds } = {}) {
        const result = this.#last.then(() => this.#exchange(method, path, headers, body, seconds));
        this.#last = result.catch(() => undefined);
        return result;
    }

    async #exchange(method, path, headers, body, seconds) {
        if (this.target.h2) {
            const { Http2Wire } = await import('./http2.mjs');
            const bytes = body === undefined && method !== 'POST' ? undefined : body ?? '';
            const { localAddress } = this.options;
            const wire = await Http2Wire.open(this.target, method, path, headers,
                { body: bytes, localAddress, seconds });
            return wire.whole(seconds);
        }
        if (this.#wire === null || this.#wire.ended) {
            this.#wire?.destroy();
            this.#wire = await Wire.connect(this.target, this.options);
        }
        const bytes = body === undefined ? Buffer.alloc(0) : Buffer.from(body);
        const fields = { Host: this.host, ...headers };
        if (body !== undefined || method === 'POST') {
            fields['Content-Length'] = bytes.length;
        }
        this.#wire.send(Buffer.concat([Buffer.from(requestText(method, path, fields)), bytes]));
        try {
            const response = await this.#wire.response({ method, seconds });
            if (response.get('connection') === 'close') {
                this.close();
            }
            return response;
        } catch (error) {
            this.close();
            throw error;
        }
    }

    get host() {
        return this.target.port === undefined ? 'hub' : `127.0.0.1:${this.target.port}`;
    }

    close() {
        this.#wire?.destroy();
        this.#wire = null;
    }
}
