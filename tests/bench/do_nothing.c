/* The limit of the machine: an epoll server in one process that looks for the end of a request and answers.
 * What a call costs beyond this is ours. A path with "/echo" is answered with the body that came, one with
 * "/fib" with fib of the number in the body, any other with a fixed text. usage: do_nothing [PORT]; prints
 * "do_nothing listening on 127.0.0.1:PORT". */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FIB_WITHOUT_MAIN
#include "functions/fib.c"

enum { BATCH = 256, DESCRIPTORS_MAX = 65536, INPUT_BYTES = 16384, INPUT_MAX = 32 << 20, HEAD_BYTES = 256 };

#define HEAD_FORMAT                                                                                          \
    "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: %zu\r\n"                      \
    "Content-Type: application/json\r\n\r\n"

/* As long as the answer of a call of hello: the same bytes go over the socket. */
static const char hello[] = "HTTP/1.1 200 OK\r\n"
                            "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                            "Content-Length: 42\r\n"
                            "Content-Type: application/json\r\n"
                            "\r\n"
                            "{\"ok\":true,\"output\":\"Hello from FAAS!\\n\"}\n";

struct conn {
    char *input;
    size_t len, capacity;
    size_t
        used; /* bytes of the request that is being answered; its body lies in the input until it is sent */
    char head[HEAD_BYTES];
    struct iovec out[2]; /* what is not sent yet */
    bool waits;          /* for the socket to take more */
};

struct request {
    const char *path, *body;
    size_t len, body_len;
};

static struct conn *conns[DESCRIPTORS_MAX];
static int epoll_fd;

/* Positive: there is a whole request; 0: not yet; negative: there is not going to be one. */
static int do_nothing_scan(struct conn *conn, struct request *ret_request) {
    const char *end = memmem(conn->input, conn->len, "\r\n\r\n", 4);
    if (!end)
        return conn->len < INPUT_BYTES - 1 ? 0 : -1;
    size_t head_len = (size_t)(end - conn->input) + 4, body_len = 0;
    for (const char *line = conn->input; line < end;) {
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            body_len = strtoul(line + 15, NULL, 10);
        line = (const char *)memchr(line, '\n', (size_t)(end + 4 - line)) + 1;
    }
    if (body_len > INPUT_MAX)
        return -1;
    size_t len = head_len + body_len;
    if (conn->capacity < len + 1) {
        char *grown = realloc(conn->input, len + 1);
        if (!grown)
            return -1;
        conn->input = grown;
        conn->capacity = len + 1;
    }
    if (conn->len < len)
        return 0;
    const char *path = strchr(conn->input, ' ');
    *ret_request = (struct request){path ? path + 1 : "", conn->input + head_len, len, body_len};
    return 1;
}

static void do_nothing_answer(struct conn *conn, const struct request *request) {
    conn->used = request->len;
    conn->out[1] = (struct iovec){0};
    if (strncmp(request->path, "/echo", 5) == 0) {
        int len = snprintf(conn->head, HEAD_BYTES, HEAD_FORMAT, request->body_len);
        conn->out[0] = (struct iovec){conn->head, (size_t)len};
        conn->out[1] = (struct iovec){conn->input + (request->len - request->body_len), request->body_len};
    } else if (strncmp(request->path, "/fib", 4) == 0) {
        char number[32], body[64];
        snprintf(number, sizeof number, "%.*s", (int)(request->body_len < 16 ? request->body_len : 16),
                 request->body);
        int body_len = snprintf(body, sizeof body, "{\"ok\":true,\"output\":\"%u\\n\"}\n",
                                fib((unsigned)strtoul(number, NULL, 10)));
        int len = snprintf(conn->head, HEAD_BYTES, HEAD_FORMAT "%s", (size_t)body_len, body);
        conn->out[0] = (struct iovec){conn->head, (size_t)len};
    } else {
        conn->out[0] = (struct iovec){(char *)(uintptr_t)hello, sizeof hello - 1};
    }
}

/* False: the connection is over. What the socket does not take now stays in conn->out. */
static bool do_nothing_send(int fd, struct conn *conn) {
    struct msghdr message = {.msg_iov = conn->out, .msg_iovlen = 2};
    ssize_t sent = conn->out[1].iov_len ? sendmsg(fd, &message, MSG_NOSIGNAL)
                                        : send(fd, conn->out[0].iov_base, conn->out[0].iov_len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    for (int i = 0; i < 2 && sent > 0; i++) {
        size_t part = (size_t)sent < conn->out[i].iov_len ? (size_t)sent : conn->out[i].iov_len;
        conn->out[i].iov_base = (char *)conn->out[i].iov_base + part;
        conn->out[i].iov_len -= part;
        sent -= (ssize_t)part;
    }
    bool waits = conn->out[0].iov_len + conn->out[1].iov_len > 0;
    if (waits != conn->waits) {
        struct epoll_event event = {.events = waits ? EPOLLOUT : EPOLLIN, .data.fd = fd};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0)
            return false;
        conn->waits = waits;
    }
    if (!waits) {
        conn->len -= conn->used;
        memmove(conn->input, conn->input + conn->used, conn->len);
    }
    return true;
}

/* False: the connection is over. */
static bool do_nothing_serve(int fd, struct conn *conn) {
    if (conn->waits) {
        if (!do_nothing_send(fd, conn))
            return false;
    } else {
        ssize_t got = recv(fd, conn->input + conn->len, conn->capacity - 1 - conn->len, 0);
        if (got < 0 && errno == EAGAIN)
            return true;
        if (got <= 0)
            return false;
        conn->len += (size_t)got;
    }
    while (!conn->waits && conn->len > 0) {
        struct request request;
        conn->input[conn->len] = '\0';
        int whole = do_nothing_scan(conn, &request);
        if (whole <= 0)
            return whole == 0;
        do_nothing_answer(conn, &request);
        if (!do_nothing_send(fd, conn))
            return false;
    }
    return true;
}

static void do_nothing_accept(int listen_fd) {
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct conn *conn = fd < DESCRIPTORS_MAX ? conns[fd] : NULL;
    if (!conn && fd < DESCRIPTORS_MAX && (conn = calloc(1, sizeof *conn)))
        conn->input = malloc(conn->capacity = INPUT_BYTES);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (!conn || !conn->input || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        return;
    }
    conns[fd] = conn;
    conn->len = 0;
    conn->waits = false;
}

static int do_nothing_listen(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof address;
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        close(fd);
        return -1;
    }
    printf("do_nothing listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    int listen_fd = do_nothing_listen((uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 0));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listen_fd}, batch[BATCH];
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listen_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) != 0) {
        perror("do_nothing");
        return 1;
    }
    for (;;) {
        int count = epoll_wait(epoll_fd, batch, BATCH, -1);
        for (int i = 0; i < count; i++) {
            int fd = batch[i].data.fd;
            if (fd == listen_fd)
                do_nothing_accept(fd);
            else if (!do_nothing_serve(fd, conns[fd]))
                close(fd);
        }
    }
}
