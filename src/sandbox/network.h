/* An empty network namespace made ahead of need: making one is most of what a sandbox costs. Each serves one
 * sandbox. */
#ifndef FAAS_SANDBOX_NETWORK_H
#define FAAS_SANDBOX_NETWORK_H

/* Starts a process (spare-net) that makes one and holds it; it ends with this process. Nothing when one is
 * there, or when it cannot be had. */
void network_prepare(void);
/* The namespace, the caller's to close; -1 when none is ready. */
int network_take(void);
/* Ends the process that holds one. */
void network_fini(void);

#endif
