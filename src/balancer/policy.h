/* The strategies, pure: which worker takes the next call. The gateway asks; no payload, no system call.
 *
 * RR: each call to the next worker in turn. FIFO: the free worker with the lowest number; when none is idle
 * the one with the fewest calls in flight, lowest number first. WEIGHTED: the least calls in flight for its
 * weight, in whole units: a worker of twice the least weight with one call in flight is still level with an
 * idle one. Among equals the one that has had the least for its weight, so that few calls at a time are
 * shared out by weight too; with equal weights an idle worker is never passed over for a busy one. A worker
 * takes calls while in_flight < window and it has no more work than the caller allows.
 */
#ifndef FAAS_BALANCER_POLICY_H
#define FAAS_BALANCER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "balancer/table.h"

/* What one call costs a worker of weight 1. */
#define POLICY_PASS (1u << 20)

struct policy_worker {
    bool usable;         /* ready, not retiring */
    uint32_t in_flight;  /* sent and not answered */
    uint32_t window;     /* how many it may have in flight */
    uint32_t weight;     /* 1.. */
    uint64_t backlog_ns; /* how long those in flight are expected to take */
    uint64_t pass;       /* the policy's: what it has had, in units of POLICY_PASS / weight */
};

struct policy {
    enum policy_strategy strategy;
    uint32_t next; /* RR: where the next turn starts */
    uint64_t pass; /* WEIGHTED: who has had less than this was away, and does not catch up */
};

/* A worker that joins starts level with the others. */
void policy_join(struct policy_worker *workers, uint32_t count, uint32_t joined);

/* The index of the worker that takes the next call, which the caller then counts in in_flight and backlog_ns,
 * or -1 when none can: one whose backlog is over room_ns does not. */
int policy_pick(struct policy *policy, struct policy_worker *workers, uint32_t count, uint64_t room_ns);

#endif
