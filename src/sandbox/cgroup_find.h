/* Where the process's own control group is in the file system. */
#ifndef FAAS_SANDBOX_CGROUP_FIND_H
#define FAAS_SANDBOX_CGROUP_FIND_H

#include <stdbool.h>
#include <stddef.h>

/* Directory of our own group in the hierarchy that has the controller ("memory", "pids"); version 1 or 2.
 * False when there is none, or it is not mounted. */
bool cgroup_find(const char *controller, int version, char *ret_dir, size_t size);

/* Pure parts of it. Path of our group: from a line of /proc/self/cgroup ("4:memory:/a", "0::/a"; version 2
 * ignores the controller). */
bool cgroup_find_path(const char *line, const char *controller, int version, char *ret_path, size_t size);
/* From a line of /proc/self/mountinfo of a hierarchy of that version (and controller for version 1): the
 * directory of the group `path`. */
bool cgroup_find_mount(const char *line, const char *controller, int version, const char *path, char *ret_dir,
                       size_t size);

/* The service manager says that this (version 2) group is ours to divide. */
bool cgroup_is_delegated(const char *dir);

#endif
