/* GET /clients?slowest=N: the streams that are furthest behind. */
import assert from 'node:assert/strict';
import { ctl } from './ctl.mjs';
import { test } from './harness.mjs';
import { until } from './until.mjs';

test('those that do not read are listed, the furthest behind first', { seconds: 120 }, async ({ hub }) => {
    const slowest = async (count) => (await hub.get(`/clients?slowest=${count}`)).json;
    const data = 'x'.repeat(60000);
    const keepsUp = await hub.subscribe('/sse/flood?client=keeps-up', { keepRaw: false });
    assert.deepEqual(await slowest(100), []);
    const last = await hub.subscribe('/sse?channel=flood&channel=other&client=last');
    last.wire.socket.pause();
    await until('one that is behind', async () => {
        await hub.publish('flood', data);
        return (await slowest(9)).some(({ client }) => client === 'last');
    }, 60);
    const second = await hub.subscribe('/sse/flood?client=second');
    second.wire.socket.pause();
    const list = await until('two that are behind', async () => {
        await hub.publish('flood', data);
        const now = (await slowest(9)).filter(({ client }) => client !== 'keeps-up');
        return now.length === 2 && now;
    }, 60);
    assert.deepEqual(list.map(({ client, channels }) => [client, channels]), [['last', 3], ['second', 2]],
        'a channel of its own counts too');
    assert.ok(list[0].behind > list[1].behind && list[1].behind > 0);
    assert.deepEqual((await slowest(1)).map(({ client }) => client), ['last']);

    const top = await ctl(hub, ['top', '--count', '1', '--interval-ms', '10']);
    assert.match(top.out, /slowest clients\n +\d+ +3 {2}last\n +\d+ +2 {2}second\n/);
    assert.doesNotMatch((await ctl(hub, ['top', '--count', '1', '--interval-ms', '10', '--slowest', '0'])).out,
        /slowest/);

    last.wire.socket.resume();
    second.wire.socket.resume();
    await until('nobody behind', async () => (await slowest(9)).length === 0, 30);
    assert.ok(keepsUp.events.length > 0);
});

test('what is no number of streams is refused', async ({ hub }) => {
    for (const value of ['0', '101', 'x', '', '-1', '99999999999999']) {
        assert.equal((await hub.get(`/clients?slowest=${value}`)).status, 400, value);
    }
    assert.equal((await hub.request('HEAD', '/clients?slowest=5')).status, 200);
    assert.equal((await hub.get('/channels?slowest=0')).status, 200);
});
