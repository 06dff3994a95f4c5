/* Connections through real sockets: the server runs on a thread of its own, the tests are clients that block
 * with a deadline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/http.h"

enum { DEADLINE_S = 20, HELD_MAX = 64, BODY_MAX = 1 << 20 };

/* --- the server -------------------------------------------------------------------------------------------
 */

enum command { COMMAND_NONE, COMMAND_STOP, COMMAND_DRAIN, COMMAND_RELEASE };

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_config config;
    struct loop_watch commands;
    atomic_int command;
    uint16_t port;
    pthread_t thread;
    struct http_conn *held[HELD_MAX]; /* requests to /later */
    size_t held_count;
    int depth; /* of on_request on the stack */
    atomic_int depth_max, abandoned, turns, out;
    atomic_bool idle;
    atomic_uint connections, accepted;
    atomic_size_t buffered_bytes;
};

#define SLICE(text) ((struct http_slice){text, strlen(text)})
static const struct http_slice no_head = {"", 0};

static void server_answer_big(struct http_conn *conn, struct http_slice query) {
    char number[16];
    struct err err;
    assert_int_equal(http_query_get(query, "n", number, sizeof number, &err), 1);
    size_t len = strtoul(number, NULL, 10);
    char *data = malloc(len);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i * 31 >> 3);
    struct http_slice pieces[3] = {{data, len / 3}, {data + len / 3, 0}, {data + len / 3, len - len / 3}};
    http_respond_pieces(conn, 200, SLICE("X-Big: yes\r\n"), pieces, 3);
    free(data);
}

static void server_on_request(void *context, struct http_conn *conn, struct http_request *request) {
    struct fixture *f = context;
    if (++f->depth > atomic_load(&f->depth_max))
        atomic_store(&f->depth_max, f->depth);
    uint8_t *mine = http_conn_context(conn);
    assert_int_equal((uintptr_t)mine % 16, 0);
    mine[HTTP_CONTEXT_BYTES - 1]++;
    char path[64];
    snprintf(path, sizeof path, "%.*s", (int)request->path.len, request->path.data);
    if (strcmp(path, "/later") == 0) {
        assert_true(f->held_count < HELD_MAX);
        f->held[f->held_count++] = conn;
        atomic_store(&f->out, (int)f->held_count);
    } else if (strcmp(path, "/big") == 0) {
        server_answer_big(conn, request->query);
    } else if (strcmp(path, "/none") == 0) {
        http_respond(conn, 204, no_head, SLICE("must not be sent"));
    } else if (strcmp(path, "/peer") == 0) {
        http_respond(conn, 200, no_head, SLICE(http_conn_peer(conn)));
    } else { /* echo: the query, '|' and the body */
        struct http_slice pieces[3] = {request->query, SLICE("|"), request->body};
        http_respond_pieces(conn, 200, SLICE("Content-Type: text/plain\r\n"), pieces, 3);
    }
    f->depth--;
}

static void server_on_abandon(void *context, struct http_conn *conn) {
    struct fixture *f = context;
    (void)conn;
    atomic_fetch_add(&f->abandoned, 1);
}

static void server_on_error_body(void *context, const struct err *err, struct buf *ret_body) {
    (void)context;
    buf_append_format(ret_body, "{\"cause\":\"%s\"}", err_cause(err->code));
}

static void server_release(struct fixture *f) {
    size_t count = f->held_count;
    f->held_count = 0;
    for (size_t i = 0; i < count; i++)
        http_respond(f->held[i], 200, no_head, SLICE("released"));
    atomic_store(&f->out, (int)f->held_count);
}

static void server_on_command(struct loop_watch *watch, uint32_t events) {
    struct fixture *f = watch->context;
    uint64_t count;
    (void)events;
    assert_int_equal(read(watch->fd, &count, sizeof count), sizeof count);
    int command = atomic_load(&f->command);
    if (command == COMMAND_STOP)
        loop_stop(f->loop);
    else if (command == COMMAND_DRAIN)
        http_server_drain(f->server);
    else if (command == COMMAND_RELEASE)
        server_release(f);
    atomic_store(&f->command, COMMAND_NONE);
}

static void server_on_turn_end(void *context) {
    struct fixture *f = context;
    const struct http_stats *stats = http_server_stats(f->server);
    atomic_fetch_add(&f->turns, 1);
    atomic_store(&f->connections, stats->connections);
    atomic_store(&f->accepted, (unsigned)stats->accepted);
    atomic_store(&f->buffered_bytes, stats->buffered_bytes);
    atomic_store(&f->idle, http_server_is_idle(f->server));
}

static void *server_main(void *context) {
    struct fixture *f = context;
    struct err err;
    assert_int_equal(loop_run(f->loop, &err), 0);
    return NULL;
}

static void command(struct fixture *f, enum command command);

static int fixture_listen(struct fixture *f) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 256), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    f->port = ntohs(address.sin_port);
    return fd;
}

/* `tune` may change the configuration. */
static struct fixture *fixture_new(void (*tune)(struct http_config *config)) {
    struct fixture *f = mem_zalloc(sizeof *f);
    struct err err;
    assert_int_equal(loop_new(&f->loop, &err), 0);
    f->config = (struct http_config){
        .loop = f->loop,
        .listen_fd = fixture_listen(f),
        .line_max = 1000,
        .headers_max = 40000, /* more than the input buffer at first */
        .body_max = BODY_MAX,
        .buffered_max = 64 << 20,
        .connections_max = 1000,
        .request_timeout_ms = 60000,
        .body_timeout_ms = 60000,
        .idle_timeout_ms = 60000,
        .write_timeout_ms = 60000,
        .on_request = server_on_request,
        .on_abandon = server_on_abandon,
        .on_error_body = server_on_error_body,
        .context = f,
    };
    if (tune)
        tune(&f->config);
    assert_int_equal(http_server_new(&f->config, &f->server, &err), 0);
    f->commands = (struct loop_watch){
        .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .on_event = server_on_command, .context = f};
    assert_int_equal(loop_watch(f->loop, &f->commands, EPOLLIN, &err), 0);
    loop_at_turn_end(f->loop, server_on_turn_end, f);
    assert_int_equal(pthread_create(&f->thread, NULL, server_main, f), 0);
    return f;
}

static void fixture_free(struct fixture *f) {
    command(f, COMMAND_STOP);
    pthread_join(f->thread, NULL);
    http_server_free(f->server);
    loop_unwatch(f->loop, &f->commands);
    close(f->commands.fd);
    loop_free(f->loop);
    close(f->config.listen_fd);
    free(f);
}

#define POLL(condition)                                                                                      \
    do {                                                                                                     \
        uint64_t until_ns = clock_now_ns() + DEADLINE_S * CLOCK_NS_PER_S;                                    \
        while (!(condition)) {                                                                               \
            if (clock_now_ns() > until_ns)                                                                   \
                fail_msg("never: %s", #condition);                                                           \
            poll(NULL, 0, 1);                                                                                \
        }                                                                                                    \
    } while (0)

static void command(struct fixture *f, enum command command) {
    uint64_t one = 1;
    atomic_store(&f->command, command);
    assert_int_equal(write(f->commands.fd, &one, sizeof one), sizeof one);
    if (command != COMMAND_STOP)
        POLL(atomic_load(&f->command) == COMMAND_NONE);
}

/* --- the client -------------------------------------------------------------------------------------------
 */

static void client_connect(struct fixture *f, int fd) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(f->port)};
    struct timeval deadline = {.tv_sec = DEADLINE_S};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
}

static int client_open(struct fixture *f) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    client_connect(f, fd);
    return fd;
}

static void client_send(int fd, const void *data, size_t len) {
    for (size_t sent = 0; sent < len;) {
        ssize_t part = send(fd, (const char *)data + sent, len - sent, MSG_NOSIGNAL);
        assert_true(part > 0);
        sent += (size_t)part;
    }
}

static void client_say(int fd, const char *text) {
    client_send(fd, text, strlen(text));
}

struct answer {
    int status;
    struct buf head, body;
};

static void answer_fini(struct answer *answer) {
    buf_fini(&answer->head);
    buf_fini(&answer->body);
}

/* Reads one answer; `head_only` for HEAD. */
static void client_read_answer(int fd, struct answer *answer, bool head_only) {
    memset(answer, 0, sizeof *answer);
    struct buf *head = &answer->head;
    while (head->len < 4 || memcmp(head->data + head->len - 4, "\r\n\r\n", 4) != 0) {
        char byte;
        if (recv(fd, &byte, 1, 0) != 1)
            fail_msg("no answer; only: %.*s", (int)head->len, (char *)head->data);
        buf_append(head, &byte, 1);
    }
    buf_append(head, "", 1);
    const char *text = (const char *)head->data;
    assert_memory_equal(text, "HTTP/1.1 ", 9);
    answer->status = (int)strtol(text + 9, NULL, 10);
    const char *length = strstr(text, "Content-Length: ");
    size_t len = length && !head_only ? strtoul(length + 16, NULL, 10) : 0;
    buf_reserve(&answer->body, len + 1);
    while (answer->body.len < len) {
        ssize_t got = recv(fd, answer->body.data + answer->body.len, len - answer->body.len, 0);
        assert_true(got > 0);
        answer->body.len += (size_t)got;
    }
    answer->body.data[len] = '\0';
}

static void expect_answer(int fd, int status, const char *body) {
    struct answer answer;
    client_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, status);
    assert_string_equal((char *)answer.body.data, body);
    answer_fini(&answer);
}

static void expect_end(int fd) {
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static void expect_silence(int fd, int ms) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, ms), 0);
}

#define HOST "Host: x\r\n"

/* --- tests ------------------------------------------------------------------------------------------------
 */

static void pipelined_requests_are_answered_in_order_and_not_recursively(void **state) {
    (void)state;
    enum { COUNT = 5000 };
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    struct buf all = {0};
    for (int i = 0; i < COUNT; i++)
        buf_append_format(&all, "POST /?%d HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", i);
    for (size_t sent = 0, i = 0; i < COUNT;
         i++) { /* keeps the pipeline full without filling both directions */
        size_t ahead = i < COUNT - 500 ? all.len / COUNT * (i + 500) : all.len;
        if (ahead > sent) {
            client_send(fd, all.data + sent, ahead - sent);
            sent = ahead;
        }
        char expected[32];
        snprintf(expected, sizeof expected, "%zu|abc", i);
        expect_answer(fd, 200, expected);
    }
    assert_int_equal(atomic_load(&f->depth_max), 1);
    buf_fini(&all);
    close(fd);
    fixture_free(f);
}

static void a_request_behind_one_that_is_out_waits_for_its_turn(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    client_say(fd, "GET /later HTTP/1.1\r\n" HOST "\r\nGET /?a HTTP/1.1\r\n" HOST
                   "\r\nGET /later HTTP/1.1\r\n" HOST "\r\n"
                   "GET /?b HTTP/1.1\r\n" HOST "\r\n");
    POLL(atomic_load(&f->out) == 1);
    client_say(fd, "GET /?c HTTP/1.1\r\n" HOST "\r\n");
    expect_silence(fd, 20);
    command(f, COMMAND_RELEASE);
    expect_answer(fd, 200, "released");
    expect_answer(fd, 200, "a|");
    POLL(atomic_load(&f->out) == 1);
    command(f, COMMAND_RELEASE);
    expect_answer(fd, 200, "released");
    expect_answer(fd, 200, "b|");
    expect_answer(fd, 200, "c|");
    close(fd);
    fixture_free(f);
}

static void more_is_pipelined_than_the_buffer_holds(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    client_say(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    POLL(atomic_load(&f->out) == 1);
    struct buf all = {0};
    for (int i = 0; i < COUNT; i++)
        buf_append_str(&all, "GET /?0123456789 HTTP/1.1\r\n" HOST "\r\n");
    client_send(fd, all.data, all.len);
    int turns = atomic_load(&f->turns);
    expect_silence(fd, 50);
    assert_true(atomic_load(&f->turns) - turns < 50); /* does not spin on what it does not read */
    command(f, COMMAND_RELEASE);
    expect_answer(fd, 200, "released");
    for (int i = 0; i < COUNT; i++)
        expect_answer(fd, 200, "0123456789|");
    buf_fini(&all);
    close(fd);
    fixture_free(f);
}

static void a_request_in_single_bytes_is_answered(void **state) {
    (void)state;
    static const char text[] =
        "POST /?q HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n"
        "A: b\r\n\r\n";
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof text - 1; i++)
            client_send(fd, &text[i], 1);
        expect_answer(fd, 200, "q|abcde");
    }
    close(fd);
    fixture_free(f);
}

static void a_head_larger_than_the_input_buffer_is_read_whole(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    struct buf text = {0};
    buf_append_str(&text, "GET /?a HTTP/1.1\r\n" HOST "\r\nPOST /?b HTTP/1.1\r\nContent-Length: 3\r\nX: ");
    for (int i = 0; i < 39000; i++)
        buf_append_str(&text, "x");
    buf_append_str(&text, "\r\n" HOST "\r\nabcGET /?c HTTP/1.1\r\n" HOST "\r\n");
    client_send(fd, text.data, text.len);
    expect_answer(fd, 200, "a|");
    expect_answer(fd, 200, "b|abc");
    expect_answer(fd, 200, "c|");
    buf_fini(&text);
    close(fd);
    fixture_free(f);
}

static void check_body(struct fixture *f, size_t len, bool chunked) {
    int fd = client_open(f);
    char *body = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        body[i] = (char)('a' + i * 7 % 26);
    body[len] = '\0';
    struct buf text = {0};
    if (chunked) {
        buf_append_str(&text, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
        for (size_t at = 0; at < len; at += 5000) {
            size_t part = len - at < 5000 ? len - at : 5000;
            buf_append_format(&text, "%zx\r\n", part);
            buf_append(&text, body + at, part);
            buf_append_str(&text, "\r\n");
        }
        buf_append_str(&text, "0\r\n\r\n");
    } else {
        buf_append_format(&text, "POST / HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", len);
        buf_append(&text, body, len);
    }
    buf_append_str(&text, "GET /?next HTTP/1.1\r\n" HOST "\r\n");
    client_send(fd, text.data, text.len);
    struct answer answer;
    client_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, len + 1);
    assert_memory_equal(answer.body.data + 1, body, len);
    answer_fini(&answer);
    expect_answer(fd, 200, "next|");
    buf_fini(&text);
    free(body);
    close(fd);
}

static void bodies_of_all_sizes_arrive_and_leave_no_memory_behind(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    static const size_t sizes[] = {0, 1, 1000, 16300, 16384, 20000, 65536, 70000, 300000, BODY_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_body(f, sizes[i], false);
        check_body(f, sizes[i], true);
    }
    POLL(atomic_load(&f->connections) == 0);
    assert_int_equal(atomic_load(&f->buffered_bytes), 0);
    fixture_free(f);
}

static void an_announced_body_costs_nothing(void **state) {
    (void)state;
    enum { COUNT = 100 };
    struct fixture *f = fixture_new(NULL);
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_open(f);
        client_say(fds[i], "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\nfirst bytes");
    }
    int fd = client_open(f);
    client_say(fd, "GET / HTTP/1.1\r\n" HOST "\r\n");
    expect_answer(fd, 200, "|");
    POLL(atomic_load(&f->connections) == COUNT + 1);
    assert_int_equal(atomic_load(&f->buffered_bytes), 0);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    close(fd);
    POLL(atomic_load(&f->connections) == 0);
    fixture_free(f);
}

static void continue_is_sent_only_when_the_body_will_be_read(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    client_say(fd, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    struct answer answer;
    client_read_answer(fd, &answer, true);
    assert_int_equal(answer.status, 100);
    answer_fini(&answer);
    client_say(fd, "abc");
    expect_answer(fd, 200, "|abc");
    /* The body came along: nothing is waiting to be told. */
    client_say(fd, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\na");
    client_say(fd, "bc");
    expect_answer(fd, 200, "|abc");
    client_say(fd, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n");
    expect_answer(fd, 413, "{\"cause\":\"too_large\"}");
    expect_end(fd);
    close(fd);
    fd = client_open(f);
    client_say(fd, "POST / HTTP/1.1\r\n" HOST "Expect: payment\r\nContent-Length: 1\r\n\r\n");
    expect_answer(fd, 417, "{\"cause\":\"expectation\"}");
    expect_end(fd);
    close(fd);
    fixture_free(f);
}

static void answers_without_a_body_say_so_right(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    client_say(fd, "HEAD /?abc HTTP/1.1\r\n" HOST "\r\nGET /none HTTP/1.1\r\n" HOST
                   "\r\nGET /peer HTTP/1.1\r\n" HOST "\r\n");
    struct answer answer;
    client_read_answer(fd, &answer, true);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr((char *)answer.head.data, "Content-Length: 4\r\n"));
    assert_non_null(strstr((char *)answer.head.data, " GMT\r\n"));
    answer_fini(&answer);
    client_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 204);
    assert_null(strstr((char *)answer.head.data, "Content-Length"));
    answer_fini(&answer);
    expect_answer(fd, 200, "127.0.0.1");
    close(fd);
    fixture_free(f);
}

static void the_connection_is_kept_or_closed_as_asked(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    struct answer answer;
    int fd = client_open(f);
    client_say(fd, "GET /?a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_read_answer(fd, &answer, false);
    assert_non_null(strstr((char *)answer.head.data, "Connection: keep-alive\r\n"));
    answer_fini(&answer);
    client_say(fd, "GET /?b HTTP/1.0\r\n\r\n");
    client_read_answer(fd, &answer, false);
    assert_non_null(strstr((char *)answer.head.data, "Connection: close\r\n"));
    answer_fini(&answer);
    expect_end(fd);
    close(fd);
    fd = client_open(f);
    /* What comes behind a close is not answered, and does not take the answer away. */
    client_say(fd, "GET /?a HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /?b HTTP/1.1\r\n" HOST "\r\n");
    expect_answer(fd, 200, "a|");
    expect_end(fd);
    close(fd);
    POLL(atomic_load(&f->connections) == 0);
    fixture_free(f);
}

static void a_malformed_request_is_answered_and_the_connection_closed(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
        const char *body;
    } cases[] = {
        {"nonsense\r\n\r\n", 400, "{\"cause\":\"bad_request\"}"},
        {"GET / HTTP/1.1\r\n\r\n", 400, "{\"cause\":\"bad_request\"}"},
        {"CONNECT x:1 HTTP/1.1\r\n" HOST "\r\n", 405, "{\"cause\":\"method_not_allowed\"}"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX", 400,
         "{\"cause\":\"bad_request\"}"},
    };
    struct fixture *f = fixture_new(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = client_open(f);
        client_say(fd, cases[i].text);
        expect_answer(fd, cases[i].status, cases[i].body);
        expect_end(fd);
        close(fd);
    }
    int fd = client_open(f);
    client_say(fd, "GET / HTTP/1.1\r\nX: y");
    shutdown(fd, SHUT_WR);
    expect_answer(fd, 400, "{\"cause\":\"bad_request\"}");
    expect_end(fd);
    close(fd);
    POLL(atomic_load(&f->connections) == 0);
    fixture_free(f);
}

static void limits_are_answered(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    static const struct {
        const char *start, *more;
        size_t count;
        int status;
    } cases[] = {
        {"GET /", "aaaaaaaaaa", 200, 414},
        {"GET / HTTP/1.1\r\nHost: x\r\nA: ", "aaaaaaaaaa", 5000, 431},
        {"GET / HTTP/1.1\r\nHost: x\r\n", "a: b\r\n", 200, 431},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf text = {0};
        buf_append_str(&text, cases[i].start);
        for (size_t k = 0; k < cases[i].count; k++)
            buf_append_str(&text, cases[i].more);
        int fd = client_open(f);
        client_send(fd, text.data, text.len);
        struct answer answer;
        client_read_answer(fd, &answer, false);
        assert_int_equal(answer.status, cases[i].status);
        answer_fini(&answer);
        expect_end(fd);
        close(fd);
        buf_fini(&text);
    }
    fixture_free(f);
}

/* A client that writes all of its body before it reads, as many do. */
static void an_early_error_reaches_a_client_that_still_sends(void **state) {
    (void)state;
    enum { BYTES = 20 << 20 };
    struct fixture *f = fixture_new(NULL);
    char *zeros = mem_zalloc(BYTES);
    int fd = client_open(f);
    client_say(fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 20971520\r\n\r\n");
    client_send(fd, zeros, BYTES);
    expect_answer(fd, 413, "{\"cause\":\"too_large\"}");
    expect_end(fd);
    close(fd);
    fd = client_open(f);
    client_say(fd, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1400000\r\n");
    client_send(fd, zeros, BYTES);
    expect_answer(fd, 413, "{\"cause\":\"too_large\"}");
    expect_end(fd);
    close(fd);
    POLL(atomic_load(&f->connections) == 0);
    free(zeros);
    fixture_free(f);
}

static void tune_impatient(struct http_config *config) {
    config->request_timeout_ms = config->body_timeout_ms = config->idle_timeout_ms =
        config->write_timeout_ms = 100;
}

static void slow_clients_are_timed_out(void **state) {
    (void)state;
    struct fixture *f = fixture_new(tune_impatient);
    int head = client_open(f), body = client_open(f), chunk = client_open(f), idle = client_open(f),
        used = client_open(f), reader = client_open(f);
    client_say(head, "GET / HTTP/1.1\r\nHo");
    client_say(body, "POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n12345");
    client_say(chunk, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\n12");
    client_say(used, "GET / HTTP/1.1\r\n" HOST "\r\n");
    client_say(reader, "GET /big?n=30000000 HTTP/1.1\r\n" HOST "\r\n");
    expect_answer(used, 200, "|");
    expect_answer(head, 408, "{\"cause\":\"request_timeout\"}");
    expect_answer(body, 408, "{\"cause\":\"request_timeout\"}");
    expect_answer(chunk, 408, "{\"cause\":\"request_timeout\"}");
    expect_end(head);
    expect_end(body);
    expect_end(chunk);
    expect_end(idle);
    expect_end(used);
    close(head), close(body), close(chunk), close(idle), close(used);
    POLL(atomic_load(&f->connections) == 0); /* the reader, too, which did not read */
    assert_int_equal(atomic_load(&f->buffered_bytes), 0);
    close(reader);
    fixture_free(f);
}

static void a_request_that_is_out_is_never_timed_out(void **state) {
    (void)state;
    struct fixture *f = fixture_new(tune_impatient);
    int fd = client_open(f);
    client_say(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    POLL(atomic_load(&f->out) == 1);
    expect_silence(fd, 300);
    command(f, COMMAND_RELEASE);
    expect_answer(fd, 200, "released");
    close(fd);
    fixture_free(f);
}

static void a_client_that_resets_is_reported_once_and_released_by_the_answer(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    client_say(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    POLL(atomic_load(&f->out) == 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    POLL(atomic_load(&f->abandoned) == 1);
    assert_int_equal(atomic_load(&f->connections), 1);
    assert_false(atomic_load(&f->idle));
    command(f, COMMAND_RELEASE);
    POLL(atomic_load(&f->connections) == 0);
    assert_true(atomic_load(&f->idle));
    assert_int_equal(atomic_load(&f->abandoned), 1);
    fixture_free(f);
}

static void a_client_that_shut_down_writing_gets_its_answers(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    client_say(fd, "GET /later HTTP/1.1\r\n" HOST "\r\nGET /?a HTTP/1.1\r\n" HOST "\r\n");
    shutdown(fd, SHUT_WR);
    POLL(atomic_load(&f->out) == 1);
    expect_silence(fd, 20);
    int turns = atomic_load(&f->turns);
    expect_silence(fd, 100);
    assert_true(atomic_load(&f->turns) - turns < 50); /* the end of file does not make it spin */
    assert_int_equal(atomic_load(&f->abandoned), 0);
    command(f, COMMAND_RELEASE);
    expect_answer(fd, 200, "released");
    expect_answer(fd, 200, "a|");
    expect_end(fd);
    close(fd);
    fixture_free(f);
}

static void a_large_answer_arrives_whole_whatever_the_pace(void **state) {
    (void)state;
    enum { LEN = 8000000 };
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    client_say(fd, "GET /big?n=8000000 HTTP/1.1\r\n" HOST "\r\nGET /?next HTTP/1.1\r\n" HOST "\r\n");
    POLL(atomic_load(&f->buffered_bytes) > 0); /* the socket is full */
    struct answer answer;
    client_read_answer(fd, &answer, false);
    assert_int_equal(answer.body.len, LEN);
    for (size_t i = 0; i < LEN; i++)
        if (answer.body.data[i] != (uint8_t)(i * 31 >> 3))
            fail_msg("byte %zu differs", i);
    answer_fini(&answer);
    expect_answer(fd, 200, "next|");
    client_say(fd, "GET /?again HTTP/1.1\r\n" HOST "\r\n");
    expect_answer(fd, 200, "again|");
    POLL(atomic_load(&f->buffered_bytes) == 0);
    close(fd);
    fixture_free(f);
}

/* A pipelined request that goes out right behind an answer that had to wait for its reader: no event may be
 * left over from the writing that fires again and again. */
static void a_request_behind_a_large_answer_does_not_spin(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    int fd = client_open(f);
    client_say(fd, "GET /big?n=8000000 HTTP/1.1\r\n" HOST "\r\nGET /later HTTP/1.1\r\n" HOST "\r\n");
    struct answer answer;
    client_read_answer(fd, &answer, false);
    answer_fini(&answer);
    POLL(atomic_load(&f->out) == 1);
    int turns = atomic_load(&f->turns);
    expect_silence(fd, 100);
    assert_true(atomic_load(&f->turns) - turns < 50);
    command(f, COMMAND_RELEASE);
    expect_answer(fd, 200, "released");
    close(fd);
    fixture_free(f);
}

static void tune_poor(struct http_config *config) {
    config->buffered_max = 1 << 20;
}

static void bodies_beyond_the_memory_limit_are_503(void **state) {
    (void)state;
    enum { COUNT = 8 };
    struct fixture *f = fixture_new(tune_poor);
    char *zeros = mem_zalloc(BODY_MAX);
    int fds[COUNT], refused = 0;
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_open(f);
        client_say(fds[i], "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n");
        client_send(fds[i], zeros, 300000);
    }
    POLL(atomic_load(&f->buffered_bytes) > 500000);
    for (int i = 0; i < COUNT; i++) {
        struct pollfd wait = {.fd = fds[i], .events = POLLIN};
        struct answer answer;
        if (poll(&wait, 1, 200) == 0)
            continue;
        client_read_answer(fds[i], &answer, false);
        assert_int_equal(answer.status, 503);
        assert_non_null(strstr((char *)answer.head.data, "Retry-After: 1\r\n"));
        answer_fini(&answer);
        refused++;
    }
    assert_in_range(refused, 1, COUNT - 1);
    assert_in_range(atomic_load(&f->buffered_bytes), 1, 1 << 20);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    POLL(atomic_load(&f->connections) == 0);
    assert_int_equal(atomic_load(&f->buffered_bytes), 0);
    int fd = client_open(f);
    client_say(fd, "GET / HTTP/1.1\r\n" HOST "\r\n");
    expect_answer(fd, 200, "|");
    close(fd);
    free(zeros);
    fixture_free(f);
}

static void tune_small(struct http_config *config) {
    config->connections_max = 2;
}

static void connections_beyond_the_limit_wait_until_one_ends(void **state) {
    (void)state;
    struct fixture *f = fixture_new(tune_small);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = client_open(f);
        client_say(fds[i], "GET / HTTP/1.1\r\n" HOST "\r\n");
    }
    expect_answer(fds[0], 200, "|");
    expect_answer(fds[1], 200, "|");
    int turns = atomic_load(&f->turns);
    expect_silence(fds[2], 50);
    assert_true(atomic_load(&f->turns) - turns < 50);
    close(fds[1]);
    expect_answer(fds[2], 200, "|");
    close(fds[0]);
    expect_answer(fds[3], 200, "|");
    close(fds[2]);
    close(fds[3]);
    fixture_free(f);
}

static void no_descriptors_left_neither_spins_nor_kills(void **state) {
    (void)state;
    enum { COUNT = 8 };
    struct fixture *f = fixture_new(NULL);
    struct rlimit before, tight;
    int fds[COUNT], highest = 0;
    for (int i = 0; i < COUNT; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        highest = fds[i] > highest ? fds[i] : highest;
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)highest + 3; /* two connections */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (int i = 0; i < COUNT; i++) {
        client_connect(f, fds[i]);
        client_say(fds[i], "GET / HTTP/1.1\r\n" HOST "\r\n");
    }
    expect_answer(fds[0], 200, "|");
    int turns = atomic_load(&f->turns);
    expect_silence(fds[COUNT - 1], 100);
    assert_true(atomic_load(&f->turns) - turns < 50);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 1; i < COUNT; i++)
        expect_answer(fds[i], 200, "|");
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    fixture_free(f);
}

static void draining_closes_what_is_idle_and_finishes_what_is_out(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    int idle = client_open(f), out = client_open(f), half = client_open(f);
    client_say(idle, "GET / HTTP/1.1\r\n" HOST "\r\n");
    expect_answer(idle, 200, "|");
    client_say(out, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    client_say(half, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    struct answer answer;
    client_read_answer(half, &answer, true);
    assert_int_equal(answer.status, 100);
    answer_fini(&answer);
    POLL(atomic_load(&f->out) == 1);
    command(f, COMMAND_DRAIN);
    expect_end(idle);
    client_read_answer(half, &answer, false);
    assert_int_equal(answer.status, 503);
    answer_fini(&answer);
    close(half);
    assert_false(atomic_load(&f->idle));
    command(f, COMMAND_RELEASE);
    client_read_answer(out, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr((char *)answer.head.data, "Connection: close\r\n"));
    answer_fini(&answer);
    expect_end(out);
    POLL(atomic_load(&f->idle));
    close(idle);
    close(out);
    fixture_free(f);
}

static void a_server_with_requests_out_can_be_freed(void **state) {
    (void)state;
    struct fixture *f = fixture_new(NULL);
    int out = client_open(f), big = client_open(f), half = client_open(f);
    client_say(out, "GET /later HTTP/1.1\r\n" HOST "\r\nGET / HT");
    client_say(big, "GET /big?n=8000000 HTTP/1.1\r\n" HOST "\r\n");
    client_say(half, "POST / HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\nabc");
    POLL(atomic_load(&f->out) == 1 && atomic_load(&f->buffered_bytes) > 0 &&
         atomic_load(&f->connections) == 3);
    fixture_free(f);
    close(out), close(big), close(half);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelined_requests_are_answered_in_order_and_not_recursively),
        cmocka_unit_test(a_request_behind_one_that_is_out_waits_for_its_turn),
        cmocka_unit_test(more_is_pipelined_than_the_buffer_holds),
        cmocka_unit_test(a_request_in_single_bytes_is_answered),
        cmocka_unit_test(a_head_larger_than_the_input_buffer_is_read_whole),
        cmocka_unit_test(bodies_of_all_sizes_arrive_and_leave_no_memory_behind),
        cmocka_unit_test(an_announced_body_costs_nothing),
        cmocka_unit_test(continue_is_sent_only_when_the_body_will_be_read),
        cmocka_unit_test(answers_without_a_body_say_so_right),
        cmocka_unit_test(the_connection_is_kept_or_closed_as_asked),
        cmocka_unit_test(a_malformed_request_is_answered_and_the_connection_closed),
        cmocka_unit_test(limits_are_answered),
        cmocka_unit_test(an_early_error_reaches_a_client_that_still_sends),
        cmocka_unit_test(slow_clients_are_timed_out),
        cmocka_unit_test(a_request_that_is_out_is_never_timed_out),
        cmocka_unit_test(a_client_that_resets_is_reported_once_and_released_by_the_answer),
        cmocka_unit_test(a_client_that_shut_down_writing_gets_its_answers),
        cmocka_unit_test(a_large_answer_arrives_whole_whatever_the_pace),
        cmocka_unit_test(a_request_behind_a_large_answer_does_not_spin),
        cmocka_unit_test(bodies_beyond_the_memory_limit_are_503),
        cmocka_unit_test(connections_beyond_the_limit_wait_until_one_ends),
        cmocka_unit_test(no_descriptors_left_neither_spins_nor_kills),
        cmocka_unit_test(draining_closes_what_is_idle_and_finishes_what_is_out),
        cmocka_unit_test(a_server_with_requests_out_can_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
