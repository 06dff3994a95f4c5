/* What there is to do, for the balancer's scaling: written to the table by the sweep, from what is counted
 * anyway. The sweep rests while no call is there, and then nothing is written. */
#include "base/clock.h"
#include "dispatch/dispatch_internal.h"

static void load_store(_Atomic uint64_t *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed);
}

/* A call that has run for so long counts as long. */
#define LOAD_LONG_NS (20 * CLOCK_NS_PER_MS)

struct load_look {
    uint64_t now_ns;
    uint32_t
        waiting; /* calls that are there for want of a worker, not held back by a limit of their function */
    uint32_t running_long; /* workers */
    bool reserved;         /* some of these are held back while a worker is kept free of long calls */
    uint64_t oldest_wait_ns, answered;
};

static void load_look_queue(const struct dispatch *dispatch, struct load_look *look) {
    bool reserved = dispatch->ready_head && wasm_is_reserved(dispatch);
    for (const struct dispatch_function *function = dispatch->ready_head; function;
         function = function->ready_next) {
        if (!function->queue_head || !dispatch_may_run(function))
            continue;
        uint32_t limit = function->version->meta.limits.concurrency;
        uint32_t room = limit > 0 ? limit - function->in_flight : function->queued;
        uint64_t wait_ns = look->now_ns - function->queue_head->admitted_ns;
        look->waiting += function->queued < room ? function->queued : room;
        look->reserved |= reserved && cost_is_long(&function->cost);
        look->oldest_wait_ns = wait_ns > look->oldest_wait_ns ? wait_ns : look->oldest_wait_ns;
    }
}

/* Returns the time in which the worker ran calls: of those that were answered, and of the one that it runs.
 */
static uint64_t load_look_link(const struct link *link, struct load_look *look) {
    uint64_t running_ns = 0;
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++) {
        const struct call *call = link->slots[slot];
        if (call && call->running_ns && look->now_ns - call->running_ns > running_ns)
            running_ns = look->now_ns - call->running_ns;
    }
    look->waiting += link->in_flight > 1 ? link->in_flight - 1 : 0;
    look->running_long += running_ns >= LOAD_LONG_NS;
    return link->busy_ns + running_ns;
}

void load_publish(struct dispatch *dispatch, uint64_t now_ns) {
    struct load *load = &dispatch->load;
    uint64_t passed_ns = load->at_ns ? now_ns - load->at_ns : DISPATCH_SWEEP_MS * CLOCK_NS_PER_MS;
    load->at_ns = dispatch_is_idle(dispatch) ? 0 : now_ns;
    struct table *table = dispatch->table;
    if (!table || dispatch->on_return) /* the words are the next gateway's by now */
        return;
    struct load_look look = {.now_ns = now_ns};
    load_look_queue(dispatch, &look);
    for (uint32_t i = 0; i < TABLE_WORKERS; i++) {
        look.answered += dispatch->totals.worker_calls[i];
        if (dispatch->wasm[i])
            load_store(&table->rows[i].busy_ns, load_look_link(dispatch->wasm[i], &look));
    }
    load->waiting_ns += look.waiting * passed_ns;
    load->reserved_ns += look.reserved * passed_ns;
    load->long_ns += look.running_long * passed_ns;
    load_store(&table->load.waiting_ns, load->waiting_ns);
    load_store(&table->load.reserved_ns, load->reserved_ns);
    load_store(&table->load.long_ns, load->long_ns);
    load_store(&table->load.answered, look.answered);
    load_store(&table->load.oldest_wait_ns, look.oldest_wait_ns);
    load_store(&table->load.stamp_ns, now_ns);
}

const struct table_scaling *dispatch_scaling(const struct dispatch *dispatch) {
    return dispatch->table ? &dispatch->table->scaling : NULL;
}
