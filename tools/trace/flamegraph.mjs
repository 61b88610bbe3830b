/*
 * Draws a flame graph: reads what `perf script` prints, or folded stacks ("a;b;c 12" a line), from
 * standard input, and writes one SVG to standard output. Wider is more time; kernel frames are blue.
 *
 *   perf record -e cpu-clock -F 499 -g -p PID -- sleep 10
 *   perf script | node tools/trace/flamegraph.mjs "title" > flame.svg
 */
import { createInterface } from 'node:readline';

const WIDTH = 1200;
const ROW = 17;
const title = process.argv[2] ?? 'Flame graph';
const root = { name: 'all', samples: 0, kernel: false, children: new Map() };

function add(stack, samples) {
  let node = root;
  node.samples += samples;
  for (const { name, kernel } of stack) {
    if (!node.children.has(name)) {
      node.children.set(name, { name, samples: 0, kernel, children: new Map() });
    }
    node = node.children.get(name);
    node.samples += samples;
  }
}

let command = null; // of the sample being read
let frames = [];

function endSample() {
  if (command !== null) {
    add([{ name: command, kernel: false }, ...frames.reverse()], 1);
  }
  command = null;
  frames = [];
}

for await (const line of createInterface({ input: process.stdin })) {
  const frame = /^\s+[0-9a-f]+ (.+) \(([^)]*)\)$/.exec(line);
  const folded = /^(\S.*;.*) (\d+)$/.exec(line);
  if (frame !== null) {
    const kernel = frame[2].startsWith('[kernel') || frame[2].startsWith('[guest') || /\.ko\b/.test(frame[2]);
    frames.push({ name: frame[1].replace(/\+0x[0-9a-f]+$/, ''), kernel });
  } else if (folded !== null && command === null) {
    add(folded[1].split(';').map((name) => ({ name, kernel: false })), Number(folded[2]));
  } else if (/^\S/.test(line)) {
    endSample();
    command = line.split(/\s+\d+ /)[0].trim();
  } else if (line === '') {
    endSample();
  }
}
endSample();
if (root.samples === 0) {
  process.stderr.write('flamegraph: no stacks on standard input\n');
  process.exit(1);
}

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const depthOf = (node) => 1 + Math.max(0, ...[...node.children.values()].map(depthOf));
const height = (depthOf(root) + 3) * ROW;
const parts = [];

function colour(name, kernel) {
  const hash = [...name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) >>> 0, 7);
  return kernel ? `hsl(${205 + hash % 25},55%,${68 + hash % 10}%)` : `hsl(${20 + hash % 30},85%,${65 + hash % 10}%)`;
}

function draw(node, x, depth) {
  const width = node.samples / root.samples * WIDTH;
  if (width < 0.3) {
    return;
  }
  const y = height - (depth + 1) * ROW - 4;
  const share = (100 * node.samples / root.samples).toFixed(2);
  const letters = Math.floor((width - 6) / 6.6);
  const label = letters < 3 ? '' : node.name.length > letters ? `${node.name.slice(0, letters - 1)}…` : node.name;
  parts.push(`<g><title>${escape(node.name)}: ${node.samples} samples, ${share} %</title>`
    + `<rect x="${x.toFixed(1)}" y="${y}" width="${Math.max(width - 0.5, 0.3).toFixed(1)}" height="${ROW - 1}" `
    + `rx="1" fill="${colour(node.name, node.kernel)}"/>`
    + (label === '' ? '' : `<text x="${(x + 3).toFixed(1)}" y="${y + 12}">${escape(label)}</text>`) + '</g>');
  let at = x;
  for (const child of [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    draw(child, at, depth + 1);
    at += child.samples / root.samples * WIDTH;
  }
}

draw(root, 0, 0);
process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}">
<style>text{font:11px monospace;fill:#111}text.t{font:15px sans-serif}g:hover rect{stroke:#000}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text class="t" x="8" y="20">${escape(title)} (${root.samples} samples)</text>
${parts.join('\n')}
</svg>
`);
