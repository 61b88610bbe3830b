/*
 * Where an event spends its time on its way through the hub, and a shard its own: of the last seconds,
 * as the difference of two reports of /debug/fanout.
 */
import { $, element } from './common.js';
import { percent, timeText } from './format.js';

const WINDOW_MS = 10_000;

let reports = []; /* { at, report } of the window, oldest first */

function percentile(buckets, count, share) {
    let seen = 0;
    for (const [bound, inBucket] of buckets) {
        seen += inBucket;
        if (seen >= count * share) {
            return bound;
        }
    }
    return 0;
}

/* What was measured between two reports of one measure. */
function measureBetween(before, now) {
    const old = new Map(before.buckets);
    const buckets = now.buckets.map(([bound, count]) => [bound, count - (old.get(bound) ?? 0)]);
    const count = buckets.reduce((sum, [, one]) => sum + one, 0);
    return {
        name: now.name,
        what: now.what,
        count,
        mean: count === 0 ? 0 : Math.max(0, now.sum - before.sum) / count,
        p50: percentile(buckets, count, 0.5),
        p99: percentile(buckets, count, 0.99),
    };
}

/* The phases of each shard's time, as shares of it. */
function loopBetween(before, now) {
    const phases = Object.entries(now.phases_ns)
        .map(([name, ns]) => [name, Math.max(0, ns - before.phases_ns[name])]);
    const sum = phases.reduce((all, [, ns]) => all + ns, 0);
    return {
        shard: now.shard,
        shares: Object.fromEntries(phases.map(([name, ns]) => [name, sum === 0 ? 0 : ns / sum])),
    };
}

/*
 * Takes one more report. Gives what happened since the oldest of the window: { stages, total, loops },
 * or null for the first report.
 */
export function profileBetween(report) {
    const at = performance.now();
    const newest = reports.at(-1)?.report;
    if (newest !== undefined && report.shards.some(({ deliveries }, i) =>
        deliveries < newest.shards[i]?.deliveries)) {
        reports = []; /* the hub was started anew */
    }
    reports = [...reports.filter((one) => one.at >= at - WINDOW_MS), { at, report }];
    const before = reports[0].report;
    if (before === report) {
        return null;
    }
    const measures = (list) => list.map((now, i) => measureBetween(before[list === report.stages
        ? 'stages' : 'measures'][i], now));
    return {
        stages: measures(report.stages),
        total: measures(report.measures).find(({ name }) => name === 'total'),
        loops: report.shards.map((shard, i) => loopBetween(before.shards[i], shard)),
    };
}

/* ---- What is shown. */

/* Parts of a whole, side by side, in the colours of their names. */
function bar(parts, label) {
    return element('div', { className: 'bar', role: 'img', ariaLabel: label },
        ...parts.filter(([, share]) => share > 0).map(([name, share]) => {
            const part = element('span', { title: `${name} ${percent(share)}`, dataset: { part: name } });
            part.style.flexGrow = share;
            return part;
        }));
}

const swatch = (name) => element('span', { className: 'swatch', dataset: { part: name } });
const inWords = (parts) => parts.map(([name, share]) => `${name} ${percent(share)}`).join(', ');

function showWay({ stages, total }) {
    const sum = stages.reduce((all, { mean }) => all + mean, 0);
    const slowest = stages.reduce((most, stage) => (stage.mean > most.mean ? stage : most));
    const shares = stages.map(({ name, mean }) => [name, sum === 0 ? 0 : mean / sum]);
    $('profile-verdict').textContent = total.count === 0 || sum === 0
        ? 'No event was sent to a subscriber in the last ten seconds.'
        : `From publish to the last send: ${timeText(total.mean)} on average, ${
            timeText(total.p99)} at the 99th percentile. The slowest stage is ${slowest.name}. ${slowest.what}`;
    $('profile-way').replaceChildren(bar(shares, inWords(shares)));
    $('profile-stages').replaceChildren(...stages.map((stage, i) => element('tr', {},
        element('th', { scope: 'row', className: 'name' }, swatch(stage.name), stage.name),
        ...[percent(shares[i][1]), timeText(stage.mean), timeText(stage.p50), timeText(stage.p99)]
            .map((text) => element('td', {}, text)),
        element('td', { className: 'what' }, stage.what))));
}

/* Rest, then work; the colours are those of the stages that have the same name. */
function showLoops(loops) {
    const names = Object.keys(loops[0].shares).filter((name) => name !== 'wait');
    $('profile-key').replaceChildren(...[...names, 'wait'].map((name) =>
        element('span', {}, swatch(name), name === 'wait' ? 'idle' : name)));
    $('profile-loops').replaceChildren(...loops.flatMap(({ shard, shares }) => {
        const parts = [...names, 'wait'].map((name) => [name, shares[name]]);
        return [element('dt', {}, `shard ${shard}`),
            element('dd', {}, bar(parts, `shard ${shard}: ${inWords(parts)}`))];
    }));
}

export function showProfile(profile) {
    showWay(profile);
    showLoops(profile.loops);
}
