/* What is watched by the clock, for all calls at once: nothing of it costs a call anything. The timer runs
 * only while a call is queued or in flight, or a process is there. */
#include "base/clock.h"
#include "dispatch/dispatch_internal.h"

void sweep_arm(struct dispatch *dispatch) {
    /* While idle processes are watched it is armed for a second. */
    uint64_t period_ns = DISPATCH_SWEEP_MS * CLOCK_NS_PER_MS;
    if (!dispatch->sweep.armed || dispatch->sweep.due_ns > loop_now_ns(dispatch->loop) + 2 * period_ns)
        loop_arm(dispatch->loop, &dispatch->sweep, period_ns);
}

bool sweep_has_started(struct call *call, uint64_t now_ns) {
    struct page *page = call->link->page;
    bool started = atomic_load(&page->slots[call->slot]) == page_word(call->id, PAGE_RUNNING);
    if (started && call->state == CALL_SENT) {
        call_move(call, CALL_RUNNING);
        call->running_ns = now_ns;
    }
    return started;
}

static void sweep_queue(struct dispatch *dispatch, struct dispatch_function *function, uint64_t now_ns) {
    uint64_t limit_ns = dispatch->config.queue_ms * CLOCK_NS_PER_MS;
    uint32_t limit = function->version->meta.limits.concurrency;
    bool at_limit = limit > 0 && function->in_flight >= limit;
    struct storage_version *version = function->version;
    storage_ref(version);
    while (function->queue_head && now_ns - function->queue_head->admitted_ns > limit_ns)
        dispatch_fail(dispatch, function->queue_head, at_limit ? ERR_LIMITED : ERR_UNAVAILABLE,
                      at_limit ? "the function is at its concurrency limit" : "no worker was free in time");
    storage_unref(dispatch->config.storage, version);
}

void sweep_on_timer(struct loop_timer *timer) {
    struct dispatch *dispatch = timer->context;
    uint64_t now_ns = loop_now_ns(dispatch->loop);
    wasm_sweep(dispatch, now_ns);
    processes_sweep(dispatch, now_ns);
    wasm_refresh_weights(dispatch);
    for (struct dispatch_function *function = dispatch->waiting; function;) {
        struct dispatch_function *next = function->waiting_next;
        sweep_queue(dispatch, function, now_ns);
        function = next;
    }
    load_publish(dispatch, now_ns);
    if (!dispatch_is_idle(dispatch))
        sweep_arm(dispatch);
    else if (dispatch->process_links)
        loop_arm(dispatch->loop, &dispatch->sweep, CLOCK_NS_PER_S);
}
