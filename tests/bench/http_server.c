/* src/http with a handler that does nothing, to be measured against do_nothing: what the HTTP side costs.
 * usage: http_server [PORT]; prints "http_server listening on 127.0.0.1:PORT". Ends on SIGTERM. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/http.h"

static void bench_on_request(void *context, struct http_conn *conn, struct http_request *request) {
    static const char head[] = "Content-Type: application/json\r\n";
    static const char body[] = "{\"ok\":true,\"output\":\"Hello from FAAS!\\n\"}\n";
    (void)context, (void)request;
    http_respond(conn, 200, (struct http_slice){head, sizeof head - 1},
                 (struct http_slice){body, sizeof body - 1});
}

static void bench_on_abandon(void *context, struct http_conn *conn) {
    (void)context, (void)conn; /* every request is answered at once */
}

static void bench_on_error_body(void *context, const struct err *err, struct buf *ret_body) {
    (void)context;
    buf_append_format(ret_body, "{\"ok\":false,\"error\":\"%s\",\"cause\":\"%s\"}\n", err->msg,
                      err_cause(err->code));
}

static void bench_on_signal(void *context, int signal_number) {
    (void)signal_number;
    loop_stop(context);
}

static int bench_listen(uint16_t port, uint16_t *ret_port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof address;
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return -1;
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static int bench_serve(uint16_t port, struct err *err) {
    struct loop *loop = NULL;
    struct http_server *server = NULL;
    int rc = loop_new(&loop, err);
    if (rc < 0)
        return rc;
    const int signals[] = {SIGTERM, SIGINT};
    struct http_config config = {
        .loop = loop,
        .line_max = 8192,
        .headers_max = 32768,
        .body_max = 16 << 20,
        .buffered_max = 1 << 30,
        .connections_max = 10000,
        .request_timeout_ms = 10000,
        .body_timeout_ms = 30000,
        .idle_timeout_ms = 60000,
        .write_timeout_ms = 30000,
        .on_request = bench_on_request,
        .on_abandon = bench_on_abandon,
        .on_error_body = bench_on_error_body,
    };
    config.listen_fd = bench_listen(port, &port);
    if (config.listen_fd < 0)
        return err_sys(err, "port %u", port);
    rc = loop_signals(loop, signals, 2, bench_on_signal, loop, err);
    if (rc == 0)
        rc = http_server_new(&config, &server, err);
    if (rc < 0)
        return rc;
    printf("http_server listening on 127.0.0.1:%u\n", port);
    fflush(stdout);
    rc = loop_run(loop, err);
    http_server_free(server);
    loop_free(loop);
    close(config.listen_fd);
    return rc;
}

int main(int argc, char **argv) {
    struct err err;
    if (bench_serve((uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 0), &err) == 0)
        return 0;
    fprintf(stderr, "http_server: %s\n", err.msg);
    return 1;
}
