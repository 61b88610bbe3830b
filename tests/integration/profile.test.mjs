/* GET /debug/fanout: its counts are exact, its times add up, and people and programs can read it. */
import assert from 'node:assert/strict';
import { ctl } from './ctl.mjs';
import { test } from './harness.mjs';
import { readMetrics } from './prometheus.mjs';
import { until } from './until.mjs';

const STAGES = ['parse', 'sequence', 'queue', 'pass', 'submit', 'completion', 'other'];
const SHARDS = { args: ['--shards', '2'] };

async function profile(hub) {
    const response = await hub.get('/debug/fanout');
    assert.equal(response.status, 200);
    assert.equal(response.get('content-type'), 'application/json');
    assert.equal(response.get('cache-control'), 'no-store');
    const { json } = response;
    assert.deepEqual(json.stages.map(({ name }) => name), STAGES);
    json.of = Object.fromEntries([...json.stages, ...json.measures].map((one) => [one.name, one]));
    for (const one of Object.values(json.of)) {
        const inBuckets = one.buckets.reduce((sum, [, count]) => sum + count, 0);
        assert.equal(inBuckets, one.count, `${one.name}: the buckets hold all`);
        assert.ok(one.p50 <= one.p90 && one.p90 <= one.p99 && one.p99 <= one.p999 && one.p999 <= one.max,
            JSON.stringify(one));
        for (let i = 1; i < one.buckets.length; i++) {
            assert.ok(one.buckets[i - 1][0] < one.buckets[i][0], `${one.name}: bounds rise`);
        }
    }
    return json;
}

/* Publishes `events` to `subscribers` of one channel and returns the profile when all is counted. */
async function fanOut(hub, { subscribers, events, channel = 'p' }) {
    const streams = await Promise.all(Array.from({ length: subscribers },
        () => hub.subscribe(`/sse/${channel}`)));
    for (let i = 0; i < events; i++) {
        await hub.publish(channel, `event ${i}`);
    }
    await Promise.all(streams.map((stream) => stream.received(events)));
    const json = await until('everything settled', async () => {
        const now = await profile(hub);
        return now.deliveries >= subscribers * events && now.of.total.count >= now.taken
            && now.of.batch.count === now.event_sends && now;
    });
    return { json, streams };
}

test('N events for M subscribers are N * M deliveries, and each stage counts its events',
    { hub: SHARDS }, async ({ hub }) => {
        const { json } = await fanOut(hub, { subscribers: 20, events: 30 });
        const { of } = json;
        assert.equal(json.published, 30);
        assert.equal(json.deliveries, 20 * 30);
        assert.equal(json.short_sends, 0);
        assert.equal(json.cq_overflows, 0);
        assert.equal(of.parse.count, 30);
        assert.equal(of.sequence.count, 30);
        /* Once for each shard that has subscribers: one or two, as the kernel spread them. */
        const shards = json.shards.filter(({ deliveries }) => deliveries > 0).length;
        assert.ok(json.taken === 30 * shards, `${json.taken} taken by ${shards} shards`);
        for (const name of ['queue', 'pass', 'submit', 'completion', 'other', 'total']) {
            assert.equal(of[name].count, json.taken, name);
        }
        /* Sends, by their three counts. */
        assert.equal(of.batch.sum, json.deliveries);
        assert.equal(of.batch.count, json.event_sends);
        assert.equal(of.sends.sum, json.event_sends);
        assert.equal(of.queue_depth.sum >= json.taken, true);
        assert.equal(json.shards.reduce((sum, shard) => sum + shard.deliveries, 0), json.deliveries);
        /* The times of the stages are the whole: on one shard to the nanosecond, up to clamping. */
        const behind = ['queue', 'pass', 'submit', 'completion', 'other']
            .reduce((sum, name) => sum + of[name].sum, 0);
        const before = (of.parse.sum + of.sequence.sum) * shards;
        const sum = before + behind;
        assert.ok(Math.abs(sum - of.total.sum) <= 0.01 * of.total.sum + 1000 * json.taken,
            `stages ${sum}, total ${of.total.sum}`);
        assert.ok(STAGES.includes(json.slowest));
    });

test('a batch counts as many events as it has', { hub: { args: ['--shards', '1'] } },
    async ({ hub }) => {
        const stream = await hub.subscribe('/sse/b');
        const body = Array.from({ length: 50 }, (_, i) => JSON.stringify({ data: `x${i}` })).join('\n');
        const response = await hub.request('POST', '/publish/b',
            { headers: { 'Content-Type': 'application/x-ndjson' }, body });
        assert.equal(response.status, 200);
        await stream.received(50);
        const { of, event_sends: sends } = await until('settled', async () => {
            const now = await profile(hub);
            return now.of.total.count === 50 && now;
        });
        assert.equal(of.parse.count, 50);
        assert.equal(of.sequence.count, 50);
        assert.equal(of.queue.count, 50);
        assert.equal(of.batch.sum, 50);
        assert.equal(of.batch.count, sends);
        assert.ok(of.batch.max > 1, 'a batch goes out in less than a send an event');
    });

test('what nobody hears is no fan-out', { hub: SHARDS },
    async ({ hub }) => {
        await hub.publish('nobody', 'x');
        const { of } = await profile(hub);
        assert.equal(of.parse.count, 0);
        assert.equal(of.queue.count, 0);
        assert.equal(of.total.count, 0);
    });

test('who resumes is counted as catching up, and waits for nobody', { hub: SHARDS },
    async ({ hub }) => {
        for (let i = 0; i < 10; i++) {
            await hub.publish('late', `event ${i}`);
        }
        const stream = await hub.subscribe('/sse/late?history=10');
        await stream.received(10);
        const { of } = await until('counted', async () => {
            const now = await profile(hub);
            return now.of.catch_up.count > 0 && now;
        });
        assert.equal(of.total.count, 0);
        assert.ok(of.catch_up.max < 60e9);
        assert.equal(of.batch.sum, 10);
    });

test('sleeping is no work', { hub: SHARDS }, async ({ hub }) => {
    /* The time that passes between two looks is in the phases, and most of it is the wait. */
    const before = await profile(hub);
    const sum = (phases) => Object.values(phases).reduce((all, ns) => all + ns, 0);
    const later = await until('two seconds have passed', async () => {
        const now = await profile(hub);
        return sum(now.shards[0].phases_ns) - sum(before.shards[0].phases_ns) > 2e9 && now;
    }, 30);
    /* One shard is kept busy by our asking; the other has nothing to do but sleep. */
    const waits = [0, 1].map((i) => {
        const passed = sum(later.shards[i].phases_ns) - sum(before.shards[i].phases_ns);
        return (later.shards[i].phases_ns.wait - before.shards[i].phases_ns.wait) / passed;
    });
    assert.ok(Math.max(...waits) > 0.8, `the shards slept ${waits} of the time`);
    /* No turn of this idle hub took anything like its sleeps. */
    assert.ok(later.of.turn.p50 < 50e6, `${later.of.turn.p50}`);
});

test('the same is in /metrics', { hub: SHARDS }, async ({ hub }) => {
    const { json } = await fanOut(hub, { subscribers: 4, events: 5, channel: 'm' });
    const families = readMetrics((await hub.get('/metrics')).text);
    const counts = {};
    for (const { name, labels, value } of families.get('spate_event_stage_seconds').samples) {
        if (name.endsWith('_count')) {
            const stage = /stage="(\w+)"/.exec(labels)[1];
            counts[stage] = (counts[stage] ?? 0) + value;
        }
    }
    for (const name of [...STAGES, 'total']) {
        assert.equal(counts[name], json.of[name].count, name);
    }
    const phases = new Set(families.get('spate_loop_seconds_total').metrics
        .map(({ labels }) => labels.phase));
    assert.deepEqual([...phases], ['wait', 'submit', 'completion', 'receive', 'pass', 'rest']);
});

test('browsers get a page, programs JSON, and ?format= decides', { hub: SHARDS }, async ({ hub }) => {
    await fanOut(hub, { subscribers: 3, events: 4 });
    const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
    for (const [path, headers] of [['/debug/fanout', { Accept: accept }],
        ['/debug/fanout?format=html', {}]]) {
        const page = await hub.get(path, headers);
        assert.equal(page.status, 200);
        assert.equal(page.get('content-type'), 'text/html; charset=utf-8');
        assert.match(page.get('content-security-policy'), /default-src 'none'/);
        assert.match(page.text, /The slowest stage is <strong>\w+<\/strong>/);
        assert.doesNotMatch(page.text, /<script|https?:\/\/|src=|nan|inf\b/i);
        STAGES.forEach((name) => assert.ok(page.text.includes(`</span>${name}</td>`), name));
    }
    for (const [path, headers] of [['/debug/fanout', {}], ['/debug/fanout', { Accept: '*/*' }],
        ['/debug/fanout?format=json', { Accept: accept }]]) {
        assert.equal((await hub.get(path, headers)).get('content-type'), 'application/json');
    }
    assert.equal((await hub.get('/debug/fanout?format=xml')).status, 400);
    assert.equal((await hub.request('POST', '/debug/fanout')).status, 405);
    assert.equal((await hub.request('HEAD', '/debug/fanout')).text, '');
});

test('a hub that nobody has used has a page too', { hub: SHARDS }, async ({ hub }) => {
    const page = await hub.get('/debug/fanout?format=html');
    assert.equal(page.status, 200);
    assert.match(page.text, /No event has been sent to a subscriber yet/);
    assert.doesNotMatch(page.text, /nan|inf\b/i);
});

test('spatectl profile draws it, since the start and for an interval', { hub: SHARDS },
    async ({ hub }) => {
        const idle = await ctl(hub, ['profile']);
        assert.equal(idle.code, 0, idle.error);
        assert.match(idle.out, /no event has been sent to a subscriber in this time/);
        await fanOut(hub, { subscribers: 5, events: 6 });
        const { code, out, error } = await ctl(hub, ['profile']);
        assert.equal(code, 0, error);
        assert.match(out, /since the start: 6 events, 30 deliveries in \d+ sends, 0 of them short/);
        const slowest = /^slowest: (\w+), \d+ % of the time\./m.exec(out)?.[1];
        assert.ok(STAGES.includes(slowest), out);
        const shares = STAGES.map((name) => {
            const line = new RegExp(`^${name} +(\\d+\\.\\d) % (#*) `, 'm').exec(out);
            assert.ok(line !== null, `${name} in ${out}`);
            assert.ok(Math.abs(line[2].length - Number(line[1]) * 0.4) <= 0.6, line[0]);
            return [name, Number(line[1])];
        });
        const sum = shares.reduce((all, [, share]) => all + share, 0);
        assert.ok(Math.abs(sum - 100) < 0.5, `${sum} % in all`);
        assert.equal(Math.max(...shares.map(([, share]) => share)), new Map(shares).get(slowest));
        assert.equal(out.match(/^shard \d/gm).length, 2);
        /* An interval in which nothing happens has nothing of what was before. */
        const quiet = await ctl(hub, ['profile', '--count', '2', '--interval-ms', '50']);
        assert.equal(quiet.code, 0, quiet.error);
        assert.equal(quiet.out.match(/ 0 events, 0 deliveries in 0 sends/g).length, 2, quiet.out);
        const json = await ctl(hub, ['profile', '--json']);
        assert.equal(JSON.parse(json.out).deliveries, 30);
    });

test('spatectl profile --count counts what happened in the interval', { hub: SHARDS },
    async ({ hub }) => {
        const { streams } = await fanOut(hub, { subscribers: 5, events: 6 });
        let published = 6;
        /* On a busy machine the interval may be over before they are: then once more. */
        await until('an interval that was long enough for three events', async () => {
            const begin = performance.now();
            const { requests } = await hub.stats();
            const running = ctl(hub, ['profile', '--count', '1', '--interval-ms', '700']);
            /* Its first look is the one request that is not ours. */
            let ours = 0;
            await until('the first look', async () => (await hub.stats()).requests - requests > ++ours);
            for (let i = 0; i < 3; i++) {
                await hub.publish('p', 'in between');
            }
            published += 3;
            await Promise.all(streams.map((stream) => stream.received(published)));
            const wasInTime = performance.now() - begin < 400;
            const { code, out, error } = await running;
            assert.equal(code, 0, error);
            assert.match(out, wasInTime ? / 3 events, 15 deliveries in \d+ sends, 0 of them short/
                                        : / [0-3] events, /);
            return wasInTime;
        }, 30);
    });
