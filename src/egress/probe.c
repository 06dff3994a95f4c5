#include "egress/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "egress/broker.h"
#include "egress/caller.h"
#include "egress/gate.h"

enum { PROBE_WAIT_MS = 2000 };

/* Never returns. After a fork: system calls only. */
static void probe_ask(int channel_fd, int socket_fd) {
    struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !gate_install(channel_fd, -1))
        _exit(1);
    close(channel_fd);
    _exit(connect(socket_fd, (const struct sockaddr *)&nowhere, sizeof nowhere) == 0 ? 0 : 2);
}

static bool probe_ready(int fd) {
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    return poll(&waiting, 1, PROBE_WAIT_MS) == 1 && (waiting.revents & POLLIN);
}

static int probe_place(int listener, const struct seccomp_notif *question, const char **ret_step) {
    struct sockaddr_storage address;
    socklen_t len;
    struct caller_socket socket;
    int asked_fd = (int)question->data.args[0];
    *ret_step = "the memory of another process cannot be read";
    int error = caller_read_address((pid_t)question->pid, question->data.args[1],
                                    (uint32_t)question->data.args[2], &address, &len);
    if (error)
        return error;
    *ret_step = "pidfd_getfd is missing or not permitted";
    error = caller_open_socket((pid_t)question->pid, asked_fd, &socket);
    if (error)
        return error;
    struct seccomp_notif_addfd place = {.id = question->id,
                                        .flags = SECCOMP_ADDFD_FLAG_SETFD,
                                        .srcfd = (uint32_t)socket.fd,
                                        .newfd = (uint32_t)asked_fd};
    *ret_step = "SECCOMP_IOCTL_NOTIF_ADDFD is missing (Linux 5.9)";
    error = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &place) >= 0 ? 0 : errno;
    caller_close_socket(&socket);
    return error;
}

static int probe_answer(int listener, const char **ret_step) {
    struct seccomp_notif_sizes sizes;
    *ret_step = "seccomp has no user notification (Linux 5.0)";
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0)
        return errno;
    size_t size = sizes.seccomp_notif < sizeof(struct seccomp_notif) ? sizeof(struct seccomp_notif)
                                                                     : sizes.seccomp_notif;
    MEM_FREE struct seccomp_notif *question = calloc(1, size);
    if (!question || !probe_ready(listener) || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, question) != 0)
        return errno ? errno : EIO;
    int error = probe_place(listener, question, ret_step);
    if (error)
        return error;
    struct seccomp_notif_resp answer = {.id = question->id};
    *ret_step = "a system call cannot be answered";
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0 ? 0 : errno;
}

/* The parent's side. */
static int probe_watch(int channel_fd, const char **ret_step) {
    int fds[2];
    uint32_t user, group;
    struct err err;
    *ret_step = "a filter with a listener cannot be installed";
    if (!probe_ready(channel_fd) || broker_receive_gate(channel_fd, fds, &user, &group, &err) != 1)
        return ENOSYS;
    int error = probe_answer(fds[0], ret_step);
    close(fds[0]);
    return error;
}

static int probe_try(const char **ret_step) {
    int channel[2], pair[2];
    *ret_step = "a child cannot be started";
    struct err err;
    if (broker_open_channel(channel, &err) != 0)
        return err.sys_errno;
    MEM_CLOSE_FD int ours = channel[0], theirs = channel[1];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return errno;
    MEM_CLOSE_FD int asked = pair[0], other = pair[1];
    pid_t child = fork();
    if (child == 0)
        probe_ask(theirs, asked);
    if (child < 0)
        return errno;
    mem_close_fd(&theirs);
    (void)other;
    int error = probe_watch(ours, ret_step), status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return error ? error : WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EIO;
}

int probe_run(struct err *err) {
    static struct err found;
    static bool known;
    if (!known) {
        const char *step;
        int error = probe_try(&step);
        if (error)
            err_set(&found, ERR_NOT_INSTALLED, "this machine cannot watch a function's connections: %s: %s",
                    step, strerror(error));
        known = true;
    }
    if (found.code == ERR_OK)
        return 0;
    *err = found;
    return -found.code;
}
