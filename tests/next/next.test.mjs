/* The Next.js example in a real Next.js, built and started as its README says, and read in Chromium. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { newPage } from '../browser/browser.mjs';
import { Skip, test } from '../integration/harness.mjs';
import { until } from '../integration/until.mjs';

const TOKEN = 'of-the-example';
const example = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../examples/next');
const next = path.join(example, 'node_modules/next/dist/bin/next');

/* Starts a program of Next.js; gives what it has printed. */
function run(args, env, defer) {
    const child = spawn(process.execPath, [next, ...args], {
        cwd: example,
        env: { ...process.env, NO_COLOR: '1', NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production', ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
    });
    const program = { output: '', code: null };
    const take = (text) => (program.output += text);
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.once('close', (code) => (program.code = code));
    defer(async () => {
        child.kill();
        await until('the end of next', () => program.code !== null || child.signalCode !== null);
    });
    return program;
}

test('built, started, and through a restart of the hub', { hub: null, seconds: 300 }, async ({ start, defer }) => {
    if (!existsSync(next)) {
        throw new Skip('npm ci has not been run in examples/next');
    }
    const build = run(['build'], {}, defer);
    await until('the build', () => build.code !== null, 200);
    assert.equal(build.code, 0, build.output);

    const options = { args: ['--retry-ms', '100'], env: { AUTH_TOKEN: TOKEN } };
    const first = await start(options);
    const server = run(['start', '--hostname', '127.0.0.1', '--port', '0'],
        { SPATE_URL: first.url, AUTH_TOKEN: TOKEN }, defer);
    const url = await until('the address', () => /http:\/\/127\.0\.0\.1:\d+/.exec(server.output)?.[0], 30);
    const publish = (text, at = url) => fetch(`${at}/api/publish`, {
        method: 'POST',
        body: JSON.stringify({ text }),
    });

    /* The routes, without a browser. */
    assert.equal((await publish('')).status, 400);
    const answer = await publish('before the page');
    assert.equal(answer.status, 200);
    const { id } = await answer.json();
    const abort = new AbortController();
    defer(() => abort.abort());
    const stream = await fetch(`${url}/api/events`, {
        headers: { 'Last-Event-ID': id, 'Accept-Encoding': 'gzip' },
        signal: abort.signal,
    });
    assert.equal(stream.headers.get('Content-Type'), 'text/event-stream');
    assert.equal(stream.headers.get('Content-Encoding'), null, 'compressed, events would be held back');
    assert.match(stream.headers.get('Cache-Control'), /no-transform/);
    let text = '';
    (async () => {
        for await (const piece of stream.body.pipeThrough(new TextDecoderStream())) {
            text += piece;
        }
    })().catch(() => {});
    await until('the stream', async () => (await first.stats()).clients === 1);
    await publish('second');
    await until('the event, at once', () => /^data: .*"second"/m.test(text));
    assert.doesNotMatch(text, /before the page/);
    abort.abort();
    await until('the reader being gone from the hub', async () => (await first.stats()).clients === 0);

    /* The page. */
    const page = await newPage(defer);
    await page.goto(url);
    const items = () => page.locator('li').allInnerTexts();
    const state = (wanted) => until(`the state ${wanted}`, async () =>
        await page.locator('[data-state]').innerText() === wanted, 30);
    await state('open');
    await until('both events', async () => (await items()).length === 2);
    await page.fill('input', 'from <b>the page</b>');
    await page.click('text="Publish"');
    await until('the third', async () => (await items()).length === 3);
    await page.click('text="Publish"');
    await until('the refusal', async () => /text is needed/.test(await page.locator('[role=alert]').first().innerText()));

    first.signal('SIGKILL');
    await first.ended();
    first.stop = async () => {};
    await until('no longer open', async () => await page.locator('[data-state]').innerText() !== 'open', 30);
    await start({ ...options, listen: [`127.0.0.1:${first.port}`] });
    await state('open');
    assert.equal((await publish('after')).status, 200);
    await until('the fourth', async () => (await items()).length === 4);
    assert.deepEqual(await items(), ['before the page', 'second', 'from <b>the page</b>', 'after']);
});
