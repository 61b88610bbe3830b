/* What the documents say is what the program does. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from './harness.mjs';
import { settings } from './hub.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..');
const read = (name) => readFileSync(path.join(root, name), 'utf8');

test('docs/configuration.md is made from the option table', { hub: null }, () => {
    const program = path.join(path.dirname(settings.spate), 'config_reference');
    const made = execFileSync(program, { encoding: 'utf8' });
    assert.equal(read('docs/configuration.md'), made,
        'make it anew: build/release/bin/config_reference > docs/configuration.md');
});
