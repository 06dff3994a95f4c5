/* Starts an executable of ours: descriptors in their places and no other, signals as a fresh process expects.
 */
#ifndef FAAS_SERVER_SPAWN_H
#define FAAS_SERVER_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum { SPAWN_FDS_MAX = 8 };

struct spawn {
    const char *program;    /* path */
    char *const *argv;      /* ends with NULL */
    int fds[SPAWN_FDS_MAX]; /* fds[i] becomes descriptor i, -1 = /dev/null; all others are closed */
    int fd_count;
    int death_signal; /* the child gets it when the calling process dies; 0 = none */
};

/* The child is the leader of a process group of its own, so that Ctrl+C reaches only the process that was
 * started from the terminal, and inherits the environment. An error of exec is an error of this function. */
int spawn_start(const struct spawn *spawn, pid_t *ret_pid, struct err *err);
/* A pidfd of a child that was not reaped yet. */
int spawn_open_pidfd(pid_t pid, int *ret_pidfd, struct err *err);
int spawn_kill(int pidfd, int signal_number);

#endif
