#include "hub/transport.h"

#include <errno.h>

#include "core/base/memory.h"
#include "hub/http2.h"
#include "hub/shard.h"

int transport_begin(struct connection *connection, struct tls_context *context)
{
    struct transport *transport = memory_calloc(1, sizeof(*transport));
    if (transport == NULL) {
        return -ENOMEM;
    }
    transport->tls = tls_new(context);
    if (transport->tls == NULL) {
        memory_free(transport);
        return -ENOMEM;
    }
    connection->transport = transport;
    return 0;
}

int transport_carry(struct connection *connection, struct http2 *http2)
{
    if (connection->transport == NULL) {
        connection->transport = memory_calloc(1, sizeof(*connection->transport));
        if (connection->transport == NULL) {
            return -ENOMEM;
        }
    }
    connection->transport->http2 = http2;
    return 0;
}

void transport_free(struct connection *connection)
{
    struct transport *transport = connection->transport;
    if (transport != NULL) {
        if (transport->http2 != NULL) {
            http2_free(connection);
        }
        connection->transport = NULL;
        tls_free(transport->tls);
        memory_free(transport);
    }
}

bool transport_is_shaking_hands(const struct connection *connection)
{
    const struct transport *transport = connection->transport;
    return transport != NULL && transport->tls != NULL && !tls_is_established(transport->tls);
}

bool transport_peer_ended(const struct connection *connection)
{
    return connection->transport != NULL && connection->transport->peer_ended;
}

bool transport_knows_peer(const struct connection *connection)
{
    const struct transport *transport = connection->transport;
    return transport != NULL && transport->tls != NULL && tls_knows_peer(transport->tls);
}

/* ---- Receiving --------------------------------------------------------------------------------
 */

/* A browser that was given http:// for https:// is told so. */
static bool transport_is_clear_text(const struct transport *transport, struct span bytes)
{
    return !transport->met && bytes.bytes[0] >= 'A' && bytes.bytes[0] <= 'Z';
}

static void transport_refuse_clear_text(struct connection *connection)
{
    static const struct http_problem problem = {400, "This address speaks TLS: use https://."};
    transport_free(connection);
    connection_refuse(connection, &problem);
}

static void transport_handshake_done(struct connection *connection)
{
    struct shard *shard = connection->shard;
    shard_count(&shard->stats.tls_handshakes, 1);
    if (tls_is_resumed(connection->transport->tls)) {
        shard_count(&shard->stats.tls_resumptions, 1);
    }
    if (tls_is_http2(connection->transport->tls) && http2_begin(connection) < 0) {
        connection_close(connection, "no memory");
    }
}

/* Nothing can be said any more but the alert, which is in the outbox if there is one. */
static void transport_break(struct connection *connection, bool established)
{
    struct shard *shard = connection->shard;
    if (!established) {
        shard_count(&shard->stats.tls_handshake_failures, 1);
    }
    connection->transport->ended = true;
    if (connection->state != CONNECTION_READING || connection->outbox == NULL) {
        connection_close(connection, established ? "bad TLS record" : "TLS handshake failed");
        return;
    }
    connection->outbox->data.len = 0;
    connection->flags |= CONNECTION_CLOSE_AFTER | CONNECTION_LINGER_AFTER;
    connection->flags |= CONNECTION_READ_STOPPED;
    io_read_stop(shard->io, &connection->stream);
}

void transport_received(struct connection *connection, struct span bytes)
{
    struct shard *shard = connection->shard;
    struct transport *transport = connection->transport;
    if (transport->tls == NULL) {
        connection_heard(connection, bytes.bytes, (ssize_t)bytes.len);
        return;
    }
    if (transport_is_clear_text(transport, bytes)) {
        transport_refuse_clear_text(connection);
        return;
    }
    transport->met = true;
    bool was_established = tls_is_established(transport->tls);
    struct buffer *plain = &shard->plain;
    struct buffer *sealed = &shard->sealed;
    plain->len = 0;
    sealed->len = 0;
    enum tls_outcome outcome = tls_open(transport->tls, bytes, plain, sealed);
    bool established = tls_is_established(transport->tls);
    if (sealed->failed) {
        sealed->failed = false;
        outcome = TLS_BROKEN;
    }
    connection_write_sealed(connection, buffer_span(sealed));
    if (!was_established && established && connection->state != CONNECTION_CLOSED) {
        transport_handshake_done(connection);
    }
    if (plain->len > 0 && connection->state != CONNECTION_CLOSED) {
        connection_heard(connection, plain->bytes, (ssize_t)plain->len);
    }
    plain->failed = false;
    if (connection->state == CONNECTION_CLOSED || connection->state == CONNECTION_LINGERING) {
        return;
    }
    if (outcome == TLS_ENDED) {
        transport->peer_ended = true;
        connection_peer_ended(connection);
    } else if (outcome == TLS_BROKEN) {
        transport_break(connection, established);
    }
}

/* ---- Sending ----------------------------------------------------------------------------------
 */

/* What is out is let go, so that a peer who never quite keeps up does not make the buffer grow. */
static void outbox_compact(struct outbox *outbox, struct buffer *buffer)
{
    if (outbox->sent > 0) {
        buffer->len -= outbox->sent;
        memmove(buffer->bytes, buffer->bytes + outbox->sent, buffer->len);
        outbox->sent = 0;
    }
}

/* Whether everything that will be said has been: the peer is told, with the last record. */
static bool transport_is_last(const struct connection *connection)
{
    bool is_between = connection->state == CONNECTION_READING ||
                      connection->state == CONNECTION_CARRYING ||
                      (connection->flags & CONNECTION_ENDING) != 0;
    return is_between && (connection->flags & CONNECTION_CLOSE_AFTER) != 0;
}

bool transport_seal(struct connection *connection, struct span *ret_bytes)
{
    struct transport *transport = connection->transport;
    struct outbox *outbox = connection->outbox;
    if (transport->tls == NULL) {
        outbox_compact(outbox, &outbox->data);
        *ret_bytes = buffer_span(&outbox->data);
        return true;
    }
    outbox_compact(outbox, &outbox->sealed);
    if (outbox->data.len > 0) {
        if (transport->ended ||
            tls_seal(transport->tls, buffer_span(&outbox->data), &outbox->sealed) != TLS_OK) {
            connection_close(connection, "no memory");
            return false;
        }
        outbox->data.len = 0;
    }
    if (!transport->ended && transport_is_last(connection)) {
        transport->ended = true;
        tls_end(transport->tls, &outbox->sealed);
    }
    *ret_bytes = buffer_span(&outbox->sealed);
    return true;
}

ssize_t transport_take(struct connection *connection, struct span bytes)
{
    if (http2_is_stream(connection)) {
        return http2_take(connection, bytes);
    }
    size_t unsent = outbox_unsent(connection->outbox);
    if (unsent >= TRANSPORT_OUT_MAX_BYTES) {
        return 0;
    }
    size_t taken = min_size(bytes.len, TRANSPORT_OUT_MAX_BYTES - unsent);
    if (!connection_append(connection, span_make(bytes.bytes, taken))) {
        return -ENOMEM;
    }
    return (ssize_t)taken;
}
