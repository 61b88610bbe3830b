/* The routes that look at the hub, the two that clear things away, and what browsers ask first. */
import assert from 'node:assert/strict';
import { test } from './harness.mjs';
import { until } from './until.mjs';

const GOOD = 'https://good.example';
const EVIL = 'http://evil.example';

function assertProblem(response, status) {
    assert.equal(response.status, status, `${response.status} ${response.text}`);
    assert.equal(response.get('content-type'), 'application/problem+json');
    assert.equal(response.json.status, status);
    assert.equal(typeof response.json.title, 'string');
    assert.equal(typeof response.json.detail, 'string');
}

for (const path of ['/health', '/livez', '/readyz']) {
    test(path, async ({ hub }) => {
        const response = await hub.get(path);
        assert.equal(response.status, 200);
        assert.equal(response.get('content-type'), 'application/json');
        assert.equal(response.json.status, 'ok');
    });
}

test('/stats has its fields, and they count', { hub: {} }, async ({ hub }) => {
    const before = await hub.stats();
    for (const name of ['channels', 'clients', 'published', 'deliveries', 'sends', 'bytes_sent', 'gaps',
        'slow_disconnects', 'uptime_seconds']) {
        assert.equal(typeof before[name], 'number', name);
    }
    assert.ok(['io_uring', 'epoll'].includes(before.io), before.io);
    assert.ok(Array.isArray(before.shards) && before.shards.length >= 1);
    assert.equal(before.published, 0);
    assert.equal(before.clients, 0);
    const streams = [await hub.subscribe('/sse/s'), await hub.subscribe('/sse/s'),
        await hub.subscribe('/sse/t')];
    for (let i = 0; i < 5; i++) {
        await hub.publish('s', `message ${i}`);
    }
    await streams[0].received(5);
    await streams[1].received(5);
    const after = await until('the counters', async () => {
        const stats = await hub.stats();
        return stats.deliveries >= 10 && stats;
    });
    assert.equal(after.published, 5);
    assert.equal(after.deliveries, 10);
    assert.equal(after.clients, 3);
    assert.equal(after.channels, 2);
    assert.ok(after.sends >= 2);
    assert.ok(after.bytes_sent > 10 * 'message 0'.length);
    assert.ok(after.uptime_seconds >= before.uptime_seconds);
    assert.equal(after.gaps, 0);
    streams.forEach((stream) => stream.close());
    await until('nobody left', async () => (await hub.stats()).clients === 0);
});

test('a channel that nobody uses any more is forgotten',
    { waits: true, hub: { args: ['--channel-idle-seconds', '1'] } }, async ({ hub }) => {
        const streams = await Promise.all(['a', 'b', 'b'].map((name) => hub.subscribe(`/sse/${name}`)));
        assert.equal((await hub.stats()).channels, 2);
        streams.forEach((stream) => stream.close());
        await until('no channel left', async () => (await hub.stats()).channels === 0);
    });

/* An entry of a list is the name, or an object that has it. */
const nameOf = (entry) => typeof entry === 'string' ? entry
                                                    : entry.client ?? entry.channel ?? entry.id
                                                      ?? entry.name;

async function page(hub, path, limit) {
    const names = [];
    for (;;) {
        const after = names.length > 0 ? `&after=${encodeURIComponent(names.at(-1))}` : '';
        const response = await hub.get(`${path}?limit=${limit}${after}`);
        assert.equal(response.status, 200);
        assert.ok(Array.isArray(response.json));
        assert.ok(response.json.length <= limit, `${response.json.length} of at most ${limit}`);
        if (response.json.length === 0) {
            return names;
        }
        names.push(...response.json.map(nameOf));
        assert.equal(new Set(names).size, names.length, `a name twice in ${names}`);
        assert.ok(names.length < 1000, 'the pages do not end');
    }
}

const MANY = Array.from({ length: 25 }, (_, i) => `n${String(i).padStart(2, '0')} é`);

test('/clients is a plain array of ids, and can be paged', { hub: {} }, async ({ hub }) => {
    assert.deepEqual((await hub.get('/clients')).json, []);
    for (const name of MANY) {
        await hub.subscribe(`/stream/${encodeURIComponent(name)}`);
    }
    const response = await hub.get('/clients');
    assert.equal(response.get('content-type'), 'application/json');
    assert.deepEqual(response.json.sort(), MANY);
    assert.deepEqual((await page(hub, '/clients', 7)).sort(), MANY);
});

test('/channels is an array, and can be paged', { hub: {} }, async ({ hub }) => {
    assert.deepEqual((await hub.get('/channels')).json, []);
    for (const name of MANY) {
        await hub.publish(name, 'x');
    }
    const response = await hub.get('/channels');
    assert.deepEqual(response.json.map(nameOf).sort(), MANY);
    assert.deepEqual((await page(hub, '/channels', 7)).sort(), MANY);
});

for (const query of ['limit=x', 'limit=-1', 'limit=']) {
    test(`/clients?${query} is refused`, async ({ hub }) => {
        assertProblem(await hub.get(`/clients?${query}`), 400);
    });
}

test('DELETE /clients/x ends its streams and no others', async ({ hub }) => {
    const gone = [await hub.subscribe('/stream/gone'), await hub.subscribe('/stream/gone')];
    const stays = await hub.subscribe('/stream/stays');
    const response = await hub.request('DELETE', '/clients/gone');
    assert.ok([200, 202, 204].includes(response.status), `status ${response.status}`);
    for (const stream of gone) {
        await stream.end();
        assert.ok(stream.finished, 'the stream ends with its last chunk');
    }
    assert.equal((await hub.get('/publish/stays/status/x')).status, 200);
    await stays.received(1);
    await until('the client leaving',
        async () => !(await hub.get('/clients')).json.includes('gone'));
    assertProblem(await hub.request('DELETE', '/clients/gone'), 404);
});

/* Clients keep it for their next request: closing it unannounced would take that down. */
test('a connection outlives the stream that was ended on it', async ({ hub }) => {
    const wire = await hub.connect();
    const lines = (...more) => `${['Host: hub', ...more].join('\r\n')}\r\n\r\n`;
    const publish = `POST /publish/again HTTP/1.1\r\n${lines('Content-Length: 1')}x`;
    const stream = async (behind, ...more) => {
        wire.send(`GET /stream/again HTTP/1.1\r\n${lines(...more)}${behind}`);
        await until('the client', async () => (await hub.get('/clients')).json.includes('again'));
        assert.equal((await hub.request('DELETE', '/clients/again')).json.disconnected, 1);
        return wire.response();
    };
    for (let i = 0; i < 3; i++) {
        assert.equal((await stream('')).get('connection'), undefined);
        wire.send(publish);
        assert.equal((await wire.response({ method: 'POST' })).status, 200);
        await until('the client leaving', async () => !(await hub.get('/clients')).json.includes('again'));
    }
    assert.equal((await stream('', 'Connection: close')).get('connection'), 'close');
    await wire.when('the end', () => wire.ended);
});

test('input behind the request for a stream is thrown away, and the connection with it', async ({ hub }) => {
    const wire = await hub.connect();
    wire.send('GET /stream/behind HTTP/1.1\r\nHost: hub\r\n\r\nGET /health HTTP/1.1\r\nHost: hub\r\n\r\n');
    await until('the client', async () => (await hub.get('/clients')).json.includes('behind'));
    assert.equal((await hub.request('DELETE', '/clients/behind')).status, 200);
    assert.match((await wire.response()).text, /^retry: /m);
    await wire.when('the end', () => wire.ended);
});

test('DELETE /channels/x forgets its history', async ({ hub }) => {
    for (let i = 0; i < 3; i++) {
        await hub.publish('forget', `old ${i}`);
    }
    const before = await hub.subscribe('/sse/forget?history=10');
    await before.received(3);
    before.close();
    const response = await hub.request('DELETE', '/channels/forget');
    assert.ok([200, 202, 204].includes(response.status), `status ${response.status}`);
    const after = await hub.subscribe('/sse/forget?history=10');
    await hub.publish('forget', 'new');
    await after.received(1);
    assert.deepEqual(after.data, ['new']);
    assertProblem(await hub.request('DELETE', '/channels/never-was'), 404);
});

for (const path of ['/clients/x', '/channels/x']) {
    test(`DELETE ${path} needs the token`, { hub: { env: { AUTH_TOKEN: 's3cret-token' } } },
        async ({ hub }) => {
            assertProblem(await hub.request('DELETE', path), 401);
            const headers = { Authorization: 'Bearer s3cret-token' };
            assertProblem(await hub.request('DELETE', path, { headers }), 404);
        });
}

test('404 is a problem document', async ({ hub }) => {
    for (const path of ['/nowhere', '/publish', '/health/x', '/stats/', '/%2e%2e/etc/passwd', '//']) {
        const response = await hub.get(path);
        assert.ok([404, 405].includes(response.status), `${path}: ${response.status}`);
        assert.equal(response.get('content-type'), 'application/problem+json');
    }
});

for (const [method, path, allowed] of [['POST', '/health', 'GET'], ['DELETE', '/stats', 'GET'],
    ['PUT', '/publish/x', 'POST'], ['GET', '/publish/x', 'POST'], ['POST', '/sse/x', 'GET'],
    ['DELETE', '/stream/x', 'GET'], ['PATCH', '/clients', 'GET'], ['POST', '/clients/x', 'DELETE'],
    ['FROBNICATE', '/health', 'GET']]) {
    test(`405 for ${method} ${path}`, async ({ hub }) => {
        const response = await hub.request(method, path, { body: method === 'GET' ? undefined : '' });
        assertProblem(response, 405);
        const methods = (response.get('allow') ?? '').split(/ *, */);
        assert.ok(methods.includes(allowed), `Allow: ${methods}`);
        assert.ok(!methods.includes(method));
    });
}

test('reading is open to pages of every origin by default, without credentials', async ({ hub }) => {
    for (const path of ['/health', '/stats', '/clients']) {
        const response = await hub.get(path, { Origin: EVIL });
        assert.equal(response.get('access-control-allow-origin'), '*', path);
        assert.equal(response.get('access-control-allow-credentials'), undefined);
    }
    const stream = await hub.subscribe('/sse/cors', { headers: { Origin: EVIL } });
    assert.equal(stream.head.get('access-control-allow-origin'), '*');
    assert.equal(stream.head.get('access-control-allow-credentials'), undefined);
});

test('without an Origin nothing is said about it that could be cached wrongly',
    { hub: { args: ['--cors-origin', GOOD] } }, async ({ hub }) => {
        const response = await hub.get('/health');
        assert.equal(response.get('access-control-allow-origin'), undefined);
        assert.match(response.get('vary') ?? '', /\borigin\b/i);
    });

test('exact origins are answered by name, with credentials and Vary',
    { hub: { args: ['--cors-origin', GOOD, '--cors-origin', 'http://127.0.0.1:9'] } },
    async ({ hub }) => {
        for (const origin of [GOOD, 'http://127.0.0.1:9']) {
            const stream = await hub.subscribe('/sse/cors', { headers: { Origin: origin } });
            assert.equal(stream.head.get('access-control-allow-origin'), origin);
            assert.equal(stream.head.get('access-control-allow-credentials'), 'true');
            assert.match(stream.head.get('vary'), /\borigin\b/i);
        }
        const other = await hub.get('/health', { Origin: EVIL });
        assert.equal(other.get('access-control-allow-origin'), undefined);
        assert.equal(other.get('access-control-allow-credentials'), undefined);
    });

function preflight(hub, path, origin, method, headers = 'authorization,content-type') {
    return hub.request('OPTIONS', path, {
        headers: {
            Origin: origin,
            'Access-Control-Request-Method': method,
            'Access-Control-Request-Headers': headers,
        },
    });
}

test('a preflight for publishing is granted to an allowed origin',
    { hub: { args: ['--cors-origin', GOOD] } }, async ({ hub }) => {
        const response = await preflight(hub, '/publish/x', GOOD, 'POST');
        assert.ok([200, 204].includes(response.status), `status ${response.status}`);
        assert.equal(response.get('access-control-allow-origin'), GOOD);
        assert.match(response.get('access-control-allow-methods') ?? '', /\bPOST\b/);
        const headers = (response.get('access-control-allow-headers') ?? '').toLowerCase();
        for (const name of ['authorization', 'content-type', 'idempotency-key']) {
            assert.ok(headers.includes(name), `${name} in ${headers}`);
        }
        const evil = await preflight(hub, '/publish/x', EVIL, 'POST');
        assert.equal(evil.get('access-control-allow-origin'), undefined);
    });

test('a preflight for a stream allows Last-Event-ID', async ({ hub }) => {
    const response = await preflight(hub, '/sse/x', EVIL, 'GET', 'last-event-id,authorization');
    assert.ok([200, 204].includes(response.status), `status ${response.status}`);
    assert.equal(response.get('access-control-allow-origin'), '*');
    const headers = (response.get('access-control-allow-headers') ?? '').toLowerCase();
    assert.ok(headers.includes('last-event-id'), headers);
});

test('OPTIONS without an origin tells the methods', async ({ hub }) => {
    const response = await hub.request('OPTIONS', '/publish/x');
    assert.ok([200, 204].includes(response.status), `status ${response.status}`);
    assert.match(response.get('allow') ?? '', /\bPOST\b/);
});

test('HEAD on what can be read', async ({ hub }) => {
    for (const path of ['/health', '/stats', '/clients', '/channels']) {
        const response = await hub.request('HEAD', path);
        assert.equal(response.status, 200, path);
        assert.equal(response.get('content-type'), 'application/json');
    }
});
