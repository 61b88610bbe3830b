/* The commands of spatectl against a hub. ctl_follow.test.mjs has what becomes of broken streams. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Ctl, ctl, scripted, spatectl } from './ctl.mjs';
import { Skip, test } from './harness.mjs';
import { until } from './until.mjs';

/* The hub that they share speaks clear text. */
export const hubOptions = { tls: false };

function temporary(defer) {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'spatectl-'));
    defer(() => rmSync(folder, { recursive: true }));
    return folder;
}

/* The data of what a channel retains. */
async function retained(hub, channel, count) {
    const { code, out, error } = await ctl(hub,
        ['sub', channel, '--json', '--history', `${count}`, '--count', `${count}`]);
    assert.equal(code, 0, error);
    return out.trim().split('\n').map((line) => JSON.parse(line));
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

test('pub does not hold a line back to fill a batch', async ({ hub, defer }) => {
    const stream = await hub.subscribe('/sse/held');
    const pub = new Ctl(hub, ['pub', 'held', '--ndjson'], { input: '{"data":"1"}\n', keepsInput: true });
    defer(() => pub.kill());
    await stream.when('the first line', () => stream.events.length === 1);
    pub.process.stdin.end('{"data":"2"}');
    assert.equal((await pub.ended()).code, 0);
    await stream.when('the second line', () => stream.events.length === 2);
});

test('pub sends a file, a content type and a reconnection time', async ({ hub, defer }) => {
    const file = path.join(temporary(defer), 'body.json');
    writeFileSync(file, '{"a":\n1}');
    const stream = await hub.subscribe('/sse/files');
    const options = ['--content-type', 'application/json', '--retry', '4321'];
    assert.equal((await ctl(hub, ['pub', 'files', '--file', file, ...options])).code, 0);
    assert.equal((await ctl(hub, ['pub', 'files', '--file', '-', '--quiet'], { input: 'x\ny\n' })).out, '');
    await stream.when('both', () => stream.events.length === 2);
    assert.equal(stream.events[0].data, '{"a":\n1}');
    assert.equal(stream.events[1].data, 'x\ny\n');
    assert.ok(stream.retries.some(({ retry }) => retry === 4321));
    const missing = await ctl(hub, ['pub', 'files', '--file', `${file}.not`]);
    assert.equal(missing.code, 1);
    assert.match(missing.error, /No such file/);
});

for (const kind of ['lines', 'batches']) {
    test(`--rate holds for each event, in ${kind}`, async ({ hub }) => {
        const line = kind === 'lines' ? 'x\n' : '{"data":"x"}\n';
        const begin = performance.now();
        const { code, error } = await ctl(hub,
            ['pub', `rate-${kind}`, '--quiet', '--rate', '2000', ...(kind === 'lines' ? [] : ['--ndjson'])],
            { input: line.repeat(801) });
        assert.equal(code, 0, error);
        /* A pause may be caught up with a tenth of a second's worth, and that once only if late. */
        assert.ok(performance.now() - begin >= 400, 'it was faster than 2,000 events a second');
    });
}

test('sub resumes after an id and tells a gap', async ({ hub }) => {
    const first = await hub.publish('resumed', '1');
    await hub.publish('resumed', '2');
    const next = await ctl(hub, ['sub', 'resumed', '--last-event-id', first.id, '--count', '1']);
    assert.match(next.out, /^\S+ message 2\n$/);
    assert.equal(next.error, '');
    const args = ['sub', 'resumed', '--last-event-id', 'bogus', '--count', '1'];
    const gap = await ctl(hub, args);
    assert.equal(gap.code, 0);
    assert.match(gap.error, /^spatectl: GAP: events after bogus are missing \(malformed\); it goes on with \S+\n$/);
    assert.equal((await ctl(hub, [...args, '--gap-fails'])).code, 4);
    const json = await ctl(hub, [...args, '--json']);
    assert.equal(JSON.parse(json.out.split('\n')[0]).event, 'spate.gap');
});

test('sub --raw prints the lines, --json objects', async ({ hub }) => {
    const { id } = await hub.publish('shapes', 'a\nb', { query: '?event=two' });
    const args = ['sub', 'shapes', '--history', '1', '--count', '1'];
    assert.match((await ctl(hub, [...args, '--raw'])).out,
        new RegExp(`^: spate\nid: \\S+\nretry: \\d+\n\nevent: two\nid: ${id}\ndata: a\ndata: b\n\n$`));
    assert.deepEqual(JSON.parse((await ctl(hub, [...args, '--json'])).out),
        { id, event: 'two', data: 'a\nb' });
    assert.deepEqual(JSON.parse((await ctl(null, ['sub', `${hub.url}/sse/shapes?history=1`, '--count', '1',
        '--json'])).out).data, 'a\nb');
});

test('sub ends when nobody reads what it prints', async ({ hub, defer }) => {
    const sub = new Ctl(hub, ['sub', 'unread']);
    defer(() => sub.kill());
    sub.process.stdout.destroy();
    await hub.logged(/msg=connect .*channel=unread/);
    await hub.publish('unread', 'x');
    assert.equal((await sub.ended()).code, 1);
});

test('stats, channels and clients', async ({ hub }) => {
    await hub.publish('listed', 'x');
    await hub.subscribe('/stream/bob');
    assert.match((await ctl(hub, ['channels'])).out, /^listed$/m);
    assert.ok(JSON.parse((await ctl(hub, ['channels', '--json'])).out).some((one) => one.channel === 'listed'));
    assert.match((await ctl(hub, ['clients'])).out, /^bob$/m);
    assert.equal(typeof JSON.parse((await ctl(hub, ['stats', '--json'])).out).published, 'number');
    assert.match((await ctl(hub, ['stats'])).out, /^published +\d+$/m);
});

test('top shows the hub and each shard, as rates of the time that passed', async ({ hub, defer }) => {
    const { shards } = await hub.stats();
    const feed = new Ctl(hub, ['feed', 'clock', '--interval-ms', '10', '--quiet']);
    defer(() => feed.kill());
    await hub.subscribe('/stream');
    /* 100 a second, whatever the interval; were it taken for a second, it would be 30 at most. On a busy
     * machine a feed may fall behind for a while. */
    await until('more than 40 events a second', async () => {
        const { code, out, error } = await ctl(hub, ['top', '--count', '2', '--interval-ms', '300']);
        assert.equal(code, 0, error);
        assert.equal(out.match(/^spate \S+ .* up \d+ s /gm).length, 2);
        assert.equal(out.match(/^shard /gm).length, 2 * shards.length);
        const row = /^hub +1 +(\d+) +(\d+) /m.exec(out);
        assert.ok(row, out);
        return Number(row[1]) > 40;
    }, 20);
});

test('feed clock', async ({ hub }) => {
    assert.equal((await ctl(hub, ['feed', 'clock', '--count', '2', '--interval-ms', '10'])).code, 0);
    const events = await retained(hub, 'stream', 1);
    assert.equal(events[0].event, 'message');
    assert.match(events[0].data, /^\d\d:\d\d:\d\d$/);
});

test('feed sensor makes up the same from the same seed', async ({ hub }) => {
    const feed = async (channel, seed) => {
        const args = ['feed', 'sensor', '--channel', channel, '--count', '5', '--interval-ms', '10'];
        assert.equal((await ctl(hub, [...args, ...seed])).code, 0);
        const events = await retained(hub, channel, 5);
        for (const { event, data } of events) {
            assert.equal(event, 'sensor-data');
            const { temperature, humidity } = JSON.parse(data);
            assert.ok(temperature >= 15 && temperature <= 35 && humidity >= 30 && humidity <= 80);
        }
        return events.map(({ data }) => data).join();
    };
    const first = await feed('s1', ['--seed', '7']);
    assert.equal(await feed('s2', ['--seed', '7']), first);
    assert.notEqual(await feed('s3', ['--seed', '8']), first);
    assert.notEqual(await feed('s4', []), await feed('s5', []));
});

test('feed feedbacks publishes CloudEvents', async ({ hub, defer }) => {
    const args = ['feed', 'feedbacks', '--count', '2', '--interval-ms', '10', '--seed', '1'];
    const { url, requests } = await scripted(['HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n'], defer);
    assert.equal((await ctl(url, args)).out, '{}\n{}\n');
    const [head, body] = requests[1].split('\r\n\r\n');
    assert.match(head, /^POST \/publish\/feedbacks HTTP/);
    assert.match(head, /^content-type: application\/cloudevents\+json$/im);
    const event = JSON.parse(body);
    assert.equal(event.specversion, '1.0');
    assert.equal(event.subject, '2');
    assert.match(event.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.ok(Math.abs(Date.now() - Date.parse(event.time)) < 3600e3);
    assert.match(event.data.FeedbackId, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(event.data.Content, 'Feedback message 2');

    const { code, error } = await ctl(hub, args);
    if (/^spatectl: 415/.test(error)) {
        throw new Skip('this hub takes no CloudEvents');
    }
    assert.equal(code, 0, error);
    const events = await retained(hub, 'feedbacks', 1);
    assert.equal(events[0].event, 'cloud.native.araraquara.feedbacks.v1');
    assert.equal(JSON.parse(events[0].data).data.Content, 'Feedback message 2');
});

test('a feed that has begun outlives the hub', { hub: null }, async ({ start, defer }) => {
    const first = await start({});
    const feed = new Ctl(first, ['feed', 'clock', '--interval-ms', '10']);
    defer(() => feed.kill());
    await feed.printed(/"id"/);
    await first.stop();
    await feed.told(/cannot connect.*\n.*trying again in/);
    const second = await start({ listen: [`127.0.0.1:${first.port}`] });
    await second.logged(/msg=publish channel=stream/);
});

test('bench runs the spate-load beside it', { hub: null }, async ({ defer }) => {
    const folder = temporary(defer);
    const copy = path.join(folder, 'spatectl');
    copyFileSync(spatectl(), copy);
    const run = (...args) => spawnSync(copy, ['bench', ...args], { encoding: 'utf8', env: { AUTH_TOKEN: 't' } });
    const missing = run('hot');
    assert.equal(missing.status, 127);
    assert.equal(missing.stderr, `spatectl: cannot run ${folder}/spate-load: No such file or directory\n`);
    assert.equal(run('bogus').status, 2);
    assert.equal(run('hot', '--url', 'unix:/tmp/x').status, 2);
    writeFileSync(path.join(folder, 'spate-load'), '#!/bin/sh\necho $SPATE_TOKEN "$@"; exit 9', { mode: 0o755 });
    for (const preset of ['hot', 'channels', 'storm', 'idle']) {
        const { status, stdout } = run('--url', 'http://127.0.0.1:1/', preset, '--', '--subscribers', '7');
        assert.equal(status, 9);
        assert.match(stdout, /^t http:\/\/127\.0\.0\.1:1 .* --subscribers 7\n$/);
        assert.match(stdout, new RegExp(`--scenario ${preset} `));
    }
});

test('health is that of the hub', { hub: {} }, async ({ hub }) => {
    assert.match((await ctl(hub, ['health'])).out, /"status":"ok"/);
    await hub.stop();
    assert.equal((await ctl(hub, ['health'])).code, 3);
});

test('kick ends a client', async ({ hub }) => {
    await hub.subscribe('/stream/ada');
    assert.match((await ctl(hub, ['clients'])).out, /^ada$/m);
    assert.equal((await ctl(hub, ['kick', 'ada'])).out, '{"disconnected":1}\n');
});

test('IPv6, Unix sockets and the address of the environment', { hub: null }, async ({ start, defer }) => {
    const socket = path.join(temporary(defer), 'hub.sock');
    const hub = await start({ tls: false, listen: ['[::1]:0', `unix:${socket}`] });
    for (const url of [`http://[::1]:${hub.port}`, `http://[::1]:${hub.port}/`, `unix:${socket}`]) {
        assert.equal((await ctl(url, ['pub', 'a', 'b'])).code, 0, url);
        assert.match((await ctl(url, ['sub', 'a', '--history', '1', '--count', '1'])).out, / message b\n$/);
        assert.equal((await ctl(null, ['pub', 'a', 'b'], { env: { SPATE_URL: url } })).code, 0);
    }
});

test('HTTPS, with a certificate that is trusted or not', { hub: null }, async ({ start, defer }) => {
    const file = path.join(temporary(defer), 'hub.pem');
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
        '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', `${file}.key`, '-out', file],
    { stdio: 'ignore' });
    const hub = await start({ listen: ['tls:127.0.0.1:0'],
        args: ['--tls-certificate', file, '--tls-key', `${file}.key`] });
    const url = `https://127.0.0.1:${hub.port}`;
    const refused = await ctl(url, ['pub', 'a', 'b']);
    assert.equal(refused.code, 3);
    assert.match(refused.error, /certificate/);
    for (const trust of [['--ca-file', file], ['--insecure']]) {
        assert.equal((await ctl(url, ['pub', 'a', 'b', ...trust])).code, 0);
        assert.match((await ctl(url, ['sub', 'a', '--history', '1', '--count', '1', ...trust])).out, / message b\n$/);
    }
});

test('exit codes', { hub: { tls: false, env: { AUTH_TOKEN: 'secret' } } }, async ({ hub, defer }) => {
    const refused = await ctl(hub, ['pub', 'a', 'b']);
    assert.equal(refused.code, 1);
    assert.match(refused.error, /^spatectl: 401: ./);
    assert.equal((await ctl(hub, ['pub', 'a', 'b'], { env: { SPATE_TOKEN: 'secret' } })).code, 0);
    assert.equal((await ctl(hub, ['pub', 'a', 'b', '--token', 'secret'])).code, 0);
    assert.equal((await ctl('http://127.0.0.1:1', ['stats'])).code, 3);
    assert.equal((await ctl('http://127.0.0.1:1', ['pub', 'a', 'b'])).code, 3);
    assert.equal((await ctl('http://127.0.0.1:1', ['sub', 'a'])).code, 3);
    /* Taken, then no answer: what became of it is not known, and it is not sent twice. */
    const { url, requests } = await scripted(
        [(socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n'), ''], defer);
    for (const input of ['one\ntwo\n', 'one\n\n']) {
        requests.length = 0;
        const broken = await ctl(url, ['pub', 'a', '--retries', '5'], { input });
        assert.equal(broken.code, 5, broken.error);
        assert.equal(requests.length, 2);
    }
});

test('a publish that was refused for now is tried again only if wanted', { waits: true, hub: null }, async ({ defer }) => {
    const later = 'HTTP/1.1 503 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n';
    const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n';
    const once = await scripted([later, answer], defer);
    assert.equal((await ctl(once.url, ['pub', 'a', 'b'])).code, 1);
    const twice = await scripted([later, answer], defer);
    const { code, error } = await ctl(twice.url, ['pub', 'a', 'b', '--retries', '1']);
    assert.equal(code, 0);
    assert.match(error, /^spatectl: 503: refused\nspatectl: nothing was published; trying again in 1\.0 s\n$/);
});

test('what is not the answer of a hub is no success', { hub: null }, async ({ defer }) => {
    for (const answer of ['HTTP/1.1 200 OK\r\nContent-Ty', 'HTTP/1.1 204 No Content\r\n\r\n',
        'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>']) {
        const { url } = await scripted([answer], defer);
        const { code, error, out } = await ctl(url, ['pub', 'a', 'b']);
        assert.equal(code, 1, answer);
        assert.match(error, /^spatectl: 20[04], but not the answer of a hub that has published\n$/);
        assert.equal(out, '');
    }
});

test('wrong usage is told and sends nothing', { hub: null }, async () => {
    for (const args of [[], ['bogus'], ['completion', 'csh'], ['feed', 'bogus'], ['pub'], ['kick', 'a', 'b'],
        ['stats', '--bogus'], ['stats', '--count', '1'], ['sub', 'a', '--count', '0'],
        ['sub', 'a', '--count', '99999999999999999999'], ['sub', 'a', '--count', '1x'], ['sub', 'a', '--count', '-1'],
        ['sub', 'a', '--count'], ['sub', 'a', '--raw', '--json'], ['sub', 'a', '--url', 'ftp://127.0.0.1:1'],
        ['stats', '--url', 'http://127.0.0.1:1/?a=b'], ['pub', 'a', 'b', '--ndjson'], ['stats', '--token', 'a\nb'],
        ['sub', 'a', '--last-event-id', 'a\r\nb'], ['feed', 'clock', '--interval-ms', '0']]) {
        const { code, error, out } = await ctl(null, args);
        assert.equal(code, 2, `${args}: ${code} ${error}`);
        assert.match(error, /^spatectl: ./);
        assert.equal(out, '');
    }
});

test('every command has its help', { hub: null }, async () => {
    const all = await ctl(null, ['--help']);
    assert.equal(all.code, 0);
    const commands = [...all.out.split('Commands:\n')[1].split('\n\n')[0].matchAll(/^ {2}([a-z]+)/gm)]
        .map((match) => match[1]);
    assert.ok(commands.includes('pub') && commands.length >= 10);
    for (const command of commands) {
        const one = await ctl(null, ['help', command]);
        assert.match(one.out, new RegExp(`^Usage: spatectl ${command} `));
        assert.equal((await ctl(null, [command, '--help'])).out, one.out);
    }
});

/* What a shell offers behind the words; the last is the one being completed. */
const shells = {
    bash: (words) => ['bash', ['-c', `source <(spatectl completion bash)
        COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
        _spatectl; printf '%s\\n' "\${COMPREPLY[@]}"`]],
    /*
     * To see what zsh completes, the keys must be pressed: ^T, which is bound to show it, and ^U. Its line
     * editor is there once it has asked for bracketed pastes.
     */
    zsh: (words) => ['zsh', ['-fc', `zmodload zsh/zpty; zpty shell zsh -fi
        zpty -w shell 'PS1= ; stty -echo; autoload -U compinit; compinit -u -d $HOME/dump; LISTMAX=9999'
        zpty -w shell 'source <(spatectl completion zsh); bindkey ^T list-choices; print BEG""IN'
        zpty -r -m shell greeting '*BEGIN*?2004h*'
        zpty -n -w shell $'${words.join(' ')}\\x14'
        zpty -n -w shell $'\\x15 print E""ND\\n'
        zpty -r -m shell text '*END*'; print -r -- $text`]],
    fish: (words) => ['fish', ['--no-config', '-c',
        `spatectl completion fish | source; complete -C '${words.join(' ')}'`]],
};

for (const [shell, line] of Object.entries(shells)) {
    test(`${shell} completes commands, options and names`, async ({ hub, defer }) => {
        await hub.publish('weather', 'x');
        const home = temporary(defer);
        const offered = (...words) => {
            const [program, args] = line(['spatectl', ...words]);
            const env = { ...process.env, PATH: `${path.dirname(spatectl())}:${process.env.PATH}`,
                SPATE_URL: hub.url, HOME: home, TERM: 'dumb', XDG_CONFIG_HOME: home };
            const { stdout, stderr, error } = spawnSync(program, args, { env, encoding: 'utf8', timeout: 30000 });
            if (error?.code === 'ENOENT') {
                throw new Skip(`there is no ${shell} here`);
            }
            return `${stdout}${stderr}`;
        };
        assert.match(offered('c'), /(?=[^]*channels)(?=[^]*clients)[^]*completion/);
        assert.doesNotMatch(offered('c'), /\bkick\b/);
        assert.match(offered('pub', 'news', '--r'), /(?=[^]*--rate)(?=[^]*--retry)[^]*--retries/);
        assert.doesNotMatch(offered('stats', '--'), /--rate/);
        assert.match(offered('feed', ''), /(?=[^]*clock)[^]*sensor/);
        assert.match(offered('sub', 'w'), /\bweather\b/);
    });
}
