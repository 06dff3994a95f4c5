#include "dispatch/dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dispatch/dispatch_internal.h"

static void dispatch_on_turn(void *context) {
    struct dispatch *dispatch = context;
    if (dispatch->on_return)
        handover_on_turn(dispatch);
    if (dispatch->ready_head)
        wasm_pump(dispatch);
    while (dispatch->dirty) {
        struct link *link = dispatch->dirty;
        dispatch->dirty = link->dirty_next;
        link->dirty = false;
        link_flush(link);
    }
    /* A wake-up spared is worth a core's time only while there is hardly anything else to do. */
    bool spins = dispatch->in_flight > 0 && dispatch->in_flight <= DISPATCH_SPIN_CALLS;
    loop_spin(dispatch->loop, spins ? dispatch->config.spin_us * 1000ull : 0);
}

int dispatch_new(const struct dispatch_config *config, struct dispatch **ret_dispatch, struct err *err) {
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return err_sys(err, "getrandom");
    struct dispatch *dispatch = mem_zalloc(sizeof *dispatch);
    dispatch->config = *config;
    dispatch->loop = config->loop;
    dispatch->next_id = (uint64_t)(seed >> 3) << 32 | 1; /* ids of two gateways in a row do not meet */
    dispatch->strategy = config->strategy;
    dispatch->server_fd = dispatch->balancer_fd = -1;
    dispatch->cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    dispatch->sweep = (struct loop_timer){.on_timer = sweep_on_timer, .context = dispatch};
    loop_at_turn_end(dispatch->loop, dispatch_on_turn, dispatch);
    peers_start(dispatch);
    *ret_dispatch = dispatch;
    return 0;
}

void dispatch_free(struct dispatch *dispatch) {
    if (!dispatch)
        return;
    dispatch->draining = true;
    peers_stop(dispatch);
    loop_disarm(dispatch->loop, &dispatch->sweep);
    while (dispatch->waiting)
        dispatch_fail_queue(dispatch, dispatch->waiting, ERR_DRAINING, "the platform is shutting down");
    wasm_close_all(dispatch);
    processes_close_all(dispatch);
    while (dispatch->all) {
        struct dispatch_function *function = dispatch->all;
        dispatch->all = function->all_next;
        function->version->runtime_data = NULL;
        free(function);
    }
    table_unmap(dispatch->table);
    free(dispatch);
}

void dispatch_fail_link(struct dispatch *dispatch, struct link *link, int code, const char *error) {
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++)
        if (link->slots[slot])
            dispatch_fail(dispatch, link->slots[slot], code, error);
}

uint64_t dispatch_next_id(struct dispatch *dispatch) {
    return dispatch->next_id++;
}

struct dispatch_function *dispatch_function_of(struct dispatch *dispatch, struct storage_version *version) {
    if (version->runtime_data)
        return version->runtime_data;
    struct dispatch_function *function = calloc(1, sizeof *function);
    if (!function)
        return NULL;
    function->version = version;
    function->calm = DISPATCH_CALM_FIRST;
    function->all_next = dispatch->all;
    if (dispatch->all)
        dispatch->all->all_prev = function;
    dispatch->all = function;
    version->runtime_data = function;
    return function;
}

void dispatch_forget(struct dispatch *dispatch, struct storage_version *version) {
    struct dispatch_function *function = version->runtime_data;
    if (!function)
        return;
    version->runtime_data = NULL;
    wasm_unload(dispatch, function);
    if (function->all_prev)
        function->all_prev->all_next = function->all_next;
    else
        dispatch->all = function->all_next;
    if (function->all_next)
        function->all_next->all_prev = function->all_prev;
    free(function);
}

bool dispatch_may_run(const struct dispatch_function *function) {
    uint32_t limit = function->version->meta.limits.concurrency;
    return !function->blocked && (limit == 0 || function->in_flight < limit);
}

/* ---- queue ---- */

static void dispatch_push(struct dispatch *dispatch, struct call *call, bool front) {
    struct dispatch_function *function = call->version->runtime_data;
    call->next = call->prev = NULL;
    if (!function->queue_head) {
        function->queue_head = function->queue_tail = call;
    } else if (front) {
        call->next = function->queue_head;
        function->queue_head->prev = call;
        function->queue_head = call;
    } else {
        call->prev = function->queue_tail;
        function->queue_tail->next = call;
        function->queue_tail = call;
    }
    if (function->queued++ == 0) {
        function->waiting_prev = NULL;
        function->waiting_next = dispatch->waiting;
        if (dispatch->waiting)
            dispatch->waiting->waiting_prev = function;
        dispatch->waiting = function;
    }
    dispatch->queued++;
    call_move(call, CALL_QUEUED);
    sweep_arm(dispatch);
}

static void dispatch_unqueue(struct dispatch *dispatch, struct call *call) {
    struct dispatch_function *function = call->version->runtime_data;
    if (call->prev)
        call->prev->next = call->next;
    else
        function->queue_head = call->next;
    if (call->next)
        call->next->prev = call->prev;
    else
        function->queue_tail = call->prev;
    call->next = call->prev = NULL;
    dispatch->queued--;
    if (--function->queued > 0)
        return;
    wasm_unlist(dispatch, function);
    if (function->waiting_prev)
        function->waiting_prev->waiting_next = function->waiting_next;
    else
        dispatch->waiting = function->waiting_next;
    if (function->waiting_next)
        function->waiting_next->waiting_prev = function->waiting_prev;
}

struct call *dispatch_pop(struct dispatch *dispatch, struct dispatch_function *function) {
    struct call *call = function->queue_head;
    if (call)
        dispatch_unqueue(dispatch, call);
    return call;
}

static void dispatch_kick(struct dispatch *dispatch, struct dispatch_function *function) {
    if (storage_lang_find(function->version->meta.lang)->runtime == RUNTIME_WASM)
        wasm_list(dispatch, function);
    else
        processes_pump(dispatch, function);
}

void dispatch_requeue(struct dispatch *dispatch, struct call *call) {
    dispatch_push(dispatch, call, true);
    dispatch_kick(dispatch, call->version->runtime_data);
}

void dispatch_submit(struct dispatch *dispatch, struct call *call) {
    struct dispatch_function *function = dispatch_function_of(dispatch, call->version);
    if (!function) {
        struct call_answer answer = {.code = ERR_UNAVAILABLE, .error = "no memory for a call"};
        call_move(call, CALL_ANSWERED);
        call->on_answer(call, &answer);
        return;
    }
    storage_ref(call->version);
    call->admitted_ns = loop_now_ns(dispatch->loop);
    if (dispatch->draining) {
        dispatch_fail(dispatch, call, ERR_DRAINING, "the platform is shutting down");
        return;
    }
    if (call->version->vars && call->version->vars->problem) {
        dispatch_fail(dispatch, call, ERR_SECRETS, call->version->vars->problem);
        return;
    }
    bool wasm = call->version->meta.wasm;
    if (wasm && !dispatch->ready_head && !function->queue_head && dispatch_may_run(function) &&
        wasm_try_send(dispatch, call)) {
        sweep_arm(dispatch);
        return;
    }
    if (function->queued >= call->version->meta.limits.queue) {
        dispatch_fail(dispatch, call, ERR_LIMITED, "the function's queue is full (queue)");
        return;
    }
    if (dispatch->queued >= dispatch->config.queue_all_max) {
        dispatch_fail(dispatch, call, ERR_UNAVAILABLE, "too many calls wait");
        return;
    }
    dispatch_push(dispatch, call, false);
    dispatch_kick(dispatch, function);
}

void dispatch_abandon(struct dispatch *dispatch, struct call *call) {
    if (call->state == CALL_QUEUED)
        dispatch_fail(dispatch, call, ERR_ABANDONED, "the client went away");
}

/* ---- answers ---- */

void dispatch_answer(struct dispatch *dispatch, struct call *call, const struct call_answer *answer) {
    if (call->state == CALL_QUEUED)
        dispatch_unqueue(dispatch, call);
    if (call->link)
        dispatch_unlink(dispatch, call);
    struct storage_version *version = call->version;
    struct dispatch_function *function = version->runtime_data;
    call_move(call, CALL_ANSWERED);
    function->stats.last_call_s = clock_real_ns() / CLOCK_NS_PER_S;
    if (call->sent_ns) {
        stats_observe(&function->stats.queue, answer->queue_ns);
        stats_observe(&function->stats.start, answer->start_ns);
        stats_observe(&function->stats.run, answer->run_ns);
        if (answer->run_ns)
            cost_observe(&function->cost, answer->run_ns);
        if (version->meta.wasm && !cost_is_long(&function->cost))
            dispatch->quick_ns = loop_now_ns(dispatch->loop);
        stats_observe(&function->stats.total, clock_now_ns() - call->admitted_ns);
    }
    call->on_answer(call, answer);
    storage_unref(dispatch->config.storage, version);
}

void dispatch_fail(struct dispatch *dispatch, struct call *call, int code, const char *error) {
    uint64_t now_ns = clock_now_ns();
    struct call_answer answer = {.code = code, .error = error, .cold = call->cold};
    answer.queue_ns = (call->sent_ns ? call->sent_ns : now_ns) - call->admitted_ns;
    if (call->running_ns)
        answer.run_ns = now_ns - call->running_ns;
    dispatch_answer(dispatch, call, &answer);
}

void dispatch_fail_queue(struct dispatch *dispatch, struct dispatch_function *function, int code,
                         const char *error) {
    storage_ref(function->version); /* the last call may hold the last reference */
    struct storage_version *version = function->version;
    while (function->queue_head)
        dispatch_fail(dispatch, function->queue_head, code, error);
    storage_unref(dispatch->config.storage, version);
}

void dispatch_unlink(struct dispatch *dispatch, struct call *call) {
    struct link *link = call->link;
    struct dispatch_function *function = call->version->runtime_data;
    link_free_slot(link, call);
    link->backlog_ns -= call->expected_ns;
    function->in_flight--;
    dispatch->in_flight--;
    if (link->runtime == RUNTIME_WASM)
        wasm_publish(dispatch, link);
    if (function->queue_head)
        wasm_list(dispatch, function);
}

void dispatch_mark_sent(struct dispatch *dispatch, struct link *link, struct call *call) {
    struct dispatch_function *function = call->version->runtime_data;
    link_claim_slot(link, call);
    call->expected_ns = cost_expected_ns(&function->cost);
    link->backlog_ns += call->expected_ns;
    function->in_flight++;
    dispatch->in_flight++;
    call->attempts++;
    call->running_ns = 0;
    call->timeout_ms = call->version->meta.limits.timeout_ms;
    call->cpu_ms = call->version->meta.limits.cpu_ms;
    call->sent_ns = loop_now_ns(dispatch->loop);
    call_move(call, CALL_SENT);
}

void dispatch_mark_dirty(struct dispatch *dispatch, struct link *link) {
    if (link->dirty)
        return;
    link->dirty = true;
    link->dirty_next = dispatch->dirty;
    dispatch->dirty = link;
}

void dispatch_unmark_dirty(struct dispatch *dispatch, struct link *link) {
    if (!link->dirty)
        return;
    struct link **at = &dispatch->dirty;
    while (*at != link)
        at = &(*at)->dirty_next;
    *at = link->dirty_next;
    link->dirty = false;
}

void dispatch_send_call(struct link *link, const struct call *call, struct call_bytes body) {
    struct frame_header header = {
        .length = (uint32_t)(call->head.len + body.len),
        .type = FRAME_CALL,
        .format = FRAME_FORMAT,
        .slot = call->slot,
        .call_id = call->id,
        .key = call->version->key,
        .head_len = (uint32_t)call->head.len,
    };
    link_send(link, &header, call->head, body);
}

static void dispatch_head_number(struct buf *head, const char *name, uint64_t value) {
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    frame_head_add(head, name, text, (size_t)len);
}

static void dispatch_head_text(struct buf *head, const char *name, const char *value) {
    frame_head_add(head, name, value, strlen(value));
}

/* The function's own variables. The secrets among them are in memory as text only here, in the link's buffer
 * and with the worker. False: one cannot be opened. */
static bool dispatch_head_vars(struct buf *head, const struct storage *storage,
                               const struct storage_version *version) {
    uint8_t plain[VARS_VALUE_MAX];
    bool opened = true;
    for (size_t i = 0; version->vars && i < version->vars->count && opened; i++) {
        const struct vars_entry *entry = &version->vars->entries[i];
        struct err err;
        char name[VARS_NAME_MAX + sizeof "env."];
        snprintf(name, sizeof name, "env.%s", entry->name);
        if (!entry->secret)
            frame_head_add(head, name, entry->value, entry->len);
        else if ((opened = storage_open_secret(storage, version->meta.name, entry, plain, &err) == 0))
            frame_head_add(head, name, plain, entry->len - SEAL_OVERHEAD);
    }
    explicit_bzero(plain, sizeof plain);
    return opened;
}

bool dispatch_send_load(struct link *link, struct storage_version *version, struct call_bytes source,
                        bool warm) {
    const struct storage_meta *meta = &version->meta;
    const struct dispatch *dispatch = link->owner;
    struct buf head = {0};
    /* At once: a buffer that grows leaves copies behind. */
    buf_reserve(&head, DISPATCH_HEAD_BYTES + vars_bytes(version->vars) + sizeof "env.=" * VARS_COUNT_MAX);
    dispatch_head_text(&head, "FAAS_FUNCTION", meta->name);
    dispatch_head_number(&head, "FAAS_VERSION", meta->version);
    dispatch_head_text(&head, "id", meta->id);
    dispatch_head_text(&head, "entry", meta->entry);
    if (meta->module)
        dispatch_head_text(&head, "module", "1");
    if (warm)
        dispatch_head_text(&head, "warm", "1");
    if (meta->isolated)
        dispatch_head_text(&head, "isolation", "call");
    if (meta->wasm) {
        char hex[STORAGE_HASH_BYTES * 2 + 1];
        for (size_t i = 0; i < STORAGE_HASH_BYTES; i++)
            snprintf(hex + 2 * i, 3, "%02x", meta->native_hash[i]);
        dispatch_head_text(&head, "hash", hex);
        dispatch_head_text(&head, "engine", meta->engine);
    }
#define DISPATCH_LIMIT(field, fallback, min, max, unit, doc)                                                 \
    dispatch_head_number(&head, "limit." #field, meta->limits.field);
    LIMITS_TABLE(DISPATCH_LIMIT)
#undef DISPATCH_LIMIT
    bool whole = dispatch_head_vars(&head, dispatch->config.storage, version);
    struct frame_header header = {
        .length = (uint32_t)(head.len + source.len),
        .type = FRAME_LOAD,
        .format = FRAME_FORMAT,
        .key = version->key,
        .head_len = (uint32_t)head.len,
    };
    link->out_secret |= version->vars != NULL;
    link->noted++;
    link->noted_bytes += head.len;
    whole = whole && !head.failed;
    if (whole)
        link_send(link, &header, (struct call_bytes){head.data, head.len}, source);
    else
        link_kill(link);
    if (head.data)
        explicit_bzero(head.data, head.cap);
    buf_fini(&head);
    return whole;
}

/* An `error=` entry of the answer's head, copied to text. */
static bool dispatch_find_error(const struct frame_answer_view *view, char *text, size_t size) {
    size_t at = 0, name_len, value_len;
    const char *name, *value;
    while (frame_head_next(view->head, view->fixed.head_len, &at, &name, &name_len, &value, &value_len))
        if (name_len == 5 && memcmp(name, "error", 5) == 0) {
            snprintf(text, size, "%.*s", (int)(value_len < size ? value_len : size - 1), value);
            return true;
        }
    return false;
}

/* The worker that this link leads to has sent an ANSWER frame: checks it against what is in flight. */
void dispatch_take_answer(struct link *link, const struct frame *frame) {
    struct dispatch *dispatch = link->owner;
    struct err err;
    struct frame_answer_view view;
    unsigned slot = frame->header.slot;
    struct call *call = slot < LINK_WINDOW ? link->slots[slot] : NULL;
    if (!call || call->id != frame->header.call_id || frame_decode_answer(frame, &view, &err) != 0) {
        link_kill(link); /* whoever forges answers gets no second try */
        return;
    }
    if (view.fixed.log_len > 0)
        dispatch->config.on_log(dispatch->config.context, call->version, 2,
                                (struct call_bytes){view.log, view.fixed.log_len});
    if (view.fixed.code == ERR_ARTEFACT && !call->version->meta.wasm)
        view.fixed.code = ERR_BAD_ANSWER;
    struct dispatch_function *function = call->version->runtime_data;
    if (view.fixed.code == ERR_OK)
        function->rebuilds = 0;
    if (view.fixed.code == ERR_ARTEFACT && function->rebuilds < DISPATCH_ATTEMPTS) {
        bool first = !function->blocked;
        function->blocked = true;
        function->rebuilds += first;
        dispatch_unlink(dispatch, call);
        dispatch_requeue(dispatch, call);
        if (first)
            dispatch->config.on_artefact(dispatch->config.context, call->version);
        return;
    }
    char error[1024];
    struct call_answer answer = {
        .code = view.fixed.code < ERR_COUNT ? (int)view.fixed.code : ERR_BAD_ANSWER,
        .exit_code = view.fixed.exit_code,
        .head = {view.head, view.fixed.head_len},
        .output = {view.output, view.fixed.output_len},
        .cold = call->cold || (view.fixed.flags & FRAME_ANSWER_COLD),
        .queue_ns = call->sent_ns - call->admitted_ns,
        .start_ns = view.fixed.start_ns,
        .run_ns = view.fixed.run_ns,
    };
    if (answer.code != ERR_OK) {
        if (!dispatch_find_error(&view, error, sizeof error))
            snprintf(error, sizeof error, "%s", err_cause(answer.code));
        answer.error = error;
    }
    link->mean_ns =
        link->calls++ ? link->mean_ns - link->mean_ns / 8 + view.fixed.run_ns / 8 : view.fixed.run_ns;
    link->busy_ns += view.fixed.start_ns + view.fixed.run_ns;
    if (view.fixed.flags & FRAME_ANSWER_LAST)
        link->retiring = true;
    dispatch_answer(dispatch, call, &answer);
}

/* ---- the rest of the interface ---- */

void dispatch_rebuilt(struct dispatch *dispatch, struct storage_version *version, bool rebuilt) {
    struct dispatch_function *function = version->runtime_data;
    if (!function)
        return;
    wasm_unload(dispatch, function);
    function->blocked = false;
    if (rebuilt)
        wasm_list(dispatch, function);
    else
        dispatch_fail_queue(dispatch, function, ERR_ARTEFACT,
                            "the native code is damaged and could not be made again");
}

void dispatch_retire(struct storage_version *version) {
    struct dispatch_function *function = version->runtime_data;
    if (!function)
        return;
    function->retired = true;
    processes_retire(function);
}

void dispatch_renew(struct dispatch *dispatch, struct storage_version *version) {
    struct dispatch_function *function = version->runtime_data;
    if (!function)
        return;
    if (version->meta.wasm)
        wasm_renew(dispatch, function);
    else
        processes_renew(function);
    if (version->vars && version->vars->problem)
        dispatch_fail_queue(dispatch, function, ERR_SECRETS, version->vars->problem);
}

void dispatch_drain(struct dispatch *dispatch) {
    dispatch->draining = true;
}

void dispatch_unblock(struct dispatch *dispatch) {
    for (struct dispatch_function *function = dispatch->all; function; function = function->all_next)
        if (function->blocked)
            dispatch_rebuilt(dispatch, function->version, true);
}

bool dispatch_is_idle(const struct dispatch *dispatch) {
    return dispatch->queued == 0 && dispatch->in_flight == 0;
}

bool dispatch_is_ready(const struct dispatch *dispatch) {
    if (dispatch->draining)
        return false;
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        if (dispatch->wasm[i])
            return true;
    return false;
}

void dispatch_count(struct storage_version *version, int status, int code) {
    struct dispatch_function *function = version->runtime_data;
    if (function)
        stats_count(&function->stats, status, code);
}
