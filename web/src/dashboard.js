/* The dashboard: what the hub does at this moment, and did in the last minutes. */
import { $, call, clearNotice, element, showNotice } from './common.js';
import { compact, Plot } from './plot.js';
import { follow } from './statistics.js';

const CHANNELS_MS = 2000;
const CHANNELS_LIMIT = 1000;
const CHANNELS_SHOWN = 12;
const COUNTERS = ['published', 'deliveries', 'event_sends', 'sends', 'bytes_sent', 'requests', 'accepted',
    'turns'];

/* The growth of the counters per second since the last statistics; null if they began anew. */
function ratesBetween(before, now, seconds) {
    if (before === undefined || seconds <= 0 || now.deliveries < before.deliveries
        || now.published < before.published) {
        return null;
    }
    return Object.fromEntries(COUNTERS.map((name) => [name, (now[name] - before[name]) / seconds]));
}

function duration(seconds) {
    const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
    return days > 0 ? `${days} d ${hours % 24} h` : hours > 0 ? `${hours} h ${minutes % 60} min`
        : minutes > 0 ? `${minutes} min` : `${seconds} s`;
}

function bytesText(bytes) {
    const power = Math.min(4, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
    return `${Number((bytes / 1000 ** power).toPrecision(3))} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`;
}

const whole = (value) => Math.round(value).toLocaleString('en');

/* ---- Tiles: name, value, and whether it is a reason to worry. */

const TILES = [
    ['streams', (now) => whole(now.streams)],
    ['connections', (now) => whole(now.connections)],
    ['channels', (now) => whole(now.channels)],
    ['published/s', (_, rates) => compact.format(rates.published)],
    ['deliveries/s', (_, rates) => compact.format(rates.deliveries)],
    ['sent/s', (_, rates) => bytesText(rates.bytes_sent)],
    ['events in a send', (now) => now.deliveries_per_send.toFixed(2)],
    ['retained', (now) => bytesText(now.history_bytes)],
    ['gaps told', (now) => whole(now.gaps), (now) => now.gaps > 0],
    ['slow, skipped', (now) => whole(now.skips), (now) => now.skips > 0],
    ['slow, cut off', (now) => whole(now.slow_disconnects), (now) => now.slow_disconnects > 0],
    ['queue was full', (now) => whole(now.refused_full), (now) => now.refused_full > 0],
];
const tiles = TILES.map(([name, text, alarm]) => {
    const value = element('dd', {}, '–');
    const tile = element('div', {}, element('dt', {}, name), value);
    $('tiles').append(tile);
    return (now, rates) => {
        value.textContent = rates === null && text.length > 1 ? '–' : text(now, rates);
        tile.classList.toggle('alarm', alarm?.(now) ?? false);
    };
});

/* ---- Plots. */

const plots = [
    [new Plot($('plots'), 'Published a second', [{ label: 'events', colour: '--accent' }]),
        (now, rates) => [rates.published]],
    [new Plot($('plots'), 'Deliveries a second', [{ label: 'events', colour: '--accent' },
        { label: 'sends', colour: '--warn' }]), (now, rates) => [rates.deliveries, rates.event_sends]],
    [new Plot($('plots'), 'Streams', [{ label: 'streams', colour: '--good' }]), (now) => [now.streams]],
    [new Plot($('plots'), 'Bytes sent a second', [{ label: 'bytes', colour: '--accent' }]),
        (now, rates) => [rates.bytes_sent]],
];

/* ---- Shards. */

function cells(row, texts) {
    row.replaceChildren(...texts.map((text) => element('td', {}, text)));
}

function showShards(now, before, seconds) {
    const rates = now.shards.map((shard, i) => ratesBetween(before?.shards[i], shard, seconds));
    const work = rates.map((rate) => (rate === null ? 0 : rate.sends));
    const total = work.reduce((sum, one) => sum + one, 0);
    const body = $('shards');
    while (body.rows.length < now.shards.length) {
        const row = body.insertRow();
        row.meter = element('meter', { min: 0, max: 1 });
    }
    while (body.rows.length > now.shards.length) {
        body.deleteRow(-1);
    }
    now.shards.forEach((shard, i) => {
        const row = body.rows[i];
        const rate = (name) => (rates[i] === null ? '–' : compact.format(rates[i][name]));
        cells(row, [String(shard.shard), shard.cpu < 0 ? 'any' : String(shard.cpu), whole(shard.connections),
            whole(shard.streams), rate('deliveries'), rate('sends'), rate('turns')]);
        const share = total === 0 ? 0 : work[i] / total;
        row.meter.value = share;
        row.meter.textContent = `${Math.round(share * 100)} %`;
        row.meter.ariaLabel = `shard ${shard.shard}: ${Math.round(share * 100)} % of the sends`;
        row.append(element('td', {}, row.meter));
    });
}

/* ---- Channels. */

const CHANNEL_COLUMNS = [
    ['channel'],
    ['subscribers', (channel) => whole(channel.subscribers)],
    ['published/s', (channel) => (channel.rate === undefined ? '–' : compact.format(channel.rate))],
    ['published', (channel) => compact.format(channel.published)],
    ['retained', (channel) => whole(channel.retained)],
    ['bytes', (channel) => bytesText(channel.retained_bytes)],
];
$('channels-head').append(...CHANNEL_COLUMNS.map(([name]) => element('th', { scope: 'col' }, name)));

let channelsBefore = { at: 0, published: new Map() };

async function showChannels() {
    if (document.visibilityState !== 'visible') {
        return;
    }
    const response = await call(`/channels?limit=${CHANNELS_LIMIT}`, { seconds: 5 });
    const list = await response.json();
    const at = performance.now();
    const seconds = (at - channelsBefore.at) / 1000;
    for (const channel of list) {
        const published = channelsBefore.published.get(channel.channel);
        channel.rate = published === undefined ? undefined
            : Math.max(0, channel.published - published) / seconds;
    }
    channelsBefore = { at, published: new Map(list.map((one) => [one.channel, one.published])) };
    list.sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0) || b.subscribers - a.subscribers
        || b.published - a.published || (a.channel < b.channel ? -1 : 1));
    $('channels').replaceChildren(...list.slice(0, CHANNELS_SHOWN).map((channel) =>
        element('tr', {}, element('th', { scope: 'row', className: 'name' }, channel.channel),
            ...CHANNEL_COLUMNS.slice(1).map(([, text]) => element('td', {}, text(channel))))));
    $('channels-hint').textContent = list.length === 0 ? 'There is no channel yet.'
        : list.length === CHANNELS_LIMIT ? `Of the first ${CHANNELS_LIMIT} channels.`
            : list.length > CHANNELS_SHOWN ? `Of ${list.length} channels.` : '';
}

/* ---- All together. */

const STATES = {
    live: ['open', 'live', ''],
    polled: ['open', 'asked each second', ''],
    'no token': ['open', 'asked each second', ' Its own stream of statistics needs the token.'],
};
let last = null; /* { now, at } */

function show(now, how) {
    const at = performance.now();
    const seconds = last === null ? 0 : (at - last.at) / 1000;
    const rates = ratesBetween(last?.now, now, seconds);
    const [state, word, hint] = STATES[how];
    $('state').dataset.state = now.draining ? 'connecting' : state;
    $('state').textContent = now.draining ? 'draining' : word;
    $('about').textContent = `Spate ${now.version} on ${now.io}, up for ${duration(now.uptime_seconds)}.${
        hint}`;
    tiles.forEach((tile) => tile(now, rates));
    showShards(now, rates === null ? undefined : last.now, seconds);
    if (rates !== null) {
        plots.forEach(([plot, values]) => plot.add(Date.now() / 1000, values(now, rates)));
    }
    last = { now, at };
    clearNotice();
}

follow({
    statistics: show,
    failed: (error) => {
        last = null;
        $('state').dataset.state = 'closed';
        $('state').textContent = 'out of reach';
        showNotice(error);
    },
});
const refreshChannels = () => showChannels().catch(() => {}); /* the statistics tell what is wrong */
refreshChannels();
setInterval(refreshChannels, CHANNELS_MS);
