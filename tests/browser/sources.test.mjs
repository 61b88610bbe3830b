/*
 * What the pages of the systems do that this hub takes the place of, each from its own address: the calls,
 * the names of events and the shapes of data are theirs.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { logfmt, settings } from '../integration/hub.mjs';
import { test } from '../integration/harness.mjs';
import { until } from '../integration/until.mjs';
import { newPage, serve } from './browser.mjs';

/* A page at another address than the hub's, as all of theirs are; the hub lets every page publish. */
async function pageElsewhere(defer) {
    const page = await newPage(defer);
    await page.goto(await serve(defer));
    await page.evaluate(() => {
        window.seen = [];
        window.note = (...what) => window.seen.push(what);
    });
    return page;
}
const seen = (page, count) => until(`${count} events in the page`, async () => {
    const list = await page.evaluate(() => window.seen);
    return list.length >= count && list;
}, 20);
const ANY_PAGE = ['--cors-origin', '*'];

function feed(hub, what) {
    const spatectl = path.join(path.dirname(settings.spate), 'spatectl');
    const { status, stderr } = spawnSync(spatectl, ['--url', hub.url, 'feed', what, '--count', '3',
        '--interval-ms', '10']);
    assert.equal(status, 0, String(stderr));
}

test('feedbacks: EventSource of /v1/feedbacks and /api/events', async ({ hub, defer }) => {
    const page = await pageElsewhere(defer);
    await page.evaluate((url) => {
        const feedbacks = new EventSource(`${url}/v1/feedbacks`);
        feedbacks.addEventListener('application/cloudevents+json', ({ data }) =>
            window.note(JSON.parse(data).subject));
        new EventSource(`${url}/api/events`).onmessage = ({ data }) => window.note(data);
    }, hub.url);
    await until('both streams', async () => (await hub.stats()).streams === 2);
    await hub.publish('feedbacks', '{"specversion":"1.0","subject":"1"}',
        { query: '?event=application/cloudevents%2Bjson' });
    await seen(page, 1);
    await hub.publish('events', '{"chave":"valor"}');
    assert.deepEqual(await seen(page, 2), [['1'], ['{"chave":"valor"}']]);
});

test('status: two clients, the list, one and all, with GET from a page elsewhere',
    { hub: { args: ANY_PAGE } }, async ({ hub, defer }) => {
        const page = await pageElsewhere(defer);
        await page.evaluate((url) => {
            for (const id of ['7', '42']) {
                const source = new EventSource(`${url}/stream/${id}`);
                source.onmessage = ({ data }) => window.note(id, data);
                source.onerror = () => window.note(id, 'error');
            }
        }, hub.url);
        await until('both streams', async () => (await hub.stats()).streams === 2);
        const call = (url) => page.evaluate(async (address) => {
            const response = await fetch(address);
            return [response.status, await response.text()];
        }, hub.url + url);
        assert.deepEqual(JSON.parse((await call('/clients'))[1]).sort(), ['42', '7']);
        assert.deepEqual(await call('/publish/7/status/ping'), [200, 'Ok']);
        assert.equal((await call('/publish/8/status/ping'))[0], 404);
        await seen(page, 1);
        assert.deepEqual(await call('/publish/status/despedida'), [200, 'Ok']);
        const all = await seen(page, 3);
        assert.deepEqual(all[0], ['7', 'ping']);
        assert.deepEqual(all.slice(1).sort(), [['42', 'despedida'], ['7', 'despedida']]);
    });

test('status: without the option that lets the page publish, the log names it', { hub: {} },
    async ({ hub, defer }) => {
        const page = await pageElsewhere(defer);
        const origin = new URL(page.url()).origin;
        const call = (init, path) => page.evaluate(async ([url, options]) => {
            try {
                return (await fetch(url, options)).status;
            } catch {
                return 'failed';
            }
        }, [hub.url + path, init]);
        assert.equal(await call({}, '/publish/status/ping'), 403);
        const line = await hub.logged(/page of another origin refused/);
        assert.equal(logfmt(line).to_allow_it, `--cors-origin ${origin}`);
        assert.equal(await call({ method: 'POST', headers: { Authorization: 'Bearer x' } },
            '/publish?canal=a&msg=b'), 403);
        assert.equal(await call({ method: 'DELETE' }, '/clients/7'), 'failed');
        await until('a line about each, and one only', () => ['/publish', '/clients/7'].every((where) =>
            hub.lines.filter((one) => one.includes(`refused" origin=${origin} path=${where} `)).length === 1));
    });

test('channels: /sse?canal=, publishing by query with a token, statistics',
    { hub: { args: ANY_PAGE, env: { AUTH_TOKEN: 'seu_token' } } }, async ({ hub, defer }) => {
        const page = await pageElsewhere(defer);
        await page.evaluate((url) => {
            new EventSource(`${url}/sse?canal=meucanal`).onmessage = ({ data }) => window.note(data);
            new EventSource(`${url}/sse?canal=outro`).onmessage = ({ data }) => window.note('outro', data);
        }, hub.url);
        await until('both streams', async () => (await hub.stats()).streams === 2);
        const publish = (canal, token) => page.evaluate(async ([url, name, value]) => {
            const response = await fetch(`${url}/publish?canal=${name}&msg=Olá`, {
                method: 'POST',
                headers: value === null ? {} : { Authorization: `Bearer ${value}` },
            });
            return response.status;
        }, [hub.url, canal, token]);
        assert.equal(await publish('meucanal', null), 401);
        assert.equal(await publish('meucanal', 'outro'), 401);
        assert.equal(await publish('meucanal', 'seu_token'), 200);
        await seen(page, 1);
        assert.equal(await publish('broadcast', 'seu_token'), 200);
        const all = await seen(page, 3);
        assert.deepEqual(all[0], ['Olá']);
        assert.deepEqual(all.slice(1).sort(), [['Olá'], ['outro', 'Olá']]);
        const stats = await page.evaluate(async (url) => (await fetch(`${url}/stats`)).json(), hub.url);
        assert.deepEqual([stats.channels >= 2, stats.clients, stats.published], [true, 2, 2]);
    });

test('sensors: sensor-data with both numbers, from the shipped sensor', async ({ hub, defer }) => {
    const page = await pageElsewhere(defer);
    await page.evaluate((url) => {
        const source = new EventSource(`${url}/sensor-data-events`);
        source.addEventListener('sensor-data', ({ data }) => {
            const { temperature, humidity } = JSON.parse(data);
            window.note(typeof temperature, typeof humidity);
        });
    }, hub.url);
    await until('the stream', async () => (await hub.stats()).streams === 1);
    feed(hub, 'sensor');
    assert.deepEqual(await seen(page, 3), Array(3).fill(['number', 'number']));
});

test('clock: ids and event: message on /stream, from the shipped clock', async ({ hub, defer }) => {
    const page = await pageElsewhere(defer);
    await page.evaluate((url) => {
        new EventSource(`${url}/stream`).onmessage = ({ data, lastEventId }) =>
            window.note(/^\d\d:\d\d:\d\d/.test(data), lastEventId !== '');
    }, hub.url);
    await until('the stream', async () => (await hub.stats()).streams === 1);
    feed(hub, 'clock');
    assert.deepEqual(await seen(page, 3), Array(3).fill([true, true]));
});
