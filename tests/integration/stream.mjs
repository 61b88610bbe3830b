/*
 * One subscriber on a raw socket: strict HTTP framing, fatal UTF-8, and eventsource-parser for the
 * events, so that what a test sees is what a real client would rebuild.
 */
import assert from 'node:assert/strict';
import { createParser } from 'eventsource-parser';
import { Http2Wire } from './http2.mjs';
import { Dechunker, Wire, requestText } from './wire.mjs';

export class Stream {
    head = null;
    items = []; /* {comment} {retry} {event, id, data}, in order */
    events = []; /* of them, the events */
    comments = [];
    retries = [];
    raw = ''; /* the text of the stream, unframed */
    finished = false; /* the last chunk has come: the stream ended in good order */
    #failure = null;

    /*
     * Subscribes and waits until the hub has said its first words, unless `ready` is false.
     * options: headers, version ('1.0' for an HTTP/1.0 client), localAddress, status, keepRaw
     */
    static async open(target, path, options = {}) {
        const stream = new Stream();
        const { localAddress } = options;
        const h2 = target.h2 && options.version !== '1.0';
        const fields = { Accept: 'text/event-stream', ...options.headers };
        stream.wire = h2 ? await Http2Wire.open(target, 'GET', path, fields, { localAddress })
                         : await Wire.connect({ ...target, h2: undefined },
                                              localAddress ? { localAddress } : {});
        try {
            await stream.#start(path, { ...options, h2 });
        } catch (error) {
            stream.close();
            throw error;
        }
        return stream;
    }

    async #start(path, { headers = {}, version = '1.1', status = 200, ready = true, ...more }) {
        const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
        const dechunker = new Dechunker();
        let chunked = true;
        const parser = createParser({
            onEvent: (event) => this.#add(this.events, event),
            onComment: (comment) => this.#add(this.comments, { comment }),
            onRetry: (retry) => this.#add(this.retries, { retry }),
            onError: (error) => {
                throw error;
            },
        });
        const sink = (bytes) => {
            try {
                for (const data of chunked ? dechunker.push(bytes) : [bytes]) {
                    const text = decoder.decode(data, { stream: true });
                    this.raw += more.keepRaw === false ? '' : text;
                    parser.feed(text);
                }
                this.finished = dechunker.done;
                assert.equal(dechunker.rest.length, 0, 'bytes behind the end of the stream');
            } catch (error) {
                this.#failure ??= error;
            }
        };
        const held = [];
        if (!more.h2) {
            this.wire.send(requestText('GET', path, { Accept: 'text/event-stream', ...headers },
                { version }));
        }
        this.head = await this.wire.stream((bytes) => held.push(bytes));
        assert.equal(this.head.status, status, `GET ${path}: status ${this.head.status}`);
        chunked = this.head.get('transfer-encoding') === 'chunked';
        held.forEach(sink);
        this.wire.sink = sink;
        if (ready) {
            await this.when('the first words of the stream', () => this.retries.length > 0);
        }
    }

    #add(list, item) {
        list.push(item);
        this.items.push(item);
    }

    get ended() {
        return this.finished || this.wire.ended;
    }

    get data() {
        return this.events.map((event) => event.data);
    }

    async when(what, condition, seconds) {
        await this.wire.when(what, () => this.#failure !== null || condition(), seconds);
        if (this.#failure !== null) {
            throw this.#failure;
        }
    }

    /* Waits until `count` events have come, and returns them all. */
    async received(count, seconds) {
        await this.when(
            `${count} events (there are ${this.events.length})`,
            () => this.events.length >= count,
            seconds,
        );
        return this.events;
    }

    /* Waits for the end of the stream: its last chunk, or the close of the connection. */
    async end(seconds) {
        await this.when('the end of the stream', () => this.finished || this.wire.ended, seconds);
        this.finished ||= this.wire.finished === true;
    }

    close() {
        this.wire.destroy();
    }
}
