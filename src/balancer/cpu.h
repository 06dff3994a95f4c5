/* Who had the CPU: what the machine has idle, and what a worker's thread used and waited for. */
#ifndef FAAS_BALANCER_CPU_H
#define FAAS_BALANCER_CPU_H

#include <stdbool.h>
#include <stdint.h>

struct cpu_idle {
    uint64_t idle_ticks; /* at the last look; of all CPUs that we may run on */
    uint64_t at_ns;      /* when that was; 0 = never */
};

/* How many CPUs of those that this process may run on were idle since the last look (0..their number); -1
 * when there was none, or the kernel does not tell. Time of niced processes counts as idle when we are not
 * niced. */
double cpu_idle_look(struct cpu_idle *idle, uint64_t now_ns);

/* Of a process's first thread: time that it ran, and time that it was runnable and did not run. False when it
 * is gone or the kernel does not tell. */
bool cpu_thread_times(int32_t pid, uint64_t *ret_ran_ns, uint64_t *ret_delayed_ns);

#endif
