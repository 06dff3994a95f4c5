/* More workers, or fewer: which numbers come and which go. */
#include <signal.h>

#include "base/log.h"
#include "server/spawn.h"
#include "server/worker_pool_internal.h"

/* A retiring worker ends when the gateway, which was told, drops its pipes. One that had no call for so many
 * looks, and a gateway that holds on to it, is ended from here. */
enum { WORKER_SCALE_IDLE_LOOKS = 100 };

bool worker_pool_has_call(const struct worker_slot *worker) {
    for (unsigned slot = 0; worker->page && slot < PAGE_SLOTS; slot++) {
        uint64_t state = atomic_load_explicit(&worker->page->slots[slot], memory_order_relaxed) & 3;
        if (state == PAGE_SENT || state == PAGE_RUNNING)
            return true;
    }
    return false;
}

static bool worker_scale_counts(const struct worker_slot *worker) {
    return worker->state != WORKER_NONE && worker->state != WORKER_RETIRING;
}

static void worker_scale_start(struct worker_slot *worker) {
    worker->generation = 0;
    worker->backoff_ns = 0;
    worker->idle_looks = 0;
    worker_pool_spawn(worker);
}

static void worker_scale_retire(struct worker_slot *worker) {
    struct worker_pool *pool = worker->pool;
    bool was_ready = worker->state == WORKER_READY;
    loop_disarm(pool->config.loop, &worker->respawn);
    if (worker->state == WORKER_WAITING) {
        log_event("worker %u is not needed any more", worker->number);
        worker->state = WORKER_NONE;
        return;
    }
    log_event("worker %u (pid %d) is not needed any more: no further calls for it", worker->number,
              worker->pid);
    worker->state = WORKER_RETIRING;
    worker->idle_looks = 0;
    peer_close(&worker->control);
    worker_pool_drop_offer(worker);
    if (!was_ready) {
        spawn_kill(worker->pidfd_watch.fd, SIGTERM);
        return;
    }
    struct message message = worker_pool_describe(worker);
    pool->config.on_retire(pool->config.context, &message);
}

/* The one to give up, or NULL: none yet. Those that do not serve first, then the highest without a call; when
 * every worker has calls, the highest. */
static struct worker_slot *worker_scale_choose(struct worker_pool *pool) {
    struct worker_slot *idle = NULL, *highest = NULL;
    bool other_idle = false;
    for (uint32_t i = 0; i < pool->config.most; i++) {
        struct worker_slot *worker = &pool->workers[i];
        if (!worker_scale_counts(worker))
            continue;
        bool spare = i >= pool->config.least;
        if (worker->state != WORKER_READY) {
            if (spare)
                return worker;
            continue;
        }
        bool has_call = worker_pool_has_call(worker);
        if (spare)
            highest = worker;
        if (spare && !has_call)
            idle = worker;
        other_idle |= !spare && !has_call;
    }
    return idle ? idle : other_idle ? NULL : highest;
}

/* Ends retiring workers that nobody lets go of; true while there are any. */
static bool worker_scale_look(struct worker_pool *pool) {
    bool retiring = false;
    for (uint32_t i = 0; i < pool->config.most; i++) {
        struct worker_slot *worker = &pool->workers[i];
        if (worker->state != WORKER_RETIRING)
            continue;
        retiring = true;
        worker->idle_looks = worker_pool_has_call(worker) ? 0 : worker->idle_looks + 1;
        if (worker->idle_looks >= WORKER_SCALE_IDLE_LOOKS)
            spawn_kill(worker->pidfd_watch.fd, SIGTERM);
    }
    return retiring;
}

void worker_pool_adjust(struct worker_pool *pool) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool->config.most; i++)
        count += worker_scale_counts(&pool->workers[i]);
    for (uint32_t i = 0; i < pool->config.most && count < pool->target; i++)
        if (pool->workers[i].state == WORKER_NONE) {
            worker_scale_start(&pool->workers[i]);
            count++;
        }
    struct worker_slot *worker;
    for (; count > pool->target && (worker = worker_scale_choose(pool)); count--)
        worker_scale_retire(worker);
    if ((worker_scale_look(pool) || count > pool->target) && !pool->adjust_look.armed)
        loop_arm(pool->config.loop, &pool->adjust_look, WORKER_POOL_LOOK_NS);
}

void worker_pool_on_adjust_look(struct loop_timer *timer) {
    worker_pool_adjust(timer->context);
}

uint32_t worker_pool_scale(struct worker_pool *pool, uint32_t target) {
    if (pool->draining)
        return pool->target;
    uint32_t least = pool->config.least, most = pool->config.most;
    pool->target = target < least ? least : target > most ? most : target;
    worker_pool_adjust(pool);
    return pool->target;
}
