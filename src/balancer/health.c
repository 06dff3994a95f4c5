#include "balancer/health.h"

#include <stdbool.h>

void health_reset(struct health *health, const struct table *table, uint32_t worker, uint64_t now_ns) {
    health->rows[worker].calls = atomic_load_explicit(&table->rows[worker].calls, memory_order_relaxed);
    health->rows[worker].progress_ns = now_ns;
}

static enum table_state health_judge(struct health *health, const struct table *table, uint32_t worker,
                                     uint64_t now_ns) {
    const struct table_row *row = &table->rows[worker];
    bool idle = atomic_load_explicit(&row->in_flight, memory_order_relaxed) == 0;
    bool moved = atomic_load_explicit(&row->calls, memory_order_relaxed) != health->rows[worker].calls;
    if (idle || moved)
        health_reset(health, table, worker, now_ns);
    return now_ns - health->rows[worker].progress_ns < HEALTH_STALL_NS ? TABLE_READY : TABLE_STALLED;
}

void health_check(struct health *health, struct table *table, uint64_t now_ns, health_on_change *on_change,
                  void *context) {
    for (uint32_t worker = 0; worker < TABLE_WORKERS; worker++) {
        _Atomic uint32_t *state = &table->rows[worker].state;
        uint32_t was = atomic_load_explicit(state, memory_order_relaxed);
        if (was != TABLE_READY && was != TABLE_STALLED)
            continue;
        enum table_state is = health_judge(health, table, worker, now_ns);
        if (is == was)
            continue;
        atomic_store_explicit(state, is, memory_order_release);
        if (on_change)
            on_change(context, worker, is);
    }
}
