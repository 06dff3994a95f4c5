#include "http/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"

static struct http_slice answer_text(const char *text) {
    return (struct http_slice){text, strlen(text)};
}

/* "Date: …\r\n", made once a second. */
static struct http_slice answer_date(struct http_server *server) {
    uint64_t now_ns = loop_now_ns(server->config.loop);
    if (now_ns >= server->date_until_ns) {
        uint64_t real_ns = clock_real_ns();
        time_t seconds = (time_t)(real_ns / CLOCK_NS_PER_S);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        /* The C locale's names: nothing here calls setlocale. */
        strftime(server->date, sizeof server->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        server->date_until_ns = now_ns + CLOCK_NS_PER_S - real_ns % CLOCK_NS_PER_S;
    }
    return answer_text(server->date);
}

static void answer_append(struct buf *buf, struct http_slice slice) {
    buf_append(buf, slice.data, slice.len);
}

static bool answer_has_no_length(int status) {
    return status < 200 || status == 204 || status == 304;
}

static void answer_render_head(struct http_conn *conn, int status, struct http_slice head, size_t body_len) {
    struct buf *buf = &conn->server->scratch;
    buf_clear(buf);
    if (status == 200) {
        answer_append(buf, answer_text("HTTP/1.1 200 OK\r\n"));
    } else {
        answer_append(buf, answer_text("HTTP/1.1 "));
        buf_append_u64(buf, (uint64_t)status);
        answer_append(buf, answer_text(" "));
        answer_append(buf, answer_text(http_status_text(status)));
        answer_append(buf, answer_text("\r\n"));
    }
    answer_append(buf, answer_date(conn->server));
    if (!answer_has_no_length(status)) {
        answer_append(buf, answer_text("Content-Length: "));
        buf_append_u64(buf, body_len);
        answer_append(buf, answer_text("\r\n"));
    }
    if (conn->last)
        answer_append(buf, answer_text("Connection: close\r\n"));
    else if (conn->inbox && conn->inbox->parser.http10)
        answer_append(buf, answer_text("Connection: keep-alive\r\n"));
    answer_append(buf, head);
    answer_append(buf, answer_text("\r\n"));
}

/* Bytes that the socket took; 0 when it is full or broken. */
static size_t answer_send(struct http_conn *conn, struct iovec *parts, size_t count) {
    ssize_t sent;
    do {
        if (count == 1) {
            sent = send(conn->watch.fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        } else {
            struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
            sent = sendmsg(conn->watch.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        conn->sent += (size_t)sent;
        return (size_t)sent;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        conn->broken = true;
    return 0;
}

/* Keeps what is left of the parts behind their first `sent` bytes. */
static void answer_keep(struct http_conn *conn, const struct iovec *parts, size_t count, size_t sent) {
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        left += parts[i].iov_len;
    left -= sent;
    if (left == 0 || conn->broken)
        return;
    size_t before = conn->out.cap;
    if (!http_server_has_room_for(conn->server, left, left) || !buf_reserve(&conn->out, left)) {
        conn->broken = true; /* better cut short one answer than fall with all */
        return;
    }
    http_server_account(conn->server, before, conn->out.cap);
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        sent -= skip;
        buf_append(&conn->out, (const char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
    }
    conn->out_sent = 0;
}

/* What the peer has of all that was sent. The socket says that it can be written to only when a third of its
 * buffer is free, which takes a slow reader longer than the time-out. */
static uint64_t answer_taken(const struct http_conn *conn) {
    int queued = 0;
    if (ioctl(conn->watch.fd, SIOCOUTQ, &queued) != 0 || queued < 0)
        return conn->sent;
    return conn->sent > (uint64_t)queued ? conn->sent - (uint64_t)queued : 0;
}

void http_conn_answer(struct http_conn *conn, int status, struct http_slice head,
                      const struct http_slice *pieces, size_t count) {
    struct buf *scratch = &conn->server->scratch;
    size_t body_len = 0;
    if (count > HTTP_PIECES_MAX)
        abort();
    for (size_t i = 0; i < count; i++)
        body_len += pieces[i].len;
    answer_render_head(conn, status, head, body_len);
    if (answer_has_no_length(status) || (conn->inbox && conn->inbox->request.head))
        count = body_len = 0;

    struct iovec parts[1 + HTTP_PIECES_MAX];
    size_t part_count = 1;
    for (size_t i = 0; i < count; i++) {
        if (body_len <= HTTP_JOIN_BYTES)
            answer_append(scratch, pieces[i]);
        else if (pieces[i].len)
            parts[part_count++] = (struct iovec){(void *)(uintptr_t)pieces[i].data, pieces[i].len};
    }
    parts[0] = (struct iovec){scratch->data, scratch->len};
    if (scratch->failed) {
        conn->broken = true;
    } else {
        size_t sent = answer_send(conn, parts, part_count);
        answer_keep(conn, parts, part_count, sent);
    }
    http_conn_move(conn, conn->out.len ? HTTP_PHASE_WRITING : HTTP_PHASE_IDLE);
    if (conn->out.len)
        conn->step_at = answer_taken(conn);
}

bool http_conn_count_taken(struct http_conn *conn) {
    uint64_t taken = answer_taken(conn);
    if (taken < conn->step_at + HTTP_STEP_BYTES)
        return false;
    conn->step_at = taken;
    conn->stamp_ns = loop_now_ns(conn->server->config.loop);
    return true;
}

bool http_conn_flush(struct http_conn *conn) {
    struct iovec part = {conn->out.data + conn->out_sent, conn->out.len - conn->out_sent};
    size_t sent = answer_send(conn, &part, 1);
    if (sent > 0)
        http_conn_count_taken(conn);
    conn->out_sent += sent;
    if (conn->out_sent < conn->out.len)
        return false;
    http_server_account(conn->server, conn->out.cap, 0);
    buf_fini(&conn->out);
    conn->out_sent = 0;
    http_conn_move(conn, HTTP_PHASE_IDLE);
    return true;
}
