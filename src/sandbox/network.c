#include "sandbox/network.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

static struct {
    pid_t pid;    /* 0 = none */
    int ready_fd; /* says a byte when the namespace is there */
    int lifeline_fd;
} network = {.ready_fd = -1, .lifeline_fd = -1};

static void __attribute__((noreturn)) network_hold(int ready_fd, int lifeline_fd) {
    char byte = 0;
    if (dup2(lifeline_fd, 0) != 0 || dup2(ready_fd, 1) != 1)
        _exit(1);
    close_range(2, ~0u, 0);
    prctl(PR_SET_NAME, "spare-net");
    signal(SIGPIPE, SIG_IGN);
    if (unshare(CLONE_NEWNET) != 0 || write(1, &byte, 1) != 1)
        _exit(1);
    while (read(0, &byte, 1) < 0 && errno == EINTR)
        ;
    _exit(0);
}

void network_prepare(void) {
    int ready[2], lifeline[2];
    if (network.pid || pipe2(ready, O_CLOEXEC | O_NONBLOCK) != 0)
        return;
    if (pipe2(lifeline, O_CLOEXEC) != 0) {
        close(ready[0]);
        close(ready[1]);
        return;
    }
    /* Above the numbers that the holder gives them. */
    int ready_fd = fcntl(ready[1], F_DUPFD_CLOEXEC, 3), lifeline_fd = fcntl(lifeline[0], F_DUPFD_CLOEXEC, 3);
    pid_t pid = ready_fd < 0 || lifeline_fd < 0 ? -1 : fork();
    if (pid == 0)
        network_hold(ready_fd, lifeline_fd);
    mem_close_fd(&ready_fd);
    mem_close_fd(&lifeline_fd);
    close(ready[1]);
    close(lifeline[0]);
    network.pid = pid > 0 ? pid : 0;
    network.ready_fd = ready[0];
    network.lifeline_fd = lifeline[1];
    if (pid < 0)
        network_fini();
}

void network_fini(void) {
    if (network.pid > 0) {
        kill(network.pid, SIGKILL);
        while (waitpid(network.pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    mem_close_fd(&network.ready_fd);
    mem_close_fd(&network.lifeline_fd);
    network.pid = 0;
}

int network_take(void) {
    char byte, path[64];
    if (!network.pid)
        return -1;
    ssize_t len = read(network.ready_fd, &byte, 1);
    if (len < 0 && errno == EAGAIN)
        return -1; /* not yet */
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)network.pid);
    int fd = len == 1 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    network_fini();
    return fd;
}
