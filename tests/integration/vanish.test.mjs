/* Peers that vanish without a word, as when a phone loses its network: they are found. */
import { execFileSync, spawn } from 'node:child_process';
import { Skip, test } from './harness.mjs';
import { until } from './until.mjs';

/* A network namespace with one wire to this one, which can be cut. */
class FarAway {
    static count = 0;

    constructor() {
        const number = (process.pid + FarAway.count++) % 4096;
        this.name = `spate${process.pid}-${FarAway.count}`;
        this.near = `10.${232 + (number >> 8)}.${number & 255}.1`;
        this.far = this.near.replace(/1$/, '2');
        this.link = `sp${process.pid}${FarAway.count}`;
        const steps = [
            ['netns', 'add', this.name],
            ['link', 'add', this.link, 'type', 'veth', 'peer', 'name', 'far', 'netns', this.name],
            ['addr', 'add', `${this.near}/30`, 'dev', this.link],
            ['link', 'set', this.link, 'up'],
            ['-n', this.name, 'addr', 'add', `${this.far}/30`, 'dev', 'far'],
            ['-n', this.name, 'link', 'set', 'far', 'up'],
        ];
        for (const [i, step] of steps.entries()) {
            try {
                execFileSync('ip', step, { stdio: 'pipe' });
            } catch (error) {
                if (i === 0) {
                    throw new Skip(`no network namespace can be made here: ${error.message}`);
                }
                this.close();
                throw error;
            }
        }
    }

    curl(url) {
        this.client = spawn('ip', ['netns', 'exec', this.name, 'curl', '-sN', url],
            { stdio: 'ignore' });
    }

    /* From here on what either side sends is lost. */
    cut() {
        execFileSync('ip', ['-n', this.name, 'link', 'set', 'far', 'down']);
    }

    close() {
        this.client?.kill('SIGKILL');
        execFileSync('ip', ['link', 'del', this.link]);
        execFileSync('ip', ['netns', 'del', this.name]);
    }
}

for (const [how, args] of [
    ['an idle one by the kernel\'s probes', ['--tcp-keepalive-idle-seconds', '1',
        '--tcp-keepalive-interval-seconds', '1', '--tcp-keepalive-count', '2',
        '--heartbeat-seconds', '3600', '--user-timeout-seconds', '0']],
    ['one that is written to by what it does not acknowledge', ['--tcp-keepalive-idle-seconds',
        '3600', '--heartbeat-seconds', '1', '--user-timeout-seconds', '2']],
]) {
    test(`vanished: ${how}`, { hub: null, seconds: 120 }, async ({ start, defer }) => {
        const place = new FarAway();
        defer(() => place.close());
        const hub = await start({ listen: ['127.0.0.1:0', `${place.near}:0`], args });
        const streams = async () => (await hub.stats()).streams;
        const there = hub.listening().find((address) => address.startsWith(place.near));
        place.curl(`http://${there}/sse/news`);
        await until('its coming', async () => (await streams()) === 1);
        place.cut();
        await until('its being found gone', async () => (await streams()) === 0, 90);
    });
}
