/* The channels: those whose subscribers wait longest, and those with the most events. */
import { $, call, element } from './common.js';
import { bytesText, compact, timeText, whole } from './format.js';

const LIMIT = 1000;
const SHOWN = 12;

/* Fills a table. columns: [title, text of a row]; the first is the row's head. */
function showRows(id, columns, rows) {
    const head = $(`${id}-head`);
    if (head.childElementCount === 0) {
        head.append(...columns.map(([title]) => element('th', { scope: 'col' }, title)));
    }
    $(id).replaceChildren(...rows.slice(0, SHOWN).map((row) => element('tr', {},
        element('th', { scope: 'row', className: 'name' }, columns[0][1](row)),
        ...columns.slice(1).map(([, text]) => element('td', {}, text(row))))));
    $(id).closest('table').hidden = rows.length === 0;
}

/* ---- The slowest: what each shard tells of its own subscribers. */

const SLOWEST_COLUMNS = [
    ['channel', ({ channel, kind }) => (kind === 'client' ? `client ${channel}`
        : kind === 'broadcast' ? 'broadcast' : channel)],
    ['oldest unsent event', ({ age_ms: ms, lost }) => (lost ? 'over ' : '') + timeText(ms * 1e6)],
    ['unsent', ({ bytes, lost }) => (lost ? 'over ' : '') + bytesText(bytes)],
    ['subscribers behind', ({ behind }) => whole(behind)],
    ['subscribers', ({ subscribers }) => whole(subscribers)],
];

/* One row for each channel, the slowest first; reports: one of each shard. */
export function slowestOf(reports) {
    const rows = new Map();
    for (const channel of reports.flatMap(({ channels }) => channels)) {
        const key = `${channel.kind} ${channel.channel}`;
        const row = rows.get(key) ?? { ...channel, subscribers: 0, behind: 0 };
        row.subscribers += channel.subscribers;
        row.behind += channel.behind;
        row.age_ms = Math.max(row.age_ms, channel.age_ms);
        row.bytes = Math.max(row.bytes, channel.bytes);
        row.lost ||= channel.lost;
        rows.set(key, row);
    }
    return [...rows.values()].sort((a, b) => b.age_ms - a.age_ms || b.bytes - a.bytes);
}

/* `hint`: why there are no reports, if there are none. */
export function showSlowest(reports, hint) {
    const rows = slowestOf(reports);
    showRows('slowest', SLOWEST_COLUMNS, rows);
    $('slowest-hint').textContent = rows.length > 0 ? '' : hint;
}

/* ---- The busiest: asked for, as their number has no bound. */

const BUSIEST_COLUMNS = [
    ['channel', ({ channel }) => channel],
    ['subscribers', ({ subscribers }) => whole(subscribers)],
    ['published/s', ({ rate }) => (rate === undefined ? '–' : compact.format(rate))],
    ['published', ({ published }) => compact.format(published)],
    ['retained', ({ retained }) => whole(retained)],
    ['bytes', ({ retained_bytes: bytes }) => bytesText(bytes)],
];

let before = { at: 0, published: new Map() };

export async function showBusiest() {
    if (document.visibilityState !== 'visible') {
        return;
    }
    const response = await call(`/channels?limit=${LIMIT}`, { seconds: 5 });
    const list = await response.json();
    const at = performance.now();
    const seconds = (at - before.at) / 1000;
    for (const channel of list) {
        const published = before.published.get(channel.channel);
        channel.rate = published === undefined ? undefined
            : Math.max(0, channel.published - published) / seconds;
    }
    before = { at, published: new Map(list.map((one) => [one.channel, one.published])) };
    list.sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0) || b.subscribers - a.subscribers
        || b.published - a.published || (a.channel < b.channel ? -1 : 1));
    showRows('busiest', BUSIEST_COLUMNS, list);
    $('busiest-hint').textContent = list.length === 0 ? 'There is no channel yet.'
        : list.length === LIMIT ? `Of the first ${LIMIT} channels.`
            : list.length > SHOWN ? `Of ${list.length} channels.` : '';
}
