/* Clocks, without a system call on the machines that have a vDSO. */
#ifndef FAAS_BASE_CLOCK_H
#define FAAS_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_NS_PER_MS 1000000ull
#define CLOCK_NS_PER_S 1000000000ull

static inline uint64_t clock_read_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * CLOCK_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Monotonic, the same in every process of the machine. */
static inline uint64_t clock_now_ns(void) {
    return clock_read_ns(CLOCK_MONOTONIC);
}

/* Since the epoch. */
static inline uint64_t clock_real_ns(void) {
    return clock_read_ns(CLOCK_REALTIME);
}

#endif
