/* What the documents say is what the program does. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from './harness.mjs';
import { settings } from './hub.mjs';
import { until } from './until.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..');
const read = (name) => readFileSync(path.join(root, name), 'utf8');

test('docs/configuration.md is made from the option table', { hub: null }, () => {
    const program = path.join(path.dirname(settings.spate), 'config_reference');
    const made = execFileSync(program, { encoding: 'utf8' });
    assert.equal(read('docs/configuration.md'), made,
        'make it anew: build/release/bin/config_reference > docs/configuration.md');
});

/* ---- The tutorial ---- */

/* The fenced blocks whose first word is `console`: {isStream, commands: [{command, output}]}. */
function consoleBlocks(text) {
    return [...text.matchAll(/^```console( stream)?\n(.*?)^```$/gms)].map(([, stream, body]) => ({
        isStream: stream !== undefined,
        commands: body.split(/^\$ /m).slice(1).map((part) => {
            const end = part.indexOf('\n');
            return { command: part.slice(0, end), output: part.slice(end + 1) };
        }),
    }));
}

/* What is another each time: the run and place of an event, and what is drawn or measured. */
function steady(text) {
    return text.replace(/\b[0-9a-v]{7}-([0-9a-v]{12})\b/g, (id, sequence) =>
        id.startsWith('0000000-') ? id : `EPOCH-${sequence}`)
        .replace(/^retry: \d+$/gm, 'retry: N').replace(/"uptime_seconds":\d+/, '"uptime_seconds":N');
}

/* One shell for all commands, so that variables last. */
class Shell {
    output = '';

    constructor(directory) {
        this.process = spawn('bash', ['--norc'], { cwd: directory, stdio: ['pipe', 'pipe', 'inherit'] });
        this.process.stdout.setEncoding('utf8').on('data', (text) => (this.output += text));
    }

    async run(command) {
        this.output = '';
        this.process.stdin.write(`${command}\nprintf '\\1'\n`);
        await until(`the end of ${command}`, () => this.output.endsWith('\u0001'));
        return this.output.slice(0, -1);
    }

    /* In the background; its output goes to a file. */
    async begin(command, file) {
        return (await this.run(`: > ${file}; ${command} > ${file} & echo $!`)).trim();
    }

    end() {
        this.process.kill();
    }
}

/* Looks of the streams and the commands between them are as the tutorial shows them. */
test('docs/tutorial.md is what happens', { hub: { tls: false } }, async ({ hub, defer }) => {
    const blocks = consoleBlocks(read('docs/tutorial.md').replaceAll('127.0.0.1:8080', `127.0.0.1:${hub.port}`));
    assert.ok(blocks.length > 10);
    const directory = mkdtempSync(path.join(tmpdir(), 'spate-tutorial-'));
    const shell = new Shell(directory);
    defer(() => rmSync(directory, { recursive: true }));
    defer(() => shell.end());
    const seen = (file) => steady(readFileSync(path.join(directory, file), 'utf8'));
    for (let i = 0; i < blocks.length; i++) {
        const [{ command, output }] = blocks[i].commands;
        let stream = null;
        if (blocks[i].isStream) {
            stream = { file: `stream-${i}`, expected: steady(output) };
            stream.pid = await shell.begin(command, stream.file);
            await until('the stream', () => seen(stream.file).includes('retry: N\n\n'));
            /* What the stream still waits for is published by the block behind it. */
            i += seen(stream.file).startsWith(stream.expected) || blocks[i + 1]?.isStream !== false
                ? 0 : 1;
        }
        for (const step of blocks[i].isStream ? [] : blocks[i].commands) {
            const got = steady(await shell.run(step.command));
            assert.equal(got.trimEnd(), steady(step.output).trimEnd(), step.command);
        }
        if (stream !== null) {
            await until(`${command}: ${stream.expected}\nbut it is ${seen(stream.file)}`,
                () => seen(stream.file).startsWith(stream.expected));
            await shell.run(`kill ${stream.pid}; wait ${stream.pid} 2>/dev/null`);
            await until('the end of the stream', async () => (await hub.stats()).streams === 0);
        }
    }
});

test('documents and the options that they name exist', { hub: null }, () => {
    const options = new Set(read('docs/configuration.md').match(/^### `--[a-z-]+/gm)
        .map((line) => line.slice(5)));
    /* Of other programs. */
    const others = new Set(['--preset', '--version', '--help', '--check-config', '--max-time',
        '--ignore-certificate-errors-spki-list']);
    for (const name of ['docs/tutorial.md', 'docs/security.md', 'docs/http.md', 'docs/operations.md']) {
        const text = read(name);
        for (const [, option] of text.matchAll(/`(--[a-z][a-z-]*)/g)) {
            const isKnown = options.has(option) || others.has(option)
                || (option.endsWith('-') && [...options].some((one) => one.startsWith(option)));
            assert.ok(isKnown, `${name}: ${option}`);
        }
        for (const [, file] of text.matchAll(/\]\(([\w./-]+\.md)(?:#[\w-]+)?\)/g)) {
            assert.ok(existsSync(path.join(root, 'docs', file)), `${name}: ${file}`);
        }
    }
});
