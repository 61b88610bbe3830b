/*
 * The statistics of the hub, once a second, wherever they come from: the stream of the channel `$stats`,
 * which wants the token, or else the routes /stats and /debug/fanout, asked once a second.
 *
 * The stream is read with fetch, because EventSource sends no token but in the URL.
 */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { authorization, awayError, call } from './common.js';

const SECOND_MS = 1000;
const STREAM = '/sse/%24stats';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* Hands out what the stream says until it ends. Returns its status: 200 if there was such a stream. */
async function readStream(on) {
    const response = await fetch(STREAM, {
        headers: { Accept: 'text/event-stream', ...authorization() },
        cache: 'no-store',
    });
    if (!response.ok || !response.headers.get('Content-Type').startsWith('text/event-stream')) {
        await response.body?.cancel();
        return response.status === 200 ? 404 : response.status;
    }
    const take = {
        stats: (statistics) => on.statistics(statistics, 'live'),
        profile: on.profile,
        lag: on.lag,
    };
    const reader = response.body.pipeThrough(new TextDecoderStream())
        .pipeThrough(new EventSourceParserStream()).getReader();
    for (;;) {
        const { value, done } = await reader.read();
        if (done) {
            return 200;
        }
        take[value.event]?.(JSON.parse(value.data)); /* and no notice of the hub, such as of a gap */
    }
}

const ask = async (path) => (await call(path, { seconds: 5 })).json();

/* Asks once a second for so long, or until the token changes. */
async function poll(on, how, ms) {
    const end = performance.now() + ms;
    let changed = false;
    document.addEventListener('spate-token', () => (changed = true), { once: true });
    while (performance.now() < end && !changed) {
        const began = performance.now();
        try {
            const [statistics, profile] =
                await Promise.all([ask('/stats'), ask('/debug/fanout?format=json')]);
            on.statistics(statistics, how);
            on.profile(profile);
        } catch (error) {
            on.failed(error);
        }
        await pause(Math.max(0, began + SECOND_MS - performance.now()));
    }
}

/*
 * on: { statistics(object, 'live' | 'polled' | 'no token'), profile(object), lag(object of one shard),
 * failed(HubError) }; lag is told by the stream only. Goes on for as long as the page.
 */
export async function follow(on) {
    for (;;) {
        let status = 200;
        try {
            status = await readStream(on);
        } catch {
            on.failed(awayError());
        }
        await poll(on, status === 401 ? 'no token' : 'polled', (status === 200 ? 1 : 60) * SECOND_MS);
    }
}
