/* The writing half of hub/connection.h. */
#include "core/base/memory.h"
#include "hub/connection.h"
#include "hub/http2.h"
#include "hub/shard.h"

enum {
    /* No connection may have more than this unsent; its limits keep it far below. */
    CONNECTION_OUT_MAX_BYTES = 8 * 1024 * 1024,
};

void connection_drop_outbox(struct connection *connection)
{
    struct outbox *outbox = connection->outbox;
    if (outbox != NULL) {
        connection->outbox = NULL;
        connection->shard->outbox_count--;
        list_remove_if_linked(&outbox->link);
        if (http2_is_stream(connection)) {
            http2_answer_freed(connection, outbox->data.len);
        }
        buffer_fini(&outbox->data);
        buffer_fini(&outbox->sealed);
        memory_free(outbox);
    }
}

static struct outbox *outbox_get(struct connection *connection)
{
    if (connection->outbox == NULL) {
        struct outbox *outbox = memory_alloc(sizeof(*outbox));
        if (outbox == NULL) {
            return NULL;
        }
        *outbox = (struct outbox){.connection = connection};
        buffer_init(&outbox->data, CONNECTION_OUT_MAX_BYTES);
        buffer_init(&outbox->sealed, CONNECTION_OUT_MAX_BYTES);
        list_append(http2_is_stream(connection) ? http2_outgoing(connection)
                                                : &connection->shard->outgoing,
                    &outbox->link);
        connection->outbox = outbox;
        connection->shard->outbox_count++;
    }
    return connection->outbox;
}

bool connection_append(struct connection *connection, struct span bytes)
{
    struct outbox *outbox = outbox_get(connection);
    if (outbox == NULL) {
        return false;
    }
    buffer_append_span(&outbox->data, bytes);
    if (http2_is_stream(connection) && !outbox->data.failed) {
        http2_answer_held(connection, bytes.len);
    }
    return !outbox->data.failed;
}

void connection_write(struct connection *connection, struct span bytes)
{
    if (connection->state != CONNECTION_CLOSED && !connection_append(connection, bytes)) {
        connection_close(connection, "no memory");
    }
}

void connection_write_sealed(struct connection *connection, struct span bytes)
{
    if (bytes.len == 0) {
        return;
    }
    struct outbox *outbox = outbox_get(connection);
    if (outbox != NULL) {
        buffer_append_span(&outbox->sealed, bytes);
    }
    if (outbox == NULL || outbox->sealed.failed) {
        connection_close(connection, "no memory");
    }
}

void connection_write_chunk(struct connection *connection, struct span bytes)
{
    if (bytes.len == 0) {
        return;
    }
    if (connection->minor_version == 0) {
        connection_write(connection, bytes);
        return;
    }
    char head[2 * sizeof(bytes.len) + 2];
    size_t at = sizeof(head);
    head[--at] = '\n';
    head[--at] = '\r';
    for (size_t left = bytes.len; left > 0; left >>= 4) {
        head[--at] = "0123456789abcdef"[left & 15];
    }
    connection_write(connection, span_make(head + at, sizeof(head) - at));
    connection_write(connection, bytes);
    connection_write(connection, span_of("\r\n"));
}

void connection_write_end(struct connection *connection)
{
    if (connection->minor_version == 0) {
        connection->flags |= CONNECTION_CLOSE_AFTER;
        connection_complete(connection);
    } else {
        connection_write(connection, span_of("0\r\n\r\n"));
    }
}

void connection_complete(struct connection *connection)
{
    if (http2_is_stream(connection) && connection->state != CONNECTION_CLOSED) {
        connection->flags |= CONNECTION_COMPLETE;
        /* The end goes out even if nothing is before it. */
        if (outbox_get(connection) == NULL) {
            connection_close(connection, "no memory");
        }
    }
}
