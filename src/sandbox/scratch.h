/* A directory of the host that stands in for a sandbox's /tmp where there is no mount namespace. */
#ifndef FAAS_SANDBOX_SCRATCH_H
#define FAAS_SANDBOX_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

/* An empty one below /tmp that only this user may enter. The first call removes those of processes that are
 * gone. False with errno. */
bool scratch_make(char *ret_path, size_t size);
/* With all that is in it, however deep, in a process of its own that nobody waits for. */
void scratch_remove(const char *path);

#endif
