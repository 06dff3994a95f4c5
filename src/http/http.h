/* HTTP/1.1 server side: bytes to requests (pure, http/parse.c over llhttp) and connections (http/conn.c).
 *
 * Ownership: a connection belongs to the http_server. A request, and all it points to, belongs to its
 * connection and lives from on_request until http_respond for it; one request of a connection is out at a
 * time (pipelined ones wait in its input buffer). on_request is followed by exactly one http_respond, at once
 * or later; when the client goes away first, on_abandon fires (at most once, between the two) and
 * http_respond is still due: it then only releases. Going away is a reset or a broken connection; a mere end
 * of what the client sends is not: it may have shut down only its writing side, and gets its answer. */
#ifndef FAAS_HTTP_HTTP_H
#define FAAS_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/buf.h"
#include "base/loop.h"

struct http_slice {
    const char *data; /* not terminated */
    size_t len;
};

struct http_header {
    struct http_slice name, value; /* name as sent; value without surrounding white space */
};

enum { HTTP_HEADERS_MAX = 100, HTTP_CONTEXT_BYTES = 512, HTTP_SESSION_BYTES = 64 };

struct http_request {
    struct http_slice method; /* "GET" */
    struct http_slice target; /* as sent: "/fn/a%20b?x=1" */
    struct http_slice path;   /* target up to '?', still percent-encoded */
    struct http_slice query;  /* behind '?', or empty */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    struct http_slice body; /* whole, chunks joined */
    bool head;              /* HEAD: the answer goes out without its body */
    bool keep_alive;
    uint64_t received_ns; /* loop time when the request was whole */
};

struct http_conn;
struct http_server;

/* A head is whole whose body is not: negative refuses the request before more of it is taken. For one that
 * comes in one piece on_request alone is asked. */
typedef int http_on_head(void *context, struct http_conn *conn, const struct http_request *request,
                         struct err *err);
typedef void http_on_request(void *context, struct http_conn *conn, struct http_request *request);
typedef void http_on_abandon(void *context, struct http_conn *conn);
/* A bad request that the connection answers itself: renders the JSON body of the error. */
typedef void http_on_error_body(void *context, const struct err *err, struct buf *ret_body);

struct http_config {
    struct loop *loop;  /* borrowed */
    int listen_fd;      /* borrowed; non-blocking */
    size_t line_max;    /* request line: 414 */
    size_t headers_max; /* header block: 431 */
    size_t body_max;    /* 413, from Content-Length already or while chunks come */
    /* All bodies, unsent answers and heads beyond 16 KiB. Large ones end at 3/4 (a body with 503, an answer
     * is cut off), new requests are 503 beyond 7/8; from 1/2 on those who have stalled longest are closed. */
    size_t buffered_max;
    /* At it accepting pauses, and those that wait longest for a request are closed. */
    uint32_t connections_max;
    uint32_t request_timeout_ms; /* from a request's first byte to its last header: 408 */
    uint32_t body_timeout_ms;    /* for the next 32 KiB of a body, or its end: 408 */
    uint32_t idle_timeout_ms;    /* keep-alive */
    uint32_t write_timeout_ms;   /* for a reader to take the next 32 KiB of an answer, or its end: closed */
    http_on_head *on_head;       /* or NULL */
    http_on_request *on_request;
    http_on_abandon *on_abandon;
    http_on_error_body *on_error_body;
    void *context;
};

struct http_stats {
    uint32_t connections;
    size_t buffered_bytes;
    uint64_t accepted, requests, refused; /* refused: answered by the connection itself */
    uint64_t evicted;                     /* closed to make room for others */
};

int http_server_new(const struct http_config *config, struct http_server **ret_server, struct err *err);
/* Stops accepting and reading: idle connections are closed, half-read requests are answered with 503. Answers
 * that are due still go out, with Connection: close. */
void http_server_drain(struct http_server *server);

/* Handing over to another process that serves the same listening socket. */

/* A connection that is to go there: `bytes` is what was read from it and not answered, empty for one that
 * waits for its next request; both are borrowed. False: not now, http_server_hand_on asks again. */
typedef bool http_on_hand_over(void *context, int fd, struct http_slice bytes);
/* The request that is out is not answered but goes along with its connection when that is handed over, or
 * comes to on_request again. The caller is done with it. */
void http_hold(struct http_conn *conn);
/* No further connection is accepted and no request served: a connection goes as soon as nothing is out on it
 * and no body is half read. */
void http_server_hand_over(struct http_server *server, http_on_hand_over *on_hand_over);
void http_server_hand_on(struct http_server *server);
/* It is not handed over after all: requests that were held come to on_request. */
void http_server_resume(struct http_server *server);
/* The other end: takes a connection and serves it. bytes_fd: a file of what was read from it, or -1. Both are
 * taken. */
int http_server_adopt(struct http_server *server, int fd, int bytes_fd, struct err *err);

/* True when no request is out and all answers are written. */
bool http_server_is_idle(const struct http_server *server);
/* Closes everything at once; no callback fires, and what is out may not be answered any more. */
void http_server_free(struct http_server *server);
const struct http_stats *http_server_stats(const struct http_server *server);

/* HTTP_CONTEXT_BYTES of the caller's own, zeroed when the connection is accepted, aligned to 16; valid until
 * http_respond. */
void *http_conn_context(struct http_conn *conn);
/* HTTP_SESSION_BYTES of the caller's own, zeroed when the connection is accepted, aligned to 8; they last as
 * long as it does. */
void *http_conn_session(struct http_conn *conn);
/* Peer's address as text, "127.0.0.1". */
const char *http_conn_peer(struct http_conn *conn);

/* Answers the request that is out. `head` is ready header lines, each ended by CRLF, without Content-Length,
 * Connection, Date; these come from here (no Content-Length for 204 and 304). Everything is copied or written
 * before it returns; written with one system call when the socket takes it. Afterwards the request is gone;
 * on_request for a pipelined one may fire before http_respond returns only from the loop, never from inside.
 */
void http_respond(struct http_conn *conn, int status, struct http_slice head, struct http_slice body);
/* The same with the body in two or three pieces, written with one writev. */
void http_respond_pieces(struct http_conn *conn, int status, struct http_slice head,
                         const struct http_slice *pieces, size_t count);

/* Value of the first header of that name (any case), or NULL. */
const struct http_slice *http_request_header(const struct http_request *request, const char *name);
/* Query parameter, percent-decoded ('+' is a space) into out (terminated): 1 found, 0 absent, negative
 * ERR_BAD_REQUEST: too long for out, a bad escape, or a NUL byte. */
int http_query_get(struct http_slice query, const char *name, char *ret_value, size_t size, struct err *err);
const char *http_status_text(int status);

#endif
