/* What the supervisor's files share; nobody else includes this. */
#ifndef FAAS_SERVER_SUPERVISOR_INTERNAL_H
#define FAAS_SERVER_SUPERVISOR_INTERNAL_H

#include <sys/types.h>

#include "base/clock.h"
#include "base/loop.h"
#include "server/control.h"

enum { SUPERVISOR_PARTS = 3, SUPERVISOR_RETIRED_MAX = 64 };

struct supervisor_part {
    struct supervisor *supervisor; /* borrowed: it holds us */
    const char *name;
    const char *argument; /* or NULL */
    bool listens;         /* gets the listening socket */
    pid_t pid;            /* 0 = not running */
    bool told;            /* to stop: a second signal would mean at once */
    uint64_t started_ns;
    uint64_t backoff_ns;
    struct loop_timer respawn;
    pid_t next_pid;                /* takes over as soon as it is ready; 0 = none */
    struct loop_watch ready_watch; /* its fd, owned: the pipe on which next_pid says so; -1 = none */
};

struct supervisor {
    struct loop *loop;
    const char *parts_dir;
    int listen_fd, lock_fd;
    /* In the order of their start; stopped from the last to the first, replaced from the first to the last.
     */
    struct supervisor_part parts[SUPERVISOR_PARTS];
    bool stopping, killing;
    bool had_terminal;
    struct loop_timer deadline;
    pid_t retired[SUPERVISOR_RETIRED_MAX]; /* replaced, and not done yet; 0 = free */
    /* Replacing parts. */
    unsigned wanted;                   /* bits of the parts that are to be replaced */
    struct supervisor_part *replacing; /* the one under way, or NULL */
    uint64_t replacing_ns;             /* since when */
    struct loop_timer patience;
    char report[MESSAGE_TEXT_BYTES]; /* what was done so far */
    struct control *control;
};

/* supervisor.c */
/* ready_fd: descriptor 3 of the part, -1 = none. */
int supervisor_start_process(const struct supervisor_part *part, int ready_fd, pid_t *ret_pid,
                             struct err *err);

/* Starts it again; later when that fails. */
void supervisor_spawn(struct supervisor_part *part);

/* reload.c */
void reload_init(struct supervisor *supervisor);
/* Every part whose bit is set is replaced, one after the other; who waits at the control socket hears when
 * the last is. */
void reload_start(struct supervisor *supervisor, unsigned parts);
void reload_on_request(void *context, const char *parts);
/* A child of that pid ended: true when it was a part that was replaced, or was to replace one. */
bool reload_on_end(struct supervisor *supervisor, pid_t pid, int status);
/* The part has died while another was about to take its place: that one has it now. False: there is none. */
bool reload_on_part_end(struct supervisor_part *part);
/* No part is replaced any more; SIGTERM for what is left of that. */
void reload_stop(struct supervisor *supervisor);

#endif
