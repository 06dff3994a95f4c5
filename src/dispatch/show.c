/* What describe, the lists and the metrics show of calls and workers. */
#include "dispatch/dispatch_internal.h"

const struct stats *dispatch_stats(const struct storage_version *version) {
    const struct dispatch_function *function = version->runtime_data;
    return function ? &function->stats : NULL;
}

uint32_t dispatch_queued(const struct storage_version *version) {
    const struct dispatch_function *function = version->runtime_data;
    return function ? function->queued : 0;
}

static const char *show_state(const struct link *link) {
    if (link->retiring || link->exited)
        return "retiring";
    if (link->runtime != RUNTIME_WASM && !link->loaded)
        return "loading";
    return link->in_flight ? "busy" : "ready";
}

static void show_link(const struct dispatch *dispatch, const struct link *link, dispatch_on_worker *on_worker,
                      void *context) {
    struct dispatch_worker worker = {
        .worker = link->worker,
        .generation = link->generation,
        .pid = link->pid,
        .weight = 1,
        .in_flight = link->in_flight,
        .runtime = link->runtime,
        .function = link->function ? link->function->version->meta.name : NULL,
        .state = show_state(link),
        .calls = link->calls,
        .mean_ns = link->mean_ns,
    };
    if (link->runtime == RUNTIME_WASM && link->worker < TABLE_WORKERS &&
        dispatch->wasm[link->worker] == link) {
        worker.weight = dispatch->workers[link->worker].weight;
        if (dispatch->table) {
            const struct table_row *row = &dispatch->table->rows[link->worker];
            worker.restarts = atomic_load_explicit(&row->restarts, memory_order_relaxed);
            if (atomic_load_explicit(&row->state, memory_order_relaxed) == TABLE_STALLED)
                worker.state = "stalled";
        }
    }
    on_worker(context, &worker);
}

void dispatch_each_worker(const struct dispatch *dispatch, dispatch_on_worker *on_worker, void *context) {
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        if (dispatch->wasm[i])
            show_link(dispatch, dispatch->wasm[i], on_worker, context);
    for (const struct link *link = dispatch->retiring; link; link = link->next)
        show_link(dispatch, link, on_worker, context);
    for (const struct dispatch_function *function = dispatch->all; function; function = function->all_next)
        for (const struct link *link = function->processes; link; link = link->next)
            show_link(dispatch, link, on_worker, context);
}

void dispatch_totals(const struct dispatch *dispatch, struct dispatch_totals *ret_totals) {
    *ret_totals = dispatch->totals;
    ret_totals->queued = dispatch->queued;
    ret_totals->server_connected = dispatch->server_fd >= 0;
    ret_totals->balancer_connected = dispatch->balancer_fd >= 0;
    ret_totals->strategy =
        dispatch->table ? (enum policy_strategy)atomic_load(&dispatch->table->strategy) : dispatch->strategy;
}
