/*
 * HTTP/2 by Node's own client, behind the faces of wire.mjs: with `run.mjs --h2` the streams and requests
 * of the other files go this way, the streams of one hub all on one connection.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { Response, Wire } from './wire.mjs';
import { within } from './until.mjs';

/* The connections to one hub: one for each local address. */
export class Sessions {
    #sessions = new Map();

    constructor(url) {
        this.url = url;
    }

    get(localAddress = '') {
        let session = this.#sessions.get(localAddress);
        if (session === undefined || session.closed || session.destroyed) {
            session = http2.connect(this.url,
                { rejectUnauthorized: false, ...(localAddress !== '' ? { localAddress } : {}) });
            session.setMaxListeners(0);
            session.on('error', () => {}); /* its streams tell */
            session.on('goaway', () => {
                if (this.#sessions.get(localAddress) === session) {
                    this.#sessions.delete(localAddress);
                }
            });
            this.#sessions.set(localAddress, session);
        }
        return session;
    }

    close() {
        this.#sessions.forEach((session) => session.destroy());
        this.#sessions.clear();
    }
}

/* The headers of a request; those about the connection do not exist here. */
function requestHeaders(method, path, fields) {
    const headers = { ':method': method, ':path': path };
    for (const [name, value] of Object.entries(fields)) {
        if (name.toLowerCase() === 'host') {
            headers[':authority'] = value;
        } else if (name.toLowerCase() !== 'connection') {
            headers[name.toLowerCase()] = String(value).trim();
        }
    }
    return headers;
}

/* The head as HTTP/1.1 would have it, for the strict reader of such. */
function headText(headers) {
    const lines = Object.entries(headers).filter(([name]) => !name.startsWith(':'))
        .flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`));
    return [`HTTP/1.1 ${headers[':status']} `, ...lines].join('\r\n');
}

/* One stream, as a wire that has nothing but its body. */
export class Http2Wire extends Wire {
    finished = false; /* the stream's end has come, and no reset */

    static async open(target, method, path, fields, { localAddress, body, seconds } = {}) {
        const stream = target.h2.get(localAddress)
            .request(requestHeaders(method, path, fields), { endStream: body === undefined });
        const wire = new Http2Wire(stream);
        if (body !== undefined) {
            stream.end(body);
        }
        const [headers] = await within(`an answer to ${method} ${path}`, once(stream, 'response'),
            seconds ?? 10);
        wire.head = new Response(headText(headers), Buffer.alloc(0));
        return wire;
    }

    constructor(stream) {
        super(stream);
        stream.on('end', () => (this.finished = stream.rstCode === http2.constants.NGHTTP2_NO_ERROR));
    }

    async stream(sink) {
        this.takeAll(sink);
        return this.head;
    }

    /* The whole answer. */
    async whole(seconds) {
        const body = await this.end(seconds);
        assert.equal(this.error, null, 'the stream was reset');
        return Object.assign(this.head, { body });
    }

    reset() {
        this.socket.close(http2.constants.NGHTTP2_CANCEL);
    }
}
