/* Connections that go over to another process: they do not notice. What was read and not answered goes along
 * as the bytes of requests, so that the other side has nothing to know of ours. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/conn.h"

/* A body that came in chunks becomes one chunk: its head says that chunks follow. */
static void handover_append_body(const struct http_request *request, struct buf *bytes) {
    bool chunked = http_request_header(request, "transfer-encoding") != NULL;
    if (chunked && request->body.len > 0)
        buf_append_format(bytes, "%zx\r\n", request->body.len);
    buf_append(bytes, request->body.data, request->body.len);
    if (chunked)
        buf_append_str(bytes, request->body.len > 0 ? "\r\n0\r\n\r\n" : "0\r\n\r\n");
}

static void handover_append(const struct http_conn *conn, struct buf *bytes) {
    const struct http_inbox *inbox = conn->inbox;
    if (!inbox)
        return;
    size_t from = conn->phase == HTTP_PHASE_HEAD ? inbox->start : inbox->taken;
    if (conn->phase == HTTP_PHASE_OUT) {
        buf_append(bytes, inbox->data + inbox->start, inbox->parser.head_bytes);
        handover_append_body(&inbox->request, bytes);
    }
    buf_append(bytes, inbox->data + from, inbox->len - from);
}

static bool handover_is_due(const struct http_conn *conn) {
    return !conn->broken && !conn->pumping &&
           (conn->phase == HTTP_PHASE_IDLE || conn->phase == HTTP_PHASE_HEAD ||
            (conn->phase == HTTP_PHASE_OUT && conn->held));
}

bool http_conn_hand_over(struct http_conn *conn) {
    struct http_server *server = conn->server;
    if (!handover_is_due(conn))
        return false;
    struct buf bytes = {0};
    handover_append(conn, &bytes);
    bool gone =
        !bytes.failed && server->on_hand_over(server->config.context, conn->watch.fd,
                                              (struct http_slice){(const char *)bytes.data, bytes.len});
    if (bytes.data)
        explicit_bzero(bytes.data, bytes.len); /* it may be a secret */
    buf_fini(&bytes);
    if (gone)
        http_conn_close(conn); /* our descriptor of it: the connection lives on */
    return gone;
}

void http_hold(struct http_conn *conn) {
    if (conn->phase == HTTP_PHASE_GONE) {
        http_conn_close(conn);
        return;
    }
    conn->held = true;
    if (conn->server->on_hand_over)
        http_server_queue(conn->server, conn);
}

void http_server_hand_over(struct http_server *server, http_on_hand_over *on_hand_over) {
    loop_unwatch(server->config.loop, &server->listener);
    server->on_hand_over = on_hand_over;
    http_server_hand_on(server);
}

void http_server_hand_on(struct http_server *server) {
    struct http_conn *conn = LIST_FIRST(&server->conns);
    while (conn) {
        struct http_conn *next = LIST_NEXT(conn, all);
        if (handover_is_due(conn) && !http_conn_hand_over(conn))
            return;
        conn = next;
    }
}

void http_server_resume(struct http_server *server) {
    struct http_conn *conn = LIST_FIRST(&server->conns);
    while (conn) {
        struct http_conn *next = LIST_NEXT(conn, all);
        if (conn->phase == HTTP_PHASE_OUT && conn->held) {
            conn->held = false;
            server->config.on_request(server->config.context, conn, &conn->inbox->request);
        }
        conn = next;
    }
}

/* ---- the other end ---- */

static int handover_fill(struct http_inbox *inbox, int fd, struct err *err) {
    struct stat about;
    if (fstat(fd, &about) != 0)
        return err_sys(err, "fstat");
    size_t size = (size_t)about.st_size;
    if (size + 1 > inbox->cap) {
        char *data = realloc(inbox->data, size + HTTP_INBOX_BYTES);
        if (!data)
            return err_set(err, ERR_INTERNAL, "no memory for %zu bytes of a request", size);
        inbox->data = data;
        inbox->cap = size + HTTP_INBOX_BYTES;
    }
    while (inbox->len < size) {
        ssize_t got = pread(fd, inbox->data + inbox->len, size - inbox->len, (off_t)inbox->len);
        if (got <= 0 && errno != EINTR)
            return err_sys(err, "cannot read a request that was handed over");
        inbox->len += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

int http_server_adopt(struct http_server *server, int fd, int bytes_fd, struct err *err) {
    MEM_CLOSE_FD int bytes_file = bytes_fd;
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    (void)getpeername(fd, (struct sockaddr *)&peer, &len); /* one that has gone away is found out later */
    struct http_conn *conn = http_server_take(server, fd, &peer);
    if (!conn)
        return err_set(err, ERR_INTERNAL, "no memory for a connection");
    if (bytes_file < 0)
        return 0;
    int rc = -1;
    conn->inbox = http_server_take_inbox(server);
    if (conn->inbox)
        rc = handover_fill(conn->inbox, bytes_file, err);
    else
        err_set(err, ERR_INTERNAL, "no memory for a request");
    if (rc < 0)
        http_conn_close(conn);
    else
        http_server_queue(server, conn);
    return rc;
}
