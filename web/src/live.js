/*
 * A stream of the hub in the browser's own EventSource, with what EventSource does not say: how often
 * it reconnected, how long it was away, and why it was refused.
 */
import { awayError, clearAway, clearNotice, element, HubError, reasonOf, showNotice, timeOf }
    from './common.js';

const AGAIN_MS = 5000;

/* Whether all streams of this browser share one connection. */
export const isMultiplexed = () =>
    ['h2', 'h3'].includes(performance.getEntriesByType('navigation')[0]?.nextHopProtocol);

/*
 * How many streams a page opens. Over HTTP/1.1 a browser has six connections to a host, for all tabs
 * together, and publishing needs one too.
 */
export const streamsMax = () => (isMultiplexed() ? 60 : 4);

export const STREAMS_MAX_REASON = 'Over HTTP/1.1 a browser has six connections to a hub, all tabs '
    + 'together, and each stream takes one. Over HTTP/2 dozens of streams share one connection.';

export class Live {
    state = 'connecting'; /* 'open', or 'closed': refused, and tried again after a while */
    reconnects = 0;
    lastId = '';
    error = null; /* why it is closed: a HubError */
    #url;
    #types;
    #on;
    #source = null;
    #lostAt = 0;
    #timer = 0;
    #ended = false;

    /*
     * url      path and query
     * types    of the events beside 'message'
     * on       { state(live), event({ type, data, lastEventId }), gap(data), back(awayMs) }
     */
    constructor(url, types, on) {
        this.#url = url;
        this.#types = types;
        this.#on = on;
        this.#open();
    }

    close() {
        this.#ended = true;
        clearTimeout(this.#timer);
        this.#source.close();
    }

    #open() {
        const url = new URL(this.#url, location.href);
        if (this.lastId !== '') {
            url.searchParams.set('last_event_id', this.lastId);
        }
        const source = new EventSource(url);
        this.#source = source;
        /* A publisher may give its events the types open and error too. */
        source.onopen = (event) => event instanceof MessageEvent || this.#opened();
        source.onerror = (event) => event instanceof MessageEvent || this.#failed(url);
        for (const type of ['message', ...this.#types]) {
            source.addEventListener(type, (event) => {
                this.lastId = event.lastEventId;
                this.#on.event?.(event);
            });
        }
        source.addEventListener('spate.gap', (event) => {
            this.lastId = event.lastEventId || this.lastId;
            this.#on.gap?.(JSON.parse(event.data));
        });
    }

    #turn(state) {
        this.state = state;
        this.#on.state?.(this);
    }

    #opened() {
        const lostAt = this.#lostAt;
        this.#lostAt = 0;
        this.error = null;
        this.reconnects += lostAt === 0 ? 0 : 1;
        this.#turn('open');
        if (lostAt !== 0) {
            this.#on.back?.(performance.now() - lostAt);
        }
    }

    #failed(url) {
        this.#lostAt ||= performance.now();
        if (this.#source.readyState !== EventSource.CLOSED) {
            this.#turn('connecting'); /* it tries again by itself */
            return;
        }
        this.#turn('closed');
        this.#explain(url);
        this.#timer = setTimeout(() => this.#open(), AGAIN_MS);
    }

    /* EventSource does not tell why it was refused; the same request does. */
    async #explain(url) {
        const abort = new AbortController();
        try {
            const response = await fetch(url, { signal: abort.signal, cache: 'no-store' });
            if (!response.ok) {
                this.error = new HubError(response.status, await reasonOf(response));
            }
        } catch {
            this.error = awayError();
        }
        abort.abort();
        if (!this.#ended && this.error !== null && this.state === 'closed') {
            this.#on.state?.(this);
        }
    }
}

/* ---- What the pages show of a stream. */

const WORDS = { connecting: 'connecting', open: 'open', closed: 'refused' };
const MESSAGES_MAX = 200;

/* In the pill; and above the page, if there is a reason why it is refused. */
export function showState(pill, live) {
    if (live.error !== null) {
        pill.error = live.error;
        showNotice(live.error);
    } else if (live.state === 'open') {
        clearNotice(pill.error ?? null); /* and no notice of anything else */
        clearAway();
    }
    pill.dataset.state = live.state;
    pill.textContent = live.state === 'connecting' && live.lastId + live.reconnects !== '0'
        ? 'reconnecting' : WORDS[live.state];
}

export function gapText({ reason }) {
    const why = {
        expired: 'they are no longer retained',
        epoch: 'the hub was restarted, and it keeps its events in memory',
        future: 'the last id is newer than the newest event',
        malformed: 'the last id is not one of this hub',
    };
    return `Events are missing: ${why[reason] ?? reason}.`;
}

/* A list of messages that stays at its end, unless somebody scrolled up to read. */
export function messageList(label) {
    const empty = element('li', { className: 'empty' }, 'No messages yet.');
    const items = element('ol', {}, empty);
    const list = element('div', { className: 'messages', tabIndex: 0, role: 'log', ariaLabel: label },
        items);
    const add = (text, className = '') => {
        const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
        empty.remove();
        items.append(element('li', { className }, element('span', { dir: 'auto' }, text), timeOf()));
        if (items.childElementCount > MESSAGES_MAX) {
            items.firstElementChild.remove();
        }
        if (atEnd) {
            list.scrollTop = list.scrollHeight;
        }
    };
    return { list, add };
}
