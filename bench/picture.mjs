// Bar charts, lines and courses over time, as SVG, without a library and without scripts.

const colours = ['#0072b2', '#56b4e9', '#d55e00', '#666666', '#cc79a7', '#009e73'];

const escape = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;');

// Lines over a logarithmic axis of powers of two. `series`: [{ name, points: [[x, y]] }].
export function lines(title, axis, series, { format = String } = {}) {
  const [left, top, width, height] = [70, 50, 460, 260];
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const ys = series.flatMap(({ points }) => points.map(([, y]) => y)).filter((y) => y > 0);
  const low = 10 ** Math.floor(Math.log10(Math.min(...ys)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...ys)));
  const across = (x) => left + (width * Math.log2(x / xs[0])) / Math.log2(xs.at(-1) / xs[0]);
  const down = (y) => top + height - (height * Math.log10(Math.max(y, low) / low)) / Math.log10(high / low);
  const parts = [];
  for (let y = low; y <= high * 1.001; y *= 10) {
    parts.push(`<line x1="${left}" x2="${left + width}" y1="${down(y)}" y2="${down(y)}" stroke="#dddddd"/>`,
               `<text x="${left - 8}" y="${down(y) + 4}" text-anchor="end">${escape(format(y))}</text>`);
  }
  for (const x of xs) {
    parts.push(`<text x="${across(x)}" y="${top + height + 18}" text-anchor="middle">${x.toLocaleString('en')}</text>`);
  }
  parts.push(`<text x="${left + width / 2}" y="${top + height + 38}" text-anchor="middle">${escape(axis)}</text>`);
  series.forEach(({ name, points }, index) => {
    const colour = colours[index % colours.length];
    const path = points.map(([x, y]) => `${across(x).toFixed(1)},${down(y).toFixed(1)}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
               ...points.map(([x, y]) => `<circle cx="${across(x).toFixed(1)}" cy="${down(y).toFixed(1)}" r="3" fill="${colour}"/>`),
               `<rect x="${left + width + 20}" y="${top + index * 20}" width="12" height="12" fill="${colour}"/>`,
               `<text x="${left + width + 38}" y="${top + index * 20 + 11}">${escape(name)}</text>`);
  });
  const all = top + height + 50;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="860" height="${all}" viewBox="0 0 860 ${all}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="10" y="24" font-size="15">${escape(title)}</text>
${parts.join('\n')}
</svg>
`;
}

// `groups`: [{ title, bars: [{ name, value }] }]; one name has one colour throughout.
export function bars(title, groups, { scale = 'linear', format = String, better = 'shorter' } = {}) {
  const left = 250;
  const width = 420;
  const barHeight = 18;
  const names = [...new Set(groups.flatMap((group) => group.bars.map((bar) => bar.name)))];
  const values = groups.flatMap((group) => group.bars.map((bar) => bar.value)).filter((v) => v > 0);
  const top = Math.max(...values);
  const bottom = scale === 'log' ? 10 ** Math.floor(Math.log10(Math.min(...values) * 0.999)) : 0;
  const length = (value) => (scale === 'log'
    ? (width * Math.log(value / bottom)) / Math.log(top / bottom) : (width * value) / top);
  const parts = [];
  let y = 50;
  for (const group of groups) {
    if (group.title !== '') {
      parts.push(`<text x="10" y="${y + 13}" font-weight="bold">${escape(group.title)}</text>`);
      y += barHeight + 2;
    }
    for (const bar of group.bars) {
      const colour = colours[names.indexOf(bar.name) % colours.length];
      parts.push(`<text x="${left - 8}" y="${y + 13}" text-anchor="end">${escape(bar.name)}</text>`,
                 `<rect x="${left}" y="${y}" width="${Math.max(1, length(bar.value)).toFixed(1)}" height="${barHeight - 4}" fill="${colour}"/>`,
                 `<text x="${(left + Math.max(1, length(bar.value)) + 6).toFixed(1)}" y="${y + 12}">${escape(format(bar.value))}</text>`);
      y += barHeight;
    }
    y += 12;
  }
  const note = scale === 'log' ? ` (logarithmic; ${better} is better)` : ` (${better} is better)`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="760" height="${y + 6}" viewBox="0 0 760 ${y + 6}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="10" y="24" font-size="15">${escape(title)}${note}</text>
${parts.join('\n')}
</svg>
`;
}

// 1, 2 or 5 times a power of ten, so that about four of them fit.
function roundStep(range) {
  const power = 10 ** Math.floor(Math.log10(range / 4));
  return [1, 2, 5, 10].map((one) => one * power).find((step) => range / step <= 5);
}

function axis(values, scale) {
  const top = Math.max(...values, 0);
  if (scale === 'log') {
    const least = Math.min(...values.filter((value) => value > 0), top || 1);
    const from = Math.floor(Math.log10(least || 0.1));
    const to = Math.max(from + 1, Math.ceil(Math.log10(top || 1)));
    const ticks = Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i));
    return { ticks, part: (value) => (Math.log10(Math.max(value, 10 ** from)) - from) / (to - from) };
  }
  const step = roundStep(top || 1);
  const end = Math.ceil((top || 1) / step - 1e-9) * step;
  const ticks = Array.from({ length: Math.round(end / step) + 1 }, (_, i) => i * step);
  return { ticks, part: (value) => value / end };
}

// `panels`: [{ title, scale, format, series: [{ name, points: [[seconds, value]], dots }] }], one below the
// other over the same time. `marks`: [{ at, to, name }], what went on from when to when.
export function timeline(title, panels, marks, { width = 860, height = 130 } = {}) {
  const left = 90;
  const top = 78;
  const plot = width - left - 20;
  const end = Math.max(...panels.flatMap(({ series }) => series.flatMap(({ points }) => points.map(([x]) => x))),
                       ...marks.map(({ to }) => to), 1);
  const xOf = (at) => left + (at / end) * plot;
  const parts = [];
  const bottom = top + panels.length * (height + 44) - 20;
  marks.forEach(({ at, to, name }, i) => {
    const x = xOf(at);
    parts.push(i % 2 === 0 ? `<rect x="${x.toFixed(1)}" y="${top}" width="${Math.max(1, xOf(to) - x).toFixed(1)}" height="${bottom - top}" fill="#f3f3f3"/>` : '',
               `<text x="${Math.min(x + 2, left + plot - name.length * 6).toFixed(1)}" y="${i % 2 === 0 ? 62 : 48}" fill="#444444" font-size="11">${escape(name)}</text>`);
  });
  panels.forEach((panel, index) => {
    const y = top + 18 + index * (height + 44);
    const scale = axis(panel.series.flatMap(({ points }) => points.map(([, value]) => value)), panel.scale);
    const yOf = (value) => y + height - scale.part(value) * height;
    for (const tick of scale.ticks) {
      parts.push(`<line x1="${left}" x2="${left + plot}" y1="${yOf(tick).toFixed(1)}" y2="${yOf(tick).toFixed(1)}" stroke="#dddddd"/>`,
                 `<text x="${left - 6}" y="${(yOf(tick) + 4).toFixed(1)}" text-anchor="end" font-size="11">${escape((panel.format ?? String)(tick))}</text>`);
    }
    parts.push(`<text x="${left}" y="${y - 6}" font-weight="bold">${escape(panel.title)}</text>`);
    let key = left + plot;
    panel.series.toReversed().forEach(({ name }, i) => {
      key -= name.length * 6.5 + 24;
      parts.push(`<rect x="${key.toFixed(1)}" y="${y - 15}" width="10" height="10" fill="${colours[panel.series.length - 1 - i]}"/>`,
                 `<text x="${(key + 14).toFixed(1)}" y="${y - 6}" font-size="11">${escape(name)}</text>`);
    });
    panel.series.forEach(({ points, dots }, i) => {
      const places = points.map(([x, value]) => [xOf(x).toFixed(1), yOf(value).toFixed(1)]);
      parts.push(dots ? places.map(([x, value]) => `<circle cx="${x}" cy="${value}" r="1.6" fill="${colours[i]}"/>`).join('')
        : `<polyline points="${places.map((place) => place.join(',')).join(' ')}" fill="none" stroke="${colours[i]}" stroke-width="1.5"/>`);
    });
  });
  const step = roundStep(end);
  for (let at = 0; at <= end; at += step) {
    parts.push(`<text x="${xOf(at).toFixed(1)}" y="${bottom + 16}" text-anchor="middle" font-size="11">${at} s</text>`);
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${bottom + 28}" viewBox="0 0 ${width} ${bottom + 28}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="10" y="24" font-size="15">${escape(title)}</text>
${parts.filter((part) => part !== '').join('\n')}
</svg>
`;
}
