/* The dashboard: what the hub does at this moment, and did in the last minutes. */
import { showBusiest, showSlowest } from './channels.js';
import { $, clearNotice, element, showNotice } from './common.js';
import { bytesText, compact, durationText, percent, timeText, whole } from './format.js';
import { Plot } from './plot.js';
import { profileBetween, showProfile } from './profile.js';
import { showShards } from './shards.js';
import { follow } from './statistics.js';

const CHANNELS_MS = 2000;
const LAG_KEPT_MS = 3000; /* a shard tells each second */
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

/* ---- What was told last. */

let last = null; /* { now, at }: the statistics */
let profile = null; /* of the last seconds */
const lags = new Map(); /* shard -> { shard, behind, age_ms, channels, at } */

/* Milliseconds; undefined if nobody tells. */
function oldestUnsent() {
    return lags.size === 0 ? undefined : Math.max(...Array.from(lags.values(), ({ age_ms: ms }) => ms));
}

const oldestText = (ms) => (ms === undefined ? '–' : ms === 0 ? 'none' : timeText(ms * 1e6));
const busyShares = () => profile?.loops.map(({ shares }) => 1 - shares.wait) ?? [];

/* ---- Tiles: name, value, and whether it is a reason to worry. */

const TILES = [
    ['streams', (now) => whole(now.streams)],
    ['connections', (now) => whole(now.connections)],
    ['channels', (now) => whole(now.channels)],
    ['published/s', (_, rates) => compact.format(rates.published)],
    ['deliveries/s', (_, rates) => compact.format(rates.deliveries)],
    ['sent/s', (_, rates) => bytesText(rates.bytes_sent)],
    ['events per send', (now) => now.deliveries_per_send.toFixed(2)],
    ['retained', (now) => bytesText(now.history_bytes)],
    ['streams behind', (now) => whole(now.behind)],
    ['oldest unsent', () => oldestText(oldestUnsent())],
    ['gaps', (now) => whole(now.gaps), (now) => now.gaps > 0],
    ['slow: skipped', (now) => whole(now.skips), (now) => now.skips > 0],
    ['slow: cut off', (now) => whole(now.slow_disconnects), (now) => now.slow_disconnects > 0],
    ['queue full', (now) => whole(now.refused_full), (now) => now.refused_full > 0],
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

const plot = (title, specs, options) =>
    new Plot($('plots'), title, specs.map(([label, colour]) => ({ label, colour })), options);
const TIME = { text: timeText, least: 1000 };

const plots = [
    [plot('Published per second', [['events', '--accent']]), (now, rates) => [rates.published]],
    [plot('Deliveries per second', [['events', '--accent'], ['sends', '--warn']]),
        (now, rates) => [rates.deliveries, rates.event_sends]],
    [plot('Streams', [['streams', '--good'], ['behind', '--bad']]), (now) => [now.streams, now.behind]],
    [plot('Lag (age of the oldest unsent event)', [['age', '--bad']],
        { ...TIME, least: 1e7 }), () => [oldestUnsent() === undefined ? null : oldestUnsent() * 1e6]],
    [plot('Fan-out latency', [['p99', '--warn'], ['p50', '--accent']], TIME),
        () => (profile?.total.count > 0 ? [profile.total.p99, profile.total.p50] : [null, null])],
    [plot('Shard load', [['busiest', '--warn'], ['mean', '--accent']],
        { text: percent, least: 1, most: 1 }), () => {
        const busy = busyShares();
        return busy.length === 0 ? [null, null]
            : [Math.max(...busy), busy.reduce((sum, one) => sum + one, 0) / busy.length];
    }],
];

/* ---- All together. */

const STATES = {
    live: ['open', 'live', '', 'Every subscriber has been sent everything.'],
    polled: ['open', 'polling', '', 'Only the live statistics tell.'],
    'no token': ['open', 'polling', ' Live statistics need the token.',
        'Only the live statistics tell, and they need the token.'],
};

function show(now, how) {
    const at = performance.now();
    const seconds = last === null ? 0 : (at - last.at) / 1000;
    const rates = ratesBetween(last?.now, now, seconds);
    const [state, word, hint, slowestHint] = STATES[how];
    for (const [shard, report] of lags) {
        if (report.at < at - LAG_KEPT_MS) {
            lags.delete(shard);
        }
    }
    $('state').dataset.state = now.draining ? 'connecting' : state;
    $('state').textContent = now.draining ? 'draining' : word;
    $('about').textContent = `Spate ${now.version} on ${now.io}, up for ${
        durationText(now.uptime_seconds)}.${hint}`;
    tiles.forEach((tile) => tile(now, rates));
    showShards(now.shards, now.shards.map((shard, i) =>
        (rates === null ? null : ratesBetween(last.now.shards[i], shard, seconds))), lags, busyShares());
    showSlowest([...lags.values()], slowestHint);
    if (rates !== null) {
        plots.forEach(([one, values]) => one.add(Date.now() / 1000, values(now, rates)));
    }
    last = { now, at };
    clearNotice();
}

follow({
    statistics: show,
    profile: (report) => {
        profile = profileBetween(report);
        if (profile !== null) {
            showProfile(profile);
        }
    },
    lag: (report) => lags.set(report.shard, { ...report, at: performance.now() }),
    failed: (error) => {
        last = null;
        lags.clear();
        $('state').dataset.state = 'closed';
        $('state').textContent = 'unreachable';
        showNotice(error);
    },
});
const refreshChannels = () => showBusiest().catch(() => {}); /* the statistics tell what is wrong */
refreshChannels();
setInterval(refreshChannels, CHANNELS_MS);
