/* The same Idempotency-Key: the first answer again, and nothing is published twice. */
import assert from 'node:assert/strict';
import { test } from './harness.mjs';

const LINES = 'application/x-ndjson';

function post(hub, path, body, key, type = 'text/plain') {
    return hub.request('POST', path,
        { body, headers: { 'Content-Type': type, 'Idempotency-Key': key } });
}

/* What came twice would stand before the marker. */
async function assertData(hub, stream, channel, expected) {
    await hub.publish(channel, 'marker');
    await stream.when('the marker', () => stream.data.at(-1) === 'marker');
    assert.deepEqual(stream.data, [...expected, 'marker']);
}

test('the same request again gets the first answer', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/once');
    const first = await post(hub, '/publish/once', 'hello', 'key-1');
    assert.equal(first.status, 200);
    assert.equal(first.get('idempotency-replayed'), undefined);
    for (let i = 0; i < 3; i++) {
        /* Each on a connection of its own, so on any shard. */
        const again = await post(hub, '/publish/once', 'hello', 'key-1');
        assert.equal(again.status, 200);
        assert.equal(again.get('idempotency-replayed'), 'true');
        assert.equal(again.text, first.text);
    }
    const other = await post(hub, '/publish/once', 'hello', 'key-2');
    assert.notEqual(other.json.id, first.json.id);
    await assertData(hub, stream, 'once', ['hello', 'hello']);
});

test('batches and forms are published once too', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/once-more');
    const lines = '{"data":"a"}\n{"data":"b"}\n';
    const batch = await post(hub, '/publish/once-more', lines, 'batch', LINES);
    assert.equal((await post(hub, '/publish/once-more', lines, 'batch', LINES)).text, batch.text);
    const form = 'application/x-www-form-urlencoded';
    const answer = await post(hub, '/publish/once-more', 'msg=c', 'form', form);
    assert.equal((await post(hub, '/publish/once-more', 'msg=c', 'form', form)).text, answer.text);
    await assertData(hub, stream, 'once-more', ['a', 'b', 'c']);
});

test('a key with another request is refused', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/mixed');
    await post(hub, '/publish/mixed', 'one', 'mixed-key');
    for (const [path, body, type] of [['/publish/mixed', 'two', 'text/plain'],
        ['/publish/mixed?event=x', 'one', 'text/plain'], ['/publish/mixed2', 'one', 'text/plain'],
        ['/publish/mixed', 'one', 'text/html']]) {
        const refused = await post(hub, path, body, 'mixed-key', type);
        assert.equal(refused.status, 422, `${path} ${body} ${type}`);
        assert.match(refused.json.detail, /another request/);
    }
    await assertData(hub, stream, 'mixed', ['one']);
});

test('what was refused leaves its key free', async ({ hub }) => {
    const refused = await post(hub, '/publish/free', '{', 'free-key', 'application/json');
    assert.equal(refused.status, 400);
    assert.equal((await post(hub, '/publish/free', '{}', 'free-key', 'application/json')).status, 200);
});

test('a key that is none', async ({ hub }) => {
    for (const key of ['with space', 'x'.repeat(256), '\u00e9']) {
        assert.equal((await post(hub, '/publish/none', 'x', key)).status, 400, key);
    }
    assert.equal((await post(hub, '/publish/none', 'x', 'x'.repeat(255))).status, 200);
});

test('only so many keys are remembered, the oldest go first',
    { hub: { args: ['--idempotency-count-max', '3'] } }, async ({ hub }) => {
        for (const key of ['a', 'b', 'c', 'd']) {
            await post(hub, '/publish/few', 'x', key);
        }
        const replayed = async (key) =>
            (await post(hub, '/publish/few', 'x', key)).get('idempotency-replayed') === 'true';
        assert.equal(await replayed('d'), true);
        assert.equal(await replayed('a'), false);
    });

test('many at once with one key: one event', async ({ hub }) => {
    const stream = await hub.subscribe('/sse/race');
    const answers = await Promise.all(Array.from({ length: 40 }, () =>
        post(hub, '/publish/race', 'only', 'race-key')));
    const ids = new Set(answers.filter(({ status }) => status === 200).map(({ json }) => json.id));
    assert.equal(ids.size, 1);
    assert.ok(answers.every(({ status }) => status === 200 || status === 409));
    await assertData(hub, stream, 'race', ['only']);
});
