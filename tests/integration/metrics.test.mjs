/* GET /metrics: well-formed for Prometheus, and the numbers are right. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from './harness.mjs';
import { readMetrics, total } from './prometheus.mjs';
import { until } from './until.mjs';

async function metrics(hub) {
    const response = await hub.get('/metrics');
    assert.equal(response.status, 200);
    assert.equal(response.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(response.get('cache-control'), 'no-store');
    return readMetrics(response.text);
}

const SHARDS = { args: ['--shards', '2'] };

test('is well-formed, per shard, and of a fresh hub all counters of events are 0', { hub: SHARDS },
    async ({ hub }) => {
        const families = await metrics(hub);
        for (const name of ['spate_events_published_total', 'spate_deliveries_total',
            'spate_events_taken_total', 'spate_event_sends_total', 'spate_gaps_total', 'spate_streams',
            'spate_channels', 'spate_history_bytes', 'spate_publishes_refused_total',
            'spate_streams_behind', 'spate_cq_overflows_total', 'spate_draining']) {
            assert.equal(total(families, name), 0, name);
        }
        assert.equal(total(families, 'spate_shards'), 2);
        assert.deepEqual(families.get('spate_deliveries_total').metrics.map(({ labels }) => labels.shard),
            ['0', '1']);
        const info = families.get('spate_info').metrics[0].labels;
        assert.equal(info.io, (await hub.stats()).io);
        assert.match(info.version, /^\d+\.\d+\.\d+$/);
    });

test('counts publishes, deliveries and streams', { hub: SHARDS }, async ({ hub }) => {
    const streams = await Promise.all(Array.from({ length: 5 }, () => hub.subscribe('/sse/m')));
    for (let i = 0; i < 7; i++) {
        await hub.publish('m', `event ${i}`);
    }
    await Promise.all(streams.map((stream) => stream.received(7)));
    const families = await until('all counted', async () => {
        const now = await metrics(hub);
        return total(now, 'spate_event_sends_total') > 0 && total(now, 'spate_deliveries_total') >= 35
            && total(now, 'spate_streams_behind') === 0 && now;
    });
    assert.equal(total(families, 'spate_events_published_total'), 7);
    assert.equal(total(families, 'spate_deliveries_total'), 35);
    assert.equal(total(families, 'spate_streams'), 5);
    assert.equal(total(families, 'spate_subscribers'), 5);
    assert.equal(total(families, 'spate_channels'), 1);
    assert.ok(total(families, 'spate_connections') >= (hub.h2 ? 1 : 6));
    assert.ok(total(families, 'spate_history_bytes') > 7 * 'event 0'.length);
    /* The same numbers as /stats shows, shard by shard. */
    const stats = await hub.stats();
    const published = families.get('spate_events_published_total').metrics;
    assert.deepEqual(published.map(({ value }) => Number(value)),
        stats.shards.map((shard) => shard.published));
    streams.forEach((stream) => stream.close());
    await until('the streams gone', async () => total(await metrics(hub), 'spate_streams') === 0);
});

test('knows its process', { hub: SHARDS }, async ({ hub }) => {
    const families = await metrics(hub);
    const started = total(families, 'process_start_time_seconds');
    assert.ok(Math.abs(Date.now() / 1000 - started) < 300, `${started}`);
    const status = await readFile(`/proc/${hub.process.pid}/status`, 'utf8');
    const resident = 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(status)[1]);
    const told = total(families, 'process_resident_memory_bytes');
    assert.ok(told > resident / 2 && told < resident * 2, `${told} against ${resident}`);
    assert.ok(total(families, 'process_cpu_seconds_total') > 0);
});

test('HEAD has no body, other methods are refused, no token is needed',
    { hub: { env: { AUTH_TOKEN: 'secret' } } }, async ({ hub }) => {
        const head = await hub.request('HEAD', '/metrics');
        assert.equal(head.status, 200);
        assert.equal(head.text, '');
        const post = await hub.request('POST', '/metrics');
        assert.equal(post.status, 405);
        assert.equal(post.get('allow'), 'GET, HEAD, OPTIONS');
        assert.equal((await hub.get('/metrics')).status, 200);
    });
