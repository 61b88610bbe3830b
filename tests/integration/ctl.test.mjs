/* spatectl, the program beside the hub's, against a hub. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test } from './harness.mjs';
import { cleanEnvironment, settings } from './hub.mjs';
import { within } from './until.mjs';

/* The program speaks clear text. */
export const hubOptions = { tls: false };

/* Starts spatectl; `ended` gives its exit code and what it printed. */
function ctl(hub, args, { input = '', env = {} } = {}) {
    const program = path.join(path.dirname(settings.spate), 'spatectl');
    const url = hub === null ? 'http://127.0.0.1:1' : hub.url;
    const child = spawn(program, ['--url', url, ...args], { env: cleanEnvironment(env) });
    let out = '';
    let error = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (error += text));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    const ended = within(`the end of spatectl ${args[0]}`, once(child, 'close'))
        .then(([code]) => ({ code, out, error }))
        .finally(() => child.kill('SIGKILL'));
    return ended;
}

test('pub sends an argument, lines and batches, and sub shows them', async ({ hub }) => {
    const name = 'a/b ü';
    assert.equal((await ctl(hub, ['pub', name, 'one', '--event', 'x&y'])).code, 0);
    assert.equal((await ctl(hub, ['pub', name], { input: 'two\n\nthree' })).code, 0);
    const batch = await ctl(hub, ['pub', name, '--ndjson'], { input: '{"data":"a\\nb"}\n' });
    assert.equal(batch.code, 0, batch.error);
    const { code, out } = await ctl(hub, ['sub', name, '--history', '9', '--count', '5']);
    assert.equal(code, 0);
    assert.deepEqual(out.replace(/^\S+-\S{12} /gm, '').split('\n'),
        ['x&y one', 'message two', 'message ', 'message three', 'message a', 'b', '']);
});

test('sub resumes after an id and tells a gap', async ({ hub }) => {
    const first = await hub.publish('resumed', '1');
    await hub.publish('resumed', '2');
    const next = await ctl(hub, ['sub', 'resumed', '--last-event-id', first.id, '--count', '1']);
    assert.match(next.out, /^\S+ message 2\n$/);
    assert.equal(next.error, '');
    const gap = await ctl(hub, ['sub', 'resumed', '--last-event-id', 'bogus', '--count', '1']);
    assert.match(gap.error, /"reason":"malformed"/);
});

test('stats, channels, top and feed', async ({ hub }) => {
    assert.equal((await ctl(hub, ['feed', 'sensor', '--count', '1'])).code, 0);
    assert.match((await ctl(hub, ['channels'])).out, /^sensor-data$/m);
    assert.equal(typeof JSON.parse((await ctl(hub, ['stats', '--json'])).out).published, 'number');
    assert.match((await ctl(hub, ['stats'])).out, /^published +\d+$/m);
    assert.match((await ctl(hub, ['top', '--count', '1'])).out, /^streams 0 /);
});

test('kick ends a client', async ({ hub }) => {
    await hub.subscribe('/stream/ada');
    assert.match((await ctl(hub, ['clients'])).out, /^ada$/m);
    assert.equal((await ctl(hub, ['kick', 'ada'])).out, '{"disconnected":1}\n');
});

test('exit codes', { hub: { tls: false, env: { AUTH_TOKEN: 'secret' } } }, async ({ hub }) => {
    const refused = await ctl(hub, ['pub', 'a', 'b']);
    assert.equal(refused.code, 1);
    assert.match(refused.error, /^spatectl: 401: ./);
    assert.equal((await ctl(hub, ['pub', 'a', 'b'], { env: { SPATE_TOKEN: 'secret' } })).code, 0);
    assert.equal((await ctl(hub, ['pub', 'a', 'b', '--token', 'secret'])).code, 0);
    assert.match((await ctl(hub, ['completion', 'bash'])).out, /^complete .* spatectl$/m);
    assert.equal((await ctl(hub, ['completion', 'csh'])).code, 2);
    assert.equal((await ctl(hub, ['bogus'])).code, 2);
    assert.equal((await ctl(null, ['stats'])).code, 3);
});
