/* The page of the streams: their state, their reconnections, and what came meanwhile. */
import { $, element, HubError, publish, showNotice } from './common.js';
import { gapText, isMultiplexed, Live, messageList, showState, STREAMS_MAX_REASON, streamsMax }
    from './live.js';
import { simulator } from './simulate.js';

const COMPACT_FROM = 9; /* so many cards are made smaller */

const streams = new Map(); /* Live -> what closes it */

function showCount() {
    const over = isMultiplexed() ? 'HTTP/2, over one connection' : 'HTTP/1.1, each over its own connection';
    const open = [...streams.keys()].filter(({ state }) => state === 'open').length;
    $('outcome').textContent = `${streams.size} ${streams.size === 1 ? 'stream' : 'streams'}, ${open} open; ${
        over}.`;
    $('close-all').disabled = streams.size === 0;
    $('cards').classList.toggle('compact', streams.size >= COMPACT_FROM);
}

function factList(names) {
    const values = Object.fromEntries(names.map((name) => [name, element('dd', {}, '–')]));
    const list = element('dl', { className: 'facts' },
        ...names.flatMap((name) => [element('dt', {}, name), values[name]]));
    return { list, set: (name, value) => (values[name].textContent = value) };
}

/* Says what a reconnection brought: the events that came at once, before the present ones. */
const awayText = (ms) => `Back after ${(ms / 1000).toFixed(1)} s.`;

function openStream(channel) {
    const { list, add } = messageList(`Events of ${channel}`);
    const facts = factList(['events', 'reconnects', 'last id']);
    const pill = element('span', { className: 'pill', dataset: { state: 'connecting' } }, 'connecting');
    const close = element('button', { type: 'button', className: 'quiet', ariaLabel: `Close ${channel}` },
        '✕');
    const card = element('article', { className: 'card', dataset: { channel } },
        element('div', { className: 'card-head' }, element('h2', {}, channel), pill, close),
        facts.list, list);
    let count = 0;
    facts.set('events', '0');
    facts.set('reconnects', '0');
    const live = new Live(`/sse/${encodeURIComponent(channel)}`, [], {
        state: () => {
            showState(pill, live);
            facts.set('reconnects', String(live.reconnects));
            showCount();
        },
        event: ({ data, lastEventId }) => {
            count++;
            facts.set('events', String(count));
            facts.set('last id', lastEventId);
            add(data);
        },
        gap: (gap) => add(gapText(gap), 'told'),
        back: (ms) => add(awayText(ms), 'told'),
    });
    const end = () => {
        live.close();
        streams.delete(live);
        card.remove();
        showCount();
    };
    streams.set(live, end);
    close.addEventListener('click', () => {
        end();
        $('channel').focus();
    });
    $('cards').append(card);
    showCount();
}

$('open').addEventListener('submit', (event) => {
    event.preventDefault();
    const wanted = $('count').valueAsNumber;
    const count = Math.min(wanted, streamsMax() - streams.size);
    for (let i = 0; i < count; i++) {
        openStream($('channel').value);
    }
    if (count < wanted) {
        showNotice(new HubError(0, `This page opens ${streamsMax()} streams at most. ${STREAMS_MAX_REASON}`));
    }
});
$('close-all').addEventListener('click', () => {
    streams.forEach((end) => end());
    $('channel').focus();
});
simulator($('simulate'), () =>
    publish('stream', new Date().toLocaleTimeString(), { event: 'message' }));
$('command').textContent = `spatectl --url ${location.origin} feed clock`;

openStream('stream');
