/* What a function's next call is expected to take, learnt from those before; pure.
 *
 * A running median of their run times: the one call in a hundred that is slow, or one in which the worker was
 * preempted, does not move it; three in a row that are far off do, at once. */
#ifndef FAAS_DISPATCH_COST_H
#define FAAS_DISPATCH_COST_H

#include <stdbool.h>
#include <stdint.h>

/* Work that a worker may have in its pipe, and what a call that takes longer is called: long. */
#define COST_PIPE_NS 1000000ull

struct cost {
    uint64_t typical_ns; /* 0 = not known yet */
    int streak;          /* calls in a row that took far longer (> 0) or far less (< 0) */
};

void cost_observe(struct cost *cost, uint64_t run_ns);
/* What a worker has before it when it gets one call more. A call of a function that is not known yet closes
 * the pipe behind it. */
uint64_t cost_expected_ns(const struct cost *cost);
/* How much a worker may have in its pipe already when it gets one call more: a long call may wait behind
 * quick ones, or it would never get its turn among many of them. */
uint64_t cost_room_ns(const struct cost *cost);
/* Known, and no quick one. */
bool cost_is_long(const struct cost *cost);

#endif
