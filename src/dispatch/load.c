/* What there is to do, for the balancer's scaling: written to the table by the sweep, from what is counted
 * anyway. The sweep rests while no call is there, and then nothing is written. */
#include "base/clock.h"
#include "dispatch/dispatch_internal.h"

static void load_store(_Atomic uint64_t *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed);
}

/* Calls that are there for want of a worker, not held back by a limit of their function. */
static uint32_t load_queued(const struct dispatch *dispatch, uint64_t now_ns, uint64_t *ret_oldest_ns) {
    uint32_t queued = 0;
    uint64_t oldest_ns = 0;
    for (const struct dispatch_function *function = dispatch->ready_head; function;
         function = function->ready_next) {
        if (!function->queue_head || !dispatch_may_run(function))
            continue;
        uint32_t limit = function->version->meta.limits.concurrency;
        uint32_t room = limit > 0 ? limit - function->in_flight : function->queued;
        uint64_t wait_ns = now_ns - function->queue_head->admitted_ns;
        queued += function->queued < room ? function->queued : room;
        oldest_ns = wait_ns > oldest_ns ? wait_ns : oldest_ns;
    }
    *ret_oldest_ns = oldest_ns;
    return queued;
}

/* The time in which the worker ran calls: of those that were answered, and of the one that it runs now. */
static uint64_t load_busy_ns(const struct link *link, uint64_t now_ns) {
    uint64_t running_ns = 0;
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++) {
        const struct call *call = link->slots[slot];
        if (call && call->running_ns && now_ns - call->running_ns > running_ns)
            running_ns = now_ns - call->running_ns;
    }
    return link->busy_ns + running_ns;
}

void load_publish(struct dispatch *dispatch, uint64_t now_ns) {
    struct load *load = &dispatch->load;
    uint64_t passed_ns = load->at_ns ? now_ns - load->at_ns : DISPATCH_SWEEP_MS * CLOCK_NS_PER_MS;
    load->at_ns = dispatch_is_idle(dispatch) ? 0 : now_ns;
    if (!dispatch->table)
        return;
    uint64_t oldest_ns, answered = 0;
    uint32_t waiting = load_queued(dispatch, now_ns, &oldest_ns);
    for (uint32_t i = 0; i < TABLE_WORKERS; i++) {
        const struct link *link = dispatch->wasm[i];
        answered += dispatch->totals.worker_calls[i];
        if (!link)
            continue;
        waiting += link->in_flight > 1 ? link->in_flight - 1 : 0;
        load_store(&dispatch->table->rows[i].busy_ns, load_busy_ns(link, now_ns));
    }
    load->waiting_ns += waiting * passed_ns;
    load_store(&dispatch->table->load.waiting_ns, load->waiting_ns);
    load_store(&dispatch->table->load.answered, answered);
    load_store(&dispatch->table->load.oldest_wait_ns, oldest_ns);
    load_store(&dispatch->table->load.stamp_ns, now_ns);
}

const struct table_scaling *dispatch_scaling(const struct dispatch *dispatch) {
    return dispatch->table ? &dispatch->table->scaling : NULL;
}
