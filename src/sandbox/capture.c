#include "sandbox/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { CAPTURE_MS = 10000 };

/* Reads until the end of fd; false at the deadline, or when it is more than fits. */
static bool capture_read(int fd, char *ret_text, size_t size) {
    uint64_t end_ns = clock_now_ns() + CAPTURE_MS * CLOCK_NS_PER_MS;
    size_t used = 0;
    for (;;) {
        uint64_t now_ns = clock_now_ns();
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (now_ns >= end_ns || used + 1 >= size)
            return false;
        if (poll(&waiting, 1, (int)((end_ns - now_ns) / CLOCK_NS_PER_MS) + 1) <= 0)
            continue;
        ssize_t len = read(fd, ret_text + used, size - 1 - used);
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0) {
            ret_text[used] = 0;
            return len == 0;
        }
        used += (size_t)len;
    }
}

static bool capture_spawn(char *const *argv, char *const *envp, int output_fd, pid_t *ret_pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output_fd, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    bool started = posix_spawn(ret_pid, argv[0], &actions, &attributes, argv, envp) == 0;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return started;
}

bool capture_output(char *const *argv, const char *variable, char *ret_text, size_t size) {
    char home[PATH_MAX + 8], *envp[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", home, (char *)variable, NULL};
    snprintf(home, sizeof home, "HOME=%s", getenv("HOME") ? getenv("HOME") : "/");
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t pid;
    bool started = capture_spawn(argv, envp, ends[1], &pid);
    close(ends[1]);
    bool whole = started && capture_read(ends[0], ret_text, size);
    close(ends[0]);
    if (!started)
        return false;
    if (!whole)
        kill(pid, SIGKILL);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return whole && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
