/* The WASM workers: which one takes the next call, and what becomes of a dead one's calls. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "dispatch/dispatch_internal.h"

enum {
    WASM_SENT = 32,      /* calls that all workers together may have in their pipes … */
    WASM_WINDOW_MIN = 8, /* … but each at least so many */
};

/* What is in a pipe has its order: the call of a function that is called seldom waits behind all of it, and
 * only in the gateway do functions take turns. */
static void wasm_set_windows(struct dispatch *dispatch) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        count += dispatch->wasm[i] != NULL;
    uint32_t window = count * LINK_WINDOW <= WASM_SENT ? LINK_WINDOW : WASM_SENT / count;
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        dispatch->workers[i].window = window < WASM_WINDOW_MIN ? WASM_WINDOW_MIN : window;
}

void wasm_publish(struct dispatch *dispatch, struct link *link) {
    uint32_t i = link->worker;
    if (dispatch->wasm[i] != link)
        return;
    dispatch->workers[i].in_flight = link->in_flight;
    dispatch->workers[i].backlog_ns = link->backlog_ns;
    dispatch->workers[i].usable = !link->busy && !link->retiring;
    if (!dispatch->table)
        return;
    struct table_row *row = &dispatch->table->rows[i];
    atomic_store_explicit(&row->in_flight, link->in_flight, memory_order_relaxed);
    atomic_store_explicit(&row->calls, link->calls, memory_order_relaxed);
    atomic_store_explicit(&row->mean_ns, link->mean_ns, memory_order_relaxed);
}

/* ---- the ready list: functions whose calls wait for a worker, served in turn ---- */

void wasm_list(struct dispatch *dispatch, struct dispatch_function *function) {
    if (function->listed || !function->queue_head || !function->version->meta.wasm ||
        !dispatch_may_run(function))
        return;
    function->listed = true;
    function->ready_next = NULL;
    function->ready_prev = dispatch->ready_tail;
    if (dispatch->ready_tail)
        dispatch->ready_tail->ready_next = function;
    else
        dispatch->ready_head = function;
    dispatch->ready_tail = function;
}

void wasm_unlist(struct dispatch *dispatch, struct dispatch_function *function) {
    if (!function->listed)
        return;
    function->listed = false;
    if (function->ready_prev)
        function->ready_prev->ready_next = function->ready_next;
    else
        dispatch->ready_head = function->ready_next;
    if (function->ready_next)
        function->ready_next->ready_prev = function->ready_prev;
    else
        dispatch->ready_tail = function->ready_prev;
}

/* What a worker was told of functions is bounded; it forgets all of it before that is too much. */
static void wasm_make_room(struct dispatch *dispatch, struct link *link) {
    if (link->noted < DISPATCH_NOTED_MAX && link->noted_bytes < DISPATCH_NOTED_BYTES_MAX)
        return;
    uint64_t bit = 1ull << link->worker;
    for (struct dispatch_function *at = dispatch->all; at; at = at->all_next)
        if (at->loaded_mask & bit) {
            const struct frame_header header = {
                .type = FRAME_UNLOAD, .format = FRAME_FORMAT, .key = at->version->key};
            link_send(link, &header, (struct call_bytes){0}, (struct call_bytes){0});
            at->loaded_mask &= ~bit;
        }
    link->noted = 0;
    link->noted_bytes = 0;
}

void wasm_load(struct dispatch *dispatch, struct link *link, struct dispatch_function *function, bool warm) {
    uint64_t bit = 1ull << link->worker;
    if (function->loaded_mask & bit)
        return;
    wasm_make_room(dispatch, link);
    dispatch_send_load(link, function->version, (struct call_bytes){0}, warm);
    dispatch_mark_dirty(dispatch, link);
    function->loaded_mask |= bit;
}

static void wasm_send(struct dispatch *dispatch, struct link *link, struct call *call) {
    struct dispatch_function *function = call->version->runtime_data;
    if (link->in_flight == 0)
        link->since_ns = loop_now_ns(dispatch->loop);
    dispatch_mark_sent(dispatch, link, call);
    wasm_load(dispatch, link, function, false);
    dispatch_send_call(link, call, call->body);
    dispatch_mark_dirty(dispatch, link);
    wasm_publish(dispatch, link);
}

bool wasm_is_reserved(const struct dispatch *dispatch) {
    if (loop_now_ns(dispatch->loop) - dispatch->quick_ns > DISPATCH_RESERVE_S * CLOCK_NS_PER_S)
        return false;
    uint32_t open = 0, usable = 0;
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        if (dispatch->wasm[i]) {
            usable++;
            open += dispatch->workers[i].usable && dispatch->workers[i].backlog_ns <= COST_PIPE_NS;
        }
    return usable > 1 && open < 2;
}

static int wasm_pick(struct dispatch *dispatch, const struct dispatch_function *function) {
    dispatch->policy.strategy =
        dispatch->table
            ? (enum policy_strategy)atomic_load_explicit(&dispatch->table->strategy, memory_order_relaxed)
            : dispatch->strategy;
    return policy_pick(&dispatch->policy, dispatch->workers, dispatch->worker_count,
                       cost_room_ns(&function->cost));
}

bool wasm_try_send(struct dispatch *dispatch, struct call *call) {
    const struct dispatch_function *function = call->version->runtime_data;
    if (cost_is_long(&function->cost) && wasm_is_reserved(dispatch))
        return false;
    int picked = wasm_pick(dispatch, function);
    if (picked < 0)
        return false;
    wasm_send(dispatch, dispatch->wasm[picked], call);
    return true;
}

/* RR and WEIGHTED serve functions in turn, so that a flood of one does not hold up the others; FIFO means
 * order of arrival. NULL when all that wait are long ones and may not be sent. */
static struct dispatch_function *wasm_next_function(const struct dispatch *dispatch) {
    enum { UNKNOWN, NO, YES } reserved = UNKNOWN;
    struct dispatch_function *next = NULL;
    for (struct dispatch_function *at = dispatch->ready_head; at; at = at->ready_next) {
        if (cost_is_long(&at->cost) && reserved == UNKNOWN)
            reserved = wasm_is_reserved(dispatch) ? YES : NO;
        if (cost_is_long(&at->cost) && reserved == YES)
            continue;
        if (!next || at->queue_head->admitted_ns < next->queue_head->admitted_ns)
            next = at;
        if (dispatch->policy.strategy != POLICY_FIFO)
            break;
    }
    return next;
}

void wasm_pump(struct dispatch *dispatch) {
    struct dispatch_function *function;
    while ((function = wasm_next_function(dispatch))) {
        if (!dispatch_may_run(function)) {
            wasm_unlist(dispatch, function);
            continue;
        }
        /* Who is next has to wait until there is room: a quick call that passes it would take the room. */
        int picked = wasm_pick(dispatch, function);
        if (picked < 0)
            return;
        struct call *call = dispatch_pop(dispatch, function);
        wasm_send(dispatch, dispatch->wasm[picked], call);
        wasm_unlist(dispatch, function);
        wasm_list(dispatch, function); /* to the end */
    }
}

/* ---- workers come and go ---- */

/* Takes back every call that the worker has not started; those that it had, it keeps. `of`: only calls of
 * that function, or NULL; not `kept`. */
static void wasm_withdraw(struct dispatch *dispatch, struct link *link, const struct dispatch_function *of,
                          const struct call *kept) {
    struct call *taken[LINK_WINDOW];
    unsigned count = 0;
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++) {
        struct call *call = link->slots[slot];
        if (!call || call == kept || (of && call->version != of->version) ||
            !page_move(link->page, slot, call->id, PAGE_SENT, PAGE_WITHDRAWN))
            continue;
        unsigned at = count++;
        for (; at > 0 && taken[at - 1]->id < call->id; at--)
            taken[at] = taken[at - 1];
        taken[at] = call; /* newest first: each goes to the front of its queue */
    }
    for (unsigned i = 0; i < count; i++) {
        dispatch->totals.withdrawn++;
        dispatch_unlink(dispatch, taken[i]);
        dispatch_requeue(dispatch, taken[i]);
    }
}

static void wasm_remove(struct dispatch *dispatch, struct link *link) {
    if (dispatch->wasm[link->worker] == link) {
        dispatch->wasm[link->worker] = NULL;
        dispatch->workers[link->worker].usable = false;
        dispatch->workers[link->worker].in_flight = 0;
        while (dispatch->worker_count > 0 && !dispatch->wasm[dispatch->worker_count - 1])
            dispatch->worker_count--;
        wasm_set_windows(dispatch);
        return;
    }
    if (link->prev)
        link->prev->next = link->next;
    else
        dispatch->retiring = link->next;
    if (link->next)
        link->next->prev = link->prev;
}

static void wasm_close(struct dispatch *dispatch, struct link *link) {
    wasm_remove(dispatch, link);
    dispatch_unmark_dirty(dispatch, link);
    link_close(link);
}

void wasm_retire(struct dispatch *dispatch, struct link *link) {
    if (link->retiring && dispatch->wasm[link->worker] != link)
        return;
    wasm_remove(dispatch, link);
    link->retiring = true;
    link->prev = NULL;
    link->next = dispatch->retiring;
    if (dispatch->retiring)
        dispatch->retiring->prev = link;
    dispatch->retiring = link;
    wasm_withdraw(dispatch, link, NULL, NULL);
    if (link->in_flight == 0)
        wasm_close(dispatch, link);
}

void wasm_unload(struct dispatch *dispatch, struct dispatch_function *function) {
    const struct frame_header header = {
        .type = FRAME_UNLOAD, .format = FRAME_FORMAT, .key = function->version->key};
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        if (dispatch->wasm[i] && (function->loaded_mask >> i & 1)) {
            link_send(dispatch->wasm[i], &header, (struct call_bytes){0}, (struct call_bytes){0});
            dispatch_mark_dirty(dispatch, dispatch->wasm[i]);
        }
    function->loaded_mask = 0;
}

void wasm_renew(struct dispatch *dispatch, struct dispatch_function *function) {
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        if (dispatch->wasm[i] && (function->loaded_mask >> i & 1))
            wasm_withdraw(dispatch, dispatch->wasm[i], function, NULL);
    wasm_unload(dispatch, function);
}

void wasm_retire_orphans(struct dispatch *dispatch) {
    for (uint32_t i = 0; i < TABLE_WORKERS; i++)
        if (dispatch->wasm[i] && dispatch->wasm[i]->orphan)
            wasm_retire(dispatch, dispatch->wasm[i]);
}

/* The worker is gone: what it had started is answered, the rest goes to others. */
static void wasm_on_end(struct link *link, const struct err *err) {
    struct dispatch *dispatch = link->owner;
    link_kill(link); /* it may only have broken its framing */
    wasm_withdraw(dispatch, link, NULL, NULL);
    int code = link->kill_code ? link->kill_code : err->code == ERR_BAD_ANSWER ? ERR_BAD_ANSWER : ERR_CRASH;
    const char *error =
        code == ERR_TIMEOUT ? "the function ran out of time" : "the worker died during the call";
    dispatch->totals.crashes += link->in_flight;
    dispatch_fail_link(dispatch, link, code, error);
    wasm_close(dispatch, link);
}

static void wasm_drop(struct dispatch *dispatch, struct link *link) {
    dispatch_fail_link(dispatch, link, ERR_DRAINING, "the platform is shutting down");
    wasm_close(dispatch, link);
}

void wasm_close_all(struct dispatch *dispatch) {
    for (uint32_t i = 0; i < TABLE_WORKERS; i++)
        if (dispatch->wasm[i])
            wasm_drop(dispatch, dispatch->wasm[i]);
    while (dispatch->retiring)
        wasm_drop(dispatch, dispatch->retiring);
}

void wasm_after_answer(struct dispatch *dispatch, struct link *link) {
    dispatch->totals.worker_calls[link->worker]++;
    link->since_ns = loop_now_ns(dispatch->loop);
    link->busy = false;
    wasm_publish(dispatch, link);
    if (link->retiring && link->in_flight == 0)
        wasm_close(dispatch, link);
}

static void wasm_on_frame(struct link *link, const struct frame *frame) {
    if (frame->header.type == FRAME_LOADED && frame->header.length == 0) {
        warm_take(link->owner, link, frame->header.key);
        return;
    }
    if (frame->header.type != FRAME_ANSWER) {
        link_kill(link);
        return;
    }
    dispatch_take_answer(link, frame);
    wasm_after_answer(link->owner, link);
}

static void wasm_on_exit(struct link *link) {
    (void)link; /* what it had written is still in the pipe; its end follows */
}

static void wasm_on_text(struct link *link, int stream, struct call_bytes text) {
    (void)link, (void)stream, (void)text; /* a WASM worker has no such pipes */
}

static const struct link_handlers wasm_handlers = {wasm_on_frame, wasm_on_end, wasm_on_exit, wasm_on_text};

void wasm_attach(struct dispatch *dispatch, const struct message *message, int *fds) {
    struct err err;
    struct link *link;
    uint32_t number = message->worker;
    if (link_open(dispatch->loop, &wasm_handlers, message, fds, &link, &err) != 0) {
        log_event("worker %u: %s", number, err.msg);
        return;
    }
    link->owner = dispatch;
    if (dispatch->wasm[number])
        wasm_retire(dispatch, dispatch->wasm[number]);
    dispatch->wasm[number] = link;
    if (number >= dispatch->worker_count)
        dispatch->worker_count = number + 1;
    for (struct dispatch_function *function = dispatch->all; function; function = function->all_next)
        function->loaded_mask &= ~(1ull << number);
    uint64_t pass = dispatch->workers[number].pass;
    dispatch->workers[number] =
        (struct policy_worker){.usable = true, .weight = message->weight ? message->weight : 1, .pass = pass};
    wasm_set_windows(dispatch);
    policy_join(dispatch->workers, dispatch->worker_count, number);
    wasm_publish(dispatch, link);
    warm_worker(dispatch, link);
}

void wasm_refresh_weights(struct dispatch *dispatch) {
    if (!dispatch->table)
        return;
    for (uint32_t i = 0; i < dispatch->worker_count; i++) {
        struct table_row *row = &dispatch->table->rows[i];
        uint32_t weight = atomic_load_explicit(&row->weight, memory_order_relaxed);
        if (dispatch->wasm[i] && weight > 0 &&
            atomic_load_explicit(&row->pid, memory_order_relaxed) == dispatch->wasm[i]->pid)
            dispatch->workers[i].weight = weight;
    }
}

/* ---- deadlines, and calls that are stuck behind a long one ---- */

/* A worker that has calls and starts none is stopped, or starved of CPU. All but one go elsewhere; that one
 * shows whether it goes on. If not, it goes elsewhere too, and the worker is replaced. */
static void wasm_on_stall(struct dispatch *dispatch, struct link *link, uint64_t waited_ns) {
    if (waited_ns > DISPATCH_DEAD_MS * CLOCK_NS_PER_MS) {
        log_event("worker %u (pid %d) has calls and starts none: killed", link->worker, link->pid);
        wasm_withdraw(dispatch, link, NULL, NULL);
        link->kill_code = ERR_CRASH;
        dispatch->totals.killed++;
        link_kill(link);
        return;
    }
    if (waited_ns < DISPATCH_STALL_MS * CLOCK_NS_PER_MS || link->busy)
        return;
    const struct call *kept = NULL; /* the one that has waited least */
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++)
        if (link->slots[slot] && (!kept || link->slots[slot]->id > kept->id))
            kept = link->slots[slot];
    link->busy = true;
    wasm_publish(dispatch, link);
    wasm_withdraw(dispatch, link, NULL, kept);
}

static void wasm_sweep_link(struct dispatch *dispatch, struct link *link, uint64_t now_ns) {
    bool running = false;
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++) {
        struct call *call = link->slots[slot];
        if (!call)
            continue;
        uint64_t seen_ns = call->running_ns;
        if (!sweep_has_started(call, now_ns) || !seen_ns)
            continue;
        running = true;
        uint64_t limit_ms = (uint64_t)call->timeout_ms + DISPATCH_GRACE_MS;
        if (now_ns - seen_ns > limit_ms * CLOCK_NS_PER_MS && !link->kill_code) {
            log_event("worker %u (pid %d) is over the deadline of '%s': killed", link->worker, link->pid,
                      call->version->meta.name);
            link->kill_code = ERR_TIMEOUT;
            dispatch->totals.killed++;
            link_kill(link);
        }
    }
    if (running)
        link->since_ns = now_ns;
    else if (link->in_flight > 0 && !link->kill_code)
        wasm_on_stall(dispatch, link, now_ns - link->since_ns);
    if (!running || link->busy)
        return;
    link->busy = true;
    wasm_publish(dispatch, link);
    wasm_withdraw(dispatch, link, NULL, NULL);
}

void wasm_sweep(struct dispatch *dispatch, uint64_t now_ns) {
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        if (dispatch->wasm[i] && dispatch->wasm[i]->in_flight)
            wasm_sweep_link(dispatch, dispatch->wasm[i], now_ns);
    for (struct link *link = dispatch->retiring; link; link = link->next)
        wasm_sweep_link(dispatch, link, now_ns);
}
