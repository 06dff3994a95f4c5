/* Plain scripts of Node.js and Python: one process, one call. The payload goes to stdin, the answer is what
 * comes from stdout, the result is how the process ended. */
#include "base/clock.h"
#include "dispatch/dispatch_internal.h"

void script_run(struct dispatch *dispatch, struct link *link, struct call *call) {
    call->cold = true;
    link->fresh = false;
    call->number = ++link->sent;
    dispatch_mark_sent(dispatch, link, call);
    link_feed_stdin(link, call->body);
    dispatch_send_call(link, call, (struct call_bytes){0}); /* the payload is on stdin */
    dispatch_mark_dirty(dispatch, link);
}

void script_on_text(struct link *link, int stream, struct call_bytes text) {
    (void)stream;
    struct dispatch *dispatch = link->owner;
    size_t limit = (size_t)link->function->version->meta.limits.output_mb << 20;
    if (link->kill_code)
        return;
    size_t room = limit - link->output.len;
    buf_append(&link->output, text.data, text.len < room ? text.len : room);
    if (text.len <= room && !link->output.failed)
        return;
    link->kill_code = ERR_OUTPUT;
    dispatch->totals.killed++;
    link_kill(link);
}

void script_finish(struct dispatch *dispatch, struct link *link) {
    struct call *call = link->slots[0];
    uint64_t now_ns = clock_now_ns();
    struct call_answer answer = {
        .output = {link->output.data, link->output.len},
        .cold = true,
        .queue_ns = call->sent_ns - call->admitted_ns,
        .run_ns = now_ns - call->sent_ns,
    };
    const char *error;
    answer.code = verdict_of(link, &error, &answer.exit_code);
    if (answer.code != ERR_OK)
        answer.error = error;
    link->calls++;
    dispatch->totals.crashes += answer.code == ERR_CRASH;
    dispatch_answer(dispatch, call, &answer);
}
