/* The processes of Node.js and Python functions: asked of the server, given calls, given back when idle.
 *
 * A process gets one call at a time, or several while the function's calls are short: then a wake-up carries
 * many. What is sent behind a call that turns out long is taken back (wire/page.h says how). */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "dispatch/dispatch_internal.h"

static void processes_close(struct dispatch *dispatch, struct link *link) {
    struct dispatch_function *function = link->function;
    struct storage_version *version = function->version;
    if (!link->exited)
        link_kill(link);
    if (link->prev)
        link->prev->next = link->next;
    else
        function->processes = link->next;
    if (link->next)
        link->next->prev = link->prev;
    if (link->all_prev)
        link->all_prev->all_next = link->all_next;
    else
        dispatch->process_links = link->all_next;
    if (link->all_next)
        link->all_next->all_prev = link->all_prev;
    dispatch_unmark_dirty(dispatch, link);
    function->process_count--;
    dispatch->process_total--;
    link_close(link);
    if (function->queue_head)
        processes_pump(dispatch, function);
    storage_unref(dispatch->config.storage, version); /* may free function */
}

/* End of file: an idle process ends by itself. */
static void processes_give_back(struct link *link) {
    link->retiring = true;
    link_shut(link);
    link->since_ns = loop_now_ns(link->loop);
}

/* What a dying process said last: the last line of its stderr that is no stack frame and not Node.js's
 * signature. */
static const char *processes_last_line(const struct link *link, size_t *ret_len) {
    const char *end = link->tail + link->tail_len;
    for (;;) {
        while (end > link->tail && end[-1] == '\n')
            end--;
        const char *line = end;
        while (line > link->tail && line[-1] != '\n')
            line--;
        if (line == link->tail || (*line != ' ' && strncmp(line, "Node.js v", 9) != 0)) {
            *ret_len = (size_t)(end - line);
            return line;
        }
        end = line;
    }
}

int process_verdict(const struct link *link, const char **ret_error, int *ret_exit_code) {
    static char text[512]; /* valid until the next verdict: it is sent at once */
    uint64_t word = atomic_load(&link->page->exit_status);
    int status = (int)(word & 0xffffffff);
    *ret_exit_code = 0;
    if (link->kill_code) {
        *ret_error = link->kill_code == ERR_TIMEOUT  ? "the function ran out of time"
                     : link->kill_code == ERR_OUTPUT ? "the function printed more than its limit"
                                                     : "the process broke the protocol of its pipe";
        return link->kill_code;
    }
    bool exited = (word >> 32) && WIFEXITED(status);
    if (exited)
        *ret_exit_code = WEXITSTATUS(status);
    if (exited && link->script && *ret_exit_code == 0)
        return ERR_OK;
    size_t line_len;
    const char *line = processes_last_line(link, &line_len);
    if (link->gone_code == ERR_OOM || strstr(link->tail, "heap out of memory") ||
        strncmp(line, "MemoryError", 11) == 0 || strstr(link->tail, "Array buffer allocation failed")) {
        *ret_error = "the function ran out of memory";
        return ERR_OOM;
    }
    if (link->gone_code == ERR_PROCESSES) {
        *ret_error = "the function started more processes than its limit";
        return ERR_PROCESSES;
    }
    *ret_error = text;
    if (!(word >> 32) || WIFSIGNALED(status)) {
        if (word >> 32)
            snprintf(text, sizeof text, "the function's process was killed by signal %d", WTERMSIG(status));
        else
            snprintf(text, sizeof text, "the function's process died");
        return ERR_CRASH;
    }
    if (line_len > 0 && link->script)
        snprintf(text, sizeof text, "exit code %d: %.*s", *ret_exit_code, (int)line_len, line);
    else if (link->script)
        snprintf(text, sizeof text, "exit code %d", *ret_exit_code);
    else
        snprintf(text, sizeof text, "the function's process exited with code %d", *ret_exit_code);
    return link->script ? ERR_EXIT : ERR_CRASH;
}

/* Calls beyond `started` up to `last` go elsewhere, in their order to the front of their queue. `counts`: as
 * an attempt. */
static void processes_take_back(struct dispatch *dispatch, struct link *link, uint64_t last, bool counts) {
    struct call *taken[LINK_WINDOW];
    unsigned count = 0;
    uint64_t started = atomic_load(&link->page->started);
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++) {
        struct call *call = link->slots[slot];
        if (!call || call->number <= started || call->number > last ||
            (counts && call->attempts >= DISPATCH_ATTEMPTS))
            continue;
        unsigned at = count++;
        for (; at > 0 && taken[at - 1]->number < call->number; at--)
            taken[at] = taken[at - 1];
        taken[at] = call;
    }
    for (unsigned i = 0; i < count; i++) {
        taken[i]->attempts -= !counts;
        dispatch->totals.withdrawn++;
        dispatch_unlink(dispatch, taken[i]);
        dispatch_requeue(dispatch, taken[i]);
    }
    link->skips += count;
}

/* The call that is running, or NULL. */
static struct call *processes_running(const struct link *link) {
    uint64_t started = atomic_load(&link->page->started);
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++)
        if (link->slots[slot] && link->slots[slot]->number == started)
            return link->slots[slot];
    return NULL;
}

/* The process ended and all that will be known of it is known. */
static void processes_finish(struct dispatch *dispatch, struct link *link) {
    const char *error;
    int exit_code;
    if (link->script && link->slots[0]) {
        script_finish(dispatch, link);
    } else if (link->in_flight > 0) {
        int code = process_verdict(link, &error, &exit_code);
        link->function->calm = DISPATCH_CALM;
        dispatch->totals.crashes += code == ERR_CRASH;
        dispatch_fail_link(dispatch, link, code, error);
    }
    processes_close(dispatch, link);
}

static void processes_on_exit(struct link *link) {
    struct dispatch *dispatch = link->owner;
    link->since_ns = loop_now_ns(dispatch->loop);
    link_take_outbox(link);
    link_drain_text(link);
    link->retiring = true;
    /* What it had not started goes to others, but not for ever while processes end before they start
     * anything.
     */
    if (!link->stuck)
        processes_take_back(dispatch, link, link->sent, link->calls == 0 && !processes_running(link));
    uint64_t word = atomic_load(&link->page->exit_status);
    bool exited = (word >> 32) && WIFEXITED((int)word);
    bool clean = exited && (WEXITSTATUS((int)word) == 0 || !link->script);
    /* Any other end may have been a limit's doing: the server knows. */
    if (link->in_flight > 0 && !clean && !link->kill_code && !link->gone_code && dispatch->server_fd >= 0) {
        sweep_arm(dispatch);
        return;
    }
    processes_finish(dispatch, link);
}

void processes_gone(struct dispatch *dispatch, const struct message *message) {
    for (struct link *link = dispatch->process_links; link; link = link->all_next)
        if (link->worker == message->worker) {
            link->gone_code = message->code;
            if (link->exited)
                processes_finish(dispatch, link);
            return;
        }
}

static void processes_on_end(struct link *link, const struct err *err) {
    if (link->script && err->code != ERR_BAD_ANSWER)
        return; /* a script closes it before its first line */
    link->since_ns = loop_now_ns(link->loop);
    if (err->code == ERR_BAD_ANSWER) {
        if (!link->kill_code)
            link->kill_code = ERR_BAD_ANSWER;
        link_kill(link);
    }
    sweep_arm(link->owner);
}

static void processes_on_text(struct link *link, int stream, struct call_bytes text) {
    struct dispatch *dispatch = link->owner;
    if (link->script && stream == 1)
        script_on_text(link, stream, text);
    else
        dispatch->config.on_log(dispatch->config.context, link->function->version, stream, text);
}

/* ---- calls ---- */

static void processes_send(struct dispatch *dispatch, struct link *link, struct call *call) {
    call->cold = link->fresh;
    link->fresh = false;
    call->number = ++link->sent;
    link->retiring |= link->single;
    if (link->in_flight == 0)
        link->since_ns = loop_now_ns(dispatch->loop);
    dispatch_mark_sent(dispatch, link, call);
    dispatch_send_call(link, call, call->body);
    dispatch_mark_dirty(dispatch, link);
}

/* How many calls a process of the function may have at a time. */
static uint32_t processes_window(const struct dispatch_function *function) {
    if (function->calm > 0 || function->version->meta.isolated)
        return 1;
    uint64_t window = DISPATCH_WINDOW_US * 1000 / (function->mean_ns + 1);
    return window < 1 ? 1 : window > LINK_WINDOW ? LINK_WINDOW : (uint32_t)window;
}

static bool processes_takes_call(const struct link *link, uint32_t window) {
    return !link->script && !link->retiring && !link->busy && !link->ended && !link->exited &&
           !link->kill_code && link->in_flight < (link->loaded ? window : 1) &&
           (link->in_flight == 0 || link->out.len - link->out_sent < DISPATCH_PIPE_BYTES);
}

/* The process with the least before it; the first of those that have next to nothing. */
static struct link *processes_find(const struct dispatch_function *function) {
    struct link *best = NULL;
    uint64_t best_ns = UINT64_MAX;
    uint32_t window = processes_window(function);
    for (struct link *link = function->processes; link; link = link->next) {
        if (!processes_takes_call(link, window))
            continue;
        uint64_t before_ns = link->in_flight * function->mean_ns;
        if (before_ns < DISPATCH_PACK_US * 1000)
            return link;
        if (before_ns < best_ns) {
            best_ns = before_ns;
            best = link;
        }
    }
    return best;
}

/* One long call, and calls behind it are no longer sure to be served soon. */
static void processes_observe(struct dispatch_function *function, uint64_t run_ns) {
    uint64_t long_ns = DISPATCH_SHORT_MS * CLOCK_NS_PER_MS;
    if (run_ns >= long_ns)
        function->calm = DISPATCH_CALM;
    else if (function->calm > 0)
        function->calm--;
    function->mean_ns += (run_ns < long_ns ? run_ns : long_ns) / 16 - function->mean_ns / 16;
}

static void processes_ask(struct dispatch *dispatch, struct dispatch_function *function) {
    for (int i = 0; i < DISPATCH_STARTS_MAX; i++) {
        struct dispatch_start *start = &dispatch->starts[i];
        if (start->request)
            continue;
        if (++dispatch->next_request == 0)
            dispatch->next_request = 1;
        if (!peers_ask_process(dispatch, function->version, dispatch->next_request))
            return; /* the server is away: the sweep tries again */
        start->request = dispatch->next_request;
        start->version = function->version;
        storage_ref(start->version);
        function->starting++;
        return;
    }
}

/* Plain scripts, and JavaScript with isolation=call. (Python forks for each call by itself.) */
static bool processes_serve_one_call(const struct storage_version *version) {
    const struct storage_meta *meta = &version->meta;
    bool node = storage_lang_find(meta->lang)->runtime == RUNTIME_NODE;
    return strcmp(meta->entry, "script") == 0 || (meta->isolated && node);
}

void processes_pump(struct dispatch *dispatch, struct dispatch_function *function) {
    struct link *link;
    while (function->queue_head && dispatch_may_run(function) && (link = processes_find(function)))
        processes_send(dispatch, link, dispatch_pop(dispatch, function));
    if (!function->queue_head || !dispatch_may_run(function))
        return;
    uint32_t most = dispatch->config.processes_per_function;
    uint32_t limit = function->version->meta.limits.concurrency;
    if (limit > 0 && limit < most)
        most = limit;
    if (processes_window(function) > 1 && dispatch->cores < most)
        most = dispatch->cores; /* more of them would only take turns */
    bool single = processes_serve_one_call(function->version);
    uint64_t waited_ns = loop_now_ns(dispatch->loop) - function->queue_head->admitted_ns;
    bool late = waited_ns > DISPATCH_GROW_MS * CLOCK_NS_PER_MS;
    while (function->process_count + function->starting < most && function->starting < function->queued) {
        bool none = function->process_count + function->starting == 0;
        uint32_t before = function->starting;
        if (!single && !none && (!late || function->starting > 0))
            return; /* one process more at a time, and only for calls that had to wait */
        processes_ask(dispatch, function);
        if (function->starting == before)
            return;
    }
}

void processes_after_answer(struct dispatch *dispatch, struct link *link) {
    link->since_ns = loop_now_ns(dispatch->loop);
    struct dispatch_function *function = link->function;
    if (function->queue_head)
        processes_pump(dispatch, function);
    if (link->in_flight == 0 && (link->retiring || function->retired))
        processes_give_back(link);
}

static void processes_take_answer(struct link *link, const struct frame *frame) {
    struct dispatch *dispatch = link->owner;
    struct frame_answer fixed = {0};
    if (frame->header.length >= sizeof fixed)
        memcpy(&fixed, frame->payload, sizeof fixed);
    processes_observe(link->function, fixed.run_ns);
    if (fixed.flags & FRAME_ANSWER_LAST)
        link->function->calm = DISPATCH_CALM;
    link->busy = false;
    dispatch->totals.crashes += fixed.code == ERR_CRASH; /* of a child that it forked for the call */
    dispatch_take_answer(link, frame);
    processes_after_answer(dispatch, link);
}

/* A call that was withdrawn, and that the process says it has not run: most went elsewhere long ago. */
static bool processes_take_skip(struct link *link, const struct frame *frame) {
    struct dispatch *dispatch = link->owner;
    uint64_t number;
    if (frame->header.length != sizeof number || frame->header.slot >= LINK_WINDOW)
        return false;
    memcpy(&number, frame->payload, sizeof number);
    struct call *call = link->slots[frame->header.slot];
    if (call && call->id == frame->header.call_id && call->number == number && number <= link->withdrawn) {
        call->attempts--;
        dispatch->totals.withdrawn++;
        dispatch_unlink(dispatch, call);
        dispatch_requeue(dispatch, call);
        processes_after_answer(dispatch, link);
        return true;
    }
    return link->skips > 0 && link->skips-- > 0;
}

static void processes_on_frame(struct link *link, const struct frame *frame) {
    if (frame->header.type == FRAME_LOADED) {
        link->loaded = true;
        link->since_ns = loop_now_ns(link->loop);
    } else if (frame->header.type == FRAME_ANSWER) {
        processes_take_answer(link, frame);
    } else if (frame->header.type != FRAME_SKIPPED || !processes_take_skip(link, frame)) {
        link->kill_code = ERR_BAD_ANSWER;
        link_kill(link);
    }
}

static const struct link_handlers processes_handlers = {processes_on_frame, processes_on_end,
                                                        processes_on_exit, processes_on_text};

/* ---- starts ---- */

/* The version whose start this request was, with its reference, or NULL. */
static struct storage_version *processes_take_start(struct dispatch *dispatch, uint32_t request) {
    for (int i = 0; request && i < DISPATCH_STARTS_MAX; i++)
        if (dispatch->starts[i].request == request) {
            struct storage_version *version = dispatch->starts[i].version;
            dispatch->starts[i] = (struct dispatch_start){0};
            ((struct dispatch_function *)version->runtime_data)->starting--;
            return version;
        }
    return NULL;
}

static bool processes_load(struct dispatch *dispatch, struct link *link, struct storage_version *version) {
    struct err err;
    struct buf source = {0};
    char file[32];
    snprintf(file, sizeof file, "code.%s", storage_lang_find(version->meta.lang)->extension);
    int rc = storage_read(dispatch->config.storage, version->meta.id, file, 256u << 20, &source, &err);
    if (rc == 0)
        dispatch_send_load(link, version, (struct call_bytes){source.data, source.len}, false);
    else
        log_event("'%s': %s", version->meta.id, err.msg);
    buf_fini(&source);
    return rc == 0;
}

void processes_attach(struct dispatch *dispatch, const struct message *message, int *fds) {
    struct err err;
    struct link *link;
    struct storage_version *version = processes_take_start(dispatch, message->request);
    if (link_open(dispatch->loop, &processes_handlers, message, fds, &link, &err) != 0) {
        log_event("process %d: %s", message->pid, err.msg);
        if (version)
            storage_unref(dispatch->config.storage, version);
        return;
    }
    link->owner = dispatch;
    if (!version) {
        link_kill(link);
        link_close(link);
        return;
    }
    struct dispatch_function *function = version->runtime_data;
    link->function = function;
    link->script = strcmp(version->meta.entry, "script") == 0;
    link->single = processes_serve_one_call(version);
    link->frame_max = (version->meta.limits.output_mb << 20) + (2u << 20);
    link->since_ns = loop_now_ns(dispatch->loop);
    link->next = function->processes;
    if (link->next)
        link->next->prev = link;
    function->processes = link;
    link->all_next = dispatch->process_links;
    if (link->all_next)
        link->all_next->all_prev = link;
    dispatch->process_links = link;
    function->process_count++;
    dispatch->process_total++;
    sweep_arm(dispatch);
    bool wanted = function->queue_head && dispatch_may_run(function);
    if (link->single && !wanted) {
        processes_close(dispatch, link);
        return;
    }
    if (!processes_load(dispatch, link, version)) {
        storage_ref(version);
        processes_close(dispatch, link);
        dispatch_fail_queue(dispatch, function, ERR_INTERNAL, "the function's source cannot be read");
        storage_unref(dispatch->config.storage, version);
        return;
    }
    if (link->script)
        script_run(dispatch, link, dispatch_pop(dispatch, function));
    else if (wanted)
        processes_pump(dispatch, function);
    dispatch_mark_dirty(dispatch, link);
}

/* Makes room for another function's process. */
static void processes_evict(struct dispatch *dispatch) {
    struct link *oldest = NULL;
    for (struct link *link = dispatch->process_links; link; link = link->all_next)
        if (!link->script && link->loaded && link->in_flight == 0 && !link->retiring && !link->exited &&
            (!oldest || link->since_ns < oldest->since_ns))
            oldest = link;
    if (oldest)
        processes_give_back(oldest);
}

void processes_start_failed(struct dispatch *dispatch, const struct message *message) {
    struct storage_version *version = processes_take_start(dispatch, message->request);
    if (!version)
        return;
    struct dispatch_function *function = version->runtime_data;
    if (message->code == ERR_UNAVAILABLE)
        processes_evict(dispatch); /* the sweep asks again; a call waits as long as it may */
    else if (function->process_count == 0)
        dispatch_fail_queue(dispatch, function, message->code, message->text);
    storage_unref(dispatch->config.storage, version);
}

static void processes_forget_starts(struct dispatch *dispatch) {
    for (int i = 0; i < DISPATCH_STARTS_MAX; i++)
        if (dispatch->starts[i].request) {
            struct storage_version *version = processes_take_start(dispatch, dispatch->starts[i].request);
            storage_unref(dispatch->config.storage, version);
        }
}

void processes_close_all(struct dispatch *dispatch) {
    processes_forget_starts(dispatch);
    while (dispatch->process_links) {
        dispatch_fail_link(dispatch, dispatch->process_links, ERR_DRAINING, "the platform is shutting down");
        processes_close(dispatch, dispatch->process_links);
    }
}

void processes_server_lost(struct dispatch *dispatch) {
    processes_forget_starts(dispatch);
    for (struct link *link = dispatch->process_links; link;) {
        struct link *next = link->all_next;
        if (link->exited)
            processes_finish(dispatch, link);
        link = next;
    }
}

/* After its call, or now when it has none. */
static void processes_retire_link(struct link *link) {
    if (link->retiring || link->exited)
        return;
    if (link->in_flight == 0)
        processes_give_back(link);
    else
        link->retiring = !link->script;
}

void processes_retire(struct dispatch_function *function) {
    for (struct link *link = function->processes; link; link = link->next)
        processes_retire_link(link);
}

void processes_retire_all(struct dispatch *dispatch) {
    for (struct link *link = dispatch->process_links; link; link = link->all_next)
        processes_retire_link(link);
}

/* ---- the clock ---- */

static void processes_kill(struct dispatch *dispatch, struct link *link, int code) {
    if (!link->kill_code)
        link->kill_code = code;
    dispatch->totals.killed++;
    link->since_ns = loop_now_ns(dispatch->loop);
    link_kill(link);
}

/* A call that two sweeps have seen running holds up neither those before it, whose answers are in the outbox,
 * nor those behind it. */
static void processes_unblock(struct link *link) {
    link->busy = true;
    link->function->calm = DISPATCH_CALM;
    link_take_outbox(link);
    if (link->in_flight < 2 || link->withdrawn_ns)
        return;
    link->withdrawn = link->sent;
    atomic_store(&link->page->withdrawn, link->withdrawn);
    link->withdrawn_ns = clock_now_ns();
}

static void processes_end_withdrawal(struct dispatch *dispatch, struct link *link) {
    if (clock_now_ns() - link->withdrawn_ns < PAGE_WITHDRAW_MS * CLOCK_NS_PER_MS)
        return;
    link->withdrawn_ns = 0;
    processes_take_back(dispatch, link, link->withdrawn, false);
}

static void processes_sweep_running(struct dispatch *dispatch, struct link *link, struct call *call,
                                    uint64_t now_ns) {
    uint64_t timeout_ms = link->function->version->meta.limits.timeout_ms;
    if (!call->running_ns)
        call->running_ns = now_ns;
    else if (now_ns - call->running_ns > timeout_ms * CLOCK_NS_PER_MS)
        processes_kill(dispatch, link, ERR_TIMEOUT);
    else
        processes_unblock(link);
}

static void processes_sweep_link(struct dispatch *dispatch, struct link *link, uint64_t now_ns) {
    uint64_t waited_ms = (now_ns - link->since_ns) / CLOCK_NS_PER_MS;
    uint64_t timeout_ms = link->function->version->meta.limits.timeout_ms;
    if (link->withdrawn_ns && !link->exited)
        processes_end_withdrawal(dispatch, link);
    struct call *running = processes_running(link);
    if (link->exited) {
        if (waited_ms > DISPATCH_VERDICT_MS)
            processes_finish(dispatch, link);
    } else if (link->kill_code) {
        return; /* its end is under way */
    } else if ((link->ended && !link->script) || (link->retiring && link->in_flight == 0)) {
        /* One that had its only call may have work left that the answer did not wait for. */
        if (waited_ms > (link->single ? timeout_ms : DISPATCH_BROKEN_MS))
            processes_kill(dispatch, link, ERR_CRASH);
    } else if (running) {
        processes_sweep_running(dispatch, link, running, now_ns);
    } else if (link->in_flight > 0 || !link->loaded) {
        if (waited_ms > timeout_ms + DISPATCH_LOAD_GRACE_MS) {
            link->stuck = true;
            processes_kill(dispatch, link, ERR_TIMEOUT);
        }
    } else if (waited_ms > DISPATCH_IDLE_S * 1000) {
        processes_give_back(link);
    }
}

void processes_sweep(struct dispatch *dispatch, uint64_t now_ns) {
    for (struct link *link = dispatch->process_links; link;) {
        struct link *next = link->all_next;
        processes_sweep_link(dispatch, link, now_ns);
        link = next;
    }
    for (struct dispatch_function *function = dispatch->waiting; function;) {
        struct dispatch_function *next = function->waiting_next;
        if (!function->version->meta.wasm)
            processes_pump(dispatch, function);
        function = next;
    }
}
