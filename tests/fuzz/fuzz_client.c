/* Answers of a server to our client: whatever comes, in whatever pieces, there is exactly one outcome, and
 * how the bytes were cut does not change it. Input: a byte that seeds the cuts, then the answer. */
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/loop.h"
#include "check.h"
#include "http/client.h"

struct fuzz_server {
    struct loop *loop;
    struct loop_watch listener, conn;
    const uint8_t *data;
    size_t len, sent;
    uint32_t seed; /* 0: not cut */
    int outcomes, status;
    enum http_outcome outcome;
};

static void fuzz_on_outcome(struct http_client *client, enum http_outcome outcome, int status) {
    struct fuzz_server *server = client->context;
    server->outcomes++;
    server->outcome = outcome;
    server->status = status;
    loop_stop(server->loop);
}

static size_t fuzz_step(struct fuzz_server *server) {
    size_t left = server->len - server->sent;
    if (server->seed == 0)
        return left;
    server->seed = server->seed * 1664525u + 1013904223u;
    size_t step = 1 + (server->seed >> 16 & 15);
    return step < left ? step : left;
}

/* A piece a turn, so that the client reads each alone; then the end. */
static void fuzz_on_writable(struct loop_watch *watch, uint32_t events) {
    struct fuzz_server *server = watch->context;
    char request[64];
    (void)events;
    while (recv(watch->fd, request, sizeof request, MSG_DONTWAIT) > 0)
        ;
    size_t step = fuzz_step(server);
    if (step && send(watch->fd, server->data + server->sent, step, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
        server->sent += step;
        return;
    }
    loop_unwatch(server->loop, watch);
    shutdown(watch->fd, SHUT_RDWR);
}

static void fuzz_on_client(struct loop_watch *watch, uint32_t events) {
    struct fuzz_server *server = watch->context;
    struct err err;
    (void)events;
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(fd >= 0);
    server->conn = (struct loop_watch){.fd = fd, .on_event = fuzz_on_writable, .context = server};
    CHECK(loop_watch(server->loop, &server->conn, EPOLLOUT, &err) == 0);
}

static int fuzz_listen(struct sockaddr_un *ret_address, socklen_t *ret_len) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    CHECK(bind(fd, (struct sockaddr *)ret_address, sizeof ret_address->sun_family) == 0 &&
          listen(fd, 8) == 0);
    *ret_len = sizeof *ret_address; /* the kernel chose an abstract name */
    CHECK(getsockname(fd, (struct sockaddr *)ret_address, ret_len) == 0);
    return fd;
}

static struct fuzz_server fuzz_ask(const uint8_t *data, size_t size, uint32_t seed) {
    struct fuzz_server server = {.data = data, .len = size, .seed = seed, .conn.fd = -1};
    struct sockaddr_un address;
    socklen_t address_len;
    struct buf scratch = {0};
    struct err err;
    CHECK(buf_reserve(&scratch, 4096) && loop_new(&server.loop, &err) == 0);
    server.listener = (struct loop_watch){
        .fd = fuzz_listen(&address, &address_len), .on_event = fuzz_on_client, .context = &server};
    CHECK(loop_watch(server.loop, &server.listener, EPOLLIN, &err) == 0);
    struct http_client client = {.loop = server.loop,
                                 .address = (const struct sockaddr *)&address,
                                 .address_len = address_len,
                                 .scratch = &scratch,
                                 .on_outcome = fuzz_on_outcome,
                                 .context = &server};
    http_client_init(&client);
    CHECK(http_client_send(&client, (struct http_slice){"GET / HTTP/1.1\r\n\r\n", 18}, &err) == 0);
    CHECK(loop_run(server.loop, &err) == 0 && server.outcomes == 1);
    CHECK(server.outcome < HTTP_OUTCOME_COUNT && http_outcome_text(server.outcome)[0]);
    CHECK(server.outcome == HTTP_OUTCOME_ANSWERED ? server.status >= 200 : server.status == 0);
    http_client_cancel(&client);
    loop_unwatch(server.loop, &server.conn);
    loop_unwatch(server.loop, &server.listener);
    if (server.conn.fd >= 0)
        close(server.conn.fd);
    close(server.listener.fd);
    loop_free(server.loop);
    buf_fini(&scratch);
    return server;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 2048)
        return 0;
    struct fuzz_server whole = fuzz_ask(data + 1, size - 1, 0);
    struct fuzz_server cut = fuzz_ask(data + 1, size - 1, data[0] + 1u);
    /* What lies behind an answer is seen when it comes with it, and else is the next one's trouble. */
    if (whole.outcome != HTTP_OUTCOME_MALFORMED)
        CHECK(whole.outcome == cut.outcome && whole.status == cut.status);
    return 0;
}
