/* The table of the shards: what each has to do, how busy it is, and who waits for it. */
import { $, element } from './common.js';
import { compact, percent, timeText, whole } from './format.js';

const text = (value) => element('td', {}, value);

function busyCell(row, shard, share) {
    row.meter ??= element('meter', { min: 0, max: 1, high: 0.9, optimum: 0 });
    row.meter.value = share ?? 0;
    row.meter.ariaLabel = `shard ${shard}: ${percent(share ?? 0)} busy`;
    return element('td', { className: 'busy' }, row.meter, share === undefined ? '–' : percent(share));
}

/*
 * shards   of the statistics
 * rates    of each, or null
 * lags     shard -> report of its lag
 * busy     share of its time that each shard was not asleep, if that is known
 */
export function showShards(shards, rates, lags, busy) {
    const body = $('shards');
    while (body.rows.length < shards.length) {
        body.insertRow();
    }
    while (body.rows.length > shards.length) {
        body.deleteRow(-1);
    }
    shards.forEach((shard, i) => {
        const rate = (name) => (rates[i] === null ? '–' : compact.format(rates[i][name]));
        const lag = lags.get(shard.shard);
        body.rows[i].replaceChildren(text(String(shard.shard)),
            text(shard.cpu < 0 ? 'any' : String(shard.cpu)), text(whole(shard.connections)),
            text(whole(shard.streams)), text(whole(shard.behind)),
            text(lag === undefined ? '–' : lag.age_ms === 0 ? 'none' : timeText(lag.age_ms * 1e6)),
            text(rate('deliveries')), text(rate('sends')),
            busyCell(body.rows[i], shard.shard, busy[i]));
    });
}
