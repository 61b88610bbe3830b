/*
 * A test is a name and an async function. Tests of one file share a fresh hub, in order; a test that
 * wants another hub passes its options, and has it for itself.
 *
 *     export const hubOptions = { args: ['--heartbeat-seconds', '1'] };   (optional)
 *     test('what holds', async ({ hub }) => { ... });
 *     test('what holds elsewhere', { hub: { env: { AUTH_TOKEN: 'x' } } }, async ({ hub }) => { ... });
 *     test('starts its own', { hub: null }, async ({ start }) => { const hub = await start({}); });
 *
 * The second form also takes `seconds`, the deadline of the whole test, and `defer(fn)` runs when the test
 * is over, whatever became of it. Tests with `waits: true` do little but wait for a time-out of a hub of
 * their own: those of a file run beside one another, before the others.
 */
import { Hub } from './hub.mjs';
import { within } from './until.mjs';

const registered = [];

export function test(name, options, run) {
    if (options.waits && options.hub === undefined) {
        throw new Error(`a test that runs beside others has no hub of its own: ${name}`);
    }
    registered.push(run === undefined ? { name, options: {}, run: options }
                                      : { name, options, run });
}

/* Thrown by a test that cannot be run on this machine; it is counted apart, never as passed. */
export class Skip extends Error {}

export class Report {
    passed = 0;
    failed = 0;
    skipped = 0;
    #times = [];

    pass(name, ms) {
        this.passed++;
        if (ms !== undefined) {
            this.#times.push({ name, ms });
        }
        console.log(`ok - ${name}${ms === undefined ? '' : ` (${ms} ms)`}`);
    }

    skip(name, reason) {
        this.skipped++;
        console.log(`skip - ${name}: ${reason}`);
    }

    fail(name, error, logs) {
        this.failed++;
        console.log(`not ok - ${name}`);
        console.log(String(error.stack ?? error).replace(/^/gm, '    '));
        for (const log of logs) {
            const lines = log.split('\n');
            const cut = lines.length > 200 ? [`... ${lines.length - 200} lines`] : [];
            console.log('    log of the hub:');
            console.log([...cut, ...lines.slice(-200)].join('\n').replace(/^/gm, '    | '));
        }
    }

    slowest(count) {
        return this.#times.sort((a, b) => b.ms - a.ms).slice(0, count)
            .map(({ name, ms }) => `${String(ms).padStart(6)} ms  ${name}`).join('\n');
    }

    summary() {
        const skipped = this.skipped > 0 ? `${this.skipped} skipped\n` : '';
        return `${skipped}${this.passed} passed, ${this.failed} failed`;
    }
}

async function runOne(entry, shared, defaults) {
    const own = [];
    const deferred = [];
    const start = async (options) => {
        const hub = await Hub.start({ ...defaults, ...options });
        own.push(hub);
        return hub;
    };
    let error = null;
    try {
        const { hub: wanted } = entry.options;
        const hub = wanted === undefined ? await shared() : wanted && (await start(wanted));
        const context = { hub, start, defer: (fn) => deferred.push(fn) };
        await within('the end of the test', entry.run(context), entry.options.seconds ?? 60);
    } catch (thrown) {
        error = thrown;
    }
    for (const fn of deferred.reverse()) {
        await Promise.resolve(fn()).catch((thrown) => (error ??= thrown));
    }
    for (const hub of own) {
        await hub.stop().catch((thrown) => (error ??= thrown));
    }
    if (error !== null) {
        error.hubLogs = error.hubLog !== undefined ? [error.hubLog] : own.map((hub) => hub.log);
    }
    return error;
}

/* Imports one file and runs those of its tests whose full name contains `only`. */
export async function runFile(url, title, only, report) {
    registered.length = 0;
    const module = await import(url);
    const entries = registered.filter((entry) => `${title}: ${entry.name}`.includes(only));
    let hub = null;
    const shared = async () => (hub ??= await Hub.start(module.hubOptions));
    const runAndTell = async (entry) => {
        const name = `${title}: ${entry.name}`;
        const begin = Date.now();
        /* What a file speaks, all of its hubs speak. */
        const error = await runOne(entry, shared, { tls: module.hubOptions?.tls });
        if (error === null) {
            report.pass(name, Date.now() - begin);
        } else if (error instanceof Skip) {
            report.skip(name, error.message);
        } else {
            report.fail(name, error, [...error.hubLogs, ...(hub === null ? [] : [hub.log])]);
        }
    };
    await Promise.all(entries.filter(({ options }) => options.waits).map(runAndTell));
    for (const entry of entries.filter(({ options }) => !options.waits)) {
        await runAndTell(entry);
        hub?.closeConnections();
        if (hub !== null && hub.exit !== null) {
            report.fail(`${title}: the hub stays alive`, new Error(JSON.stringify(hub.exit)),
                [hub.log]);
            hub = null;
        }
    }
    if (hub !== null) {
        await hub.stop().then(
            () => report.pass(`${title}: the hub ends in order`),
            (error) => report.fail(`${title}: the hub ends in order`, error, [hub.log]),
        );
    }
}
