/* The namespaces of the WASM workers: one set for all of a server's, made once and held by a process that
 * does nothing else (process 1 of the pid namespace, named spare-nest). A worker is forked into them, which
 * costs it next to nothing, and stays the server's own child.
 *
 * Inside: a read-only root with what a dynamically linked program needs, the worker's executable, and the
 * data directory; an empty network; pid, ipc and uts namespaces. As root the workers have a user id of their
 * own, where the file system lets its files be mapped to it; else they keep ours, without its capabilities.
 *
 * The namespaces last as long as the server or a worker does. */
#ifndef FAAS_SANDBOX_NEST_H
#define FAAS_SANDBOX_NEST_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "sandbox/sandbox.h"

#define NEST_PARTS "/faas"
#define NEST_PROGRAM NEST_PARTS "/worker"
#define NEST_DATA_DIR "/functions"
enum { NEST_FDS_MAX = 8 };

struct nest {
    struct sandbox_child holder; /* pid 0 = closed */
    int lifeline_fd;             /* the holder ends when nobody has this any more */
    bool own_user;               /* workers have NEST_USER */
    bool user_spaces;            /* the namespaces belong to a user namespace */
};
#define NEST_CLOSED ((struct nest){.holder.pidfd = -1, .lifeline_fd = -1})

struct nest_start {
    char *const *argv;
    char *const *envp;
    int fds[NEST_FDS_MAX]; /* fds[i] becomes descriptor i; all others are closed, but for the lifeline, which
                              comes behind them */
    int fd_count;
};

/* The worker's executable is in parts_dir. ERR_UNAVAILABLE where there are no namespaces. */
int nest_open(const char *parts_dir, const char *data_dir, struct nest *ret_nest, struct err *err);
/* The holder lives. */
bool nest_is_open(struct nest *nest);
/* Starts NEST_PROGRAM as a child of the caller, leader of a process group of its own. An error of the exec is
 * an error of this function. */
int nest_start(const struct nest *nest, const struct nest_start *start, pid_t *ret_pid, struct err *err);
/* Kills the holder, and so every process in the nest, when `kill_all`; else lets go of it. */
void nest_close(struct nest *nest, bool kill_all);

#endif
