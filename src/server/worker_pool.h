/* The WASM workers: started ahead of need, watched, replaced; more or fewer of them as the load balancer
 * says.
 *
 *     NONE ──wanted──► STARTING ──ready──► READY ──dies──► STARTING (at once, generation + 1)
 *                         │ ▲                │
 *                    dies ▼ │ after 100 ms,  └──too many──► RETIRING ──ends──► NONE
 *                       WAITING  doubling to 5 s
 *
 * The numbers below `least` are always wanted. One that is too many is the highest that has no call; while
 * all that could be given up have calls and another worker has none, it is waited for. A worker that retires
 * gets no more calls and ends when it has answered those that it had started.
 *
 * The pool owns the processes and their control sockets. It gives a worker's pipes away and keeps none: a
 * worker lives on without the server, and ends by itself when the server and the gateway are gone. */
#ifndef FAAS_SERVER_WORKER_POOL_H
#define FAAS_SERVER_WORKER_POOL_H

#include "wire/peer.h"

enum { WORKER_POOL_MAX = 64 };
#define WORKER_POOL_BACKOFF_NS 100000000ull
#define WORKER_POOL_BACKOFF_MAX_NS 5000000000ull

struct worker_pool;

/* `worker` has type 0 and worker, pid, generation, weight set. */
typedef void worker_pool_on_ready(void *context, const struct message *worker);
/* It was ready and its process has ended: also status and code. */
typedef void worker_pool_on_gone(void *context, const struct message *worker);
/* It was ready, is too many, and ends when it has no call any more: it gets no further ones. */
typedef void worker_pool_on_retire(void *context, const struct message *worker);
/* It reads from the pipes that it was given last: the message SERVER_WORKER with its WORKER_OFFER_FDS
 * descriptors, which are taken. */
typedef void worker_pool_on_attached(void *context, const struct message *worker, int *fds, int fd_count);
/* After worker_pool_drain: the last one has ended. */
typedef void worker_pool_on_empty(void *context);

struct worker_pool_config {
    struct loop *loop;     /* borrowed, as are the texts */
    const char *parts_dir; /* where the executable `worker` is */
    const char *data_dir;
    const char *log_dir;  /* what a worker itself prints goes to worker.log there */
    const char *weights;  /* "4,2,1" by number */
    uint32_t least, most; /* 1..WORKER_POOL_MAX */
    int64_t memory_max_mb;
    worker_pool_on_ready *on_ready;
    worker_pool_on_attached *on_attached;
    worker_pool_on_gone *on_gone;
    worker_pool_on_retire *on_retire;
    worker_pool_on_empty *on_empty;
    void *context;
};

/* Starts `least`. One that does not start is tried again, and said in the log. */
struct worker_pool *worker_pool_new(const struct worker_pool_config *config);
/* Lets go of them without a word: they see their control socket close. */
void worker_pool_free(struct worker_pool *pool);

/* So many from now on, within least..most; returns the number that it is. More are started at once. */
uint32_t worker_pool_scale(struct worker_pool *pool, uint32_t target);

/* New pipes between a ready worker and the gateway; on_attached has the gateway's ends when the worker has
 * taken them up. That is at once, unless it still serves a gateway that is to be replaced. */
void worker_pool_attach(struct worker_pool *pool, uint32_t worker);
/* The same for all that are ready. */
void worker_pool_attach_all(struct worker_pool *pool);

/* None is replaced any more; each ends when its calls have ended. impatient: also one that has none, and a
 * gateway that does not let go of it. */
void worker_pool_drain(struct worker_pool *pool, bool impatient);
/* Ends what is left now. */
void worker_pool_kill(struct worker_pool *pool);
uint32_t worker_pool_alive(const struct worker_pool *pool);

#endif
