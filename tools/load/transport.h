/*
 * What lies between requests and the server: sockets, and on them HTTP/1.1 or HTTP/2, in clear text
 * or over TLS. Those who subscribe and publish see none of that. They have exchanges, which take
 * requests and give responses as the text of HTTP/1.1 (tools/load/http2_client.h says what becomes
 * of it).
 *
 *   an exchange     over HTTP/1.1 is a connection; over HTTP/2 a place for one stream at a time
 *   a wire          a connection with something in between: TLS, HTTP/2 or both; transport.c's own
 *
 * Over HTTP/2 consecutive exchanges share a connection, streams_per_connection of them, and keep to
 * it when they open again. It is opened with the first of them, and replaced when the server has
 * left it (GOAWAY).
 *
 * An exchange in clear text over HTTP/1.1 costs its struct and nothing else.
 *
 * Owned by the thread that calls transport_turn; callbacks come only from there.
 */
#ifndef SPATE_LOAD_TRANSPORT_H
#define SPATE_LOAD_TRANSPORT_H

#include "net/io.h"
#include "tools/load/target.h"
#include "tools/load/tls_client.h"

#ifdef __cplusplus
extern "C" {
#endif

struct transport;
struct wire;

/* Embedded in its owner; zeroed at first, and the transport's. */
struct exchange {
    struct io_stream stream; /* HTTP/1.1 in clear text: its own */
    struct wire *wire;       /* else what carries it; NULL while closed */
    int32_t stream_id;       /* HTTP/2: 0 between two requests */
    uint32_t sent;           /* of the request, HTTP/1.1 in clear text */
    bool is_slow;            /* the owner's: it reads little, and wants small buffers */
    bool is_asking;          /* a request waits for the connection */
};

struct transport_handler {
    /* The address to connect from, IPv4 in host order; 0, or without this callback: any. */
    uint32_t (*source)(void *owner, const struct exchange *exchange);
    /* The request's text, when there is a connection for it; the same each time it is asked for. */
    struct span (*request)(void *owner, struct exchange *exchange);
    void (*received)(void *owner, struct exchange *exchange, struct span text);
    /*
     * The response, or with HTTP/1.1 the connection, is at its end; a `problem` says why in a
     * phrase, NULL that the server wished it so. Only exchange_close or, over HTTP/2 after NULL,
     * another request may follow.
     */
    void (*ended)(void *owner, struct exchange *exchange, const char *problem);
    /* After exchange_close, from a later turn: the exchange may be opened again. */
    void (*closed)(void *owner, struct exchange *exchange);
};

struct transport_options {
    enum io_kind io_kind;
    const struct target_address *at;
    struct tls_client_context *tls;  /* for an address with TLS */
    uint32_t streams_per_connection; /* 0: HTTP/1.1 */
    bool has_slow;
    /* The exchanges lie in an array of the owner's structs. */
    struct exchange *exchanges;
    size_t exchange_stride;
    uint32_t exchange_count;
    uint32_t spare_count; /* connections that may still be closing while others open */
};

int transport_new(const struct transport_options *options, const struct transport_handler *handler,
                  void *owner, struct transport **ret_transport, const char **ret_reason);

int transport_turn(struct transport *transport, int timeout_ms);
uint64_t transport_now_ms(const struct transport *transport);
static inline bool transport_is_http2(const struct transport_options *options)
{
    return options->streams_per_connection > 0;
}

/* Connects, or finds a connection; a negative errno. */
int exchange_open(struct transport *transport, struct exchange *exchange);
/* Sends the handler's request, now or as soon as there is a connection. */
void exchange_request(struct transport *transport, struct exchange *exchange);
/* False: its connection is being left, and the next request needs another. */
bool exchange_is_usable(const struct exchange *exchange);
void exchange_read_stop(struct transport *transport, struct exchange *exchange);
void exchange_read_start(struct transport *transport, struct exchange *exchange);
/* Nothing but `closed` is told of it any more. */
void exchange_close(struct transport *transport, struct exchange *exchange);
/*
 * The same, and over HTTP/2 the whole connection goes without a word once all of its exchanges are
 * closed, as one does that is cut.
 */
void exchange_cut(struct transport *transport, struct exchange *exchange);

#ifdef __cplusplus
}
#endif

#endif
