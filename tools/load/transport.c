#include "tools/load/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "core/base/list.h"
#include "core/base/memory.h"
#include "tools/load/http2_client.h"

enum {
    /* Requests of one turn; the longest fits by itself. */
    LOANED_SIZE = TARGET_PUBLISH_LEN_MAX + (1 << 16),
    OUT_LEN_MAX = 64 << 20,
    OUT_LEN_KEPT = 16 << 10, /* by a wire that has sent everything */
    SLOW_RECEIVE_BUFFER = 4096,
    STREAM_WINDOW = 65535,
};

/* Tokens of sends: an exchange's number, or with this bit a wire's. */
static const uint32_t WIRE_TOKEN = UINT32_C(1) << 31;

struct wire {
    struct io_stream stream;
    struct transport *transport;
    struct tls_client *tls;     /* NULL: clear text */
    struct http2_client *http2; /* NULL: HTTP/1.1 */
    struct exchange *only;      /* HTTP/1.1: whose connection it is */
    struct list dirty_link;     /* something may have to be sent */
    struct buffer out;          /* for the socket; on loan while is_sending */
    size_t out_at;
    uint32_t number;
    uint32_t group;
    uint32_t user_count; /* HTTP/2: exchanges that are open on it */
    bool is_ready;       /* for requests: the handshake is over */
    bool is_sending;
    bool is_blocked;  /* a send fell short; `writable` will come */
    bool is_leaving;  /* no exchange opens on it any more */
    bool has_refused; /* a request could not be made: it is told in the next turn */
    bool is_closing;
};

struct transport {
    struct transport_options options;
    const struct transport_handler *handler;
    void *owner;
    struct io *io;
    char *loaned; /* requests on the way to the kernel, until the sends are final */
    size_t loaned_len;

    bool has_wires;
    uint32_t wire_count_max;
    struct wire **wires; /* by number */
    uint32_t *free_numbers;
    uint32_t free_count;
    struct wire **groups; /* HTTP/2: the connection that a group of exchanges opens on */
    struct list dirty;
    struct wire **sending; /* until the sends are final */
    uint32_t sending_count;
    struct exchange **closing; /* HTTP/2: `closed` is owed to them */
    uint32_t closing_count;
    struct buffer plain; /* one visit's, of every wire */
};

/* --- Sockets ---------------------------------------------------------------------------------- */

static int socket_bind(int fd, uint32_t source)
{
    const int on = 1;
    const struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

/* A plain descriptor, connecting; or a negative errno. */
static int socket_connect(const struct target_address *at, uint32_t source, bool is_slow)
{
    const int fd = socket(at->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (is_slow) {
        const int size = SLOW_RECEIVE_BUFFER;
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    int r = source != 0 ? socket_bind(fd, source) : 0;
    if (r == 0 && connect(fd, (const struct sockaddr *)&at->address, at->address_len) < 0 &&
        errno != EINPROGRESS) {
        r = -errno;
    }
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    return fd;
}

static uint32_t exchange_number(const struct transport *transport, const struct exchange *exchange)
{
    const size_t distance =
        (size_t)((const char *)exchange - (const char *)transport->options.exchanges);
    return (uint32_t)(distance / transport->options.exchange_stride);
}

static struct exchange *exchange_at(const struct transport *transport, uint32_t number)
{
    char *first = (char *)transport->options.exchanges;
    return (struct exchange *)(void *)(first + number * transport->options.exchange_stride);
}

static int stream_connect(struct transport *transport, struct io_stream *stream,
                          const struct exchange *exchange)
{
    const struct transport_handler *handler = transport->handler;
    const uint32_t source =
        handler->source == NULL ? 0 : handler->source(transport->owner, exchange);
    /* A slow one over HTTP/2 shares its socket with others; its window makes it slow. */
    const bool is_slow = exchange->is_slow && !transport_is_http2(&transport->options);
    int r = socket_connect(transport->options.at, source, is_slow);
    return r < 0 ? r : io_adopt(transport->io, stream, r);
}

/* --- HTTP/1.1 in clear text ------------------------------------------------------------------- */

static void exchange_push(struct transport *transport, struct exchange *exchange)
{
    const struct span request = transport->handler->request(transport->owner, exchange);
    CHECK(exchange->sent < request.len);
    const size_t len = request.len - exchange->sent;
    if (len > LOANED_SIZE - transport->loaned_len) {
        io_watch_writable(transport->io, &exchange->stream); /* the next turn has room */
        return;
    }
    char *bytes = transport->loaned + transport->loaned_len;
    memcpy(bytes, request.bytes + exchange->sent, len);
    transport->loaned_len += len;
    io_send(transport->io, &exchange->stream, bytes, len, exchange_number(transport, exchange));
}

static void exchange_sent(struct transport *transport, struct exchange *exchange, ssize_t result)
{
    if (!exchange->is_asking) {
        return;
    }
    if (result >= 0 || result == -EAGAIN || result == -ENOTCONN) {
        exchange->sent += result > 0 ? (uint32_t)result : 0;
        io_watch_writable(transport->io, &exchange->stream);
    } else {
        transport->handler->ended(transport->owner, exchange, strerror((int)-result));
    }
}

/* --- Wires: sending --------------------------------------------------------------------------- */

static void wire_mark(struct wire *wire)
{
    if (!wire->is_closing && !list_is_linked(&wire->dirty_link)) {
        list_append(&wire->transport->dirty, &wire->dirty_link);
    }
}

static void wire_close(struct wire *wire)
{
    struct transport *transport = wire->transport;
    if (wire->is_closing) {
        return;
    }
    wire->is_closing = true;
    list_remove_if_linked(&wire->dirty_link);
    if (wire->http2 != NULL && transport->groups[wire->group] == wire) {
        transport->groups[wire->group] = NULL;
    }
    io_close(transport->io, &wire->stream);
}

/* Tells everybody on it, who then closes; and closes itself. */
static void wire_end(struct wire *wire, const char *problem)
{
    struct transport *transport = wire->transport;
    if (wire->only != NULL) {
        transport->handler->ended(transport->owner, wire->only, problem);
        return;
    }
    const uint32_t per_connection = transport->options.streams_per_connection;
    const uint32_t first = wire->group * per_connection;
    const uint32_t end =
        (uint32_t)min_u64((uint64_t)first + per_connection, transport->options.exchange_count);
    wire->is_leaving = true;
    if (transport->groups[wire->group] == wire) {
        transport->groups[wire->group] = NULL;
    }
    for (uint32_t i = first; i < end; i++) {
        struct exchange *exchange = exchange_at(transport, i);
        if (exchange->wire == wire) {
            exchange->stream_id = 0;
            transport->handler->ended(transport->owner, exchange, problem);
        }
    }
    wire_close(wire);
}

/* The server has ended the connection. */
static void wire_gone(struct wire *wire)
{
    const char *problem = NULL;
    if (!wire->is_ready) {
        problem = "the server closed the connection during the TLS handshake";
    } else if (wire->http2 != NULL && !http2_client_is_spoken(wire->http2)) {
        problem = "the server closed the connection before it spoke HTTP/2";
    }
    wire_end(wire, problem);
}

static int wire_fill(struct wire *wire)
{
    struct transport *transport = wire->transport;
    if (wire->out_at > 0) {
        memmove(wire->out.bytes, wire->out.bytes + wire->out_at, wire->out.len - wire->out_at);
        wire->out.len -= wire->out_at;
        wire->out_at = 0;
    }
    if (wire->http2 == NULL || !wire->is_ready) {
        return 0;
    }
    if (wire->tls == NULL) {
        return http2_client_send(wire->http2, &wire->out);
    }
    transport->plain.len = 0;
    int r = http2_client_send(wire->http2, &transport->plain);
    if (r == 0 &&
        tls_client_seal(wire->tls, buffer_span(&transport->plain), &wire->out) != TLS_CLIENT_OK) {
        r = -ENOMEM;
    }
    return r;
}

static void wire_flush(struct wire *wire)
{
    struct transport *transport = wire->transport;
    if (wire->is_blocked) {
        return; /* `writable` marks it again */
    }
    if (wire_fill(wire) < 0) {
        wire_end(wire, "not enough memory for what must be sent");
        return;
    }
    if (wire->out.len > 0) {
        wire->is_sending = true;
        transport->sending[transport->sending_count++] = wire;
        io_send(transport->io, &wire->stream, wire->out.bytes,
                min_size(wire->out.len, IO_SEND_LEN_MAX), WIRE_TOKEN | wire->number);
    }
}

static void wire_sent(struct wire *wire, ssize_t result)
{
    wire->is_blocked = true;
    if (result > 0) {
        wire->out_at += (size_t)result;
    } else if (result < 0 && result != -EAGAIN && result != -ENOTCONN && !wire->is_closing) {
        wire_end(wire, strerror((int)-result));
    }
}

static void wire_sent_final(struct wire *wire)
{
    wire->is_sending = false;
    if (wire->is_closing) {
        return;
    }
    if (wire->is_blocked) {
        io_watch_writable(wire->transport->io, &wire->stream);
        return;
    }
    wire->out.len = 0;
    wire->out_at = 0;
    if (wire->out.capacity > OUT_LEN_KEPT) {
        buffer_fini(&wire->out);
        buffer_init(&wire->out, OUT_LEN_MAX);
    }
}

static void wire_request(struct wire *wire, struct exchange *exchange)
{
    struct transport *transport = wire->transport;
    const struct span request = transport->handler->request(transport->owner, exchange);
    wire_mark(wire);
    exchange->is_asking = false;
    if (wire->http2 == NULL) {
        /* What cannot be sealed shows when the response does not come; there is no memory. */
        (void)tls_client_seal(wire->tls, request, &wire->out);
        return;
    }
    if (exchange->stream_id > 0) {
        /* Its response was complete by its length, and what ends the stream is still under way. */
        http2_client_forget(wire->http2, exchange->stream_id);
    }
    const int32_t id = http2_client_request(wire->http2, request, exchange->is_slow, exchange);
    exchange->stream_id = id > 0 ? id : 0;
    exchange->is_asking = id <= 0;
    wire->has_refused = wire->has_refused || id <= 0;
}

/* --- Wires: receiving ------------------------------------------------------------------------- */

static void on_stream_received(void *owner, void *user, struct span text)
{
    struct wire *wire = owner;
    wire->transport->handler->received(wire->transport->owner, user, text);
}

static void on_stream_ended(void *owner, void *user, const char *problem)
{
    struct wire *wire = owner;
    struct exchange *exchange = user;
    exchange->stream_id = 0;
    wire->transport->handler->ended(wire->transport->owner, exchange, problem);
}

static const struct http2_client_handler stream_handler = {
    .received = on_stream_received,
    .ended = on_stream_ended,
};

/* Calls for each exchange on the wire that asks (or does not). */
static void wire_each(struct wire *wire, bool is_asking,
                      void (*call)(struct wire *wire, struct exchange *exchange))
{
    const struct transport *transport = wire->transport;
    const uint32_t per_connection = transport->options.streams_per_connection;
    for (uint32_t i = 0; i < per_connection; i++) {
        const uint32_t number = wire->group * per_connection + i;
        if (number >= transport->options.exchange_count) {
            return;
        }
        struct exchange *exchange = exchange_at(transport, number);
        if (exchange->wire == wire && exchange->stream_id == 0 &&
            exchange->is_asking == is_asking) {
            call(wire, exchange);
        }
    }
}

static void tell_unasked(struct wire *wire, struct exchange *exchange)
{
    wire->transport->handler->ended(wire->transport->owner, exchange, NULL);
}

static void tell_refused(struct wire *wire, struct exchange *exchange)
{
    const char *problem = http2_client_problem(wire->http2);
    exchange->is_asking = false;
    wire->transport->handler->ended(
        wire->transport->owner, exchange,
        problem != NULL ? problem : "the server takes no more requests on its connection");
}

/* The server has announced that it leaves: who has no stream must go elsewhere. */
static void wire_leave(struct wire *wire)
{
    struct transport *transport = wire->transport;
    wire->is_leaving = true;
    if (transport->groups[wire->group] == wire) {
        transport->groups[wire->group] = NULL;
    }
    wire_each(wire, false, tell_unasked);
    if (wire->user_count == 0) {
        wire_close(wire);
    }
}

static void wire_established(struct wire *wire)
{
    wire->is_ready = true;
    if (wire->http2 != NULL) {
        wire_each(wire, true, wire_request);
        wire_mark(wire);
    } else if (wire->only->is_asking) {
        wire_request(wire, wire->only);
    }
}

static void wire_take(struct wire *wire, struct span text)
{
    struct transport *transport = wire->transport;
    if (wire->http2 == NULL) {
        if (text.len > 0) {
            transport->handler->received(transport->owner, wire->only, text);
        }
        return;
    }
    int r = http2_client_receive(wire->http2, text);
    if (wire->is_closing) {
        return;
    }
    if (r < 0) {
        wire_end(wire, http2_client_problem(wire->http2));
        return;
    }
    wire_mark(wire);
    if (http2_client_is_leaving(wire->http2) && !wire->is_leaving) {
        wire_leave(wire);
    }
}

static void wire_received(struct wire *wire, struct span bytes)
{
    struct transport *transport = wire->transport;
    if (wire->tls == NULL) {
        wire_take(wire, bytes);
        return;
    }
    transport->plain.len = 0;
    const enum tls_client_outcome outcome =
        tls_client_open(wire->tls, bytes, &transport->plain, &wire->out);
    if (wire->out.len > 0) {
        wire_mark(wire);
    }
    if (outcome == TLS_CLIENT_BROKEN) {
        wire_end(wire, tls_client_problem(wire->tls));
        return;
    }
    if (!wire->is_ready && tls_client_is_established(wire->tls)) {
        if (wire->http2 != NULL && !tls_client_is_http2(wire->tls)) {
            wire_end(wire, "the server did not choose HTTP/2 (ALPN); try it without --h2");
            return;
        }
        wire_established(wire);
    }
    if (transport->plain.len > 0) {
        wire_take(wire, buffer_span(&transport->plain));
    }
    if (outcome == TLS_CLIENT_ENDED && !wire->is_closing) {
        wire_gone(wire);
    }
}

/* --- Wires: life ------------------------------------------------------------------------------ */

static void wire_free(struct wire *wire)
{
    struct transport *transport = wire->transport;
    transport->wires[wire->number] = NULL;
    transport->free_numbers[transport->free_count++] = wire->number;
    tls_client_free(wire->tls);
    http2_client_free(wire->http2);
    buffer_fini(&wire->out);
    memory_free(wire);
}

static int wire_init(struct wire *wire, uint32_t group)
{
    const struct transport_options *options = &wire->transport->options;
    buffer_init(&wire->out, OUT_LEN_MAX);
    wire->is_ready = !options->at->is_tls;
    wire->group = group;
    if (transport_is_http2(options)) {
        const struct http2_client_options http2_options = {
            .is_tls = options->at->is_tls,
            .stream_count = (uint32_t)min_u64(
                options->streams_per_connection,
                options->exchange_count - (uint64_t)group * options->streams_per_connection),
            .window = options->has_slow ? SLOW_RECEIVE_BUFFER : STREAM_WINDOW,
        };
        wire->http2 = http2_client_new(&http2_options, &stream_handler, wire);
        if (wire->http2 == NULL) {
            return -ENOMEM;
        }
    }
    if (!options->at->is_tls) {
        return 0;
    }
    wire->tls = tls_client_new(options->tls, options->at->name);
    return wire->tls != NULL &&
                   tls_client_open(wire->tls, span_make(NULL, 0), &wire->transport->plain,
                                   &wire->out) == TLS_CLIENT_OK
               ? 0
               : -ENOMEM;
}

static int wire_new(struct transport *transport, const struct exchange *exchange, uint32_t group,
                    struct wire **ret_wire)
{
    if (transport->free_count == 0) {
        return -EMFILE;
    }
    struct wire *wire = memory_calloc(1, sizeof *wire);
    if (wire == NULL) {
        return -ENOMEM;
    }
    wire->transport = transport;
    wire->number = transport->free_numbers[--transport->free_count];
    int r = wire_init(wire, group);
    if (r == 0) {
        r = stream_connect(transport, &wire->stream, exchange);
    }
    if (r < 0) {
        wire_free(wire);
        return r;
    }
    transport->wires[wire->number] = wire;
    wire_mark(wire);
    *ret_wire = wire;
    return 0;
}

/* --- Exchanges -------------------------------------------------------------------------------- */

int exchange_open(struct transport *transport, struct exchange *exchange)
{
    exchange->is_asking = false;
    exchange->stream_id = 0;
    if (!transport->has_wires) {
        return stream_connect(transport, &exchange->stream, exchange);
    }
    if (!transport_is_http2(&transport->options)) {
        int r = wire_new(transport, exchange, 0, &exchange->wire);
        if (r == 0) {
            exchange->wire->only = exchange;
        }
        return r;
    }
    const uint32_t group =
        exchange_number(transport, exchange) / transport->options.streams_per_connection;
    if (transport->groups[group] == NULL) {
        int r = wire_new(transport, exchange, group, &transport->groups[group]);
        if (r < 0) {
            return r;
        }
    }
    exchange->wire = transport->groups[group];
    exchange->wire->user_count++;
    return 0;
}

bool exchange_is_usable(const struct exchange *exchange)
{
    return exchange->wire == NULL || !(exchange->wire->is_leaving || exchange->wire->is_closing);
}

void exchange_request(struct transport *transport, struct exchange *exchange)
{
    exchange->is_asking = true;
    if (!transport->has_wires) {
        exchange->sent = 0;
        exchange_push(transport, exchange);
    } else if (exchange->wire->is_ready) {
        wire_request(exchange->wire, exchange);
    }
}

void exchange_read_stop(struct transport *transport, struct exchange *exchange)
{
    if (!transport->has_wires) {
        io_read_stop(transport->io, &exchange->stream);
    } else if (exchange->wire->http2 == NULL) {
        io_read_stop(transport->io, &exchange->wire->stream);
    } else {
        http2_client_read_stop(exchange->wire->http2, exchange->stream_id);
    }
}

void exchange_read_start(struct transport *transport, struct exchange *exchange)
{
    if (!transport->has_wires) {
        io_read_start(transport->io, &exchange->stream);
    } else if (exchange->wire->http2 == NULL) {
        io_read_start(transport->io, &exchange->wire->stream);
    } else {
        http2_client_read_start(exchange->wire->http2, exchange->stream_id);
        wire_mark(exchange->wire);
    }
}

static void exchange_leave(struct transport *transport, struct exchange *exchange, bool is_cut)
{
    struct wire *wire = exchange->wire;
    exchange->is_asking = false;
    if (!transport->has_wires) {
        io_close(transport->io, &exchange->stream);
        return;
    }
    if (wire->http2 == NULL) {
        wire_close(wire); /* `closed` comes with the wire's */
        return;
    }
    if (is_cut && !wire->is_leaving) {
        wire->is_leaving = true;
        transport->groups[wire->group] = NULL;
    }
    if (exchange->stream_id > 0) {
        http2_client_reset(wire->http2, exchange->stream_id);
        exchange->stream_id = 0;
        wire_mark(wire);
    }
    exchange->wire = NULL;
    transport->closing[transport->closing_count++] = exchange;
    if (--wire->user_count == 0 && wire->is_leaving) {
        wire_close(wire);
    }
}

void exchange_close(struct transport *transport, struct exchange *exchange)
{
    exchange_leave(transport, exchange, false);
}

void exchange_cut(struct transport *transport, struct exchange *exchange)
{
    exchange_leave(transport, exchange, true);
}

/* --- The loop --------------------------------------------------------------------------------- */

static void on_received(void *owner, struct io_stream *stream, const char *bytes, ssize_t len)
{
    struct transport *transport = owner;
    if (transport->has_wires) {
        struct wire *wire = container_of(stream, struct wire, stream);
        if (len > 0) {
            wire_received(wire, span_make(bytes, (size_t)len));
        } else if (len == 0) {
            wire_gone(wire);
        } else {
            wire_end(wire, strerror((int)-len));
        }
        return;
    }
    struct exchange *exchange = container_of(stream, struct exchange, stream);
    if (likely(len > 0)) {
        exchange->is_asking = false;
        transport->handler->received(transport->owner, exchange, span_make(bytes, (size_t)len));
    } else {
        transport->handler->ended(transport->owner, exchange,
                                  len == 0 ? NULL : strerror((int)-len));
    }
}

static void on_hung_up(void *owner, struct io_stream *stream)
{
    struct transport *transport = owner;
    io_read_start(transport->io, stream);
}

static void on_sent(void *owner, uint32_t token, ssize_t result)
{
    struct transport *transport = owner;
    if ((token & WIRE_TOKEN) != 0) {
        wire_sent(transport->wires[token & ~WIRE_TOKEN], result);
    } else {
        exchange_sent(transport, exchange_at(transport, token), result);
    }
}

static void on_sends_final(void *owner)
{
    struct transport *transport = owner;
    transport->loaned_len = 0;
    for (uint32_t i = 0; i < transport->sending_count; i++) {
        wire_sent_final(transport->sending[i]);
    }
    transport->sending_count = 0;
}

static void on_writable(void *owner, struct io_stream *stream)
{
    struct transport *transport = owner;
    if (transport->has_wires) {
        struct wire *wire = container_of(stream, struct wire, stream);
        wire->is_blocked = false;
        wire_mark(wire);
        return;
    }
    struct exchange *exchange = container_of(stream, struct exchange, stream);
    if (exchange->is_asking) {
        exchange_push(transport, exchange);
    }
}

static void on_closed(void *owner, struct io_stream *stream)
{
    struct transport *transport = owner;
    if (!transport->has_wires) {
        transport->handler->closed(transport->owner, container_of(stream, struct exchange, stream));
        return;
    }
    struct wire *wire = container_of(stream, struct wire, stream);
    struct exchange *exchange = wire->only;
    wire_free(wire);
    if (exchange != NULL) {
        exchange->wire = NULL;
        transport->handler->closed(transport->owner, exchange);
    }
}

static void on_accepted(void *owner, struct io_listener *listener, int32_t descriptor,
                        const struct sockaddr_storage *address)
{
    struct transport *transport = owner;
    (void)listener;
    (void)address;
    io_reject(transport->io, descriptor);
}

static void on_accept_failed(void *owner, struct io_listener *listener, int error)
{
    (void)owner;
    (void)listener;
    (void)error;
}

static const struct io_handler io_callbacks = {
    .accepted = on_accepted,
    .accept_failed = on_accept_failed,
    .received = on_received,
    .hung_up = on_hung_up,
    .sent = on_sent,
    .sends_final = on_sends_final,
    .writable = on_writable,
    .closed = on_closed,
};

int transport_turn(struct transport *transport, int timeout_ms)
{
    struct list *link;
    while ((link = list_take(&transport->dirty)) != NULL) {
        struct wire *wire = container_of(link, struct wire, dirty_link);
        if (wire->has_refused) {
            wire->has_refused = false;
            wire_each(wire, true, tell_refused);
        }
        if (!wire->is_closing) {
            wire_flush(wire);
        }
    }
    int r = io_turn(transport->io, transport->closing_count > 0 ? 0 : timeout_ms);
    while (r == 0 && transport->closing_count > 0) {
        transport->handler->closed(transport->owner,
                                   transport->closing[--transport->closing_count]);
    }
    return r;
}

uint64_t transport_now_ms(const struct transport *transport)
{
    return io_now_ms(transport->io);
}

/* --- Beginning -------------------------------------------------------------------------------- */

static int transport_wires(struct transport *transport)
{
    const struct transport_options *options = &transport->options;
    const uint32_t per_connection = options->streams_per_connection;
    const uint32_t groups =
        per_connection > 0 ? (options->exchange_count + per_connection - 1) / per_connection : 0;
    list_init(&transport->dirty);
    buffer_init(&transport->plain, OUT_LEN_MAX);
    transport->has_wires = options->at->is_tls || per_connection > 0;
    transport->wire_count_max =
        (per_connection > 0 ? 2 * groups : options->exchange_count) + options->spare_count;
    if (!transport->has_wires) {
        return 0;
    }
    const uint32_t max = transport->wire_count_max;
    transport->wires = memory_calloc(max, sizeof(struct wire *));
    transport->free_numbers = memory_calloc(max, sizeof(uint32_t));
    transport->sending = memory_calloc(max, sizeof(struct wire *));
    transport->groups = memory_calloc(groups + 1, sizeof(struct wire *));
    transport->closing = memory_calloc(options->exchange_count, sizeof(struct exchange *));
    if (transport->wires == NULL || transport->free_numbers == NULL || transport->sending == NULL ||
        transport->groups == NULL || transport->closing == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < max; i++) {
        transport->free_numbers[transport->free_count++] = max - 1 - i;
    }
    return 0;
}

int transport_new(const struct transport_options *options, const struct transport_handler *handler,
                  void *owner, struct transport **ret_transport, const char **ret_reason)
{
    struct transport *transport = memory_calloc(1, sizeof *transport);
    *ret_reason = "not enough memory";
    if (transport == NULL) {
        return -ENOMEM;
    }
    transport->options = *options;
    transport->handler = handler;
    transport->owner = owner;
    transport->loaned = memory_map(LOANED_SIZE);
    int r = transport_wires(transport);
    if (r < 0 || transport->loaned == NULL) {
        return -ENOMEM; /* the process ends with that */
    }
    const struct io_options io_options = {
        .stream_count_max = transport->wire_count_max,
        .plain_descriptors = true,
    };
    r = io_new(options->io_kind, &io_options, &io_callbacks, transport, &transport->io, ret_reason);
    if (r == 0) {
        *ret_transport = transport;
    }
    return r;
}
