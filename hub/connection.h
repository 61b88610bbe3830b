/*
 * A connection: one accepted socket and what is happening on it; or one stream of HTTP/2, which has
 * all of this but the socket (hub/http2.h).
 *
 *   READING ──request──▶ (answered at once) ──▶ READING ...        keep-alive, pipelining
 *      │        │
 *      │        ├──▶ WAITING   an answer that needs other shards or several turns (lists)
 *      │        └──▶ STREAMING a subscriber, until it or we go
 *      └──refused──▶ LINGERING answered, sending finished, input thrown away until the peer goes
 *      '──preface──▶ CARRYING   speaks HTTP/2: its streams do all of the above
 *   any ──▶ CLOSED (waiting for io's `closed`) ──▶ slot free
 *
 * Memory: an idle connection is this struct. The exchange (a request that has not come whole) and
 * the outbox (bytes of ours that are not out yet) exist only while they hold something.
 *
 * Owned and touched by its shard only.
 */
#ifndef SPATE_HUB_CONNECTION_H
#define SPATE_HUB_CONNECTION_H

#include "core/base/buffer.h"
#include "core/base/wheel.h"
#include "core/subscriber.h"
#include "hub/address.h"
#include "net/io.h"
#include "proto/http_chunked.h"
#include "proto/http_head.h"

#ifdef __cplusplus
extern "C" {
#endif

struct shard;
struct errand;
struct transport;

enum connection_state {
    CONNECTION_FREE,
    CONNECTION_READING,
    CONNECTION_WAITING,
    CONNECTION_STREAMING,
    CONNECTION_CARRYING,
    CONNECTION_LINGERING,
    CONNECTION_CLOSED,
};

enum {
    /* Answer and close: there is no room for this one (connection limits). */
    CONNECTION_REFUSED = 1,
    /* Close once the outbox is empty; _LINGER: gently, because input may be unread. */
    CONNECTION_CLOSE_AFTER = 2,
    CONNECTION_LINGER_AFTER = 4,
    /* The peer has finished sending. */
    CONNECTION_PEER_DONE = 8,
    CONNECTION_READ_STOPPED = 16,
    /* Counted in the table of addresses. */
    CONNECTION_ADDRESS_COUNTED = 32,
    /* `name` is a string of its own; otherwise the connection has a number. */
    CONNECTION_NAMED = 64,
    /* Came in over a Unix socket. */
    CONNECTION_LOCAL_SOCKET = 128,
    /* At least one whole request has come. */
    CONNECTION_PROVEN = 256,
    /* The subscriber's stream is being ended in good order. */
    CONNECTION_ENDING = 512,
    /* Subscribed to $presence, to $stats. */
    CONNECTION_WATCHES_PRESENCE = 1024,
    CONNECTION_WATCHES_STATS = 2048,
    /* A stream of an HTTP/2 connection, ... */
    CONNECTION_IS_STREAM = 4096,
    /* ... whose answer ends with what is in the outbox. */
    CONNECTION_COMPLETE = 8192,
};

/* A request that has not come whole, or pipelined input that has to wait. */
struct exchange {
    struct buffer head; /* the head's bytes, and what came behind it */
    size_t head_scanned;
    size_t head_len;             /* 0: not known yet */
    struct http_request request; /* spans into `head` */
    struct http_chunked chunked;
    struct buffer body;
    uint64_t body_left; /* of a Content-Length body */
};

/* Bytes of ours on their way to the peer. */
struct outbox {
    struct list link; /* the shard's `outgoing`; unlinked while sending or waiting for room */
    struct connection *connection;
    struct buffer data;
    struct buffer sealed; /* TLS: what of it has become records */
    size_t sent;          /* of `sealed` with TLS, else of `data` */
};

struct connection {
    /* What a delivery looks at is in the first 96 bytes. */
    struct io_stream stream;
    struct transport *transport; /* NULL: clear text and HTTP/1.1. A stream has its carrier's */
    uint64_t sent_ms;            /* monotonic: when bytes last went out; see also subscriber.turn */
    struct subscriber subscriber;
    uint32_t requests; /* that were answered */
    uint16_t flags;
    uint8_t state;         /* enum connection_state */
    uint8_t minor_version; /* of the request being answered */
    uint8_t timer_phase;   /* what the timer is set for */
    int32_t stream_id;     /* of a stream; 0 once the peer knows that it has ended */
    struct shard *shard;
    struct wheel_node timer;
    struct list waiting; /* the shard's connections without a whole request, oldest first */
    struct exchange *exchange;
    struct outbox *outbox;
    struct table_node by_id; /* the shard's clients, while STREAMING */
    union {
        char *name;            /* STREAMING, and CONNECTION_NAMED */
        uint64_t number;       /* STREAMING, else */
        struct errand *errand; /* until then: WAITING for it, or NULL */
        struct connection *next_free;
    } id;
    uint64_t since_ms; /* monotonic: accepted, or streaming since */
    union {
        struct address peer;
        struct list stream; /* of a stream: among those of its connection */
    } address;
};

static_assert(sizeof(struct connection) == 208, "what an idle subscriber costs, but 40 bytes");
static_assert(offsetof(struct connection, requests) <= 96, "what a delivery looks at is together");

/* Called by the shard for what io reports. */
void connection_open(struct connection *connection);
void connection_received(struct connection *connection, const char *bytes, ssize_t len);
/* The same once a transport has taken off what is its. */
void connection_heard(struct connection *connection, const char *bytes, ssize_t len);
/* The transport has come to the end of what the peer sends: told when all before it is answered. */
void connection_peer_ended(struct connection *connection);
void connection_hung_up(struct connection *connection);
void connection_writable(struct connection *connection);
void connection_timer(struct connection *connection);

/* The outbox went out completely. */
void connection_flushed(struct connection *connection);

/* Answers that took several turns call this when done: reading goes on. */
void connection_resume(struct connection *connection);
/* The request is being answered later: no more input until connection_resume. */
void connection_wait(struct connection *connection);

/*
 * Appends bytes for the peer; they go out at the end of the turn. Without memory for them the
 * connection is closed in the same turn, as its answer would be broken.
 */
void connection_write(struct connection *connection, struct span bytes);
/* The same, but without memory it returns false and the caller decides. */
bool connection_append(struct connection *connection, struct span bytes);
/* Records of TLS, which go out as they are. */
void connection_write_sealed(struct connection *connection, struct span bytes);
/* The same as a piece of a body whose length is not known: one chunk, or raw for HTTP/1.0. */
void connection_write_chunk(struct connection *connection, struct span bytes);
/* The end of such a body. */
void connection_write_end(struct connection *connection);
/* The answer is written as a whole. Only HTTP/2 does not know that from its length. */
void connection_complete(struct connection *connection);

/* Ends the connection now. `reason` is a literal for the log. */
void connection_close(struct connection *connection, const char *reason);

/* Lets go of what is not out. */
void connection_drop_outbox(struct connection *connection);

/* For hub/http2.c: the parts of reading a request, of sitting out a time and of ending. */
struct exchange *connection_exchange(struct connection *connection);
void connection_answer(struct connection *connection, const struct http_request *request,
                       struct span body);
void connection_set_timer(struct connection *connection, uint64_t in_ms);
void connection_finish(struct connection *connection);

/* For hub/stream.c: a stream has nothing more to read, as its request has come whole. */
void connection_read_stop(struct connection *connection);
/* Sets the timer of a stream: for then, or for the end of its time. */
void connection_set_stream_timer(struct connection *connection, uint64_t in_ms);
/* It is a stream no longer. */
void connection_stream_leave(struct connection *connection, const char *reason);
/*
 * The last chunk of a stream is out. Unless its client was told that the connection ends with it,
 * the connection goes on: the next request may be on its way.
 */
void connection_stream_ended(struct connection *connection);

/* Where the peer is. */
const struct address *connection_address(const struct connection *connection);

/* Answers a request that could not be understood, and closes gently. */
void connection_refuse(struct connection *connection, const struct http_problem *problem);

/*
 * Makes it a stream: the subscriber has joined (and is held) and the response head is written.
 * `name` is the client's own or empty. Returns 0 or -ENOMEM, then nothing has changed.
 */
int connection_stream(struct connection *connection, struct span name);
/*
 * Ends a stream in good order: everything that is under way is completed if that is possible at
 * once, then `retry:` and the end of the body.
 */
void connection_end_stream(struct connection *connection, const char *reason);

/* The client's id as /clients shows it. Valid until the next call or the connection's end. */
struct span connection_id(const struct connection *connection);

#ifdef __cplusplus
}
#endif

#endif
