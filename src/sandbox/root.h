/* The file system of a sandbox, built by its process 1 in a mount namespace of its own. Allocates nothing. */
#ifndef FAAS_SANDBOX_ROOT_H
#define FAAS_SANDBOX_ROOT_H

#include <stdbool.h>

#include "sandbox/sandbox.h"

/* Makes the new root and enters it: the spec's binds, /dev, /proc, /tmp, nothing else. False with errno and
 * *ret_step, what failed (borrowed from the spec, or constant). */
bool root_build(const struct sandbox_spec *spec, const char **ret_step);

/* The same by a copy of another process's root (a pidfd) that has the spec's binds. */
bool root_copy(int pidfd, const struct sandbox_spec *spec, const char **ret_step);

/* Takes /proc away again; a descriptor of it stays good. */
bool root_hide_proc(void);

#endif
