#include "http/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HTTP_ROOM_MIN_BYTES = 2048, HTTP_DISCARD_BYTES = 1 << 20 };

#define PHASE_BIT(name) (1u << HTTP_PHASE_##name)
static const uint32_t conn_moves[HTTP_PHASE_COUNT] = {
    [HTTP_PHASE_IDLE] = PHASE_BIT(IDLE) | PHASE_BIT(HEAD) | PHASE_BIT(BODY) | PHASE_BIT(OUT) |
                        PHASE_BIT(WRITING) | PHASE_BIT(LINGERING),
    [HTTP_PHASE_HEAD] =
        PHASE_BIT(HEAD) | PHASE_BIT(BODY) | PHASE_BIT(OUT) | PHASE_BIT(WRITING) | PHASE_BIT(IDLE),
    [HTTP_PHASE_BODY] = PHASE_BIT(BODY) | PHASE_BIT(OUT) | PHASE_BIT(WRITING) | PHASE_BIT(IDLE),
    [HTTP_PHASE_OUT] = PHASE_BIT(WRITING) | PHASE_BIT(IDLE) | PHASE_BIT(GONE),
    [HTTP_PHASE_WRITING] = PHASE_BIT(IDLE),
    [HTTP_PHASE_LINGERING] = 0,
    [HTTP_PHASE_GONE] = 0,
};
static const uint32_t conn_busy = PHASE_BIT(OUT) | PHASE_BIT(WRITING) | PHASE_BIT(GONE);

void http_conn_move(struct http_conn *conn, enum http_phase phase) {
    assert(conn_moves[conn->phase] & (1u << phase));
    conn->server->busy -= (conn_busy >> conn->phase) & 1;
    conn->server->busy += (conn_busy >> phase) & 1;
    if (conn->phase != phase)
        conn->step_at = 0;
    conn->phase = phase;
    conn->stamp_ns = loop_now_ns(conn->server->config.loop);
}

/* Bytes of a body have come: enough of them, and the time-out starts anew. */
static void conn_count_body(struct http_conn *conn, size_t bytes) {
    if (conn->phase != HTTP_PHASE_BODY)
        http_conn_move(conn, HTTP_PHASE_BODY);
    conn->step_at += bytes;
    if (conn->step_at < HTTP_STEP_BYTES)
        return;
    conn->step_at = 0;
    conn->stamp_ns = loop_now_ns(conn->server->config.loop);
}

void http_conn_release(struct http_conn *conn) {
    struct http_inbox *inbox = conn->inbox;
    if (!inbox)
        return;
    http_server_account(conn->server, inbox->parser.body.cap, 0);
    buf_fini(&inbox->parser.body);
    inbox->start = inbox->taken;
    if (inbox->taken == inbox->len)
        inbox->start = inbox->taken = inbox->len = 0;
}

static void conn_give_inbox(struct http_conn *conn) {
    if (!conn->inbox)
        return;
    http_conn_release(conn);
    http_server_give_inbox(conn->server, conn->inbox);
    conn->inbox = NULL;
}

static void conn_close_socket(struct http_conn *conn) {
    loop_unwatch(conn->server->config.loop, &conn->watch);
    close(conn->watch.fd);
    conn->watch.fd = -1;
}

void http_conn_close(struct http_conn *conn) {
    struct http_server *server = conn->server;
    if (conn->watch.fd >= 0)
        conn_close_socket(conn);
    conn_give_inbox(conn);
    http_server_account(server, conn->out.cap, 0);
    buf_fini(&conn->out);
    if (conn->queued)
        TAILQ_REMOVE(&server->ready, conn, ready);
    server->busy -= (conn_busy >> conn->phase) & 1;
    http_server_forget(server, conn);
}

static void conn_want(struct http_conn *conn, uint32_t events) {
    struct err err;
    if (loop_rewatch(conn->server->config.loop, &conn->watch, events, &err) != 0)
        conn->broken = true;
}

/* The last answer is written. A close with bytes unread would reset the connection and could take the answer
 * away from the client, so those are waited for, within limits. */
static void conn_finish(struct http_conn *conn) {
    bool unread = conn->refused || (conn->inbox && conn->inbox->taken < conn->inbox->len);
    if (conn->read_closed || !unread || shutdown(conn->watch.fd, SHUT_WR) != 0) {
        http_conn_close(conn);
        return;
    }
    conn_give_inbox(conn);
    http_conn_move(conn, HTTP_PHASE_LINGERING);
    conn_want(conn, EPOLLIN);
    if (conn->broken)
        http_conn_close(conn);
}

/* The client has left: nobody waits for the answer. */
static void conn_abandon(struct http_conn *conn) {
    struct http_server *server = conn->server;
    if (conn->held) {
        http_conn_close(conn);
        return;
    }
    conn_close_socket(conn);
    http_conn_move(conn, HTTP_PHASE_GONE);
    server->config.on_abandon(server->config.context, conn);
}

/* Does what the phase asks for when control goes back to the loop. May free. */
static void conn_settle(struct http_conn *conn) {
    bool ahead = conn->inbox && conn->inbox->taken < conn->inbox->len;
    if (!conn->broken && conn->phase == HTTP_PHASE_IDLE) {
        if (conn->last || conn->server->draining || (conn->read_closed && !ahead)) {
            conn_finish(conn);
            return;
        }
    }
    if (conn->server->on_hand_over && http_conn_hand_over(conn))
        return;
    if (!conn->broken && conn->phase == HTTP_PHASE_IDLE) {
        if (ahead)
            http_server_queue(conn->server, conn);
        else
            conn_give_inbox(conn);
    }
    if (conn->phase == HTTP_PHASE_WRITING)
        conn_want(conn, EPOLLOUT);
    else if (conn->phase != HTTP_PHASE_OUT || (conn->watch.events & EPOLLOUT))
        conn_want(conn, conn->read_closed ? 0 : EPOLLIN);
    if (conn->broken && conn->phase == HTTP_PHASE_OUT)
        conn_abandon(conn);
    else if (conn->broken)
        http_conn_close(conn);
}

void http_conn_refuse(struct http_conn *conn, const struct err *err) {
    struct http_server *server = conn->server;
    struct buf body = {0};
    server->config.on_error_body(server->config.context, err, &body);
    server->stats.refused++;
    conn->last = conn->refused = true;
    struct http_inbox *inbox = conn->inbox;
    if (inbox)
        inbox->request.head =
            inbox->request.method.len == 4 && memcmp(inbox->request.method.data, "HEAD", 4) == 0;
    const char *head = "Content-Type: application/json\r\n";
    if (err->code == ERR_UNAVAILABLE || err->code == ERR_DRAINING)
        head = "Content-Type: application/json\r\nRetry-After: 1\r\n";
    else if (err->code == ERR_METHOD)
        head = "Content-Type: application/json\r\nAllow: GET, HEAD, POST, PUT, DELETE\r\n";
    else if (err->code == ERR_UNAUTHORIZED)
        head = "Content-Type: application/json\r\nWWW-Authenticate: Bearer realm=\"minifaas\"\r\n";
    struct http_slice piece = {(const char *)body.data, body.len};
    http_conn_answer(conn, err_http_status(err->code), (struct http_slice){head, strlen(head)}, &piece, 1);
    buf_fini(&body);
    if (inbox)
        inbox->taken = inbox->len;
    http_conn_release(conn);
    if (!conn->pumping)
        conn_settle(conn);
}

/* --- requests ---------------------------------------------------------------------------------------------
 */

static void conn_dispatch(struct http_conn *conn) {
    struct http_server *server = conn->server;
    struct http_request *request = &conn->inbox->request;
    if (!http_server_has_room(server, server->config.buffered_max / 8)) { /* the rest is for answers */
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "no memory for more requests");
        http_conn_refuse(conn, &err);
        return;
    }
    server->stats.requests++;
    request->received_ns = loop_now_ns(server->config.loop);
    conn->last = !request->keep_alive;
    http_conn_move(conn, HTTP_PHASE_OUT);
    if (server->on_hand_over) {
        conn->held = true;
        return;
    }
    server->config.on_request(server->config.context, conn, request);
}

/* The body is wanted; a client that has begun to send it does not wait to be told. */
static void conn_continue(struct http_conn *conn) {
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_parser *parser = &conn->inbox->parser;
    bool begun = conn->inbox->taken - conn->inbox->start > parser->head_bytes;
    if (!parser->expect_continue || parser->stage < HTTP_STAGE_LENGTH)
        return;
    parser->expect_continue = false;
    if (!begun &&
        send(conn->watch.fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof text - 1)
        conn->broken = true;
}

/* Gives the parser bytes, of the inbox or of its own body buffer, and does what follows. Returns bytes taken.
 */
static size_t conn_step(struct http_conn *conn, const char *data, size_t len) {
    struct http_inbox *inbox = conn->inbox;
    struct http_parser *parser = &inbox->parser;
    struct err err;
    size_t used = 0, before = parser->body.cap;
    bool in_head = parser->stage <= HTTP_STAGE_HEAD;
    int rc = http_parser_feed(parser, data, len, &used, &err);
    http_server_account(conn->server, before, parser->body.cap);
    if (data == inbox->data + inbox->taken)
        inbox->taken += used;
    if (rc == 0 && parser->stage == HTTP_STAGE_CHUNKS) {
        if (!http_server_has_room_for(conn->server, 0, parser->body.cap))
            rc = err_set(&err, ERR_UNAVAILABLE, "no memory for the request's body");
    }
    const struct http_config *config = &conn->server->config;
    if (rc == 0 && in_head && parser->stage > HTTP_STAGE_HEAD && config->on_head)
        rc = config->on_head(config->context, conn, &inbox->request, &err);
    if (rc < 0) {
        http_conn_refuse(conn, &err);
    } else if (rc > 0) {
        conn_dispatch(conn);
    } else if (parser->stage == HTTP_STAGE_HEAD) {
        if (conn->phase == HTTP_PHASE_IDLE)
            http_conn_move(conn, HTTP_PHASE_HEAD); /* the time-out counts from here */
    } else if (parser->stage != HTTP_STAGE_START) {
        conn_count_body(conn, used);
        conn_continue(conn);
        if (parser->stage == HTTP_STAGE_CHUNKS) /* framing that was read leaves no trace */
            inbox->len = inbox->taken = inbox->start + parser->head_bytes;
    }
    return used;
}

/* `direct`: bytes that were read to the parser's body buffer, before those of the inbox. */
static void conn_run(struct http_conn *conn, const char *direct, size_t direct_len) {
    if (conn->queued) {
        TAILQ_REMOVE(&conn->server->ready, conn, ready);
        conn->queued = false;
    }
    conn->pumping = true;
    if (direct)
        conn_step(conn, direct, direct_len);
    struct http_inbox *inbox = conn->inbox;
    while (conn->phase <= HTTP_PHASE_BODY && !conn->broken && !conn->last && inbox->taken < inbox->len) {
        if (conn->phase == HTTP_PHASE_IDLE) {
            inbox->start = inbox->taken;
            http_parser_begin(&inbox->parser, &inbox->request);
        }
        conn_step(conn, inbox->data + inbox->taken, inbox->len - inbox->taken);
    }
    conn->pumping = false;
    if (conn->read_closed && (conn->phase == HTTP_PHASE_HEAD || conn->phase == HTTP_PHASE_BODY)) {
        struct err err;
        err_set(&err, ERR_BAD_REQUEST, "malformed request: it ended early");
        http_conn_refuse(conn, &err);
        return;
    }
    conn_settle(conn);
}

void http_conn_pump(struct http_conn *conn) {
    conn_run(conn, NULL, 0);
}

/* --- reading ----------------------------------------------------------------------------------------------
 */

/* Room behind the bytes of the inbox: what lies before the message is dropped, then the buffer grows; the
 * parser's limits on a head bound it. */
static bool conn_make_inbox_room(struct http_conn *conn) {
    struct http_inbox *inbox = conn->inbox;
    if (inbox->cap - inbox->len >= HTTP_ROOM_MIN_BYTES)
        return true;
    size_t shift = conn->phase == HTTP_PHASE_IDLE ? inbox->taken : inbox->start, kept = inbox->len - shift;
    bool grow = inbox->cap - kept < HTTP_ROOM_MIN_BYTES;
    char *data = inbox->data;
    if (grow && (!http_server_has_room(conn->server, inbox->cap) || !(data = malloc(inbox->cap * 2))))
        return false;
    memmove(data, inbox->data + shift, kept);
    if (conn->phase != HTTP_PHASE_IDLE)
        http_parser_move(&inbox->parser, inbox->data + shift, kept, data);
    if (grow) {
        free(inbox->data);
        inbox->data = data;
        http_server_account(conn->server, inbox->cap, inbox->cap * 2);
        inbox->cap *= 2;
    }
    inbox->start = 0;
    inbox->taken -= shift;
    inbox->len = kept;
    return true;
}

/* Room for a body that does not fit into the inbox. It grows with what comes: a length that is only announced
 * costs nothing. */
static int conn_make_body_room(struct http_conn *conn, struct err *err) {
    struct http_parser *parser = &conn->inbox->parser;
    size_t have = parser->body_in_place ? parser->request->body.len : parser->body.len;
    if (!parser->body_in_place && parser->body.cap > have)
        return 0;
    size_t step = have > HTTP_BODY_STEP_BYTES ? have : HTTP_BODY_STEP_BYTES, before = parser->body.cap;
    if (!http_server_has_room_for(conn->server, step, have + step))
        return err_set(err, ERR_UNAVAILABLE, "no memory for the request's body");
    int rc = http_parser_spill(parser, step, err);
    http_server_account(conn->server, before, parser->body.cap);
    return rc;
}

/* Reads once into `at`; returns bytes, or 0 when there is nothing to go on with (the connection may be
 * freed). */
static size_t conn_recv(struct http_conn *conn, char *at, size_t room) {
    ssize_t got = recv(conn->watch.fd, at, room, MSG_DONTWAIT);
    if (got > 0)
        return (size_t)got;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        conn_settle(conn);
        return 0;
    }
    if (got < 0) {
        http_conn_close(conn);
        return 0;
    }
    conn->read_closed = true;
    conn_run(conn, NULL, 0);
    return 0;
}

static void conn_receive(struct http_conn *conn) {
    struct http_server *server = conn->server;
    if (!conn->inbox && !(conn->inbox = http_server_take_inbox(server))) {
        http_conn_close(conn);
        return;
    }
    struct http_inbox *inbox = conn->inbox;
    struct http_parser *parser = &inbox->parser;
    bool in_body = conn->phase == HTTP_PHASE_BODY && parser->stage == HTTP_STAGE_LENGTH;
    if (in_body && !(parser->body_in_place && parser->body_left <= inbox->cap - inbox->len)) {
        struct err err;
        if (conn_make_body_room(conn, &err) < 0) {
            http_conn_refuse(conn, &err);
            return;
        }
        char *at = (char *)parser->body.data + parser->body.len;
        size_t room = parser->body.cap - parser->body.len;
        size_t got = conn_recv(conn, at, room < parser->body_left ? room : (size_t)parser->body_left);
        if (got > 0)
            conn_run(conn, at, got);
        return;
    }
    if (!in_body && !conn_make_inbox_room(conn)) {
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "no memory for the request's head");
        http_conn_refuse(conn, &err);
        return;
    }
    size_t got = conn_recv(conn, inbox->data + inbox->len, inbox->cap - inbox->len);
    if (got > 0) {
        inbox->len += got;
        conn_run(conn, NULL, 0);
    }
}

/* While a request is out, pipelined ones are read as far as the inbox has room: it may not move. An end of
 * file may be a client that only shut down its writing side, so it still gets its answer. */
static void conn_receive_ahead(struct http_conn *conn) {
    struct http_inbox *inbox = conn->inbox;
    size_t room = inbox->cap - inbox->len;
    ssize_t got = room ? recv(conn->watch.fd, inbox->data + inbox->len, room, MSG_DONTWAIT) : 0;
    if (got > 0) {
        inbox->len += (size_t)got;
        return;
    }
    if (got < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            conn_abandon(conn);
        return;
    }
    conn->read_closed = room > 0;
    conn_want(conn, 0); /* level-triggered: would fire again and again */
}

static void conn_discard(struct http_conn *conn) {
    /* MSG_TRUNC: TCP drops the bytes without copying them. */
    ssize_t got = recv(conn->watch.fd, NULL, HTTP_DISCARD_BYTES, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got > 0)
        conn->lingered_bytes += (size_t)got;
    if (got <= 0 || conn->lingered_bytes >= HTTP_LINGER_BYTES)
        http_conn_close(conn);
}

void http_conn_on_event(struct loop_watch *watch, uint32_t events) {
    struct http_conn *conn = watch->context;
    if (conn->phase == HTTP_PHASE_LINGERING) {
        conn_discard(conn);
    } else if (events & (EPOLLERR | EPOLLHUP)) {
        if (conn->phase == HTTP_PHASE_OUT)
            conn_abandon(conn);
        else
            http_conn_close(conn);
    } else if (conn->phase == HTTP_PHASE_WRITING) {
        if (http_conn_flush(conn))
            conn_run(conn, NULL, 0);
        else if (conn->broken)
            http_conn_close(conn);
    } else if (conn->phase == HTTP_PHASE_OUT) {
        conn_receive_ahead(conn);
    } else {
        conn_receive(conn);
    }
}

void http_conn_on_timeout(struct http_conn *conn) {
    if (conn->phase == HTTP_PHASE_WRITING && http_conn_count_taken(conn))
        return;
    if (conn->phase != HTTP_PHASE_HEAD && conn->phase != HTTP_PHASE_BODY) {
        http_conn_close(conn);
        return;
    }
    struct err err;
    err_set(&err, ERR_REQUEST_TIMEOUT, "the request did not arrive whole in time");
    http_conn_refuse(conn, &err);
}

/* --- the caller's side ------------------------------------------------------------------------------------
 */

void *http_conn_context(struct http_conn *conn) {
    return conn->context;
}

void *http_conn_session(struct http_conn *conn) {
    return conn->session;
}

const char *http_conn_peer(struct http_conn *conn) {
    if (conn->peer_text[0])
        return conn->peer_text;
    const void *address = &((const struct sockaddr_in *)&conn->peer)->sin_addr;
    if (conn->peer.ss_family == AF_INET6)
        address = &((const struct sockaddr_in6 *)&conn->peer)->sin6_addr;
    if (!inet_ntop(conn->peer.ss_family, address, conn->peer_text, sizeof conn->peer_text))
        return "unknown";
    if (strncmp(conn->peer_text, "::ffff:", 7) == 0 && strchr(conn->peer_text, '.'))
        memmove(conn->peer_text, conn->peer_text + 7, strlen(conn->peer_text + 7) + 1);
    return conn->peer_text;
}

void http_respond_pieces(struct http_conn *conn, int status, struct http_slice head,
                         const struct http_slice *pieces, size_t count) {
    if (conn->phase == HTTP_PHASE_GONE) {
        http_conn_close(conn);
        return;
    }
    assert(conn->phase == HTTP_PHASE_OUT);
    conn->last = conn->last || conn->server->draining;
    http_conn_answer(conn, status, head, pieces, count);
    http_conn_release(conn);
    if (!conn->pumping)
        conn_settle(conn);
}

void http_respond(struct http_conn *conn, int status, struct http_slice head, struct http_slice body) {
    http_respond_pieces(conn, status, head, &body, 1);
}
