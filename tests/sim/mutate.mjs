#!/usr/bin/env node
/*
 * Puts one deliberate fault at a time into a copy of the tree, and requires the simulator to find it.
 *
 *   tests/sim/mutate.mjs [--seconds N] [NAME ...]     all faults, or the named ones; N seconds of seeds each
 *
 * The copy is of the last commit, in a folder for temporary files. Ends with "N passed, N failed":
 * a fault passes when it was found.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/* Each: name, file, the text as it is (once in the file), the text as it would be wrong. */
const faults = [
    ['undo-forgets-the-part', 'core/fanout.c',
        '        subscriber->partial_sent = sent - begin;\n',
        '        subscriber->partial_sent = 0;\n'],
    ['undo-forgets-the-position', 'core/fanout.c',
        '    uint32_t index = 0;\n    subscriber->position = delivery->position;\n',
        '    uint32_t index = 0;\n'],
    ['blocked-is-not-watched', 'core/fanout.c',
        '        fanout->handler->blocked(fanout->owner, subscriber);\n', ''],
    ['writable-is-not-ready', 'core/fanout.c',
        '    subscriber->flags &= (uint8_t)~SUBSCRIBER_BLOCKED;\n    visit_again(fanout, subscriber);\n',
        '    subscriber->flags &= (uint8_t)~SUBSCRIBER_BLOCKED;\n'],
    ['released-is-not-ready', 'core/fanout.c',
        '    subscriber->flags &= (uint8_t)~SUBSCRIBER_HELD;\n    visit_again(fanout, subscriber);\n',
        '    subscriber->flags &= (uint8_t)~SUBSCRIBER_HELD;\n'],
    ['a-cut-batch-is-not-continued', 'core/fanout.c',
        '    (*ret_batch)->more = more;\n', '    (*ret_batch)->more = false;\n'],
    ['history-batch-is-the-last', 'core/fanout.c', '    batch->more = true;\n', ''],
    ['resume-one-too-far', 'core/resume.c',
        'point.position = point.is_future ? 0 : value;', 'point.position = point.is_future ? 0 : value + 1;'],
    ['resume-one-too-early', 'core/resume.c',
        'point.position = point.is_future ? 0 : value;', 'point.position = point.is_future ? 0 : value - 1;'],
    ['history-find-includes', 'core/history.c',
        'history_at(history, middle)->sequence > after', 'history_at(history, middle)->sequence >= after'],
    ['feed-find-includes', 'core/feed.c',
        'feed_entry_at(feed, middle)->sequence > after', 'feed_entry_at(feed, middle)->sequence >= after'],
    ['window-trimmed-too-early', 'core/feed.c',
        'if (feed->behind_count > 0 && window->bytes <= behind_bytes_max) {', 'if (false) {'],
    ['a-shard-is-left-out', 'core/sequencer.c',
        '        shards->bits[i / 64] |= 1ULL << (i % 64);\n',
        '        shards->bits[i / 64] |= (uint64_t)(i != 1) << (i % 64);\n'],
    ['merge-leaves-the-broadcast-out', 'core/sequencer.c',
        '    unsigned source_count = read->feed_count + 1;\n',
        '    unsigned source_count = read->feed_count;\n'],
    ['member-skipped-in-a-pass', 'core/fanout.c',
        '            feed->pass_next--;\n            return false;\n', '            return false;\n'],
    ['passed-but-still-dirty', 'core/fanout.c',
        '        if (feed->head > feed->passed) {\n', '        if (false) {\n'],
    ['control-send-starts-again', 'hub/shard.c',
        '    connection->outbox->sent += (size_t)sent;\n', ''],
    ['words-into-an-event', 'hub/shard.c',
        '        if (connection_is_inside_event(connection)) {', '        if (false) {'],
    ['position-of-a-join', 'core/fanout.c',
        'subscriber->position = min_u64(from, sequence);', 'subscriber->position = min_u64(from, sequence + 1);'],
];

const root = join(fileURLToPath(import.meta.url), '../../..');
const words = process.argv.slice(2);
const at = words.indexOf('--seconds');
const seconds = at < 0 ? '10' : words.splice(at, 2)[1];
const wanted = faults.filter(([name]) => words.length === 0 || words.includes(name));
const copy = mkdtempSync(join(tmpdir(), 'spate-mutate-'));
let found = 0;
try {
    execFileSync('sh', ['-c', 'git -C "$1" archive HEAD | tar -x -C "$2"', 'sh', root, copy]);
    const build = () => execFileSync('sh', ['-c', 'cmake --preset asan && cmake --build --preset asan -j2 --target spate_sim'],
        { cwd: copy, stdio: ['ignore', 'ignore', 'inherit'] });
    for (const [index, [name, file, before, after]] of wanted.entries()) {
        const path = join(copy, file);
        const text = readFileSync(path, 'utf8');
        if (text.split(before).length !== 2) {
            console.log(`[${index + 1}/${wanted.length}] ${name}: the text is not in ${file} once`);
            continue;
        }
        writeFileSync(path, text.replace(before, () => after));
        build();
        const run = spawnSync(join(copy, 'build/asan/bin/spate_sim'), ['--seconds', seconds],
            { timeout: 1000 * (Number(seconds) + 60), encoding: 'utf8' });
        writeFileSync(path, text);
        found += run.status !== 0;
        const verdict = run.status !== 0 ? 'found' : 'NOT FOUND';
        console.log(`[${index + 1}/${wanted.length}] ${name}: ${verdict}`);
    }
} finally {
    rmSync(copy, { recursive: true });
}
console.log(`${found} passed, ${wanted.length - found} failed`);
process.exitCode = found === wanted.length ? 0 : 1;
