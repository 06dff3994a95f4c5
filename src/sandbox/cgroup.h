/* Memory and pids control groups of the sandboxes, below the process's own group: version 2 where the
 * controller is there, else version 1, chosen per controller. One instance (process) has one directory in
 * each hierarchy, locked while it lives; those of dead ones are removed by the next. Nothing here is an error
 * on a machine that offers no writable group: then there is none. */
#ifndef FAAS_SANDBOX_CGROUP_H
#define FAAS_SANDBOX_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CONTROLLERS };

/* How a child gets into its groups. All descriptors are close-on-exec and owned by the struct; -1 = none. */
struct cgroup_entry {
    int tasks_fds[CGROUP_CONTROLLERS]; /* version 1: the child writes "0" to them */
    int into_fd;                       /* version 2: for CLONE_INTO_CGROUP */
};

/* This controller counts in our sandboxes. */
bool cgroup_is_there(int controller);
/* Makes the groups of one sandbox. ret_name is "" when this machine offers none. ERR_UNAVAILABLE when it does
 * and the group could not be made. processes and memory_mb: 0 = no limit. */
int cgroup_make(uint32_t memory_mb, uint32_t processes, char *ret_name, size_t size,
                struct cgroup_entry *ret_entry, struct err *err);
void cgroup_entry_close(struct cgroup_entry *entry);
/* Async-signal-safe, in the child: moves it into its version 1 groups. False with errno. */
bool cgroup_enter(const struct cgroup_entry *entry);
/* Reads the counters of a group whose processes are gone, and removes it. */
void cgroup_remove(const char *name, bool *ret_oom, bool *ret_processes);
/* Removes the instance's directories. */
void cgroup_fini(void);

#endif
