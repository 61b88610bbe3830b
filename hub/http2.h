/*
 * An HTTP/2 connection (RFC 9113): one socket, many streams, each of them a `struct connection` of
 * its own that has no socket but this. So everything that answers requests and everything that
 * sends events works on a stream as on a connection of HTTP/1.1.
 *
 *   socket ──▶ nghttp2 ──▶ request of a stream ──▶ connection_answer
 *   stream.outbox ──▶ HEADERS, DATA ──┐
 *   fan-out ──▶ DATA ─────────────────┴──▶ outbox of the connection ──▶ socket
 *
 * nghttp2 reads frames, keeps the states, the windows and the header tables, and writes what is not
 * DATA. Of DATA it never holds any: a stream offers only what both windows admit at that moment.
 * What they do not admit stays where it is cheap, in the stream's outbox or behind the subscriber's
 * cursor; the stream waits for its own window, or in turn for what all of them share, the window of
 * the connection and the room in its outbox. Hence a stream that its client does not read costs its
 * neighbours nothing. Answers that are not read are bounded together: beyond that, requests wait.
 *
 * A peer can make any server work by frames that lead nowhere. Those that do are charged to the
 * connection, which recovers with time and with each stream that was served; one that is overdrawn
 * is ended with ENHANCE_YOUR_CALM.
 *
 * Owned by the connection's transport; touched by its shard only.
 */
#ifndef SPATE_HUB_HTTP2_H
#define SPATE_HUB_HTTP2_H

#include <nghttp2/nghttp2.h>

#include "hub/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* Unsent bytes of the connection from which on its streams are given no more. */
    HTTP2_OUT_MAX_BYTES = 256 * 1024,
    /* Charges: what a connection may owe, and what it works off in a second. */
    HTTP2_CHARGE_MAX = 5000,
    HTTP2_CHARGES_PER_SECOND = 1000,
    /* Requests under way on one connection, in heads and bodies of the largest size. */
    HTTP2_REQUESTS_MAX = 8,
    /* Answers that wait for the peer to read them, from which on requests have to wait, too. */
    HTTP2_ANSWERS_MAX_BYTES = 4 * 1024 * 1024,
    HTTP2_FRAME_HEAD_LEN = 9,
    HTTP2_RESETS_KEPT = 16,
};

struct http2 {
    nghttp2_session *session;
    struct connection *connection;
    struct list link;    /* the shard's `pumping`, while there may be something to do */
    struct list streams; /* its connections, by `address.stream` */
    struct list queued;  /* streams whose requests are not answered yet, by `waiting` */
    /* Outboxes of streams: with something new; waiting for shared room; for their own window. */
    struct list writing;
    struct list crowded;
    struct list stalled;
    /* Streams by `waiting`, whose subscribers wait for the same two, or have just been woken. */
    struct list blocked;
    struct list shut;
    struct list woken;
    uint32_t stream_count;
    uint32_t streams_max;   /* that the peer was told */
    bool inside;            /* nghttp2 is running callbacks: it must not be entered again */
    bool room;              /* there may be shared room for those who wait */
    bool closing;           /* the socket is going: streams end without a word */
    bool peer_leaves;       /* it has sent GOAWAY */
    bool ended;             /* GOAWAY is the last frame */
    bool broken;            /* nghttp2 can go on no more */
    struct span data;       /* of the DATA that is being framed */
    uint64_t request_bytes; /* of requests that are not answered yet */
    uint64_t answer_bytes;  /* in outboxes of streams */
    uint64_t idle_since_ms;
    uint64_t flushed_ms; /* when all that had been framed was last out */
    /* The header block that is being received; nothing can come between its frames. */
    uint64_t head_since_ms; /* 0: none */
    uint32_t head_bytes;
    struct buffer fields;
    nghttp2_rcbuf *method;
    nghttp2_rcbuf *path;
    nghttp2_rcbuf *authority;
    /* Where in the input we are: nghttp2 does not tell of the frames that it ignores. */
    uint32_t preface_left;
    uint32_t payload_left;
    uint8_t frame_head_len;
    uint8_t frame_head[HTTP2_FRAME_HEAD_LEN];
    uint8_t dependency_len; /* of a PRIORITY frame: what has come of the stream that it names */
    uint32_t dependency;
    int32_t last_stream_id;     /* the newest that was opened, ... */
    int32_t framed_stream_id;   /* ... when what streams had to say was last framed, ... */
    int32_t answered_stream_id; /* ... and when that had gone out */
    int32_t reset_stream_id;    /* the last that the peer has reset */
    /* Streams that were reset by us of late, on which frames may still be under way. */
    int32_t resets[HTTP2_RESETS_KEPT];
    uint32_t reset_count;
    /* What the peer has to answer for. */
    uint32_t charge;
    uint32_t updates_due; /* WINDOW_UPDATEs that our DATA may cause */
    uint64_t charged_ms;
};

/* Makes a connection that has received nothing else yet one of HTTP/2. 0 or -ENOMEM. */
int http2_begin(struct connection *connection);
/* Ends what streams there are. */
void http2_free(struct connection *connection);

/* For the connection. */
void http2_received(struct connection *connection, struct span bytes);
void http2_flushed(struct connection *connection);
/* The peer will send nothing more. What it has asked for is answered; those who listen have left.
 */
void http2_peer_done(struct connection *connection);
void http2_timer(struct connection *connection);
/* Asks the client to go elsewhere for its next requests (GOAWAY); ends with the last stream. */
void http2_drain(struct connection *connection);
/* At the end of a turn: frames what the streams have to say. May close the connection. */
void http2_pump(struct http2 *http2);

/* For its streams. */
bool http2_is_stream(const struct connection *connection);
/* The connection that has the socket: of a stream, its carrier; else itself. */
struct connection *http2_carrier(struct connection *connection);
/* Where a stream's outbox waits for its turn. */
struct list *http2_outgoing(struct connection *stream);
/* Sends a head that was written for HTTP/1.1. `end`: there is no body. */
void http2_respond(struct connection *stream, struct span head, bool end);
/* Takes events; see transport_take. */
ssize_t http2_take(struct connection *stream, struct span bytes);
/* The peer's windows keep back what the stream has to say. */
bool http2_is_stuck(const struct connection *stream);
/* The stream's request is let go. */
void http2_request_freed(struct connection *stream, size_t len);
/* Bytes have come into the stream's outbox; an outbox with so many has been let go. */
void http2_answer_held(struct connection *stream, size_t len);
void http2_answer_freed(struct connection *stream, size_t len);
/* The stream ends; if the peer does not know, it is told. The slot is free in the next turn. */
void http2_stream_closed(struct connection *stream, bool was_streaming);

#ifdef __cplusplus
}
#endif

#endif
