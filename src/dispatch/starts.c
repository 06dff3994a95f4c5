/* When a function gets a process more, and when one is taken from another: processes are few.
 *
 * While there is room, a function with calls and no process gets one at once, and one more when its calls
 * have to wait. When all are in use (`crowded`) nobody grows: a sweep gives what becomes free to functions
 * that have none, the one that has waited longest first, and has processes given back for them: idle ones,
 * and when there are none one of the function that has most. */
#include <string.h>

#include "base/clock.h"
#include "dispatch/dispatch_internal.h"

/* False: it has to be asked for again, by the next sweep. */
static bool starts_ask(struct dispatch *dispatch, struct dispatch_function *function) {
    for (int i = 0; i < DISPATCH_STARTS_MAX; i++) {
        struct dispatch_start *start = &dispatch->starts[i];
        if (start->request)
            continue;
        if (++dispatch->next_request == 0)
            dispatch->next_request = 1;
        if (!peers_ask_process(dispatch, function->version, dispatch->next_request))
            return false; /* the server is away */
        start->request = dispatch->next_request;
        start->server = dispatch->server;
        start->version = function->version;
        start->limits = function->version->meta.limits;
        storage_ref(start->version);
        function->starting++;
        dispatch->starting++;
        return true;
    }
    return false;
}

/* Plain scripts, and JavaScript with isolation=call. (Python forks for each call by itself.) */
bool starts_serve_one_call(const struct storage_version *version) {
    const struct storage_meta *meta = &version->meta;
    bool node = storage_lang_find(meta->lang)->runtime == RUNTIME_NODE;
    return strcmp(meta->entry, "script") == 0 || (meta->isolated && node);
}

static bool starts_is_full(const struct dispatch *dispatch) {
    return dispatch->process_total + dispatch->starting >= dispatch->config.processes_max;
}

static uint32_t starts_count(const struct dispatch_function *function) {
    return function->process_count + function->starting;
}

/* How many processes the function may have. */
static uint32_t starts_most(const struct dispatch *dispatch, const struct dispatch_function *function) {
    uint32_t most = dispatch->config.processes_per_function;
    uint32_t limit = function->version->meta.limits.concurrency;
    if (limit > 0 && limit < most)
        most = limit;
    if (windows_size(function) > 1 && dispatch->cores < most)
        most = dispatch->cores; /* more of them would only take turns */
    return most;
}

void starts_grow(struct dispatch *dispatch, struct dispatch_function *function) {
    uint32_t most = starts_most(dispatch, function);
    bool single = starts_serve_one_call(function->version);
    uint64_t waited_ns = loop_now_ns(dispatch->loop) - function->queue_head->admitted_ns;
    bool late = waited_ns > DISPATCH_GROW_MS * CLOCK_NS_PER_MS;
    while (starts_count(function) < most && function->starting < function->queued) {
        bool none = starts_count(function) == 0;
        if (!single && !none && (!late || function->starting > 0))
            return; /* one process more at a time, and only for calls that had to wait */
        if (dispatch->crowded || starts_is_full(dispatch) || !starts_ask(dispatch, function)) {
            dispatch->crowded = true;
            return;
        }
    }
}

struct storage_version *starts_take(struct dispatch *dispatch, uint32_t request, bool *ret_stale) {
    for (int i = 0; request && i < DISPATCH_STARTS_MAX; i++)
        if (dispatch->starts[i].request == request) {
            struct storage_version *version = dispatch->starts[i].version;
            *ret_stale =
                memcmp(&dispatch->starts[i].limits, &version->meta.limits, sizeof(struct limits)) != 0;
            dispatch->starts[i] = (struct dispatch_start){0};
            ((struct dispatch_function *)version->runtime_data)->starting--;
            dispatch->starting--;
            return version;
        }
    return NULL;
}

void starts_forget(struct dispatch *dispatch, uint32_t server) {
    for (int i = 0; i < DISPATCH_STARTS_MAX; i++) {
        struct dispatch_start *start = &dispatch->starts[i];
        if (!start->request || (server && start->server != server))
            continue;
        struct storage_version *version = starts_take(dispatch, start->request, &(bool){false});
        storage_unref(dispatch->config.storage, version);
    }
}

void starts_replace(struct dispatch *dispatch, struct dispatch_function *function) {
    if (function->starting == 0 && !starts_is_full(dispatch))
        starts_ask(dispatch, function);
}

/* ---- all are in use ---- */

/* One that can be given up now: idle, and the longest so. */
static struct link *starts_find_idle(const struct dispatch *dispatch) {
    struct link *oldest = NULL;
    for (struct link *link = dispatch->process_links; link; link = link->all_next)
        if (!link->script && link->loaded && link->in_flight == 0 && !link->retiring && !link->exited &&
            (!oldest || link->since_ns < oldest->since_ns))
            oldest = link;
    return oldest;
}

/* One of the function that has most, which ends after the calls that it has. */
static struct link *starts_find_busy(const struct dispatch *dispatch) {
    struct link *found = NULL;
    for (struct link *link = dispatch->process_links; link; link = link->all_next)
        if (!link->single && link->loaded && !link->retiring && !link->exited && !link->kill_code &&
            (!found || link->function->process_count > found->function->process_count))
            found = link;
    return found;
}

static uint32_t starts_count_leaving(const struct dispatch *dispatch) {
    uint32_t count = 0;
    for (const struct link *link = dispatch->process_links; link; link = link->all_next)
        count += link->retiring || link->kill_code || link->exited;
    return count;
}

/* The function without a process whose call has waited longest; *ret_count: how many there are. */
static struct dispatch_function *starts_find_starved(const struct dispatch *dispatch, uint32_t *ret_count) {
    struct dispatch_function *found = NULL;
    *ret_count = 0;
    for (struct dispatch_function *at = dispatch->waiting; at; at = at->waiting_next) {
        if (at->version->meta.wasm || starts_count(at) > 0 || !dispatch_may_run(at))
            continue;
        ++*ret_count;
        if (!found || at->queue_head->admitted_ns < found->queue_head->admitted_ns)
            found = at;
    }
    return found;
}

void starts_sweep(struct dispatch *dispatch, uint64_t now_ns) {
    if (!dispatch->crowded)
        return;
    uint32_t starved;
    struct dispatch_function *function;
    while ((function = starts_find_starved(dispatch, &starved)) && !starts_is_full(dispatch))
        if (!starts_ask(dispatch, function))
            return;
    if (!function) {
        dispatch->crowded = false;
        return;
    }
    uint64_t waited_ns = now_ns - function->queue_head->admitted_ns;
    uint32_t leaving = starts_count_leaving(dispatch);
    struct link *link;
    while (leaving < starved && (link = starts_find_idle(dispatch))) {
        processes_give_back(link);
        leaving++;
    }
    if (leaving == 0 && waited_ns > DISPATCH_SHARE_MS * CLOCK_NS_PER_MS &&
        (link = starts_find_busy(dispatch)))
        link->retiring = true;
}

void starts_failed(struct dispatch *dispatch, const struct message *message) {
    struct storage_version *version = starts_take(dispatch, message->request, &(bool){false});
    if (!version)
        return;
    struct dispatch_function *function = version->runtime_data;
    if (message->code == ERR_UNAVAILABLE || message->code == ERR_DRAINING)
        dispatch->crowded = true; /* the sweep asks again; a call waits as long as it may */
    else if (function->process_count == 0)
        dispatch_fail_queue(dispatch, function, message->code, message->text);
    storage_unref(dispatch->config.storage, version);
}
