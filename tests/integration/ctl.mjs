/* spatectl, the program beside the hub's, and a server whose answers a test writes itself. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { cleanEnvironment, settings } from './hub.mjs';
import { until, within } from './until.mjs';

export const spatectl = () => path.join(path.dirname(settings.spate), 'spatectl');

export class Ctl {
    out = '';
    error = '';

    /* `target` is a hub, an address, or null: then --url is left out. */
    constructor(target, args, { input = '', env = {}, keepsInput = false } = {}) {
        /* The certificate is made at start. */
        const trust = target?.tls ? ['--insecure'] : [];
        const url = target === null ? [] : ['--url', target.url ?? target, ...trust];
        this.name = `spatectl ${args.join(' ')}`;
        this.process = spawn(spatectl(), [...args, ...url], { env: cleanEnvironment(env) });
        this.process.stdout.setEncoding('utf8').on('data', (text) => (this.out += text));
        this.process.stderr.setEncoding('utf8').on('data', (text) => (this.error += text));
        this.process.stdin.on('error', () => {});
        this.process.stdin.write(input);
        if (!keepsInput) {
            this.process.stdin.end();
        }
        this.closed = once(this.process, 'close').then(([code, signal]) => ({ code, signal }));
    }

    /* Waits until what it printed, or told, matches. */
    printed(pattern) {
        return until(`${this.name} printing ${pattern}`, () => pattern.test(this.out));
    }

    told(pattern) {
        return until(`${this.name} telling ${pattern}, not ${this.error}`,
            () => pattern.test(this.error));
    }

    async ended(seconds) {
        try {
            const { code } = await within(`the end of ${this.name}`, this.closed, seconds);
            return { code, out: this.out, error: this.error };
        } finally {
            this.process.kill('SIGKILL');
        }
    }

    kill() {
        this.process.kill('SIGKILL');
        return this.closed;
    }
}

/* Runs it to its end: {code, out, error}. */
export function ctl(target, args, options) {
    return new Ctl(target, args, options).ended();
}

export const eventStream =
    'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n';

/*
 * Answers each request, the head of which it keeps, with what `answers` says in order; the last goes
 * on. An answer is text to send and then close, or a function of the socket.
 */
export async function scripted(answers, defer) {
    const requests = [];
    const sockets = new Set();
    const server = net.createServer((socket) => {
        let pending = '';
        sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => sockets.delete(socket));
        socket.setEncoding('latin1').on('data', (text) => {
            pending += text;
            const end = pending.indexOf('\r\n\r\n');
            const length = Number(/content-length: (\d+)/i.exec(pending)?.[1] ?? 0);
            if (end < 0 || pending.length < end + 4 + length) {
                return;
            }
            requests.push(pending);
            pending = '';
            const answer = answers[Math.min(requests.length, answers.length) - 1];
            if (typeof answer === 'function') {
                answer(socket);
            } else {
                /* Said, or the next request might still be sent on this connection. */
                socket.end(answer.replace('\r\n', '\r\nConnection: close\r\n'));
            }
        });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => {
        sockets.forEach((socket) => socket.destroy());
        server.close();
    });
    return { url: `http://127.0.0.1:${server.address().port}`, requests };
}
