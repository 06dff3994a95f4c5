/* The client against servers that say a fixed text, cut it short, or are not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/client.h"

enum { DEADLINE_MS = 20000 };

struct round {
    const char *answer; /* NULL: closes without one */
    bool close;         /* after the answer */
    enum http_outcome outcome;
    int status;
};

struct fixture {
    int listen_fd;
    struct sockaddr_in address;
    const struct round *rounds;
    size_t round_count, done;
    pthread_t thread;
    int accepted;
    struct loop *loop;
    struct loop_timer deadline, next;
    struct http_client client;
    struct buf scratch;
};

static const char request[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";

/* Reads exactly one request; false at the end of the connection. */
static bool server_read_request(int fd) {
    char text[sizeof request - 1];
    size_t len = 0;
    while (len < sizeof text) {
        ssize_t got = recv(fd, text + len, sizeof text - len, 0);
        if (got <= 0)
            return false;
        len += (size_t)got;
    }
    return memcmp(text, request, len) == 0;
}

static void *server_main(void *context) {
    struct fixture *f = context;
    int fd = -1;
    for (size_t i = 0; i < f->round_count; i++) {
        const struct round *round = &f->rounds[i];
        if (fd < 0) {
            fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
            f->accepted++;
        }
        if (fd < 0 || !server_read_request(fd))
            break;
        if (round->answer && send(fd, round->answer, strlen(round->answer), MSG_NOSIGNAL) < 0)
            break;
        if (round->close) {
            close(fd);
            fd = -1;
        }
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

static void client_next(struct fixture *f) {
    struct err err;
    if (f->done == f->round_count)
        loop_stop(f->loop);
    else if (f->done > 0 && f->rounds[f->done - 1].close && f->client.watch.fd >= 0)
        loop_arm(f->loop, &f->next, CLOCK_NS_PER_MS); /* until the loop has seen the server close */
    else if (http_client_send(&f->client, (struct http_slice){request, sizeof request - 1}, &err) < 0) {
        assert_int_equal(f->rounds[f->done].outcome, HTTP_OUTCOME_NOT_CONNECTED);
        f->done++;
        loop_stop(f->loop);
    }
}

static void client_on_next(struct loop_timer *timer) {
    client_next(timer->context);
}

static void client_on_outcome(struct http_client *client, enum http_outcome outcome, int status) {
    struct fixture *f = client->context;
    const struct round *round = &f->rounds[f->done++];
    if (outcome != round->outcome)
        print_error("after %s: %s\n", round->answer, http_outcome_text(outcome));
    assert_int_equal(outcome, round->outcome);
    assert_int_equal(status, round->status);
    loop_arm(f->loop, &f->next, 0);
}

static void client_on_deadline(struct loop_timer *timer) {
    (void)timer;
    fail_msg("no outcome in time");
}

/* Returns the number of connections. */
static int run(const struct round *rounds, size_t count, bool listening) {
    struct fixture f = {.rounds = rounds, .round_count = count, .address = {.sin_family = AF_INET}};
    socklen_t len = sizeof f.address;
    struct err err;
    f.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f.listen_fd, (struct sockaddr *)&f.address, len), 0);
    assert_int_equal(getsockname(f.listen_fd, (struct sockaddr *)&f.address, &len), 0);
    if (listening) {
        assert_int_equal(listen(f.listen_fd, 16), 0);
        assert_int_equal(pthread_create(&f.thread, NULL, server_main, &f), 0);
    }
    assert_int_equal(loop_new(&f.loop, &err), 0);
    assert_true(buf_reserve(&f.scratch, 64)); /* small: answers come in parts */
    f.client = (struct http_client){.loop = f.loop,
                                    .address = (struct sockaddr *)&f.address,
                                    .address_len = sizeof f.address,
                                    .scratch = &f.scratch,
                                    .on_outcome = client_on_outcome,
                                    .context = &f};
    http_client_init(&f.client);
    f.deadline = (struct loop_timer){.on_timer = client_on_deadline};
    f.next = (struct loop_timer){.on_timer = client_on_next, .context = &f};
    loop_arm(f.loop, &f.deadline, DEADLINE_MS * CLOCK_NS_PER_MS);
    loop_arm(f.loop, &f.next, 0);
    assert_int_equal(loop_run(f.loop, &err), 0);
    assert_int_equal(f.done, count);
    http_client_cancel(&f.client);
    if (listening)
        pthread_join(f.thread, NULL);
    loop_free(f.loop);
    buf_fini(&f.scratch);
    close(f.listen_fd);
    return f.accepted;
}

#define ANSWERED HTTP_OUTCOME_ANSWERED
#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void a_connection_is_kept_for_the_next_request(void **state) {
    (void)state;
    static const struct round rounds[] = {
        {OK_ANSWER, false, ANSWERED, 200},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, ANSWERED, 200},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", false,
         ANSWERED, 503},
        {"HTTP/1.1 204 No Content\r\n\r\n", false, ANSWERED, 204},
    };
    assert_int_equal(run(rounds, 4, true), 1);
}

static void a_closed_connection_is_opened_again(void **state) {
    (void)state;
    static const struct round rounds[] = {
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", true, ANSWERED, 200},
        {OK_ANSWER, true, ANSWERED, 200}, /* closed without a word, between two requests */
        {"HTTP/1.0 200 OK\r\n\r\nuntil the end", true, ANSWERED, 200},
        {OK_ANSWER, true, ANSWERED, 200},
    };
    assert_int_equal(run(rounds, 4, true), 4);
}

static void an_answer_that_is_not_whole_is_no_answer(void **state) {
    (void)state;
    static const struct round rounds[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", true, HTTP_OUTCOME_SHORT, 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true, HTTP_OUTCOME_SHORT, 0},
        {"HTTP/1.1 200", true, HTTP_OUTCOME_SHORT, 0},
        {NULL, true, HTTP_OUTCOME_BROKEN, 0},
    };
    assert_int_equal(run(rounds, 4, true), 4);
}

static void nonsense_is_no_answer(void **state) {
    (void)state;
    static const struct round rounds[] = {
        {"SSH-2.0-OpenSSH\r\n", true, HTTP_OUTCOME_MALFORMED, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", true, HTTP_OUTCOME_MALFORMED, 0},
    };
    assert_int_equal(run(rounds, 2, true), 2);
}

static void nobody_listens(void **state) {
    (void)state;
    static const struct round rounds[] = {{NULL, true, HTTP_OUTCOME_NOT_CONNECTED, 0}};
    run(rounds, 1, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_kept_for_the_next_request),
        cmocka_unit_test(a_closed_connection_is_opened_again),
        cmocka_unit_test(an_answer_that_is_not_whole_is_no_answer),
        cmocka_unit_test(nonsense_is_no_answer),
        cmocka_unit_test(nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
