/* The page of the sensors: a gauge and a trend for each of temperature and humidity. */
import { $, element, publish, showNotice } from './common.js';
import { gapText, Live, showState } from './live.js';
import { simulator } from './simulate.js';

const SVG = 'http://www.w3.org/2000/svg';
const KEPT = 120; /* readings of the trend: two minutes at one a second */

function draw(tag, attributes, text = '') {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) {
        node.setAttribute(name, value);
    }
    node.textContent = text;
    return node;
}

/* The arc of a gauge from a to b, both between 0 and 1, over three quarters of a circle. */
function arc(a, b) {
    const point = (at) => {
        const angle = (135 + 270 * at) * Math.PI / 180;
        return `${(120 + 90 * Math.cos(angle)).toFixed(2)} ${(112 + 90 * Math.sin(angle)).toFixed(2)}`;
    };
    return `M${point(a)}A90 90 0 ${(b - a) * 270 > 180 ? 1 : 0} 1 ${point(b)}`;
}

const numberText = (value) => value.toFixed(1).replace('-', '−');

class Gauge {
    #readings = [];

    constructor(place, { name, unit, min, max, warmFrom }) {
        Object.assign(this, { name, unit, min, max });
        const stroke = { fill: 'none', 'stroke-width': 16, 'stroke-linecap': 'round' };
        const svg = draw('svg', { viewBox: '0 0 240 280', role: 'img' });
        this.value = draw('path', { ...stroke, class: 'value', d: arc(0, 1), pathLength: 100,
            'stroke-dasharray': '100 200', 'stroke-dashoffset': 100, visibility: 'hidden' });
        this.number = draw('text', { class: 'number', x: 120, y: 122 }, '–');
        this.label = draw('title', {}, `${name}: no reading yet`);
        this.area = draw('polygon', { class: 'area' });
        this.trend = draw('polyline', { class: 'trend' });
        this.span = draw('text', { class: 'end', x: 120, y: 276 });
        svg.append(this.label,
            draw('path', { ...stroke, class: 'track', d: arc(0, 1) }),
            draw('path', { ...stroke, class: 'warm', 'stroke-width': 4,
                d: arc((warmFrom - min) / (max - min), 1), transform: 'translate(120 112) scale(1.16) '
                    + 'translate(-120 -112)' }),
            this.value, this.number,
            draw('text', { class: 'end', x: 120, y: 146 }, unit),
            draw('text', { class: 'end', x: 50, y: 200 }, String(min).replace('-', '−')),
            draw('text', { class: 'end', x: 190, y: 200 }, String(max)), this.area, this.trend, this.span);
        place.append(svg);
    }

    show(reading) {
        const share = Math.min(1, Math.max(0, (reading - this.min) / (this.max - this.min)));
        const text = numberText(reading);
        this.value.setAttribute('visibility', 'visible');
        this.value.style.strokeDashoffset = 100 - 100 * share;
        this.number.textContent = text;
        this.label.textContent = `${this.name}: ${text} ${this.unit}`;
        this.#readings.push(reading);
        this.#readings.splice(0, this.#readings.length - KEPT);
        this.#showTrend();
    }

    /* From the lowest to the highest reading, but a still room is no mountain range. */
    #showTrend() {
        const readings = this.#readings;
        const low = Math.min(...readings);
        const high = Math.max(...readings);
        const half = Math.max(high - low, (this.max - this.min) / 20) / 2;
        const points = readings.map((one, i) => {
            const share = (one - (low + high) / 2 + half) / (2 * half);
            return `${(240 * i / Math.max(1, readings.length - 1)).toFixed(1)},${(256 - 32 * share).toFixed(1)}`;
        });
        this.trend.setAttribute('points', points.join(' '));
        this.area.setAttribute('points', ['0,260', ...points, '240,260'].join(' '));
        this.span.textContent = readings.length === 1 ? ''
            : `last ${readings.length} readings: ${numberText(low)} to ${numberText(high)} ${this.unit}`;
    }
}

const gauges = {
    temperature: new Gauge($('temperature'), { name: 'Temperature', unit: '°C', min: -20, max: 100,
        warmFrom: 60 }),
    humidity: new Gauge($('humidity'), { name: 'Humidity', unit: '%', min: 0, max: 100, warmFrom: 80 }),
};

function show({ type, data }) {
    let reading;
    try {
        reading = JSON.parse(data);
    } catch {
        reading = null;
    }
    const known = Object.keys(gauges).filter((name) => Number.isFinite(reading?.[name]));
    if (known.length === 0) {
        if (type === 'sensor-data') { /* else it is for others: everybody gets what is broadcast */
            showNotice(new Error(`Received an event that is not a reading: ${data.slice(0, 200)}`));
        }
        return;
    }
    known.forEach((name) => gauges[name].show(reading[name]));
    $('none').hidden = !isSimulating();
    $('last').replaceChildren('Last reading: ', element('code', {}, data.slice(0, 300)), ` at ${
        new Date().toLocaleTimeString()}.`);
}

const live = new Live(`/sse/sensor-data?history=${KEPT}`, ['sensor-data'], {
    state: () => {
        showState($('state'), live);
    },
    event: show,
    gap: (gap) => showNotice(new Error(gapText(gap))),
});

/* Readings that wander, as those of a real room do. */
const simulated = { temperature: 21, humidity: 48 };
const isSimulating = () => $('simulate').getAttribute('aria-pressed') === 'true';

simulator($('simulate'), () => {
    simulated.temperature = Math.min(90, Math.max(-15, simulated.temperature + (Math.random() - .5) * 3));
    simulated.humidity = Math.min(98, Math.max(5, simulated.humidity + (Math.random() - .5) * 5));
    return publish('sensor-data', JSON.stringify({
        temperature: Number(simulated.temperature.toFixed(1)),
        humidity: Number(simulated.humidity.toFixed(1)),
    }), { event: 'sensor-data', type: 'application/json' });
});
$('command').textContent = `spatectl --url ${location.origin} feed sensor`;
