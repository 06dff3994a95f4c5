#include "egress/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"

static const struct caller_option {
    int level, name;
} caller_options[] = {
    {SOL_SOCKET, SO_KEEPALIVE},       {SOL_SOCKET, SO_LINGER},     {SOL_SOCKET, SO_RCVTIMEO},
    {SOL_SOCKET, SO_SNDTIMEO},        {SOL_SOCKET, SO_OOBINLINE},  {SOL_SOCKET, SO_RCVLOWAT},
    {IPPROTO_TCP, TCP_NODELAY},       {IPPROTO_TCP, TCP_KEEPIDLE}, {IPPROTO_TCP, TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT},       {IPPROTO_TCP, TCP_CORK},     {IPPROTO_TCP, TCP_USER_TIMEOUT},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT},
};
/* The kernel answers twice what was set, and a size that nobody set would end its own tuning. */
static const int caller_sizes[] = {SO_SNDBUF, SO_RCVBUF};

int caller_read_address(pid_t thread, uint64_t at, uint64_t len, struct sockaddr_storage *ret_address,
                        socklen_t *ret_len) {
    if (len > sizeof *ret_address || len < sizeof(sa_family_t))
        return EINVAL;
    memset(ret_address, 0, sizeof *ret_address);
    struct iovec here = {ret_address, len}, there = {(void *)(uintptr_t)at, len};
    ssize_t got = process_vm_readv(thread, &here, 1, &there, 1, 0);
    if (got != (ssize_t)len)
        return got < 0 && errno != EFAULT ? EPERM : EFAULT;
    *ret_len = (socklen_t)len;
    return 0;
}

/* pidfd_open takes the leader of a process. */
static pid_t caller_leader(pid_t thread) {
    char path[64], line[128];
    int leader = thread;
    snprintf(path, sizeof path, "/proc/%d/status", thread);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Tgid: %d", &leader) == 1)
            break;
    if (file)
        fclose(file);
    return leader;
}

/* The descriptor's own flag is not to be had through a copy. */
static bool caller_closes_on_exec(pid_t thread, int fd) {
    char path[64], line[128];
    unsigned flags = 0;
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", thread, fd);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "flags: %o", &flags) == 1)
            break;
    if (file)
        fclose(file);
    return flags & O_CLOEXEC;
}

static int caller_ask(int fd, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

int caller_open_socket(pid_t thread, int fd, struct caller_socket *ret_socket) {
    MEM_CLOSE_FD int pidfd = (int)syscall(SYS_pidfd_open, thread, 0);
    if (pidfd < 0)
        pidfd = (int)syscall(SYS_pidfd_open, caller_leader(thread), 0);
    if (pidfd < 0)
        return EPERM;
    MEM_CLOSE_FD int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    if (copy < 0)
        return errno == EBADF ? EBADF : EPERM;
    int family = caller_ask(copy, SO_DOMAIN);
    if (family < 0)
        return ENOTSOCK;
    *ret_socket = (struct caller_socket){.family = family,
                                         .type = caller_ask(copy, SO_TYPE),
                                         .protocol = caller_ask(copy, SO_PROTOCOL),
                                         .nonblocking = fcntl(copy, F_GETFL) & O_NONBLOCK,
                                         .close_on_exec = caller_closes_on_exec(thread, fd)};
    ret_socket->fd = mem_steal_fd(&copy);
    return 0;
}

void caller_close_socket(struct caller_socket *socket) {
    mem_close_fd(&socket->fd);
}

void caller_copy_options(const struct caller_socket *from, int to_fd) {
    for (size_t i = 0; i < sizeof caller_options / sizeof *caller_options; i++) {
        const struct caller_option *option = &caller_options[i];
        char value[64];
        socklen_t len = sizeof value;
        if (getsockopt(from->fd, option->level, option->name, value, &len) == 0)
            setsockopt(to_fd, option->level, option->name, value, len);
    }
    for (size_t i = 0; i < sizeof caller_sizes / sizeof *caller_sizes; i++) {
        int was = caller_ask(from->fd, caller_sizes[i]), is = caller_ask(to_fd, caller_sizes[i]);
        if (was > 0 && was != is) {
            was /= 2;
            setsockopt(to_fd, SOL_SOCKET, caller_sizes[i], &was, sizeof was);
        }
    }
}
