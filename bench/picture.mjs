// Bar charts as SVG, without a library and without scripts.

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
export function bars(title, groups, { scale = 'linear', format = String } = {}) {
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
  const note = scale === 'log' ? ' (logarithmic; shorter is better)' : ' (shorter is better)';
  return `<svg xmlns="http://www.w3.org/2000/svg" width="760" height="${y + 6}" viewBox="0 0 760 ${y + 6}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="10" y="24" font-size="15">${escape(title)}${note}</text>
${parts.join('\n')}
</svg>
`;
}
