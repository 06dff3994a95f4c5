/* Inside src/http: one connection (conn.c, answer.c) and what the connections of a server share (server.c).
 *
 * A connection that waits for its next request owns no memory but its struct: the input buffer, the request
 * and the parser are an inbox, taken from the server's pool with the first byte and given back with the last
 * answer. */
#ifndef FAAS_HTTP_CONN_H
#define FAAS_HTTP_CONN_H

#include <netinet/in.h>
#include <sys/queue.h>

#include "http/parse.h"

enum {
    HTTP_INBOX_BYTES = 16384,     /* input buffer at first */
    HTTP_INBOX_SPARES = 256,      /* kept by a server */
    HTTP_CONN_SPARES = 1024,      /* likewise */
    HTTP_BODY_STEP_BYTES = 65536, /* a body buffer at first */
    HTTP_JOIN_BYTES = 16384,      /* a body up to this size is copied behind its head */
    HTTP_LINGER_BYTES = 32 << 20, /* read and dropped after an error… */
    HTTP_LINGER_MS = 2000,        /* …and for how long */
    HTTP_PIECES_MAX = 4,
    HTTP_STEP_BYTES = 32768, /* of a body or an answer: buys the client another time-out */
};

/*            ┌────────────────────────────────────────────┐
 *            ▼                                            │ answered
 * accepted → IDLE → HEAD → BODY → OUT ─────────────────→ WRITING → LINGERING → freed
 *              └──────┴──────┴─────┴ refused: WRITING      (the states in between are skipped when there is
 *                                  └ GONE → freed           nothing to wait for) */
#define HTTP_PHASES(X)                                                                                       \
    X(IDLE, "no byte of a request has come")                                                                 \
    X(HEAD, "in a request line or headers")                                                                  \
    X(BODY, "in a body")                                                                                     \
    X(OUT, "the request is with the caller")                                                                 \
    X(WRITING, "an answer is not written yet")                                                               \
    X(LINGERING, "all is written; what still comes is dropped so that the client can read it")               \
    X(GONE, "the client has left while the request was out; http_respond frees")
enum http_phase {
#define HTTP_PHASE_ENUM(name, doc) HTTP_PHASE_##name,
    HTTP_PHASES(HTTP_PHASE_ENUM)
#undef HTTP_PHASE_ENUM
        HTTP_PHASE_COUNT
};

struct http_inbox {
    struct http_parser parser;
    struct http_request request;
    char *data; /* owned */
    size_t cap;
    size_t start; /* of the message under way */
    size_t taken; /* parsed up to here */
    size_t len;
    SLIST_ENTRY(http_inbox) spare;
};

struct http_conn {
    _Alignas(16) uint8_t context[HTTP_CONTEXT_BYTES];
    _Alignas(8) uint8_t session[HTTP_SESSION_BYTES];
    struct loop_watch watch;
    struct http_server *server; /* borrowed: frees us */
    struct http_inbox *inbox;   /* owned, or NULL while idle */
    enum http_phase phase;
    bool pumping;      /* inside http_conn_pump: on_request may answer, not free */
    bool last;         /* close after this answer */
    bool refused;      /* …which is one of our own; the rest of the request may still come */
    bool read_closed;  /* the client has shut down its writing side */
    bool broken;       /* reading or writing failed: to be closed */
    bool queued;       /* in server->ready */
    bool held;         /* OUT: the request is not with the caller but goes where the connection goes */
    uint64_t stamp_ns; /* what the phase's time-out counts from */
    uint64_t step_at;  /* BODY: bytes since the stamp; WRITING: of `sent`, what the peer had then */
    uint64_t sent;     /* since it was accepted */
    size_t lingered_bytes;
    struct buf out; /* owned: what the socket did not take of the answer */
    size_t out_sent;
    LIST_ENTRY(http_conn) all; /* or the pool of spares */
    TAILQ_ENTRY(http_conn) ready;
    struct sockaddr_storage peer;
    char peer_text[INET6_ADDRSTRLEN];
};

LIST_HEAD(http_conn_list, http_conn);
TAILQ_HEAD(http_conn_queue, http_conn);
SLIST_HEAD(http_inbox_list, http_inbox);

struct http_server {
    struct http_config config;
    struct http_limits limits;
    struct http_stats stats;
    uint64_t timeout_ns[HTTP_PHASE_COUNT]; /* 0: none */
    uint64_t sweep_ns;
    struct loop_watch listener;
    bool accepting, draining;
    http_on_hand_over *on_hand_over;            /* NULL: connections stay */
    uint64_t log_after_ns, relief_log_after_ns; /* a shortage is logged now and then, not each time */
    uint32_t busy;                              /* connections in OUT, WRITING or GONE */
    struct loop_timer sweep, pump;
    struct http_conn_list conns, spare_conns;
    struct http_conn_queue ready; /* have bytes of a next request, and nobody to wake them */
    struct http_inbox_list spare_inboxes;
    uint32_t spare_conn_count, spare_inbox_count;
    struct buf scratch; /* the head of the answer that is being written */
    uint64_t date_until_ns;
    char date[40]; /* "Date: …\r\n" */
};

/* server.c */
struct http_inbox *http_server_take_inbox(struct http_server *server); /* NULL: no memory */
void http_server_give_inbox(struct http_server *server, struct http_inbox *inbox);
/* Has the loop call http_conn_pump soon. */
void http_server_queue(struct http_server *server, struct http_conn *conn);
/* The connection's descriptor is closed and it is in no list but that of all: frees it. */
void http_server_forget(struct http_server *server, struct http_conn *conn);
/* Books a buffer's growth (or shrinking) from `before` to `after` bytes. */
void http_server_account(struct http_server *server, size_t before, size_t after);
bool http_server_has_room(const struct http_server *server, size_t more);
/* The same for a buffer that is to have `size` bytes in all: large ones leave a quarter to others. */
bool http_server_has_room_for(const struct http_server *server, size_t more, size_t size);

/* A connection of ours, in IDLE; NULL: no memory, or it cannot be watched (fd is closed). */
struct http_conn *http_server_take(struct http_server *server, int fd, const struct sockaddr_storage *peer);

/* handover.c */
/* True: the connection is with another process now, and freed here. */
bool http_conn_hand_over(struct http_conn *conn);

/* conn.c */
void http_conn_on_event(struct loop_watch *watch, uint32_t events);
/* Handles the requests that lie in the inbox, one after the other, until one is out or incomplete. May free.
 */
void http_conn_pump(struct http_conn *conn);
void http_conn_move(struct http_conn *conn, enum http_phase phase);
void http_conn_on_timeout(struct http_conn *conn); /* may free */
/* Answers what could not be read and closes. May free when not pumping. */
void http_conn_refuse(struct http_conn *conn, const struct err *err);
void http_conn_close(struct http_conn *conn); /* frees */
/* The request is over: its memory goes back. */
void http_conn_release(struct http_conn *conn);

/* answer.c */
/* Writes an answer to the request in the inbox (if any); leaves the connection in IDLE (all written) or
 * WRITING, or broken. */
void http_conn_answer(struct http_conn *conn, int status, struct http_slice head,
                      const struct http_slice *pieces, size_t count);
/* Writes on; true when nothing is left. */
bool http_conn_flush(struct http_conn *conn);
/* WRITING: whether the peer has taken another HTTP_STEP_BYTES since the stamp; the time-out starts anew then.
 */
bool http_conn_count_taken(struct http_conn *conn);

#endif
