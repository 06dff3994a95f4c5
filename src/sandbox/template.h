/* The root of one kind of process, standing ready: a process (spare-root) holds a mount namespace with it,
 * and a sandbox takes a copy in place of building its own, which is most of what its start costs. */
#ifndef FAAS_SANDBOX_TEMPLATE_H
#define FAAS_SANDBOX_TEMPLATE_H

#include "sandbox/probe.h"

/* A pidfd of the holder of a root with the spec's binds; borrowed. 0 when there is none for such a spec.
 * Makes it at the first call, and again when it was killed or the binds are others. */
int template_find(const struct probe *probe, const struct sandbox_spec *spec);
/* Lets go of all. They end with this process, too. */
void template_fini(void);

#endif
