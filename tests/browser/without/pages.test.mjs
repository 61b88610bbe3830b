/* A hub that was built without npm: all of it but the pages. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from '../../integration/harness.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../..');

test('the pages say what is missing, and the rest works', async ({ hub }) => {
    for (const url of ['/', '/dashboard', '/demos/stream', '/assets/style.css']) {
        const response = await hub.get(url);
        assert.equal(response.status, 404, url);
        assert.match(response.json.detail, /^This hub was built without its pages: SPATE_PAGES was OFF\.$/);
    }
    assert.equal((await hub.get('/nothing')).json.detail, 'There is nothing at this path.');
    const stream = await hub.subscribe('/sse/news');
    await hub.publish('news', 'all the same');
    assert.equal((await stream.received(1))[0].data, 'all the same');
});

/* web/build with nothing on the PATH but these. */
function buildPages(defer, programs) {
    const folder = mkdtempSync(path.join(tmpdir(), 'spate-web-'));
    defer(() => rmSync(folder, { recursive: true }));
    const bin = path.join(folder, 'bin');
    mkdirSync(bin);
    for (const [name, target] of Object.entries(programs)) {
        symlinkSync(target, path.join(bin, name));
    }
    const out = path.join(folder, 'out');
    const { status, stderr } = spawnSync('/bin/sh', [path.join(root, 'web/build'), out], {
        env: { PATH: bin },
        encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    return { source: readFileSync(path.join(out, 'pages.c'), 'utf8'), stderr };
}

const find = (name) => spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
const TOOLS = Object.fromEntries(['dirname', 'mkdir', 'cat', 'cp', 'timeout'].map((name) =>
    [name, find(name)]));

test('without npm there is a reason instead of pages', async ({ defer }) => {
    const { source, stderr } = buildPages(defer, TOOLS);
    assert.match(source, /pages_missing = "Node\.js or npm was missing\. Install both,/);
    assert.match(stderr, /no pages: Node\.js or npm was missing/);
});

test('without the registry there is a reason instead of pages', async ({ defer }) => {
    const { source } = buildPages(defer, { ...TOOLS, node: process.execPath, npm: '/bin/false' });
    assert.match(source, /pages_missing = "npm ci failed/);
});
