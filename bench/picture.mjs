// Bar charts as SVG, without a library and without scripts.

const colours = ['#0072b2', '#56b4e9', '#d55e00', '#666666', '#cc79a7', '#009e73'];

const escape = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;');

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
