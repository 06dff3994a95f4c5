/* A small HTTP/1.1 client: one connection that sends one request after the other, for the tools that measure
 * and test. Connects when it has to, keeps the connection while the server does.
 *
 * Ownership: the client is embedded in its user and belongs to one loop. The bytes of a request are borrowed
 * until its outcome. http_client_send that returned 0 is followed by exactly one on_outcome, from the loop,
 * unless http_client_cancel comes first; the callback may send the next request. */
#ifndef FAAS_HTTP_CLIENT_H
#define FAAS_HTTP_CLIENT_H

#include <llhttp.h>
#include <sys/socket.h>

#include "http/http.h"

#define HTTP_OUTCOMES(X)                                                                                     \
    X(ANSWERED, "answered")                                                                                  \
    X(NOT_CONNECTED, "not connected")                                                                        \
    X(BROKEN, "connection broken")                                                                           \
    X(SHORT, "answer cut short")                                                                             \
    X(MALFORMED, "answer malformed")                                                                         \
    X(TIMED_OUT, "timed out")
enum http_outcome {
#define HTTP_OUTCOME_ENUM(name, text) HTTP_OUTCOME_##name,
    HTTP_OUTCOMES(HTTP_OUTCOME_ENUM)
#undef HTTP_OUTCOME_ENUM
        HTTP_OUTCOME_COUNT
};

struct http_client;
/* status: of the answer, when it is whole (ANSWERED), else 0. */
typedef void http_client_on_outcome(struct http_client *client, enum http_outcome outcome, int status);

struct http_client {
    struct loop *loop;              /* borrowed */
    const struct sockaddr *address; /* borrowed: outlives us */
    socklen_t address_len;
    struct buf *scratch; /* borrowed: shared by the clients of a loop; what was reserved is read into */
    http_client_on_outcome *on_outcome;
    void *context; /* the user's */
    /* below: the client's own */
    struct loop_watch watch;
    llhttp_t llhttp;
    struct http_slice request;
    size_t sent;
    uint64_t received; /* bytes of this answer */
    bool connected, waiting, whole;
};

/* The fields down to context are set by the caller, the rest is zero. */
void http_client_init(struct http_client *client);
/* Closes without a callback; the client can send again. */
void http_client_cancel(struct http_client *client);
/* ERR_IO: no socket, or the connection was refused at once. */
int http_client_send(struct http_client *client, struct http_slice request, struct err *err);
const char *http_outcome_text(enum http_outcome outcome);

#endif
