/*
 * A hub under test: the real program, on a port that the kernel chose, with its log kept for the case
 * that something fails.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setSlow, until, within } from './until.mjs';
import { Sessions } from './http2.mjs';
import { Stream } from './stream.mjs';
import { Client, Wire } from './wire.mjs';

/* Set once by run.mjs. */
export const settings = { spate: null, io: 'auto', wrapper: [], slow: 1, big: false,
    tls: false, h2: false };

export function configure(values) {
    Object.assign(settings, values);
    setSlow(settings.slow);
    if (settings.tls) {
        /* For the clients that take no option: the certificate is made at start. */
        process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
        process.removeAllListeners('warning');
    }
}

/* The environment of a hub: ours, without anything that would configure it. */
export function cleanEnvironment(more = {}) {
    const env = { ...process.env };
    for (const name of Object.keys(env)) {
        if (name === 'AUTH_TOKEN' || name.startsWith('SPATE_') || name.startsWith('LISTEN_')) {
            delete env[name];
        }
    }
    return { ...env, ...more };
}

/* The lines of a log; without the last one as long as its end has not come. */
export function wholeLines(log) {
    return log.slice(0, log.lastIndexOf('\n') + 1).split('\n').filter((line) => line !== '');
}

/* One logfmt line as an object; JSON-ish quotes are undone. */
export function logfmt(line) {
    const fields = {};
    for (const match of line.matchAll(/([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)/g)) {
        const value = match[2];
        fields[match[1]] = value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1')
                                                 : value;
    }
    return fields;
}

export class Hub {
    log = '';
    output = '';
    exit = null; /* {code, signal} once it is gone */
    #clients = [];
    #streams = [];
    #shared = null;
    #sessions = null;

    /*
     * Starts a hub and waits until it listens on every address. options:
     *   args     more arguments           env     more variables
     *   listen   instead of 127.0.0.1:0   wrapper instead of the one of the command line
     *   tls      instead of --tls of the command line
     *   h2       instead of --h2: requests and streams, but not bare connections, speak HTTP/2
     *   stdio    of the descriptors from 3 on
     */
    static async start(options = {}) {
        const hub = new Hub();
        hub.h2 = options.h2 ?? settings.h2;
        hub.tls = options.tls ?? (settings.tls && options.listen === undefined);
        const own = hub.tls ? 'tls:127.0.0.1:0' : '127.0.0.1:0';
        const listen = (options.listen ?? [own]).flatMap((one) => ['--listen', one]);
        const certified = options.args?.some((arg) => arg.startsWith('--tls-'));
        const wrapper = options.wrapper ?? settings.wrapper;
        const [program, ...args] = [...wrapper, settings.spate, ...listen,
            ...(options.args?.includes('--io') ? [] : ['--io', settings.io]),
            ...(hub.h2 && !options.args?.includes('--http2-streams-max')
                ? ['--http2-streams-max', '4000'] : []),
            ...(hub.tls && !certified ? ['--tls-self-signed'] : []),
            ...(options.args?.includes('--drain-seconds') ? [] : ['--drain-seconds', '2']),
            ...(options.args ?? [])];
        hub.process = spawn(program, args, {
            env: cleanEnvironment(options.env),
            stdio: ['ignore', 'pipe', 'pipe', ...(options.stdio ?? [])],
        });
        hub.process.stdout.setEncoding('utf8').on('data', (text) => (hub.output += text));
        hub.process.stderr.setEncoding('utf8').on('data', (text) => (hub.log += text));
        hub.process.once('error', (error) => {
            hub.exit = { code: null, signal: null };
            hub.log += `${error}\n`;
        });
        /* 'close', not 'exit': then the log is complete too. */
        hub.process.once('close', (code, signal) => (hub.exit = { code, signal }));
        try {
            /* "ready" follows the lines of all addresses, which need not arrive together. */
            await until('the hub ready', () => hub.ready() || hub.exit, 15);
            if (hub.exit !== null) {
                throw new Error(`the hub did not start (exit ${JSON.stringify(hub.exit)})`);
            }
        } catch (error) {
            hub.process.kill('SIGKILL');
            error.hubLog = hub.log;
            throw error;
        }
        const tcp = hub.listening().find((address) => !address.startsWith('unix:'));
        hub.port = tcp === undefined ? undefined : Number(tcp.slice(tcp.lastIndexOf(':') + 1));
        hub.#sessions = new Sessions(hub.url);
        return hub;
    }

    get lines() {
        return wholeLines(this.log);
    }

    ready() {
        return this.lines.some((line) => /\bmsg="?ready"?\b/.test(line));
    }

    listening() {
        return this.lines.filter((line) => /\bmsg="?listening"?\b/.test(line))
            .map((line) => logfmt(line).address);
    }

    /* Waits for a line of the log that matches. */
    logged(pattern, seconds) {
        return until(`a log line like ${pattern}`,
            () => this.lines.find((line) => pattern.test(line)), seconds);
    }

    get target() {
        return { port: this.port, tls: this.tls, h2: this.h2 ? this.#sessions : undefined };
    }

    get url() {
        return `${this.tls ? 'https' : 'http'}://127.0.0.1:${this.port}`;
    }

    signal(name) {
        this.process.kill(name);
    }

    /* A connection of its own for each; closed with the hub at the latest. */
    async connect(options) {
        const wire = await Wire.connect(this.target, options);
        this.#streams.push({ close: () => wire.destroy() });
        return wire;
    }

    client(options) {
        const client = new Client(this.target, options);
        this.#clients.push(client);
        return client;
    }

    async subscribe(path, options) {
        const stream = await Stream.open(this.target, path, options);
        this.#streams.push(stream);
        return stream;
    }

    /* Requests that need no connection of their own share one. */
    request(method, path, options) {
        this.#shared ??= this.client();
        return this.#shared.request(method, path, options);
    }

    get(path, headers) {
        return this.request('GET', path, { headers });
    }

    /* Publishes text that must be accepted; returns the answer's JSON. */
    async publish(channel, data, { headers = {}, query = '' } = {}) {
        const path = `/publish/${encodeURIComponent(channel)}${query}`;
        const response = await this.request('POST', path, {
            headers: { 'Content-Type': 'text/plain', ...headers },
            body: data,
        });
        assert.equal(response.status, 200, `POST ${path}: ${response.status} ${response.text}`);
        return response.json;
    }

    async stats() {
        const response = await this.get('/stats');
        assert.equal(response.status, 200);
        return response.json;
    }

    closeConnections() {
        this.#clients.forEach((client) => client.close());
        this.#streams.forEach((stream) => stream.close());
        this.#clients = [];
        this.#streams = [];
        this.#shared = null;
        this.#sessions?.close();
    }

    /* Waits for the end of the process; returns {code, signal}. */
    async ended(seconds = 20) {
        if (this.exit === null) {
            await within('the end of the hub', once(this.process, 'close'), seconds);
        }
        return this.exit;
    }

    /* Ends the hub in order, and insists that it does so. */
    async stop() {
        this.closeConnections();
        if (this.exit === null) {
            this.process.kill('SIGTERM');
        }
        try {
            const exit = await this.ended();
            assert.deepEqual(exit, { code: 0, signal: null }, 'the hub did not end in order');
        } finally {
            if (this.exit === null) {
                this.process.kill('SIGKILL');
            }
        }
    }
}
