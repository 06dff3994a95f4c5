/* Messages and their sockets: what goes in comes out with its descriptors; what is none of ours is refused
 * and leaks nothing; a socket file is replaced exactly when nobody listens on it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/peer.h"

static char dir[] = "/tmp/test_message.XXXXXX";
static char path[64];

struct ends {
    int a, b;
};

static struct ends open_ends(void) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    return (struct ends){pair[0], pair[1]};
}

static void close_ends(struct ends ends) {
    close(ends.a);
    close(ends.b);
}

static int count_fds(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void a_message_arrives_whole_with_its_descriptors(void **state) {
    (void)state;
    struct ends ends = open_ends();
    struct err err;
    struct message sent = {.type = MESSAGE_SERVER_PROCESS,
                           .runtime = RUNTIME_PYTHON,
                           .worker = 1001,
                           .generation = 2,
                           .pid = 77,
                           .weight = 3,
                           .request = 4000000000u,
                           .status = -1,
                           .code = ERR_OOM,
                           .limits = LIMITS_DEFAULTS,
                           .text = "text"};
    int fds[7], pipes[8];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pipe(&pipes[2 * i]), 0);
    memcpy(fds, pipes, sizeof fds);
    assert_int_equal(message_send(ends.a, &sent, fds, 7, &err), 0);
    struct message got;
    int got_fds[MESSAGE_FDS_MAX], count = 0;
    assert_int_equal(message_receive(ends.b, &got, got_fds, &count, &err), 1);
    sent.format = MESSAGE_FORMAT;
    assert_memory_equal(&got, &sent, sizeof got);
    assert_int_equal(count, 7);
    for (int i = 0; i < 7; i++) {
        struct stat here, there;
        assert_int_equal(fcntl(got_fds[i], F_GETFD), FD_CLOEXEC);
        assert_int_equal(fstat(fds[i], &here), 0);
        assert_int_equal(fstat(got_fds[i], &there), 0);
        assert_int_equal(here.st_ino, there.st_ino);
        close(got_fds[i]);
    }
    for (int i = 0; i < 8; i++)
        close(pipes[i]);
    assert_int_equal(message_receive(ends.b, &got, got_fds, &count, &err), 0);
    close_ends(ends);
}

static void the_end_of_the_peer_is_an_error_of_its_own(void **state) {
    (void)state;
    struct ends ends = open_ends();
    struct err err;
    struct message message = {.type = MESSAGE_LB_HELLO};
    int fds[MESSAGE_FDS_MAX], count;
    close(ends.a);
    assert_int_equal(message_receive(ends.b, &message, fds, &count, &err), -ERR_IO);
    assert_int_equal(message_send(ends.b, &message, NULL, 0, &err), -ERR_IO);
    close(ends.b);
}

static void a_full_socket_is_not_an_end(void **state) {
    (void)state;
    struct ends ends = open_ends();
    struct err err;
    struct message message = {.type = MESSAGE_LB_HELLO};
    int sent = 0, rc;
    while ((rc = message_send(ends.a, &message, NULL, 0, &err)) == 0)
        sent++;
    assert_int_equal(rc, -ERR_UNAVAILABLE);
    assert_true(sent >= 64);
    close_ends(ends);
}

/* Sends raw bytes with `fd_count` descriptors. */
static void send_raw(int fd, const void *data, size_t len, int fd_count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 16)];
    } control = {0};
    struct iovec part = {(void *)data, len};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        for (int i = 0; i < fd_count; i++)
            ((int *)(void *)CMSG_DATA(cmsg))[i] = fd;
    }
    assert_int_equal(sendmsg(fd, &header, 0), (ssize_t)len);
}

static void assert_refused(const void *data, size_t len, int fd_count) {
    struct ends ends = open_ends();
    struct err err;
    struct message message;
    int before = count_fds();
    int fds[MESSAGE_FDS_MAX], count = 0;
    send_raw(ends.a, data, len, fd_count);
    assert_int_equal(message_receive(ends.b, &message, fds, &count, &err), -ERR_BAD_REQUEST);
    assert_int_equal(count_fds(), before);
    close_ends(ends);
}

static void what_is_no_message_of_ours_is_refused_and_its_descriptors_closed(void **state) {
    (void)state;
    struct message good = {.type = MESSAGE_LB_TABLE, .format = MESSAGE_FORMAT};
    char longer[sizeof good + 1] = {0};
    memcpy(longer, &good, sizeof good);
    assert_refused(longer, sizeof longer, 1);
    assert_refused(&good, sizeof good - 1, 1);
    assert_refused(&good, 1, 3);
    assert_refused(&good, sizeof good, 0);
    assert_refused(&good, sizeof good, 2);
    assert_refused(&good, sizeof good, 12);
    struct message bad = good;
    bad.format = MESSAGE_FORMAT + 1;
    assert_refused(&bad, sizeof bad, 1);
    bad = good;
    bad.type = 99;
    assert_refused(&bad, sizeof bad, 1);
    bad = good;
    bad.runtime = RUNTIME_COUNT;
    assert_refused(&bad, sizeof bad, 1);
    bad = good;
    bad.code = ERR_COUNT;
    assert_refused(&bad, sizeof bad, 1);
    bad.code = -1;
    assert_refused(&bad, sizeof bad, 1);
    bad = good;
    memset(bad.text, 'x', sizeof bad.text);
    assert_refused(&bad, sizeof bad, 1);
}

static void sending_checks_the_number_of_descriptors(void **state) {
    (void)state;
    struct ends ends = open_ends();
    struct err err;
    assert_int_equal(message_send(ends.a, &(struct message){.type = MESSAGE_LB_TABLE}, NULL, 0, &err),
                     -ERR_INTERNAL);
    assert_int_equal(message_send(ends.a, &(struct message){.type = 200}, NULL, 0, &err), -ERR_INTERNAL);
    close_ends(ends);
}

static void a_socket_is_ours_alone_and_connects(void **state) {
    (void)state;
    struct err err;
    struct stat st;
    int listener = -1, client = -1, accepted = -1;
    assert_int_equal(message_listen(path, &listener, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(message_accept(listener, &accepted, &err), 0);
    assert_int_equal(message_connect(path, &client, &err), 0);
    assert_int_equal(message_accept(listener, &accepted, &err), 1);
    assert_int_equal(fcntl(accepted, F_GETFD), FD_CLOEXEC);
    close(accepted);
    close(client);
    close(listener);
    unlink(path);
}

static void a_live_socket_is_refused_and_a_stale_one_replaced(void **state) {
    (void)state;
    struct err err;
    int first = -1, second = -1;
    assert_int_equal(message_listen(path, &first, &err), 0);
    assert_int_equal(message_listen(path, &second, &err), -ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "in use"));
    close(first);
    assert_int_equal(message_listen(path, &second, &err), 0);
    close(second);
    unlink(path);
    assert_int_equal(message_connect(path, &first, &err), -ERR_IO);
}

static void a_file_that_is_no_socket_is_left_alone(void **state) {
    (void)state;
    struct err err;
    struct stat st;
    int fd = open(path, O_CREAT | O_WRONLY, 0600), listener = -1;
    close(fd);
    assert_int_equal(message_listen(path, &listener, &err), -ERR_CONFLICT);
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
}

static void a_run_directory_is_made_and_a_long_path_refused(void **state) {
    (void)state;
    struct err err;
    int fd = -1;
    char deeper[96], longest[200];
    snprintf(deeper, sizeof deeper, "%s/new/x.sock", dir);
    assert_int_equal(message_listen(deeper, &fd, &err), 0);
    close(fd);
    unlink(deeper);
    snprintf(deeper, sizeof deeper, "%s/new", dir);
    rmdir(deeper);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(message_listen(longest, &fd, &err), -ERR_BAD_REQUEST);
    assert_int_equal(message_connect(longest, &fd, &err), -ERR_BAD_REQUEST);
}

/* --- peers --- */

struct peer_case {
    struct loop *loop;
    struct peer peer;
    int received, closed;
    uint32_t last;
};

static void on_message(struct peer *peer, const struct message *message, int *fds, int fd_count) {
    (void)fds;
    struct peer_case *one = peer->context;
    one->received++;
    one->last = message->worker;
    assert_int_equal(fd_count, message->type == MESSAGE_LB_TABLE ? 1 : 0);
    if (message->type == MESSAGE_LB_GONE)
        loop_stop(one->loop);
}

static void on_close(struct peer *peer, const struct err *why) {
    (void)why;
    struct peer_case *one = peer->context;
    one->closed++;
    peer_close(peer);
    loop_stop(one->loop);
}

static void open_peer(struct peer_case *one, struct loop *loop, int fd) {
    struct err err;
    *one = (struct peer_case){.loop = loop};
    one->peer = (struct peer){.loop = loop, .on_message = on_message, .on_close = on_close, .context = one};
    assert_int_equal(peer_open(&one->peer, fd, &err), 0);
}

static void a_peer_queues_what_the_socket_does_not_take_and_keeps_order(void **state) {
    (void)state;
    struct loop *loop;
    struct err err;
    assert_int_equal(loop_new(&loop, &err), 0);
    int before = count_fds();
    struct ends ends = open_ends();
    struct peer_case from, to;
    open_peer(&from, loop, ends.a);
    open_peer(&to, loop, ends.b);
    for (uint32_t i = 0; i < 1000; i++) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        struct message message = {.type = MESSAGE_LB_TABLE, .worker = i};
        peer_send(&from.peer, &message, &fd, 1);
    }
    assert_true(from.peer.queued > 0);
    peer_send(&from.peer, &(struct message){.type = MESSAGE_LB_GONE, .worker = 1000}, NULL, 0);
    assert_int_equal(loop_run(loop, &err), 0);
    assert_int_equal(to.received, 1001);
    assert_int_equal(to.last, 1000);
    assert_int_equal(from.peer.queued, 0);
    peer_close(&from.peer);
    peer_close(&to.peer);
    assert_int_equal(count_fds(), before);
    loop_free(loop);
}

static void a_peer_that_reads_nothing_is_given_up(void **state) {
    (void)state;
    struct loop *loop;
    struct err err;
    assert_int_equal(loop_new(&loop, &err), 0);
    struct ends ends = open_ends();
    struct peer_case from;
    open_peer(&from, loop, ends.a);
    for (uint32_t i = 0; i < PEER_QUEUE_MAX + 1000; i++)
        peer_send(&from.peer, &(struct message){.type = MESSAGE_LB_GONE}, NULL, 0);
    assert_int_equal(from.closed, 0);
    assert_int_equal(loop_run(loop, &err), 0);
    assert_int_equal(from.closed, 1);
    assert_false(peer_is_open(&from.peer));
    peer_send(&from.peer, &(struct message){.type = MESSAGE_LB_GONE}, NULL, 0);
    peer_close(&from.peer);
    close(ends.b);
    loop_free(loop);
}

static int make_dir(void **state) {
    (void)state;
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/x.sock", dir);
    return 0;
}

static int remove_dir(void **state) {
    (void)state;
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_arrives_whole_with_its_descriptors),
        cmocka_unit_test(the_end_of_the_peer_is_an_error_of_its_own),
        cmocka_unit_test(a_full_socket_is_not_an_end),
        cmocka_unit_test(what_is_no_message_of_ours_is_refused_and_its_descriptors_closed),
        cmocka_unit_test(sending_checks_the_number_of_descriptors),
        cmocka_unit_test(a_socket_is_ours_alone_and_connects),
        cmocka_unit_test(a_live_socket_is_refused_and_a_stale_one_replaced),
        cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
        cmocka_unit_test(a_run_directory_is_made_and_a_long_path_refused),
        cmocka_unit_test(a_peer_queues_what_the_socket_does_not_take_and_keeps_order),
        cmocka_unit_test(a_peer_that_reads_nothing_is_given_up),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
