/*
 * /openapi.json is true and complete: a request provokes each answer that it promises, every answer
 * fits its schema, and every field of every schema is seen in one. The schemas allow no others.
 */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRequire } from 'node:module';
import { test } from './harness.mjs';
import { until } from './until.mjs';

const require = createRequire(import.meta.url);
const SwaggerParser = require('@apidevtools/swagger-parser');
const Ajv = require('ajv/dist/2020').default;
const addFormats = require('ajv-formats').default;

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..');
const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete', 'options', 'trace'];

/* Answers that nobody can provoke at will, with the reason. */
const UNPROVOKED = new Map([
    ['post /publish 409', 'two threads must meet at one key'],
    ['post /publish/{channel} 409', 'the same'],
]);

/* The JSON types of the data of the answers, by which to see that no field is left out. */
const ANSWER_SCHEMAS = ['Problem', 'Published', 'Health', 'Stats', 'Shard', 'Channel', 'SlowStream',
    'Disconnected', 'Gap', 'Fanout', 'FanoutShard', 'Measure', 'Phases'];

/* Reads the document as its readers do: references resolved, schemas compiled. */
class Specification {
    seen = new Set(); /* "method path status" */
    fields = new Map(); /* name of a schema -> fields seen */

    static async load(hub) {
        const self = new Specification();
        self.document = (await hub.get('/openapi.json')).json;
        self.ajv = new Ajv({ strict: false, allErrors: true });
        addFormats(self.ajv);
        self.ajv.addSchema(self.document, 'openapi');
        return self;
    }

    resolve(value) {
        return value?.$ref === undefined ? value : value.$ref.slice(2).split('/')
            .reduce((at, key) => at[key.replaceAll('~1', '/')], this.document);
    }

    *operations() {
        for (const [template, item] of Object.entries(this.document.paths)) {
            for (const method of METHODS.filter((name) => item[name] !== undefined)) {
                yield { template, method, operation: item[method] };
            }
        }
    }

    /* A validator of a schema anywhere in the document, whose references are local to it. */
    validator(schema) {
        const local = JSON.parse(JSON.stringify(schema), (key, value) =>
            key === '$ref' && value.startsWith('#') ? `openapi${value}` : value);
        return this.ajv.compile(local);
    }

    assertValid(schema, value, what) {
        const validate = this.validator(schema);
        const valid = validate(value);
        const problems = (validate.errors ?? []).map(({ instancePath, message, params }) =>
            `${instancePath} ${message} ${JSON.stringify(params)}`);
        assert.ok(valid, `${what}: ${JSON.stringify(value)}\n${problems.join('\n')}`);
    }

    /* The template's operation has answered so; `false` for a request that was not read. */
    check(method, template, response, { isDefault = false } = {}) {
        const what = `${method} ${template} ${response.status}`;
        const operation = this.document.paths[template]?.[method];
        assert.ok(operation, `${method} ${template} is not described`);
        const described = operation.responses[isDefault ? 'default' : response.status];
        assert.ok(described, `${what} is not described`);
        this.seen.add(isDefault ? `${method} ${template} default` : what);
        const answer = this.resolve(described);
        for (const [name, header] of Object.entries(answer.headers ?? {})) {
            const value = response.get(name.toLowerCase());
            assert.ok(value !== undefined || !header.required, `${what} without ${name}`);
            if (value !== undefined) {
                const isNumber = header.schema.type === 'integer';
                this.assertValid(header.schema, isNumber ? Number(value) : value, `${what} ${name}`);
            }
        }
        if (method === 'head' || response.status === 204) {
            assert.equal(response.body?.length ?? 0, 0, what);
            return;
        }
        const type = response.get('content-type');
        const content = answer.content?.[type];
        assert.ok(content, `${what}: ${type} is not described`);
        if (response.body !== undefined) {
            const value = type.includes('json') ? response.json : response.text;
            this.assertValid(content.schema, value, what);
            this.note(content.schema, value);
        }
    }

    /* Remembers the fields of the named schemas in a value. */
    note(schema, value) {
        const name = schema.$ref?.split('/').at(-1);
        const resolved = this.resolve(schema);
        for (const alternative of resolved.anyOf ?? []) {
            this.note(alternative, value);
        }
        if (Array.isArray(value)) {
            value.forEach((item) => this.note(resolved.items ?? {}, item));
        } else if (value !== null && typeof value === 'object' && resolved.properties) {
            for (const [field, inner] of Object.entries(value)) {
                if (!this.fields.has(name)) {
                    this.fields.set(name, new Set());
                }
                this.fields.get(name).add(field);
                this.note(resolved.properties[field] ?? {}, inner);
            }
        }
    }
}

/* What stands in the template's places: good values, unless the case says otherwise. */
function fill(template, values = {}) {
    const good = { channel: 'news', client: 'ada', status: 'busy', ...values };
    const filled = template.replace(/\{(\w+)\}/g, (_, name) => good[name]);
    const needsChannel = ['/sse', '/publish'].includes(template);
    const query = new URLSearchParams(values.query ?? (needsChannel ? 'channel=news' : '')).toString();
    return query === '' ? filled : `${filled}?${query}`;
}

const isStream = (template) => /^\/(sse|stream|api|sensor|v1)/.test(template);

test('it is valid OpenAPI 3.1, and so are its examples', async ({ hub }) => {
    const response = await hub.get('/openapi.json');
    assert.equal(response.status, 200);
    assert.equal(response.get('content-type'), 'application/json');
    assert.equal(response.text, readFileSync(path.join(root, 'hub/openapi.json'), 'utf8'));
    await SwaggerParser.validate(JSON.parse(response.text));
    const specification = await Specification.load(hub);
    const { document } = specification;
    assert.equal(document.openapi, '3.1.0');
    assert.equal(document.info.version, (await hub.get('/health')).json.version);
    let examples = 0;
    const visit = (value, at) => {
        if (value === null || typeof value !== 'object') {
            return;
        }
        const given = [...(value.example === undefined ? [] : [value.example]),
            ...Object.values(value.examples ?? {}).map((one) => one.value ?? one)];
        if (value.schema !== undefined) {
            for (const example of given) {
                specification.assertValid(value.schema, example, `example at ${at}`);
                examples++;
            }
        }
        for (const [key, inner] of Object.entries(value)) {
            visit(inner, `${at}/${key}`);
        }
    };
    visit(document, '#');
    assert.ok(examples > 50, `${examples} examples`);
    /* Whatever has a body in an answer, or takes one, shows an example of it. */
    for (const { template, method, operation } of specification.operations()) {
        for (const [status, described] of Object.entries(operation.responses)) {
            for (const content of Object.values(specification.resolve(described).content ?? {})) {
                assert.ok(content.example !== undefined || content.examples !== undefined,
                    `${method} ${template} ${status} has no example`);
            }
        }
    }
});

/* A page that shows the document fills in every example at once, and so do tools that test by it. */
test('the examples of an operation make one good request together', async ({ hub }) => {
    const specification = await Specification.load(hub);
    const stream = await hub.subscribe('/stream/ada');
    const encode = (type, value) => typeof value === 'string' ? value
        : type.endsWith('form-urlencoded') ? String(new URLSearchParams(value)) : JSON.stringify(value);
    for (const { template, method, operation } of specification.operations()) {
        const given = (operation.parameters ?? []).map((one) => specification.resolve(one))
            .filter(({ example }) => example !== undefined);
        const named = (where) => given.filter((one) => one.in === where)
            .flatMap(({ name, example }) => [example].flat().map((value) => [name, value]));
        const url = fill(template, { ...Object.fromEntries(named('path')), query: named('query') });
        const { content = {} } = specification.resolve(operation.requestBody) ?? {};
        const bodies = Object.entries(content).flatMap(([type, { examples = {} }]) =>
            Object.values(examples).map(({ value }) => [type.replace('*', 'plain'), value]));
        for (const [type, value] of bodies.length > 0 ? bodies : [[]]) {
            if (method === 'get' && isStream(template)) {
                continue; /* HEAD asks the same */
            }
            const response = await hub.request(method.toUpperCase(), url, {
                headers: { ...Object.fromEntries(named('header')), ...(type && { 'Content-Type': type }) },
                ...(type && { body: encode(type, value) }),
            });
            assert.ok(response.status < 300, `${method} ${url} ${type}: ${response.text}`);
        }
    }
    stream.close();
});

/* What generators of clients for Go and Python stumble over, as they are older than OpenAPI 3.1. */
test('its schemas keep to what generators of clients know', async ({ hub }) => {
    const { document } = await Specification.load(hub);
    const visit = (value, at) => {
        for (const [key, inner] of Object.entries(value ?? {})) {
            assert.ok(!['prefixItems', 'patternProperties', 'if'].includes(key), `${at}/${key}`);
            if (['items', 'not'].includes(key)) {
                assert.equal(typeof inner, 'object', `${at}/${key}`);
            }
            if (['const', 'enum'].includes(key)) {
                assert.ok(value.type, `${at} has no type`);
            }
            if (typeof inner === 'object') {
                visit(inner, `${at}/${key}`);
            }
        }
    };
    visit(document.components, '#');
    /* Names that differ in case and punctuation alone, or not at all, become one name in a language. */
    const plain = (names) => names.map((name) => name.toLowerCase().replace(/\W|_/g, ''));
    const { parameters, ...components } = document.components;
    for (const names of [plain(Object.values(components).flatMap(Object.keys)),
        plain(Object.values(parameters).map((one) => `${one.in} ${one.name} ${one.schema.maxLength}`))]) {
        assert.deepEqual(names.filter((name, i) => names.indexOf(name) !== i), []);
    }
});

test('its paths are the routes and the default aliases', async ({ hub }) => {
    const { document } = await Specification.load(hub);
    const source = readFileSync(path.join(root, 'hub/call.c'), 'utf8');
    const table = /routes\[\] = \{\n(.*?)\n\};/s.exec(source)[1];
    /* The pages are for people. */
    const routes = [...table.matchAll(/\{"([^}]*)"\}, (?!page_)/g)]
        .map((match) => `/${match[1].split('", "').join('/')}`);
    assert.ok(routes.length >= 15);
    const anonymous = Object.keys(document.paths).map((template) => template.replace(/\{\w+\}/g, '*'));
    const aliases = ['/stream', '/api/events', '/sensor-data-events', '/v1/feedbacks'];
    assert.deepEqual(new Set(anonymous), new Set([...routes, ...aliases]));
});

test('its methods are those that each path knows', async ({ hub }) => {
    const { document } = await Specification.load(hub);
    for (const [template, item] of Object.entries(document.paths)) {
        const response = await hub.request('OPTIONS', fill(template));
        assert.equal(response.status, 204, template);
        const allowed = response.get('allow').toLowerCase().split(', ');
        const described = METHODS.filter((name) => item[name] !== undefined);
        assert.deepEqual(new Set(described), new Set(allowed), template);
        for (const method of METHODS.filter((name) => !allowed.includes(name))) {
            const refused = await hub.request(method.toUpperCase(), fill(template));
            assert.ok([405, 501].includes(refused.status), `${method} ${template}`);
        }
    }
    const ids = [...Object.values(document.paths)].flatMap((item) =>
        METHODS.map((method) => item[method]?.operationId).filter((id) => id !== undefined));
    assert.equal(new Set(ids).size, ids.length);
});

/* ---- Every answer ---- */

async function provokeStreams(specification, hub) {
    for (const template of Object.keys(specification.document.paths).filter(isStream)) {
        const stream = await hub.subscribe(fill(template), { headers: { 'Last-Event-ID': 'bogus' } });
        await stream.received(1);
        specification.check('get', template, { status: 200, get: (name) => stream.head.get(name) });
        specification.note({ $ref: '#/components/schemas/Gap' }, JSON.parse(stream.events[0].data));
        stream.close();
        const bad = { query: 'channel=news&history=x' };
        const own = template.includes('{')
            ? { channel: '$x', client: '$x' } : { query: 'channel=news&client=$x' };
        for (const [values, status] of [[bad, 400], [own, 403]]) {
            const response = await hub.get(fill(template, values));
            assert.equal(response.status, status, template);
            specification.check('get', template, response);
        }
    }
}

async function provokePublish(specification, hub, template) {
    const values = (more) => ({ query: `${template === '/publish' ? 'channel=news&' : ''}${more}` });
    const cases = [
        [200, '', {}, 'text'],
        [200, '', { 'Content-Type': 'application/x-ndjson' }, '{"data":1}\n{"data":2}\n'],
        [200, '', { 'Content-Type': 'application/cloudevents+json' },
            JSON.stringify({ specversion: '1.0', id: template, source: '/', type: 't' })],
        [200, '', { 'ce-specversion': '1.0', 'ce-id': template, 'ce-source': '/', 'ce-type': 't' }, ''],
        [200, '', { 'Content-Type': 'application/cloudevents-batch+json' }, '[]'],
        [400, 'retry=x', {}, 'text'],
        [413, '', { 'Content-Type': 'application/x-ndjson' }, '{"data":1}\n'.repeat(1001)],
        [415, '', { 'Content-Type': 'image/png' }, 'x'],
        [422, '', {}, Buffer.from([0xff])],
        [403, '', { Origin: 'https://elsewhere.example' }, 'text'],
    ];
    for (const [status, query, headers, body] of cases) {
        const response = await hub.request('POST', fill(template, values(query)), { headers, body });
        assert.equal(response.status, status, `${template} ${response.text}`);
        specification.check('post', template, response);
    }
}

async function provokeStatuses(specification, hub) {
    const one = '/publish/{client}/status/{status}';
    const all = '/publish/status/{status}';
    const stream = await hub.subscribe('/stream/ada');
    for (const method of ['get', 'post']) {
        for (const [template, values, status] of [[one, {}, 200], [all, {}, 200],
            [one, { client: 'nobody' }, 404], [one, { client: '%01' }, 400],
            [one, { status: '%FF' }, 422], [all, { status: '%FF' }, 422]]) {
            const response = await hub.request(method.toUpperCase(), fill(template, values));
            assert.equal(response.status, status, `${method} ${template} ${response.text}`);
            specification.check(method, template, response);
        }
    }
    stream.close();
}

async function provokeSlow(specification, hub) {
    const stream = await hub.subscribe('/sse/flood');
    stream.wire.socket.pause();
    await until('a stream that is behind', async () => {
        await hub.publish('flood', 'x'.repeat(60000));
        const response = await hub.get('/clients?slowest=1');
        specification.check('get', '/clients', response);
        return response.json.length === 1;
    }, 60);
    stream.close();
}

async function provokeLooks(specification, hub) {
    const stream = await hub.subscribe('/sse/news?client=ada');
    await hub.publish('news', 'x');
    for (const template of ['/health', '/livez', '/readyz', '/stats', '/metrics', '/debug/fanout',
        '/debug/fanout?format=html', '/clients', '/channels', '/openapi.json']) {
        specification.check('get', template.replace(/\?.*/, ''), await hub.get(template));
    }
    specification.check('get', '/debug/fanout', await hub.get('/debug/fanout?format=x'));
    for (const template of ['/clients', '/channels']) {
        specification.check('get', template, await hub.get(`${template}?limit=x`));
        const deleting = template === '/clients' ? '/clients/{client}' : '/channels/{channel}';
        for (const values of [{}, { client: 'nobody', channel: 'nothing' }]) {
            const response = await hub.request('DELETE', fill(deleting, values));
            specification.check('delete', deleting, response);
        }
    }
    stream.close();
}

/* The methods that look have a HEAD with the same answers, and every path has OPTIONS. */
async function provokeHeads(specification, hub) {
    for (const { template, method, operation } of specification.operations()) {
        if (method === 'options') {
            const headers = { Origin: 'https://a.example', 'Access-Control-Request-Method': 'GET' };
            specification.check('options', template,
                await hub.request('OPTIONS', fill(template), { headers }));
        }
        if (method !== 'head') {
            continue;
        }
        const query = template === '/sse' ? 'channel=news&' : '';
        for (const status of Object.keys(operation.responses)) {
            const values = { 200: {}, 400: { query: `${query}history=x&limit=x&format=x` },
                403: template.includes('{') ? { channel: '$x', client: '$x' }
                    : { query: `${query}client=$x` } }[status];
            if (values !== undefined) {
                const response = await hub.request('HEAD', fill(template, values));
                assert.equal(response.status, Number(status), `HEAD ${template}`);
                specification.check('head', template, response);
            }
        }
    }
}

async function provokeRights(specification, start) {
    const hub = await start({ env: { AUTH_TOKEN: 'secret' } });
    for (const { template, method, operation } of specification.operations()) {
        if (operation.security === undefined) {
            continue;
        }
        /* Who may publish may watch the hub; other streams are open to all. */
        const values = isStream(template) ? { channel: '$stats', query: 'channel=$stats' } : {};
        for (const [headers, status] of [[{}, 401], [{ 'Sec-Fetch-Site': 'cross-site' }, 403]]) {
            const response = await hub.request(method.toUpperCase(), fill(template, values),
                { headers });
            assert.equal(response.status, status, `${method} ${template}`);
            specification.check(method, template, response);
        }
    }
}

/* Every operation when there are as many connections as there may be. */
async function provokeBusy(specification, start) {
    const hub = await start({ args: ['--connections-per-address-max', '1'] });
    const stream = await hub.subscribe('/sse/news');
    for (const { template, method } of specification.operations()) {
        const wire = await hub.connect();
        wire.send(`${method.toUpperCase()} ${fill(template)} HTTP/1.1\r\nHost: hub\r\n\r\n`);
        const response = await wire.response({ method: method.toUpperCase() });
        assert.equal(response.status, 503, `${method} ${template}`);
        specification.check(method, template, response);
        await wire.end();
    }
    stream.close();
}

async function provokeDraining(specification, start) {
    const hub = await start({ args: ['--drain-seconds', '5', '--shards', '1'] });
    const wire = await hub.connect();
    wire.send('GET /readyz HTTP/1.1\r\nHost: hub\r\n\r\n'); /* accepted before the drain begins */
    assert.equal((await wire.response()).status, 200);
    /* A shard without streams answers for half a second only: one of so many goes late. */
    const streams = await Promise.all(Array.from({ length: 16 }, () => hub.subscribe('/sse/news')));
    hub.signal('SIGTERM');
    await hub.logged(/draining|drain/);
    wire.send('GET /readyz HTTP/1.1\r\nHost: hub\r\n\r\n');
    const response = await wire.response();
    assert.equal(response.status, 503);
    specification.check('get', '/readyz', response);
    streams.forEach((stream) => stream.close());
}

/* Requests that are no requests: the same for every operation, so tried at one after another. */
async function provokeUnreadable(specification, start) {
    const hub = await start({ args: ['--body-bytes-max', '16', '--header-seconds', '1'] });
    const long = 'x'.repeat(20000);
    const heads = {
        400: (line) => `${line} HTTP/1.1\r\n\r\n`,
        408: (line) => `${line} HTTP/1.1\r\nHost: hub\r\n`,
        413: (line) => `${line} HTTP/1.1\r\nHost: hub\r\nContent-Length: 17\r\n\r\n`,
        414: (line) => `${line}${long} HTTP/1.1\r\nHost: hub\r\n\r\n`,
        417: (line) => `${line} HTTP/1.1\r\nHost: hub\r\nExpect: x\r\n\r\n`,
        431: (line) => `${line} HTTP/1.1\r\nHost: hub\r\nX: ${long}\r\n\r\n`,
        501: (line) => `${line} HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: gzip\r\n\r\n`,
        505: (line) => `${line} HTTP/2.1\r\nHost: hub\r\n\r\n`,
    };
    const statuses = Object.keys(heads);
    let next = 0;
    for (const { template, method } of specification.operations()) {
        /* One second is enough to wait once. */
        const status = next === 1 || statuses[next % statuses.length] !== '408'
            ? statuses[next % statuses.length] : '400';
        next++;
        const wire = await hub.connect();
        wire.send(heads[status](`${method.toUpperCase()} ${fill(template)}`));
        const response = await wire.response({ method: 'GET' });
        assert.equal(response.status, Number(status), `${method} ${template}`);
        specification.check(method === 'head' ? 'get' : method, template, response,
            { isDefault: true });
        if (method === 'head') {
            specification.seen.add(`head ${template} default`);
        }
        wire.destroy();
    }
    assert.ok(next > statuses.length);
}

test('every answer that it promises can be had, and fits', { seconds: 120, hub: {} },
    async ({ hub, start }) => {
        const specification = await Specification.load(hub);
        await provokeStreams(specification, hub);
        await provokePublish(specification, hub, '/publish/{channel}');
        await provokePublish(specification, hub, '/publish');
        await provokeStatuses(specification, hub);
        await provokeSlow(specification, hub);
        await provokeLooks(specification, hub);
        await provokeHeads(specification, hub);
        await provokeRights(specification, start);
        await provokeBusy(specification, start);
        await provokeDraining(specification, start);
        await provokeUnreadable(specification, start);
        const promised = new Set([...specification.operations()].flatMap(
            ({ template, method, operation }) => Object.keys(operation.responses)
                .map((status) => `${method} ${template} ${status}`)));
        const missing = [...promised].filter((one) => !specification.seen.has(one)
            && !UNPROVOKED.has(one));
        assert.deepEqual(missing, []);
        for (const name of ANSWER_SCHEMAS) {
            const { properties } = specification.document.components.schemas[name];
            assert.deepEqual(Object.keys(properties).filter((field) =>
                !specification.fields.get(name)?.has(field)), [], `fields of ${name} never seen`);
        }
    });

test('its schema of a CloudEvent takes what the hub takes', async ({ hub }) => {
    const specification = await Specification.load(hub);
    const validate = specification.validator({ $ref: '#/components/schemas/CloudEvent' });
    const least = { specversion: '1.0', id: '1', source: '/', type: 't' };
    const cases = [{}, { time: '2026-11-21T06:00:00Z' }, { data: null }, { ext: 5 }, { data_base64: null },
        { data_base64: 'AQ==' }, { subject: null }, { id: '' }, { specversion: '0.3' }, { time: 'x' },
        { Ext: 1 }, { data: 1, data_base64: 'AQ==' }, { source: 'a b' }, { subject: '' }, { type: 1 }];
    for (const [i, more] of cases.entries()) {
        const event = { ...least, id: `schema-${i}`, ...more };
        const { status } = await hub.request('POST', '/publish/schema', {
            headers: { 'Content-Type': 'application/cloudevents+json' }, body: JSON.stringify(event) });
        assert.equal(validate(event), status === 200, JSON.stringify(event));
    }
});

test('the parameters that it names are read', async ({ hub }) => {
    const specification = await Specification.load(hub);
    await hub.publish('read', 'one', { query: '?event=e&retry=5' });
    for (const query of ['history=1', 'since=0', 'last_event_id=earliest', 'lastEventId=earliest',
        'lastEventID=earliest']) {
        const stream = await hub.subscribe(`/sse/read?${query}&client=me`);
        await stream.received(1);
        stream.close();
    }
    const both = await hub.subscribe('/sse?canal=read&channel=more&client=me');
    await until('the client', async () => (await hub.get('/clients')).json.includes('me'));
    assert.deepEqual((await hub.get('/clients?limit=0')).json, []);
    for (const query of ['canal=read&msg=a', 'channel=more&data=b']) {
        assert.equal((await hub.request('POST', `/publish?${query}`)).status, 200);
    }
    await both.received(2);
    const named = new Set([...specification.operations()].flatMap(({ operation }) =>
        (operation.parameters ?? []).map((one) => specification.resolve(one))
            .filter((one) => one.in === 'query').map((one) => one.name)));
    assert.deepEqual(named, new Set(['channel', 'canal', 'client', 'last_event_id', 'history',
        'since', 'msg', 'data', 'event', 'retry', 'limit', 'after',
        'slowest', 'format']));
    /* Which of them each path reads; in a path and in the header too. */
    const stream = 'client last_event_id history since Last-Event-ID';
    const publish = 'msg data event retry Idempotency-Key ce-specversion ce-id ce-source ce-type '
        + 'ce-subject ce-time ce-dataschema';
    const byPath = {
        '/sse/{channel}': `channel ${stream}`, '/sse': `channel canal ${stream}`,
        '/stream/{client}': `client ${stream}`, '/stream': stream, '/api/events': stream,
        '/sensor-data-events': stream, '/v1/feedbacks': stream,
        '/publish/{channel}': `channel ${publish}`, '/publish': `channel canal ${publish}`,
        '/publish/{client}/status/{status}': 'client status', '/publish/status/{status}': 'status',
        '/clients': 'limit after slowest', '/channels': 'limit after', '/debug/fanout': 'format',
        '/clients/{client}': 'client', '/channels/{channel}': 'channel',
    };
    for (const { template, method, operation } of specification.operations()) {
        const names = (operation.parameters ?? []).map((one) => specification.resolve(one).name);
        const inPath = [...template.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).join(' ');
        assert.equal(names.join(' '), method === 'options' ? inPath : byPath[template] ?? '',
            `${method} ${template}`);
    }
    /* Nor does the source read others; other spellings are in the words, for the sake of generators. */
    const { description } = specification.resolve({ $ref: '#/components/parameters/last_event_id' });
    for (const [, spelling] of description.matchAll(/`(lastEvent\w+)`/g)) {
        named.add(spelling);
    }
    const sources = ['resume_request.c', ...readdirSync(path.join(root, 'hub')).filter((file) =>
        file.endsWith('.c')
        && readFileSync(path.join(root, 'hub', file), 'utf8').includes('call_parameter('))];
    assert.ok(sources.length > 4);
    for (const file of sources) {
        const source = readFileSync(path.join(root, 'hub', file), 'utf8');
        for (const [, name] of source.matchAll(/span_is\(name, "(\w+)"\)/g)) {
            assert.ok(named.has(name) || name === 'broadcast',
                `${file} reads a parameter ${name}, which is not described`);
        }
    }
});
