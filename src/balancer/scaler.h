/* Scaling as the load balancer does it: every tick it makes of the table and of /proc what scaling.h wants to
 * know, and shows in the table what came of it. While no call is there it reads nothing but the table. */
#ifndef FAAS_BALANCER_SCALER_H
#define FAAS_BALANCER_SCALER_H

#include "balancer/cpu.h"
#include "balancer/scaling.h"
#include "balancer/table.h"

struct scaler_row {
    int32_t pid; /* whose numbers these are; 0 = nobody's */
    uint64_t busy_ns, ran_ns, delayed_ns;
    bool timed; /* ran_ns and delayed_ns are there */
};

struct scaler {
    struct table *table; /* borrowed: outlives us */
    uint64_t period_ns;  /* of low use before a step down */
    bool started;        /* a server has said how many it keeps */
    struct scaling scaling;
    struct cpu_idle idle;
    uint64_t looked_ns; /* the last tick */
    uint64_t stamp_ns;  /* the gateway's at the last tick; 0 = no totals yet */
    uint64_t waiting_ns, answered, reserved_ns, long_ns;
    struct scaler_row rows[TABLE_WORKERS];
};

/* table and period_ns are set, the rest zero. A server with target workers is there. */
void scaler_start(struct scaler *scaler, uint32_t target, uint32_t least, uint32_t most);
/* True when the target has changed: scaler->scaling.target is the new one. Logs why. */
bool scaler_tick(struct scaler *scaler, uint64_t now_ns);

#endif
