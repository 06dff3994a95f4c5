/* What a process and all that descends from it has used. */
#ifndef FAAS_SERVER_USAGE_H
#define FAAS_SERVER_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* CPU time in ms, user and system: of `pid` (a sandbox's init) and of all below it, alive or dead. Nobody
 * leaves the sum by forking, by a session of its own or by ending: what ends is counted by who reaps it, in
 * the end by the init. A few system calls a process; kernels count in steps of 10 ms. False when the process
 * is gone or the kernel does not list children. */
bool usage_cpu_ms(pid_t pid, uint32_t *ret_ms);

/* Memory in bytes, without files: of `pid` and of all below it, what they share counted once. It is dear to
 * ask for exactly (0.1 to 1 ms a process), so that is done only where a quick look, which finds too much,
 * finds more than enough_bytes. False as above. */
bool usage_memory_bytes(pid_t pid, uint64_t enough_bytes, uint64_t *ret_bytes);

#endif
