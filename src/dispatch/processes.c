/* The processes of Node.js and Python functions: their life from LOAD to end. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "dispatch/dispatch_internal.h"

void processes_close(struct dispatch *dispatch, struct link *link) {
    struct dispatch_function *function = link->function;
    struct storage_version *version = function->version;
    if (!link->exited && !link->handed)
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
void processes_give_back(struct link *link) {
    link->retiring = true;
    link_shut(link);
    link->since_ns = loop_now_ns(link->loop);
}

/* The process ended and all that will be known of it is known. */
static void processes_finish(struct dispatch *dispatch, struct link *link) {
    const char *error;
    int exit_code;
    if (link->script && link->slots[0]) {
        script_finish(dispatch, link);
    } else if (link->in_flight > 0) {
        int code = verdict_of(link, &error, &exit_code);
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
        windows_take_back(dispatch, link, link->sent, link->calls == 0 && !windows_running(link));
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

void processes_gone(struct dispatch *dispatch, const struct message *message, uint32_t server) {
    for (struct link *link = dispatch->process_links; link; link = link->all_next)
        if (link->worker == message->worker && link->server == server) {
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

void processes_pump(struct dispatch *dispatch, struct dispatch_function *function) {
    struct link *link;
    if (dispatch->on_return)
        return;
    while (function->queue_head && dispatch_may_run(function) && (link = windows_find(function)))
        windows_send(dispatch, link, dispatch_pop(dispatch, function));
    if (function->queue_head && dispatch_may_run(function))
        starts_grow(dispatch, function);
}

void processes_after_answer(struct dispatch *dispatch, struct link *link) {
    link->since_ns = loop_now_ns(dispatch->loop);
    struct dispatch_function *function = link->function;
    if (function->queue_head)
        processes_pump(dispatch, function);
    if (link->in_flight == 0 && (link->retiring || function->retired) && !link->leaving)
        processes_give_back(link);
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

/* Processes of servers before that one. */
static void processes_retire_before(struct dispatch_function *function, uint32_t server) {
    for (struct link *link = function->processes; link; link = link->next)
        if (link->server < server)
            processes_retire_link(link);
}

static void processes_on_frame(struct link *link, const struct frame *frame) {
    if (frame->header.type == FRAME_LOADED) {
        link->loaded = true;
        link->since_ns = loop_now_ns(link->loop);
        processes_retire_before(link->function, link->server);
    } else if (frame->header.type == FRAME_ANSWER) {
        windows_take_answer(link, frame);
    } else if (frame->header.type != FRAME_SKIPPED || !windows_take_skip(link, frame)) {
        link->kill_code = ERR_BAD_ANSWER;
        link_kill(link);
    }
}

const struct link_handlers processes_handlers = {processes_on_frame, processes_on_end, processes_on_exit,
                                                 processes_on_text};

/* ---- starts ---- */

static bool processes_load(struct dispatch *dispatch, struct link *link, struct storage_version *version) {
    struct err err;
    struct buf source = {0};
    char file[32];
    snprintf(file, sizeof file, "code.%s", storage_lang_find(version->meta.lang)->extension);
    int rc = storage_read(dispatch->config.storage, version->meta.id, file, 256u << 20, &source, &err);
    bool loaded =
        rc == 0 && dispatch_send_load(link, version, (struct call_bytes){source.data, source.len}, false);
    if (rc != 0)
        log_event("'%s': %s", version->meta.id, err.msg);
    buf_fini(&source);
    return loaded;
}

void processes_enlist(struct dispatch *dispatch, struct link *link, struct dispatch_function *function) {
    const struct storage_version *version = function->version;
    link->function = function;
    link->script = strcmp(version->meta.entry, "script") == 0;
    link->single = starts_serve_one_call(version);
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
}

void processes_attach(struct dispatch *dispatch, const struct message *message, int *fds, uint32_t server) {
    struct err err;
    struct link *link;
    bool stale;
    struct storage_version *version = starts_take(dispatch, message->request, &stale);
    if (link_open(dispatch->loop, &processes_handlers, message, fds, &link, &err) != 0) {
        log_event("process %d: %s", message->pid, err.msg);
        if (version)
            storage_unref(dispatch->config.storage, version);
        return;
    }
    link->owner = dispatch;
    link->server = server;
    if (!version) {
        link_kill(link);
        link_close(link);
        return;
    }
    struct dispatch_function *function = version->runtime_data;
    processes_enlist(dispatch, link, function);
    sweep_arm(dispatch);
    bool wanted = function->queue_head && dispatch_may_run(function);
    if (stale || (link->single && !wanted)) {
        processes_close(dispatch, link);
        return;
    }
    if (!processes_load(dispatch, link, version)) {
        storage_ref(version);
        processes_close(dispatch, link);
        dispatch_fail_queue(dispatch, function, ERR_INTERNAL,
                            "the function's source or its variables cannot be read");
        storage_unref(dispatch->config.storage, version);
        return;
    }
    if (link->script)
        script_run(dispatch, link, dispatch_pop(dispatch, function));
    else if (wanted)
        processes_pump(dispatch, function);
    dispatch_mark_dirty(dispatch, link);
}

void processes_close_all(struct dispatch *dispatch) {
    starts_forget(dispatch, 0);
    while (dispatch->process_links) {
        dispatch_fail_link(dispatch, dispatch->process_links, ERR_DRAINING, "the platform is shutting down");
        processes_close(dispatch, dispatch->process_links);
    }
}

void processes_server_lost(struct dispatch *dispatch, uint32_t server) {
    starts_forget(dispatch, server);
    for (struct link *link = dispatch->process_links; link;) {
        struct link *next = link->all_next;
        if (link->exited && link->server == server)
            processes_finish(dispatch, link);
        link = next;
    }
}

void processes_retire(struct dispatch_function *function) {
    for (struct link *link = function->processes; link; link = link->next)
        processes_retire_link(link);
}

void processes_retire_all(struct dispatch *dispatch) {
    for (struct link *link = dispatch->process_links; link; link = link->all_next)
        processes_retire_link(link);
}

void processes_renew(struct dispatch_function *function) {
    for (struct link *link = function->processes; link; link = link->next) {
        if (link->script || link->exited || link->kill_code)
            continue;
        bool busy = link->in_flight > 0;
        if (!busy)
            processes_retire_link(link);
        link->retiring = true;
        if (busy)
            windows_withdraw(link);
    }
}

void processes_hand_over(struct dispatch *dispatch) {
    for (struct link *link = dispatch->process_links; link;) {
        struct link *next = link->all_next;
        link->leaving |= !link->retiring;
        if (link->leaving && link->in_flight > 0)
            processes_retire_link(link);
        else if (link->leaving && link->calls_fd >= 0 && !handover_process(dispatch, link))
            processes_give_back(link);
        link = next;
    }
}

void processes_replace(struct dispatch *dispatch) {
    for (struct dispatch_function *function = dispatch->all; function; function = function->all_next)
        if (function->process_count > 0 && !function->retired && !starts_serve_one_call(function->version))
            starts_replace(dispatch, function);
}

void processes_retire_former(struct dispatch *dispatch) {
    for (struct link *link = dispatch->process_links; link; link = link->all_next)
        if (link->server < dispatch->server)
            processes_retire_link(link);
}

/* ---- the clock ---- */

void processes_kill(struct dispatch *dispatch, struct link *link, int code) {
    if (!link->kill_code)
        link->kill_code = code;
    dispatch->totals.killed++;
    link->since_ns = loop_now_ns(dispatch->loop);
    link_kill(link);
}

static void processes_sweep_running(struct dispatch *dispatch, struct link *link, struct call *call,
                                    uint64_t now_ns) {
    if (!call->running_ns)
        call->running_ns = now_ns;
    else if (now_ns - call->running_ns > call->timeout_ms * CLOCK_NS_PER_MS)
        processes_kill(dispatch, link, ERR_TIMEOUT);
    else
        windows_unblock(link);
    cpu_watch(dispatch, link, call, now_ns);
}

static void processes_sweep_link(struct dispatch *dispatch, struct link *link, uint64_t now_ns) {
    uint64_t waited_ms = (now_ns - link->since_ns) / CLOCK_NS_PER_MS;
    uint64_t timeout_ms = link->function->version->meta.limits.timeout_ms;
    if (link->withdrawn_ns && !link->exited)
        windows_end_withdrawal(dispatch, link);
    struct call *running = windows_running(link);
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
        /* Whoever writes nonsense to the page has started something, too. */
        if (link->loaded)
            cpu_watch(dispatch, link, windows_first(link), now_ns);
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
    starts_sweep(dispatch, now_ns);
}
