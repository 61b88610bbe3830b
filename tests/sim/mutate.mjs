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
        'batch->entries[index].frame, sent - begin);', 'batch->entries[index].frame, 0);'],
    ['undo-forgets-the-position', 'core/fanout.c',
        '    uint32_t index = 0;\n    subscriber->position = batch->position;\n',
        '    uint32_t index = 0;\n'],
    ['blocked-is-not-watched', 'core/fanout.c',
        '        fanout->handler->blocked(fanout->owner, subscriber);\n', ''],
    ['writable-is-not-ready', 'core/fanout.c',
        '    list_remove_if_linked(&subscriber->ready);\n    visit_again(fanout, subscriber);\n',
        '    list_remove_if_linked(&subscriber->ready);\n'],
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
    ['a-shard-is-left-out', 'core/sequencer.h',
        'set->bits[shard / 64] |= 1ULL << (shard % 64);', 'set->bits[shard / 64] |= (uint64_t)(shard != 1) << (shard % 64);'],
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
        '    if (connection_is_inside_event(connection)) {', '    if (false) {'],
    ['position-of-a-join', 'core/fanout_members.c',
        'fanout_set_back(subscriber, min_u64(from, sequence), 0) < 0', 'fanout_set_back(subscriber, min_u64(from, sequence) + 1, 0) < 0'],
    ['publish-wakes-nobody', 'hub/shard.c', '    hub_wake(shard->hub, &shards);\n', ''],
    ['share-is-forgotten', 'hub/shard.c', '    relay_take(&shard->relay, &shard->to_wake);\n', ''],
    ['mail-wakes-nobody', 'hub/shard.c',
        '    mailbox_post(&shard->mailbox, mail);\n    shard_wake(shard);\n', '    mailbox_post(&shard->mailbox, mail);\n'],
    ['doorbell-is-dumb', 'core/doorbell.h',
        'return __atomic_exchange_n(&doorbell->sleeping, 0, __ATOMIC_RELAXED) == 1;', 'return false;'],
    ['part-released-twice', 'core/fanout.c',
        '            frame_unref(fanout->deliveries[i].partial);\n',
        '            frame_unref(fanout->deliveries[i].partial);\n            frame_unref(fanout->deliveries[i].partial);\n'],
    ['part-without-a-reference', 'core/fanout.c',
        'catch_up->partial = frame_ref(frame);', 'catch_up->partial = frame;'],
    ['history-batch-leaks', 'core/fanout.c',
        'i < fanout->history_batches->entry_count; i++', 'i + 1 < fanout->history_batches->entry_count; i++'],
    ['merge-newest-first', 'core/sequencer.c',
        '(oldest == NULL || frame->sequence < oldest->sequence)', '(oldest == NULL || frame->sequence > oldest->sequence)'],
    ['windows-newest-first', 'core/fanout.c',
        'if (next == NULL || frame->sequence < next->sequence) {', 'if (next == NULL || frame->sequence > next->sequence) {'],
    ['window-of-the-broadcast-ignored', 'core/fanout.c',
        '    return subscriber->position >= fanout->broadcast->base;\n', '    return true;\n'],
    ['heartbeat-into-an-event', 'hub/connection.c',
        'if (idle_ms >= interval_ms && fanout_is_quiet(&shard->fanout, &connection->subscriber)) {',
        'if (idle_ms >= interval_ms) {'],
    ['heartbeat-too-soon', 'hub/connection.c',
        'if (idle_ms >= interval_ms && fanout_is_quiet', 'if (2 * idle_ms >= interval_ms && fanout_is_quiet'],
    ['one-heartbeat-only', 'hub/connection.c',
        '        connection_set_stream_timer(connection, interval_ms - min_u64(idle_ms, interval_ms - 1));\n', ''],
    ['credit-lost-without-memory', 'core/feed.c', 'if (old->sequence > feed->passed) {', 'if (false) {'],
    ['credit-lost-in-a-pass', 'core/feed.c',
        'for (uint32_t i = feed_find(feed, feed->passed); i < end; i++) {',
        'for (uint32_t i = feed_find(feed, feed->passed) + 1; i < end; i++) {'],
    ['unsubscribe-forgotten', 'core/fanout_members.c',
        '    sequencer_unsubscribe(fanout->sequencer, feeds, subscriber->channel_count, now_ms);\n', ''],
    ['gap-not-told', 'core/sequencer.c', 'if (read->ret_available == known) {', 'if (read->ret_available >= known) {'],
    ['gap-to-the-wrong-event', 'core/resume.c',
        'point.first_available = first_after(&sources, point.position);',
        'point.first_available = first_after(&sources, point.position + 1);'],
    ['gap-where-there-is-none', 'core/resume.c',
        'point.is_expired = value < point.complete_after;', 'point.is_expired = value <= point.complete_after;'],
    ['reservation-kept', 'core/sequencer.c', '            admissions[i].channel->reserved = 0;\n', ''],
    ['room-for-one-is-room-for-all', 'core/sequencer.c',
        '!queue_has_room(queue, needed[feed->shard])', '!queue_has_room(queue, 1)'],
    ['feed-never-full', 'core/sequencer.c',
        'return feed_exceeds(feed, size, sequencer->options.feed_bytes_max);', 'return false;'],
    ['id-of-the-next', 'core/frame.c',
        'frame->id_offset, epoch, sequence);', 'frame->id_offset, epoch, sequence + 1);'],
    ['key-not-found', 'hub/idempotency.c',
        'if (span_equal(span_make(entry->key, entry->key_len), key)) {', 'if (false) {'],
    ['moved-member-not-told', 'core/fanout_members.c', 'i < moved_count; i++', 'i + 1 < moved_count; i++'],
    ['leaving-in-a-pass', 'core/feed.c', '    if (hole < feed->pass_next) {', '    if (false) {'],
    ['reading-not-resumed', 'hub/connection.c',
        '            io_read_start(shard->io, &connection->stream);\n            connection_replay(connection);\n',
        '            connection_replay(connection);\n'],
    ['pipelined-input-lost', 'hub/connection.c',
        '        connection_input(connection, buffer_span(&stashed));\n', ''],
    ['chunk-size-off', 'core/frame.c', '    size_t left = text_len;\n', '    size_t left = text_len + 1;\n'],
    ['history-keeps-one-more', 'core/history.c',
        'history->count > limits->count_max ||', 'history->count > limits->count_max + 1 ||'],
    ['history-keeps-one-less', 'core/history.c',
        'history->count > limits->count_max ||', 'history->count >= limits->count_max ||'],
    ['whole-budget-ignored', 'core/sequencer.c',
        'while (sequencer->history_bytes > sequencer->options.history_total_bytes_max) {', 'while (false) {'],
    ['short-send-not-told', 'net/io.c',
        '    for (uint32_t i = 0; i < count; i++) {\n        io->handler.sent(', '    for (uint32_t i = 1; i < count; i++) {\n        io->handler.sent('],
    ['read-start-finds-nothing', 'net/io.c',
        'if (io_stream_has(stream, IO_STREAM_HELD) || io_stream_next(stream) != IO_NEXT_NOTHING) {', 'if (false) {'],
    ['since-one-too-late', 'core/resume.c',
        'history_at(sources->histories[i], index)->sequence - 1);', 'history_at(sources->histories[i], index)->sequence);'],
    ['one-more-than-history-says', 'core/resume.c',
        'if (count_after(sources, middle) <= count) {', 'if (count_after(sources, middle) <= count + 1) {'],
    ['feed-freed-too-early', 'core/fanout_members.c',
        'if (feed->retired_tail > queue_head(fanout->queue) || list_is_linked(&feed->dirty)) {',
        'if (list_is_linked(&feed->dirty)) {'],
    ['crlf-is-two-lines', 'proto/sse.c',
        "(*stop == '\\r' && stop + 1 < end && stop[1] == '\\n') ? 2 : 1;", '1;'],
    ['place-beyond-the-gap', 'hub/subscribe.c',
        'response_stream_first_words(connection, resume->gap == NULL);', 'response_stream_first_words(connection, true);'],
    ['heartbeat-moves-too-far', 'core/fanout.c',
        'subscriber->position = max_u64(subscriber->position, fanout->dequeued);',
        'subscriber->position = max_u64(subscriber->position, fanout->dequeued + 1);'],
    ['half-closed-is-done', 'hub/connection.c',
        '        connection_close(connection, "client left");\n    }\n',
        '        connection_close(connection, "client left");\n    } else {\n        connection_peer_done(connection);\n    }\n'],
    ['batch-of-history-too-large', 'core/fanout.c', '        .bytes_max = fanout->limits.batch_bytes,\n', '        .bytes_max = 0,\n'],
    ['few-sends-leave-none-to-the-ready', 'core/fanout.c',
        '(fanout->sends_max + FANOUT_READY_SHARE - 1) / FANOUT_READY_SHARE', 'fanout->sends_max / FANOUT_READY_SHARE'],
    ['turns-grow-without-end', 'core/fanout.c',
        '(uint32_t)min_u64(2 * (uint64_t)fanout->sends_max, fanout->sends_most)', '2 * fanout->sends_max'],
    ['turns-stay-long-when-events-come', 'core/fanout.c', '        fanout->sends_max = fanout->sends_first;\n', ''],
    ['first-of-a-window-lost-when-it-grows', 'core/feed.c',
        '    for (uint32_t i = 0; i < window->count; i++) {\n        ring[i]', '    for (uint32_t i = 1; i < window->count; i++) {\n        ring[i]'],
    ['first-member-lost-when-they-grow', 'core/feed.c', '        members[0] = in_place ? feed->member : members[0];\n', ''],
    ['table-looks-in-the-old-bucket', 'core/base/table.c', 'index < table->split ? index', 'index <= table->split ? index'],
    ['table-moves-only-the-first', 'core/base/table.c', '        node = next;\n', '        node = NULL;\n'],
    ['feed-of-a-shard-in-the-wrong-place', 'core/channel.c',
        '    memmove(&channel->feeds[place + 1], &channel->feeds[place],\n            (channel->feed_count - place)',
        '    memmove(&channel->feeds[place + 1], &channel->feeds[place],\n            (channel->feed_count - place - (channel->feed_count > place))'],
    ['feeds-lost-when-one-goes', 'core/channel.c', '    if (channel->feed_count == 0) {\n        channel_free', '    if (channel->feed_count <= 1) {\n        channel_free'],
    ['only-the-last-event-wakes', 'hub/shard.c', 'shard_set_merge(&shard->to_wake, &shards);', 'shard->to_wake = shards;'],
    ['nobody-is-too-slow', 'hub/connection.c',
        'else if (limit_ms > 0 && idle_ms >= limit_ms) {', 'else if (false) {'],
    ['too-slow-too-soon', 'hub/connection.c',
        'else if (limit_ms > 0 && idle_ms >= limit_ms) {', 'else if (limit_ms > 0) {'],
    ['too-slow-only-amid-an-event', 'hub/connection.c',
        '(outbox != NULL && !list_is_linked(&outbox->link));', 'false;'],
    ['h2-nobody-is-too-slow', 'hub/http2_flow.c', '    if (!waits || !is_out) {', '    if (true) {'],
    ['h2-slow-behind-others', 'hub/http2_flow.c', '    if (!waits || !is_out) {', '    if (!waits) {'],
    ['h2-connection-is-never-too-slow', 'hub/http2.c', 'if (is_stuck && now_ms', 'if (false && now_ms'],
    ['h2-body-cut', 'hub/http2_request.c', 'buffer_append(body, bytes, len);', 'buffer_append(body, bytes, len - (len > 9));'],
    ['h2-requests-never-forgotten', 'hub/http2.c', '    http2->request_bytes -= len;\n', ''],
    ['h2-answers-never-forgotten', 'hub/http2.c', '    http2->answer_bytes -= len;\n', ''],
    ['h2-woken-for-ever', 'hub/http2_flow.c', '            count++; /* a blocked one has gone over to another list */\n        } else {\n            list_remove(link);\n',
        '            count++; /* a blocked one has gone over to another list */\n        } else {\n            count++;\n'],
    ['h2-settings-open-no-window', 'hub/http2_flow.c', '    list_splice(&http2->blocked, &http2->shut);\n', ''],
    ['h2-settings-open-no-outbox', 'hub/http2_flow.c', '    list_splice(&http2->crowded, &http2->stalled);\n', ''],
    ['h2-window-opens-for-nobody', 'hub/http2_flow.c', '        list_append(&http2->blocked, &stream->waiting);\n', '        list_append(&http2->shut, &stream->waiting);\n'],
    ['h2-window-of-the-stream-ignored', 'hub/http2_flow.c',
        'return min_size(stream_window(http2, stream), shared_room(http2));', 'return shared_room(http2);'],
    ['h2-window-of-the-connection-ignored', 'hub/http2_flow.c',
        'return min_size((size_t)window, HTTP2_OUT_MAX_BYTES - unsent);', 'return HTTP2_OUT_MAX_BYTES - unsent;'],
    ['h2-length-off-by-one', 'hub/http2_flow.c',
        'span_make(http2->data.bytes, len))) {', 'span_make(http2->data.bytes, len > 0 ? len - 1 : 0))) {'],
    ['h2-update-not-noticed', 'hub/http2_input.c', '            http2_flow_opened(http2, stream);\n', ''],
    ['h2-update-of-the-connection-not-noticed', 'hub/http2_input.c', '            http2_flow_room(http2);\n', ''],
    ['h2-settings-not-noticed', 'hub/http2_input.c', '        http2_flow_opened_all(http2);\n', ''],
    ['h2-stream-kept-when-reset', 'hub/http2.c',
        '        connection_close(stream, is_done ? "done" : "client left");\n', ''],
    ['h2-last-words-lost', 'hub/http2_flow.c',
        'if (!stream_send(http2, stream, span_make(rest.bytes, taken), end)) {',
        'if (!stream_send(http2, stream, span_make(rest.bytes, end ? taken - 1 : taken), end)) {'],
    ['h2-words-said-twice', 'hub/http2_flow.c', '    outbox->sent += taken;\n', ''],
    ['h2-blocked-is-forgotten', 'hub/http2_flow.c',
        '        list_append(stream_window(http2, stream) > 0 ? &http2->blocked : &http2->shut,\n                    &stream->waiting);\n',
        ''],
    ['h2-outbox-is-forgotten', 'hub/http2_flow.c',
        '        list_append(&http2->crowded, &stream->outbox->link);\n', ''],
    ['h2-turns-not-continued', 'hub/http2_flow.c',
        '        http2_flow_room(http2); /* the others once these have had their turn */\n', ''],
    ['h2-taken-as-a-whole', 'hub/http2_flow.c', '    return (ssize_t)taken;\n', '    return (ssize_t)bytes.len;\n'],
    ['h2-half-made-frame-asked-again', 'hub/http2.c',
        '        return; /* it may be amid a frame whose data is no longer here */\n', ''],
    ['h2-end-before-the-rest', 'hub/http2_flow.c',
        'bool end = all && (stream->flags & CONNECTION_COMPLETE) != 0;', 'bool end = (stream->flags & CONNECTION_COMPLETE) != 0;'],
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
        const words = /^seed \d+, step \d+: .*|check failed: .*|.*CHECK.*|SUMMARY: .*/m.exec(run.stdout + run.stderr);
        const verdict = run.status !== 0 ? `found (${words?.[0].slice(0, 100) ?? run.signal})` : 'NOT FOUND';
        console.log(`[${index + 1}/${wanted.length}] ${name}: ${verdict}`);
    }
} finally {
    rmSync(copy, { recursive: true });
}
console.log(`${found} passed, ${wanted.length - found} failed`);
process.exitCode = found === wanted.length ? 0 : 1;
