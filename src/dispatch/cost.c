#include "dispatch/cost.h"

enum { COST_FAR = 4, COST_STREAK = 3, COST_STEP = 16 };
/* What a worker says is bounded: sums of it do not overflow. */
static const uint64_t cost_run_max_ns = 1000000000000ull;

void cost_observe(struct cost *cost, uint64_t run_ns) {
    uint64_t run = run_ns == 0 ? 1 : run_ns < cost_run_max_ns ? run_ns : cost_run_max_ns;
    uint64_t typical = cost->typical_ns;
    if (typical == 0) {
        cost->typical_ns = run;
        return;
    }
    bool above = run / COST_FAR > typical, below = run < typical / COST_FAR;
    if (above)
        cost->streak = cost->streak > 0 ? cost->streak + 1 : 1;
    else if (below)
        cost->streak = cost->streak < 0 ? cost->streak - 1 : -1;
    else
        cost->streak = 0;
    uint64_t step = typical / COST_STEP + 1;
    if (cost->streak >= COST_STREAK || cost->streak <= -COST_STREAK) {
        cost->typical_ns = run;
        cost->streak = 0;
    } else if (run > typical) {
        cost->typical_ns = run - typical < step ? run : typical + step;
    } else if (run < typical) {
        cost->typical_ns = typical - run < step ? run : typical - step;
    }
}

uint64_t cost_expected_ns(const struct cost *cost) {
    return cost->typical_ns ? cost->typical_ns : COST_PIPE_NS + 1;
}

uint64_t cost_room_ns(const struct cost *cost) {
    uint64_t half = COST_PIPE_NS / 2;
    return COST_PIPE_NS - (cost->typical_ns && cost->typical_ns < half ? cost->typical_ns : half);
}

bool cost_is_long(const struct cost *cost) {
    return cost->typical_ns > COST_PIPE_NS;
}
