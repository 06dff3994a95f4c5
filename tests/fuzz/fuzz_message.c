/* Packets between the parts: whatever comes, with whatever descriptors, it is a message of the table or
 * refused, and no descriptor stays behind. Input: how many descriptors, whether in two lots, the packet. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "wire/message.h"

enum { FUZZ_FDS_MAX = 12 };

static void fuzz_send(int fd, const uint8_t *data, size_t size, int fd_count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FUZZ_FDS_MAX)];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)data, size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    int fds[FUZZ_FDS_MAX];
    for (int i = 0; i < fd_count; i++)
        fds[i] = fd;
    if (fd_count > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * (size_t)fd_count);
    }
    CHECK(sendmsg(fd, &header, 0) == (ssize_t)size);
}

/* The lowest number that is free: the same before and after when nothing leaks. */
static int fuzz_next_fd(int any) {
    int fd = dup(any);
    CHECK(fd >= 0);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int pair[2] = {-1, -1};
    if (pair[0] < 0)
        CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    if (size < 2 || size > 4096)
        return 0;
    int fd_count = data[0] % (FUZZ_FDS_MAX + 1), before = fuzz_next_fd(pair[0]);
    fuzz_send(pair[0], data + 1, size - 1, fd_count);
    struct message message;
    int fds[MESSAGE_FDS_MAX], got = -1;
    struct err err = {0};
    int rc = message_receive(pair[1], &message, fds, &got, &err);
    if (rc == 1) {
        CHECK(size - 1 == sizeof message && memcmp(&message, data + 1, sizeof message) == 0);
        CHECK(got == fd_count && got <= MESSAGE_FDS_MAX && message.format == MESSAGE_FORMAT);
        CHECK(message.runtime < RUNTIME_COUNT && message.code >= 0 && message.code < ERR_COUNT);
        CHECK(strnlen(message.text, sizeof message.text) < sizeof message.text);
        for (int i = 0; i < got; i++) {
            CHECK(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
            close(fds[i]);
        }
    } else {
        CHECK(rc == -ERR_BAD_REQUEST && err.code == ERR_BAD_REQUEST && err.msg[0]);
    }
    CHECK(fuzz_next_fd(pair[0]) == before);
    CHECK(message_receive(pair[1], &message, fds, &got, &err) == 0);
    return 0;
}
