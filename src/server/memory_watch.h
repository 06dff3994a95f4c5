/* The memory limit of a process and all that it started, where no control group counts it (an ordinary user
 * to whom none was delegated): the server looks from time to time. The kernel's own limits hold for each
 * process alone, and for private memory only. */
#ifndef FAAS_SERVER_MEMORY_WATCH_H
#define FAAS_SERVER_MEMORY_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct memory_watch {
    uint64_t limit_bytes; /* 0 = nobody has to look */
    uint64_t due_ns;      /* of the next look, monotonic */
    bool over;            /* it had more than its limit, and was killed for that */
};

/* limit_mb as the control group would have it, without files in /tmp. */
void memory_watch_start(struct memory_watch *watch, uint32_t limit_mb, uint64_t now_ns);
/* When a look is due: looks, and ends the sandbox (by its init's pidfd) that is over its limit. The next look
 * is due the sooner the less is left. */
void memory_watch_look(struct memory_watch *watch, pid_t pid, int pidfd, uint64_t now_ns);

#endif
