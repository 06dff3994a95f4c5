/* The CPU time of calls in Node.js and Python processes that have a limit of it (cpu_ms).
 *
 * The server says what a process and all below it have used (server/usage.h). It is asked when a call is
 * first seen running, and then when the call could have reached its limit with all cores: a handful of times
 * a call, and never for one that is done before the sweep has seen it. */
#include "base/clock.h"
#include "dispatch/dispatch_internal.h"

enum { CPU_STEP_MS = 10 };

void cpu_watch(struct dispatch *dispatch, struct link *link, const struct call *call, uint64_t now_ns) {
    struct link_cpu *cpu = &link->cpu;
    if (call->cpu_ms == 0)
        return;
    if (cpu->call_id != call->id)
        *cpu = (struct link_cpu){.call_id = call->id, .limit_ms = call->cpu_ms};
    if (cpu->asked || now_ns < cpu->due_ns)
        return;
    cpu->asked = peers_ask_usage(dispatch, link, ++dispatch->usage_request);
    cpu->request = dispatch->usage_request;
}

static void cpu_take(struct dispatch *dispatch, struct link *link, uint32_t used_ms) {
    struct link_cpu *cpu = &link->cpu;
    cpu->asked = false;
    if (!cpu->known) {
        cpu->known = true;
        cpu->before_ms = used_ms;
    }
    /* The total falls a little when a child ends between two looks. */
    uint32_t spent_ms = used_ms > cpu->before_ms ? used_ms - cpu->before_ms : 0;
    if (spent_ms >= cpu->limit_ms) {
        processes_kill(dispatch, link, ERR_CPU);
        return;
    }
    uint32_t wait_ms = (cpu->limit_ms - spent_ms) / dispatch->cores;
    cpu->due_ns =
        loop_now_ns(dispatch->loop) + (wait_ms > CPU_STEP_MS ? wait_ms : CPU_STEP_MS) * CLOCK_NS_PER_MS;
}

void cpu_on_usage(struct dispatch *dispatch, const struct message *message, uint32_t server) {
    for (struct link *link = dispatch->process_links; link; link = link->all_next) {
        if (link->worker != message->worker || link->server != server)
            continue;
        /* An answer to what was asked for the call before says nothing of this one. */
        if (link->cpu.asked && link->cpu.request == message->request && link->in_flight > 0 &&
            !link->exited && !link->kill_code)
            cpu_take(dispatch, link, message->target);
        return;
    }
}
