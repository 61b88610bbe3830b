#!/usr/bin/env node
/* The integration tests and those of tests/browser: see README.md beside this file. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { configure } from './hub.mjs';
import { Report, runFile } from './harness.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({
    options: {
        folder: { type: 'string', default: here },
        spate: { type: 'string', default: path.join(here, '../../build/release/bin/spate') },
        io: { type: 'string', default: 'auto' },
        wrapper: { type: 'string', default: '' },
        only: { type: 'string', default: '' },
        without: { type: 'string', default: '' }, /* files, with commas between */
        slow: { type: 'string', default: '1' },
        big: { type: 'boolean', default: false },
        tls: { type: 'boolean', default: false },
        h2: { type: 'boolean', default: false },
    },
});

if (!existsSync(values.spate)) {
    console.error(`there is no program at ${values.spate}; build it, or give --spate`);
    process.exit(2);
}
configure({
    spate: path.resolve(values.spate),
    io: values.io,
    wrapper: values.wrapper.split(' ').filter((word) => word !== ''),
    slow: Number(values.slow),
    big: values.big,
    tls: values.tls,
    h2: values.h2,
});

const report = new Report();
const folder = path.resolve(values.folder);
const without = values.without.split(',').map((name) => `${name}.test.mjs`);
const files = readdirSync(folder).filter((name) => name.endsWith('.test.mjs') && !without.includes(name))
    .sort();
for (const file of files) {
    await runFile(path.join(folder, file), file.replace('.test.mjs', ''), values.only, report);
}
if (report.passed + report.failed + report.skipped === 0) {
    console.error(`no test matches --only ${values.only}`);
    process.exit(2);
}
console.log(`The slowest:\n${report.slowest(20)}`);
console.log(report.summary());
process.exit(report.failed === 0 ? 0 : 1);
