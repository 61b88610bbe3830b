// What the reports of the benchmarks have in common.

import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function digits(value) {
  if (value >= 100) return Math.round(value).toLocaleString('en');
  if (value >= 10) return value.toFixed(1);
  if (value === 0) return '0';
  return value >= 1 ? value.toFixed(2) : value.toFixed(3);
}

export function table(head, rows) {
  return [`| ${head.join(' | ')} |`, `|${head.map(() => '---').join('|')}|`,
          ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
}

// When and on what, in words.
export function machine() {
  return `${new Date().toISOString().slice(0, 10)}: ${cpus().length} virtual CPUs (${cpus()[0].model.trim()}), ` +
    `Linux ${release().split('-')[0]}`;
}

// Puts `text` between the two marks that `maker` has in the file.
export function replaceSection(file, maker, text) {
  const begin = `<!-- made by ${maker} --doc: begin -->`;
  const end = `<!-- made by ${maker} --doc: end -->`;
  const old = readFileSync(file, 'utf8');
  if (!old.includes(begin) || !old.includes(end)) {
    throw new Error(`${file} has no place for what ${maker} makes`);
  }
  writeFileSync(file, `${old.split(begin)[0]}${begin}\n${text}\n${end}${old.split(end)[1]}`);
}
