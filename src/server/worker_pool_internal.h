/* What the pool's files share; nobody else includes this. */
#ifndef FAAS_SERVER_WORKER_POOL_INTERNAL_H
#define FAAS_SERVER_WORKER_POOL_INTERNAL_H

#include <sys/types.h>

#include "base/clock.h"
#include "sandbox/nest.h"
#include "server/worker_pool.h"
#include "wire/page.h"

#define WORKER_POOL_LOOK_NS (20 * CLOCK_NS_PER_MS)

enum { WORKER_OFFER_FDS = 4 };

enum worker_state { WORKER_NONE, WORKER_WAITING, WORKER_STARTING, WORKER_READY, WORKER_RETIRING };

struct worker_slot {
    struct worker_pool *pool; /* borrowed: it holds us */
    enum worker_state state;
    uint32_t number, generation, weight;
    pid_t pid; /* 0 = no process */
    struct loop_watch pidfd_watch;
    struct peer control;
    struct loop_timer respawn;
    uint64_t backoff_ns;
    const struct page *page; /* owned mapping of the page of its pipes; NULL = it has none */
    /* Pipes that it was sent and has not taken up: it serves another gateway until that lets go of it. The
     * gateway's ends, owned, in the order of SERVER_WORKER; -1 = none. */
    int offered[WORKER_OFFER_FDS];
    uint32_t offer;      /* number of the last */
    uint32_t idle_looks; /* draining or retiring: how often in a row it had no call */
};

struct worker_pool {
    struct worker_pool_config config;
    bool draining;
    uint32_t alive;
    uint32_t target; /* workers wanted */
    struct loop_timer drain_look, adjust_look;
    struct nest nest; /* where they run, when the machine gives namespaces */
    struct worker_slot workers[WORKER_POOL_MAX];
};

/* worker_pool.c */
struct message worker_pool_describe(const struct worker_slot *worker);
void worker_pool_spawn(struct worker_slot *worker);
/* Pipes that nobody took up: the other ends see them close. */
void worker_pool_drop_offer(struct worker_slot *worker);

/* worker_start.c: the worker's process; worker->pid is set. */
int worker_start(struct worker_slot *worker, int control_fd, struct err *err);

/* worker_scale.c */
bool worker_pool_has_call(const struct worker_slot *worker);
/* Starts those that are missing, retires those that are too many. */
void worker_pool_adjust(struct worker_pool *pool);
void worker_pool_on_adjust_look(struct loop_timer *timer);

#endif
