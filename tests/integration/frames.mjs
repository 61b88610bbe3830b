/* Frames of HTTP/2 made and read by hand (RFC 9113), for what no client would do. */
import assert from 'node:assert/strict';

export const SETTINGS = 4;
export const HEADERS = 1;
export const DATA = 0;
export const RST_STREAM = 3;
export const PRIORITY = 2;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const END_HEADERS = 4;
export const PADDED = 8;
export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export function frame(type, flags, stream, payload = Buffer.alloc(0)) {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
}

export function u32(value) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
}

/* GET of a path shorter than 127 bytes, HPACK without any table (RFC 7541, 6.2.2 and 6.1). */
export function getBlock(path) {
    return Buffer.concat([Buffer.from([0x82, 0x86, 0x04, path.length]), Buffer.from(path),
        Buffer.from([0x01, 3]), Buffer.from('hub')]);
}

/* A length of HPACK (RFC 7541, 5.1). */
function lengthOf(text) {
    const bytes = [];
    let rest = text.length;
    if (rest < 127) {
        return Buffer.from([rest]);
    }
    bytes.push(127);
    for (rest -= 127; rest >= 128; rest >>= 7) {
        bytes.push((rest & 127) | 128);
    }
    return Buffer.from([...bytes, rest]);
}

/* Fields in order, each as it is; latin1. */
export function fieldBlock(fields) {
    return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), lengthOf(name),
        Buffer.from(name, 'latin1'), lengthOf(value), Buffer.from(value, 'latin1')]));
}

/* A connection of HTTP/2 whose frames are made here. */
export class Bare {
    frames = [];
    #pending = Buffer.alloc(0);

    static async open(hub, { settings = Buffer.alloc(0), first = frame(SETTINGS, 0, 0, settings) } = {}) {
        const bare = new Bare();
        bare.wire = await hub.connect(hub.tls ? { ALPNProtocols: ['h2'] } : {});
        bare.wire.takeAll((bytes) => bare.#read(bytes));
        bare.send(Buffer.concat([Buffer.from(PREFACE), first]));
        return bare;
    }

    #read(bytes) {
        this.#pending = Buffer.concat([this.#pending, bytes]);
        while (this.#pending.length >= 9) {
            const end = 9 + this.#pending.readUIntBE(0, 3);
            if (this.#pending.length < end) {
                return;
            }
            this.frames.push({
                type: this.#pending[3],
                flags: this.#pending[4],
                stream: this.#pending.readUInt32BE(5) & 0x7fffffff,
                payload: this.#pending.subarray(9, end),
            });
            this.#pending = this.#pending.subarray(end);
        }
    }

    send(bytes) {
        if (!this.wire.ended) {
            this.wire.send(bytes);
        }
    }

    get(stream, path) {
        this.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, getBlock(path)));
    }

    of(type, stream) {
        return this.frames.filter((one) => one.type === type
                                  && (stream === undefined || one.stream === stream));
    }

    dataOf(stream) {
        return Buffer.concat(this.of(DATA, stream).map((one) => one.payload));
    }

    when(what, condition, seconds) {
        return this.wire.when(what, condition, seconds);
    }

    /* Waits for GOAWAY, and returns its error code. */
    async goaway(seconds) {
        await this.when('GOAWAY', () => this.of(GOAWAY).length > 0 || this.wire.ended, seconds);
        assert.ok(this.of(GOAWAY).length > 0, 'the connection ended without GOAWAY');
        return this.of(GOAWAY).at(-1).payload.readUInt32BE(4);
    }
}
