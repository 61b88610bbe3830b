/* The guides and their example: the code that people copy is the code that runs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Skip, test } from '../integration/harness.mjs';
import { until } from '../integration/until.mjs';
import { newPage } from './browser.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..');
const example = path.join(root, 'examples/react');
const read = (name) => readFileSync(path.join(root, name), 'utf8');
const blocks = (guide) => [...read(guide).matchAll(/^```(\w+)\n([^]*?)^```$/gm)]
    .map(([, language, code]) => ({ language, code }));

test('the React guide shows the files of the example', () => {
    const shown = blocks('docs/guides/react.md').map(({ code }) => code);
    for (const file of ['src/useEvents.js', 'src/Channel.jsx', 'vite.config.js']) {
        assert.ok(shown.includes(read(`examples/react/${file}`)), file);
    }
});

test('the Next.js guide shows the files of its example', () => {
    const shown = blocks('docs/guides/nextjs.md').map(({ code }) => code);
    for (const file of ['News.jsx', 'api/events/route.js', 'api/publish/route.js']) {
        assert.ok(shown.includes(read(`examples/next/app/${file}`)), file);
    }
    assert.equal(read('examples/next/app/useEvents.js'), read('examples/react/src/useEvents.js'));
});

/* Starts a program of the example; gives what it has printed. */
function run(args, env, defer) {
    const vite = path.join(example, 'node_modules/vite/bin/vite.js');
    const child = spawn(process.execPath, [vite, ...args], {
        cwd: example,
        env: { ...process.env, NO_COLOR: '1', ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
    });
    const program = { output: '', code: null };
    const take = (text) => (program.output += text);
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.once('close', (code) => (program.code = code));
    defer(async () => {
        child.kill();
        await until('the end of vite', () => program.code !== null || child.signalCode !== null);
    });
    return program;
}

test('the React example, built by Vite, through a restart of the hub', { hub: null, seconds: 120 },
    async ({ start, defer }) => {
        if (!existsSync(path.join(example, 'node_modules'))) {
            throw new Skip('npm ci has not been run in examples/react');
        }
        const folder = mkdtempSync(path.join(tmpdir(), 'spate-example-'));
        defer(() => rmSync(folder, { recursive: true }));
        const build = run(['build', '--outDir', folder], {}, defer);
        await until('the build', () => build.code !== null, 60);
        assert.equal(build.code, 0, build.output);

        const args = ['--retry-ms', '100'];
        const first = await start({ args });
        await first.publish('news', 'before the page');
        const preview = run(['preview', '--outDir', folder, '--host', '127.0.0.1', '--port', '0'],
            { SPATE_URL: first.url }, defer);
        const url = await until('the address', () => /http:\/\/127\.0\.0\.1:\d+/.exec(preview.output)?.[0], 30);
        const page = await newPage(defer);
        await page.goto(url);
        const states = () => page.locator('[data-state]').allInnerTexts();
        const both = (state) => until(`both ${state}`, async () =>
            (await states()).join() === `${state},${state}`, 30);
        const items = () => page.locator('li').allInnerTexts();
        await both('open');
        await until('the event of before', async () => (await items()).length === 1);
        await first.publish('weather', 'sunny <b>spells</b>');
        await until('the second event', async () => (await items()).length === 2);

        first.signal('SIGKILL');
        await first.ended();
        first.stop = async () => {};
        await until('no longer open', async () => !(await states()).includes('open'));
        const second = await start({ args, listen: [`127.0.0.1:${first.port}`] });
        await both('open');
        await second.publish('news', 'after');
        await until('all three', async () => (await items()).length === 3);
        assert.deepEqual(await items(), ['before the page', 'after', 'sunny <b>spells</b>']);
    });

/* Route handlers are functions from Request to Response, for which Node.js is enough. */
async function handlers(hub, defer) {
    const folder = mkdtempSync(path.join(tmpdir(), 'spate-guide-'));
    const before = { SPATE_URL: process.env.SPATE_URL, AUTH_TOKEN: process.env.AUTH_TOKEN };
    defer(() => {
        rmSync(folder, { recursive: true });
        for (const [name, value] of Object.entries(before)) {
            value === undefined ? delete process.env[name] : (process.env[name] = value);
        }
    });
    Object.assign(process.env, { SPATE_URL: hub.url, AUTH_TOKEN: 'of-the-guide' });
    const found = {};
    for (const [i, { code }] of blocks('docs/guides/nextjs.md').entries()) {
        if (/^export async function (GET|POST)/m.test(code)) {
            const file = path.join(folder, `${i}.mjs`);
            writeFileSync(file, code);
            Object.assign(found, await import(pathToFileURL(file)));
        }
    }
    return found;
}

test('the routes of the Next.js guide', { hub: { env: { AUTH_TOKEN: 'of-the-guide' } } },
    async ({ hub, defer }) => {
        const { GET, POST } = await handlers(hub, defer);
        const post = (body) => POST(new Request('http://app.example/api/publish', {
            method: 'POST',
            body: JSON.stringify(body),
        }));
        assert.equal((await post({})).status, 400);
        const first = await post({ text: 'first' });
        assert.equal(first.status, 200);
        const { id } = await first.json();
        await post({ text: 'second' });

        const abort = new AbortController();
        const open = (headers) => GET(new Request('http://app.example/api/events?history=5', {
            headers,
            signal: abort.signal,
        }));
        for (const [headers, expected] of [[{}, ['first', 'second']], [{ 'Last-Event-ID': id }, ['second']]]) {
            const response = await open(headers);
            assert.equal(response.headers.get('Content-Type'), 'text/event-stream');
            let text = '';
            for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
                text += piece;
                if (text.includes('"second"')) {
                    break;
                }
            }
            const texts = [...text.matchAll(/^data: (.*)$/gm)].map((match) => JSON.parse(match[1]).text);
            assert.deepEqual(texts, expected);
        }
        abort.abort();
    });
