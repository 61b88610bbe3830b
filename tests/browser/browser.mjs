/* One Chromium for all tests, with fresh pages, and small servers beside the hub. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { chromium } from 'playwright-core';

let launched = null;

/* options of a browser context: viewport, colorScheme, ... */
export async function newPage(defer, options = {}) {
    launched ??= chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run',
            '--disable-background-networking', '--disable-component-update', '--disable-sync',
            '--host-resolver-rules=MAP spate.test 127.0.0.1'],
    });
    const context = await (await launched).newContext(options);
    defer(() => context.close());
    return context.newPage();
}

/*
 * Opens a page of the hub, and keeps an account of what it should not do: errors, violations of its
 * policy, and requests to anybody else. `complaints()` gives what is there, but for messages that match.
 */
export async function openPage(hub, path, defer, options = {}) {
    const page = await newPage(defer, options);
    const found = [];
    const origin = options.origin ?? hub.url;
    page.on('pageerror', (error) => found.push(String(error.stack ?? error)));
    page.on('console', (message) =>
        ['error', 'warning'].includes(message.type()) && found.push(message.text()));
    page.on('request', (request) =>
        new URL(request.url()).origin === origin || found.push(`a request to ${request.url()}`));
    page.complaints = (expected = /^$/) => found.filter((text) => !expected.test(text));
    const response = await page.goto(`${origin}${path}`);
    assert.equal(response.status(), 200);
    return page;
}

/* A server of pages on another port of this machine, hence of another origin. handle(url): HTML or file. */
export async function serve(defer, handle = () => '<!doctype html><title>another origin</title>') {
    const server = http.createServer((request, response) => {
        const answer = handle(new URL(request.url, 'http://localhost').pathname);
        const { status = 200, type = 'text/html; charset=utf-8', body = answer } = answer;
        response.writeHead(status, { 'Content-Type': type });
        response.end(body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => new Promise((resolve) => {
        server.closeAllConnections();
        server.close(resolve);
    }));
    return `http://127.0.0.1:${server.address().port}`;
}

/*
 * A wire to the hub that can be cut: a proxy that passes bytes on. `cut()` ends all connections at once,
 * `cutAfter(n)` each one after n more bytes of the hub.
 */
export class Wirecutter {
    sockets = new Set();
    accepted = 0;
    limit = Infinity;

    static async to(target, defer) {
        const cutter = new Wirecutter();
        const server = net.createServer((client) => cutter.#join(client, net.connect(target())));
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        cutter.url = `http://127.0.0.1:${server.address().port}`;
        defer(() => {
            cutter.cut();
            server.close();
        });
        return cutter;
    }

    #join(client, hub) {
        let left = this.limit;
        this.accepted++;
        for (const [from, to] of [[client, hub], [hub, client]]) {
            this.sockets.add(from);
            from.on('error', () => to.destroy());
            from.on('close', () => {
                this.sockets.delete(from);
                to.destroy();
            });
        }
        client.pipe(hub);
        hub.on('data', (bytes) => {
            client.write(bytes.subarray(0, Math.max(0, left)));
            left -= bytes.length;
            if (left <= 0) {
                client.end();
                hub.destroy();
            }
        });
    }

    cut() {
        this.sockets.forEach((socket) => socket.destroy());
    }
}

/* Runs in a page: an EventSource under window[name] that writes everything down. */
export function listen({ url, name = 'one', types = [], init = {} }) {
    const source = new EventSource(url, init);
    const record = { source, events: [], opened: 0, errors: 0 };
    window[name] = record;
    source.addEventListener('open', (event) => event instanceof MessageEvent || record.opened++);
    source.addEventListener('error', (event) => event instanceof MessageEvent || record.errors++);
    for (const type of ['message', 'spate.gap', ...types]) {
        source.addEventListener(type, (event) => event instanceof MessageEvent
            && record.events.push([event.type, event.data, event.lastEventId, event.origin]));
    }
}
