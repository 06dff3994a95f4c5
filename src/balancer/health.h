/* Which workers make progress, pure: a READY worker that has had calls in flight and finished none for
 * HEALTH_STALL_NS becomes STALLED, and READY again with its next finished call or when nothing is in flight.
 */
#ifndef FAAS_BALANCER_HEALTH_H
#define FAAS_BALANCER_HEALTH_H

#include <stdint.h>

#include "balancer/table.h"

#define HEALTH_STALL_NS 1000000000ull

struct health {
    struct {
        uint64_t calls;       /* as last seen in the row */
        uint64_t progress_ns; /* when that changed, or nothing was in flight */
    } rows[TABLE_WORKERS];
};

/* Row `worker` has been given to another process at now_ns. */
void health_reset(struct health *health, const struct table *table, uint32_t worker, uint64_t now_ns);
/* Looks at every row. on_change (may be NULL) fires for each whose state was changed. */
typedef void health_on_change(void *context, uint32_t worker, enum table_state state);
void health_check(struct health *health, struct table *table, uint64_t now_ns, health_on_change *on_change,
                  void *context);

#endif
