/*
 * The statistics of the hub, once a second, wherever they come from: the stream of the channel `$stats`,
 * which wants the token, or else the route /stats, asked once a second.
 *
 * The stream is read with fetch, because EventSource sends no token but in the URL.
 */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { authorization, call, HubError } from './common.js';

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
    const reader = response.body.pipeThrough(new TextDecoderStream())
        .pipeThrough(new EventSourceParserStream()).getReader();
    for (;;) {
        const { value, done } = await reader.read();
        if (done) {
            return 200;
        }
        const statistics = JSON.parse(value.data);
        if ('shards' in statistics) { /* and no notice of the hub, such as of a gap */
            on.statistics(statistics, 'live');
        }
    }
}

/* Asks once a second for so long, or until the token changes. */
async function poll(on, how, ms) {
    const end = performance.now() + ms;
    let changed = false;
    document.addEventListener('spate-token', () => (changed = true), { once: true });
    while (performance.now() < end && !changed) {
        const began = performance.now();
        try {
            const response = await call('/stats', { seconds: 5 });
            on.statistics(await response.json(), how);
        } catch (error) {
            on.failed(error);
        }
        await pause(Math.max(0, began + SECOND_MS - performance.now()));
    }
}

/*
 * on: { statistics(object, 'live' | 'polled' | 'no token'), failed(HubError) }. Goes on for as long as the
 * page.
 */
export async function follow(on) {
    for (;;) {
        let status = 200;
        try {
            status = await readStream(on);
        } catch {
            on.failed(new HubError(0, 'The hub cannot be reached.'));
        }
        await poll(on, status === 401 ? 'no token' : 'polled', (status === 200 ? 1 : 60) * SECOND_MS);
    }
}
