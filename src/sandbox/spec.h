/* A copy of a sandbox's specification in one block of memory of its own: the child overwrites the memory of
 * the parent's arguments and environment, in which the texts may lie. */
#ifndef FAAS_SANDBOX_SPEC_H
#define FAAS_SANDBOX_SPEC_H

#include <stdbool.h>

#include "sandbox/sandbox.h"

/* NULL when memory is out; freed with free(). `host_paths`: the sandbox will have no root of its own, so
 * program and cwd are translated to where the binds' sources are. */
struct sandbox_spec *spec_copy(const struct sandbox_spec *spec, bool host_paths);

#endif
