/* Functions that WASM workers make ready ahead of their first call: a new function on all of them, and on a
 * new worker those that were called last, then those that were deployed last. */
#include "base/clock.h"
#include "dispatch/dispatch_internal.h"

static void warm_function(struct dispatch *dispatch, struct link *link, struct storage_version *version) {
    struct dispatch_function *function = dispatch_function_of(dispatch, version);
    if (function && (!version->vars || !version->vars->problem))
        wasm_load(dispatch, link, function, true);
}

static void warm_end(struct dispatch_warmth *warmth) {
    struct dispatch *dispatch = warmth->dispatch;
    loop_disarm(dispatch->loop, &warmth->timer);
    if (warmth->prev)
        warmth->prev->next = warmth->next;
    else
        dispatch->warming = warmth->next;
    if (warmth->next)
        warmth->next->prev = warmth->prev;
    warmth->on_warm(warmth);
}

static void warm_on_timer(struct loop_timer *timer) {
    warm_end(timer->context);
}

void dispatch_warm(struct dispatch *dispatch, struct storage_version *version,
                   struct dispatch_warmth *warmth) {
    warmth->dispatch = dispatch;
    warmth->key = version->key;
    for (uint32_t i = 0; version->meta.wasm && i < dispatch->worker_count; i++)
        if (dispatch->wasm[i]) {
            warm_function(dispatch, dispatch->wasm[i], version);
            warmth->missing |= 1ull << i;
        }
    warmth->timer = (struct loop_timer){.on_timer = warm_on_timer, .context = warmth};
    loop_arm(dispatch->loop, &warmth->timer, warmth->missing ? DISPATCH_WARM_MS * CLOCK_NS_PER_MS : 0);
    warmth->prev = NULL;
    warmth->next = dispatch->warming;
    if (dispatch->warming)
        dispatch->warming->prev = warmth;
    dispatch->warming = warmth;
}

void warm_take(struct dispatch *dispatch, const struct link *link, uint32_t key) {
    struct dispatch_warmth *next;
    for (struct dispatch_warmth *warmth = dispatch->warming; warmth; warmth = next) {
        next = warmth->next;
        if (warmth->key != key)
            continue;
        warmth->missing &= ~(1ull << link->worker);
        if (!warmth->missing)
            warm_end(warmth);
    }
}

void warm_worker(struct dispatch *dispatch, struct link *link) {
    struct dispatch_function *latest[DISPATCH_WARM_MAX];
    uint32_t count = 0;
    for (struct dispatch_function *function = dispatch->all; function; function = function->all_next) {
        if (!function->version->meta.wasm || !function->version->listed || !function->stats.last_call_s)
            continue;
        uint32_t at = count < DISPATCH_WARM_MAX ? count++ : DISPATCH_WARM_MAX;
        for (; at > 0 && latest[at - 1]->stats.last_call_s < function->stats.last_call_s; at--)
            if (at < DISPATCH_WARM_MAX)
                latest[at] = latest[at - 1];
        if (at < DISPATCH_WARM_MAX)
            latest[at] = function;
    }
    for (uint32_t i = 0; i < count; i++)
        warm_function(dispatch, link, latest[i]->version);
    struct storage *storage = dispatch->config.storage;
    struct storage_version *version = storage_next(storage, NULL);
    for (; version && count < DISPATCH_WARM_MAX; version = storage_next(storage, version), count++)
        if (version->meta.wasm)
            warm_function(dispatch, link, version);
}
