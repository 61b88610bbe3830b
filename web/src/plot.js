/* One quantity over the last minutes, drawn by uPlot, in the colours of the page. */
import uPlot from 'uplot';
import { element } from './common.js';
import { compact } from './format.js';

const KEPT_SECONDS = 300;
const SHOWN_SECONDS_MIN = 60; /* while there is less */
const HEIGHT = 180;

const clockText = (seconds) =>
    new Date(seconds * 1000).toLocaleTimeString([], { timeStyle: 'medium', hourCycle: 'h23' });

export class Plot {
    #times = [];
    #series;
    #place;
    #plot = null;
    #specs;
    #options;

    /*
     * specs    [{ label, colour: the name of a custom property }]
     * options  text(value), for the axis and the legend; least, most: what the axis reaches up to
     */
    constructor(parent, title, specs, options = {}) {
        this.#specs = specs;
        this.#options = { text: compact.format, least: 1, most: Infinity, ...options };
        this.#series = specs.map(() => []);
        this.#place = element('div');
        parent.append(element('figure', { className: 'card' }, element('figcaption', {}, title),
            this.#place));
        this.#draw();
        new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(this.#place);
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
    }

    add(time, values) {
        this.#times.push(time);
        this.#series.forEach((series, i) => series.push(values[i]));
        const old = this.#times.findIndex((one) => one >= time - KEPT_SECONDS);
        for (const list of [this.#times, ...this.#series]) {
            list.splice(0, old);
        }
        this.#plot.setData([this.#times, ...this.#series]);
        this.#showNewest();
    }

    /* In the legend, unless somebody points at another value. */
    #showNewest() {
        if (this.#times.length > 0 && !(this.#plot.cursor.left >= 0)) {
            this.#plot.setLegend({ idx: this.#times.length - 1 });
        }
    }

    #size() {
        return { width: Math.max(200, this.#place.clientWidth), height: HEIGHT };
    }

    #draw() {
        const style = getComputedStyle(document.documentElement);
        const colour = (name) => style.getPropertyValue(name).trim();
        const axis = {
            stroke: colour('--soft'),
            grid: { stroke: colour('--line'), width: 1 },
            ticks: { stroke: colour('--line'), width: 1 },
        };
        const { text, least, most } = this.#options;
        this.#plot?.destroy();
        this.#plot = new uPlot({
            ...this.#size(),
            cursor: { y: false, drag: { x: false, y: false } },
            scales: { x: { range: (_, low, high) => [Math.min(low, high - SHOWN_SECONDS_MIN), high] },
                y: { range: (_, low, high) => [0, Math.min(most, Math.max(least, (high ?? 0) * 1.1))] } },
            padding: [8, 26, 0, 0],
            axes: [{ ...axis, space: 80, size: 34, values: (_, ticks) => ticks.map(clockText) },
                { ...axis, size: 58, values: (_, ticks) => ticks.map(text) }],
            series: [{ label: 'time', value: (_, time) => (time == null ? '–' : clockText(time)) }, ...this.#specs.map((spec) => ({
                label: spec.label,
                stroke: colour(spec.colour),
                fill: `color-mix(in srgb, ${colour(spec.colour)} 12%, transparent)`,
                width: 2,
                points: { show: false },
                value: (_, value) => (value == null ? '–' : text(value)),
            }))],
        }, [this.#times, ...this.#series], this.#place);
        this.#showNewest();
    }
}
