/*
 * A strict reading of the Prometheus text format 0.0.4: every line is checked against the grammar and
 * the rules of the exposition formats' page and of promtool, then the text is parsed by
 * parse-prometheus-text-format, a parser of other people, whose families are returned by name. It loses
 * the labels of histograms, so `samples` has all lines of a family as they are.
 */
import assert from 'node:assert/strict';
import parse from 'parse-prometheus-text-format';

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"';
const NUMBER = '(?:[+-]?(?:\\d+(?:\\.\\d*)?|\\.\\d+)(?:e[+-]?\\d+)?|[+-]Inf|NaN)';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)\\})? (${NUMBER})$`);

/* The name of the family that a sample belongs to. */
function familyOf(name, type) {
    return type === 'histogram' ? name.replace(/_(bucket|sum|count)$/, '') : name;
}

function checkHistogram(name, samples) {
    const series = new Map();
    for (const { name: full, labels, value } of samples) {
        const others = labels.replace(/,?le="[^"]*"/, '');
        const one = series.get(others) ?? { buckets: [], sum: null, count: null };
        series.set(others, one);
        if (full.endsWith('_bucket')) {
            one.buckets.push([Number(/le="([^"]*)"/.exec(labels)[1].replace('+Inf', 'Infinity')),
                value]);
        } else {
            one[full.endsWith('_sum') ? 'sum' : 'count'] = value;
        }
    }
    for (const [labels, { buckets, sum, count }] of series) {
        const where = `${name}{${labels}}`;
        assert.ok(sum !== null && count !== null, `${where}: no sum or count`);
        assert.equal(buckets.at(-1)[0], Infinity, `${where}: the last bucket is +Inf`);
        assert.equal(buckets.at(-1)[1], count, `${where}: +Inf is the count`);
        for (let i = 1; i < buckets.length; i++) {
            assert.ok(buckets[i - 1][0] < buckets[i][0], `${where}: bounds rise`);
            assert.ok(buckets[i - 1][1] <= buckets[i][1], `${where}: buckets are cumulative`);
        }
    }
}

/* Checks a whole answer and returns a Map of its families. */
export function readMetrics(text) {
    assert.ok(text.endsWith('\n'), 'the last line ends');
    const helped = new Set();
    const families = new Map();
    const seen = new Set();
    let current = null;
    for (const line of text.slice(0, -1).split('\n')) {
        const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
        if (comment !== null) {
            const [, kind, name, rest] = comment;
            assert.match(name, new RegExp(`^${NAME}$`), line);
            if (kind === 'HELP') {
                assert.ok(!helped.has(name), `HELP twice: ${line}`);
                helped.add(name);
            } else {
                assert.ok(helped.has(name), `TYPE without HELP: ${line}`);
                assert.ok(!families.has(name), `TYPE twice: ${line}`);
                assert.ok(['counter', 'gauge', 'histogram'].includes(rest), line);
                assert.equal(name.endsWith('_total'), rest === 'counter', `a counter's name: ${name}`);
                current = { name, type: rest, samples: [] };
                families.set(name, current);
            }
            continue;
        }
        const sample = SAMPLE.exec(line);
        assert.ok(sample !== null, `not a line of the format: ${line}`);
        const [, name, labels = '', value] = sample;
        assert.ok(current !== null && familyOf(name, current.type) === current.name,
            `a sample outside of its family: ${line}`);
        assert.ok(!seen.has(`${name}{${labels}}`), `a sample twice: ${line}`);
        seen.add(`${name}{${labels}}`);
        current.samples.push({ name, labels, value: Number(value.replace('Inf', 'Infinity')) });
    }
    for (const { name, type, samples } of families.values()) {
        assert.ok(samples.length > 0, `${name} has no sample`);
        if (type === 'histogram') {
            checkHistogram(name, samples);
        } else {
            assert.ok(type === 'gauge' || samples.every(({ value }) => value >= 0), name);
        }
    }
    const parsed = parse(text);
    assert.deepEqual(parsed.map(({ name }) => name).sort(), [...families.keys()].sort());
    return new Map(parsed.map((family) => [family.name,
        { ...family, samples: families.get(family.name).samples }]));
}

/* The sum of a family over all its series. */
export function total(families, name) {
    const family = families.get(name);
    assert.ok(family !== undefined, `no ${name}`);
    return family.metrics.reduce((sum, metric) => sum + Number(metric.value), 0);
}
