/* Chromium, and a page for it. */
import { once } from 'node:events';
import http from 'node:http';
import { chromium } from 'playwright-core';

/* A page of another origin: the same machine, another port. */
export async function foreignPage(defer) {
    const server = http.createServer((request, response) => {
        response.setHeader('Content-Type', 'text/html; charset=utf-8');
        response.end('<!doctype html><title>a page of another origin</title>');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => new Promise((resolve) => {
        server.closeAllConnections();
        server.close(resolve);
    }));
    return `http://127.0.0.1:${server.address().port}/`;
}

/* A page of a browser that is closed with the test. */
export async function openBrowser(defer, url) {
    const browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run',
            '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    });
    defer(() => browser.close());
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    await page.goto(url);
    return page;
}
