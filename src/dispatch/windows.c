/* Which process gets a call, how many it has at a time, and how those are taken back that it has not started.
 *
 * A process gets one call at a time, or several while the function's calls are short: then a wake-up carries
 * many. What is sent behind a call that turns out long is taken back (wire/page.h says how). */
#include <string.h>

#include "base/clock.h"
#include "dispatch/dispatch_internal.h"

struct call *windows_running(const struct link *link) {
    uint64_t started = atomic_load(&link->page->started);
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++)
        if (link->slots[slot] && link->slots[slot]->number == started)
            return link->slots[slot];
    return NULL;
}

struct call *windows_first(const struct link *link) {
    struct call *first = NULL;
    for (unsigned slot = 0; slot < LINK_WINDOW; slot++)
        if (link->slots[slot] && (!first || link->slots[slot]->number < first->number))
            first = link->slots[slot];
    return first;
}

void windows_send(struct dispatch *dispatch, struct link *link, struct call *call) {
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

uint32_t windows_size(const struct dispatch_function *function) {
    if (function->calm > 0 || function->version->meta.isolated)
        return 1;
    uint64_t window = DISPATCH_WINDOW_US * 1000 / (function->cost.typical_ns + 1);
    return window < 1 ? 1 : window > LINK_WINDOW ? LINK_WINDOW : (uint32_t)window;
}

static bool windows_takes_call(const struct link *link, uint32_t window) {
    return !link->script && !link->retiring && !link->busy && !link->ended && !link->exited &&
           !link->kill_code && link->in_flight < (link->loaded ? window : 1) &&
           (link->in_flight == 0 || link->out.len - link->out_sent < DISPATCH_PIPE_BYTES);
}

/* The process with the least before it; the first of those that have next to nothing. */
struct link *windows_find(const struct dispatch_function *function) {
    struct link *best = NULL;
    uint64_t best_ns = UINT64_MAX;
    uint32_t window = windows_size(function);
    for (struct link *link = function->processes; link; link = link->next) {
        if (!windows_takes_call(link, window))
            continue;
        uint64_t before_ns = link->in_flight * function->cost.typical_ns;
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
static void windows_observe(struct dispatch_function *function, uint64_t run_ns) {
    uint64_t long_ns = DISPATCH_SHORT_MS * CLOCK_NS_PER_MS;
    if (run_ns >= long_ns)
        function->calm = DISPATCH_CALM;
    else if (function->calm > 0)
        function->calm--;
}

void windows_take_back(struct dispatch *dispatch, struct link *link, uint64_t last, bool counts) {
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

void windows_take_answer(struct link *link, const struct frame *frame) {
    struct dispatch *dispatch = link->owner;
    struct frame_answer fixed = {0};
    if (frame->header.length >= sizeof fixed)
        memcpy(&fixed, frame->payload, sizeof fixed);
    windows_observe(link->function, fixed.run_ns);
    if (fixed.flags & FRAME_ANSWER_LAST)
        link->function->calm = DISPATCH_CALM;
    link->busy = false;
    dispatch->totals.crashes += fixed.code == ERR_CRASH; /* of a child that it forked for the call */
    dispatch_take_answer(link, frame);
    processes_after_answer(dispatch, link);
}

/* A call that was withdrawn, and that the process says it has not run: most went elsewhere long ago. */
bool windows_take_skip(struct link *link, const struct frame *frame) {
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

/* A call that two sweeps have seen running holds up neither those before it, whose answers are in the outbox,
 * nor those behind it. */
void windows_unblock(struct link *link) {
    link->busy = true;
    link->function->calm = DISPATCH_CALM;
    link_take_outbox(link);
    if (link->in_flight >= 2 && !link->withdrawn_ns)
        windows_withdraw(link);
}

void windows_withdraw(struct link *link) {
    link->withdrawn = link->sent;
    atomic_store(&link->page->withdrawn, link->withdrawn);
    link->withdrawn_ns = clock_now_ns();
}

void windows_end_withdrawal(struct dispatch *dispatch, struct link *link) {
    if (clock_now_ns() - link->withdrawn_ns < PAGE_WITHDRAW_MS * CLOCK_NS_PER_MS)
        return;
    link->withdrawn_ns = 0;
    windows_take_back(dispatch, link, link->withdrawn, false);
    if (link->retiring && link->in_flight == 0 && !link->exited)
        processes_give_back(link);
}
