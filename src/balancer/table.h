/* The shared worker table: one memfd that the load balancer makes and maps, and that server and gateway map
 * too.
 *
 * Each word has one writer, named below; readers take what they see as a hint and check what matters. If the
 * balancer is gone the last table still serves. A new balancer makes a new table; the server registers its
 * workers again. */
#ifndef FAAS_BALANCER_TABLE_H
#define FAAS_BALANCER_TABLE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

enum { TABLE_WORKERS = 64, TABLE_FORMAT = 2 };
#define TABLE_MAGIC 0x5341414642415431ull

/* X(NAME, label) */
#define TABLE_STATES(X)                                                                                      \
    X(EMPTY, "empty")                                                                                        \
    X(READY, "ready")                                                                                        \
    X(STALLED, "stalled")                                                                                    \
    X(GONE, "gone")
enum table_state {
#define TABLE_ENUM(name, label) TABLE_##name,
    TABLE_STATES(TABLE_ENUM)
#undef TABLE_ENUM
        TABLE_STATE_COUNT
};

/* X(NAME) */
#define POLICY_STRATEGIES(X) X(RR) X(FIFO) X(WEIGHTED)
enum policy_strategy {
#define POLICY_ENUM(name) POLICY_##name,
    POLICY_STRATEGIES(POLICY_ENUM)
#undef POLICY_ENUM
        POLICY_COUNT
};

struct table_row {
    _Alignas(64) _Atomic uint32_t state; /* balancer: enum table_state */
    _Atomic uint32_t weight;             /* balancer: 1.. */
    _Atomic uint32_t generation;         /* balancer */
    _Atomic int32_t pid;                 /* balancer */
    _Atomic uint32_t in_flight;          /* gateway */
    _Atomic uint64_t calls;              /* gateway: answered since the worker's start */
    _Atomic uint64_t mean_ns;            /* gateway: moving average of a call's run, 1/8 */
    _Atomic uint64_t restarts;           /* balancer: registrations of this number after the first */
    _Atomic uint64_t busy_ns;            /* gateway: time in which a call was running, since its start */
};

/* What the gateway knows of the load of the WASM workers, written in its sweep. Totals only grow while the
 * gateway lives; without calls nothing is written. */
struct table_load {
    _Alignas(64) _Atomic uint64_t stamp_ns; /* monotonic: of the last write; 0 = none yet */
    _Atomic uint64_t waiting_ns;            /* calls that could have run but for a worker x how long */
    _Atomic uint64_t answered;              /* calls */
    _Atomic uint64_t reserved_ns;    /* time in which long calls waited and a worker was kept from them */
    _Atomic uint64_t long_ns;        /* workers that were in a long call x how long */
    _Atomic uint64_t oldest_wait_ns; /* of the call that waits longest in a queue; 0 = none does */
};

/* What the balancer makes of it. */
struct table_scaling {
    _Alignas(64) _Atomic uint32_t target; /* workers wanted; 0 = no server yet */
    _Atomic uint32_t least, most;
    _Atomic uint32_t busy_milli;       /* of the last tick: workers that ran a call, in thousandths */
    _Atomic uint32_t ready;            /* … of so many that were there */
    _Atomic uint32_t idle_cores_milli; /* CPU that nobody used */
    _Atomic uint64_t wait_ns;          /* how long a call waited for a worker */
    _Atomic uint64_t ups, downs;       /* changes of the target */
};

struct table {
    uint64_t magic;
    uint32_t format;
    _Atomic uint32_t strategy;     /* balancer: enum policy_strategy */
    _Atomic uint64_t heartbeat_ns; /* balancer: monotonic, every 100 ms */
    struct table_row rows[TABLE_WORKERS];
    struct table_load load;
    struct table_scaling scaling;
};

int table_create(int *ret_fd, struct table **ret_table, struct err *err);
/* Checks size and magic. The descriptor may be closed afterwards. */
int table_map(int fd, struct table **ret_table, struct err *err);
void table_unmap(struct table *table); /* NULL is fine */

const char *table_state_name(uint32_t state);
const char *policy_strategy_name(uint32_t strategy);
/* "rr" and "RR" alike; ERR_BAD_REQUEST lists the known. */
int policy_strategy_parse(const char *name, enum policy_strategy *ret_strategy, struct err *err);

#endif
