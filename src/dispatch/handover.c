/* Another gateway takes our place: it gets the workers, and the calls that nobody has started. Those that run
 * end here. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "dispatch/dispatch_internal.h"

void handover_on_turn(struct dispatch *dispatch) {
    processes_hand_over(dispatch);
    while (dispatch->waiting) {
        struct call *call = dispatch_pop(dispatch, dispatch->waiting);
        struct storage_version *version = call->version;
        call_move(call, CALL_RETURNED);
        dispatch->on_return(dispatch->config.context, call);
        storage_unref(dispatch->config.storage, version);
    }
}

/* Nothing of its stream is half written or half read, and no SKIPPED is due. */
static bool handover_is_clean(const struct link *link) {
    return link->in_flight == 0 && link->skips == 0 && link->withdrawn_ns == 0 && link->ahead == 0 &&
           link->in.len == 0 && link->out.len == link->out_sent;
}

bool handover_process(struct dispatch *dispatch, struct link *link) {
    if (!handover_is_clean(link) || link->single || link->ended || link->exited || link->kill_code ||
        link->stdout_fd < 0 || link->stderr_fd < 0 || link->stdin_fd < 0 || link->calls_fd < 0 ||
        link->function->retired || link->server != dispatch->server)
        return false;
    struct message message = {.type = MESSAGE_GATEWAY_PROCESS,
                              .runtime = (uint8_t)link->runtime,
                              .worker = link->worker,
                              .pid = link->pid,
                              .status = link->loaded};
    snprintf(message.text, sizeof message.text, "%s %" PRIu64 " %" PRIu64, link->function->version->meta.id,
             link->sent, link->received);
    const int fds[] = {link->calls_fd, link->answers_fd, link->page_fd,  link->pidfd,
                       link->stdin_fd, link->stdout_fd,  link->stderr_fd};
    if (!dispatch->on_process(dispatch->config.context, &message, fds))
        return false;
    link->handed = true;
    processes_close(dispatch, link);
    return true;
}

void dispatch_adopt(struct dispatch *dispatch, const struct message *message, int *fds) {
    struct err err;
    struct link *link;
    struct message process = *message;
    char id[STORAGE_ID_MAX + 1];
    uint64_t sent, received;
    process.type = MESSAGE_SERVER_PROCESS;
    if (link_open(dispatch->loop, &processes_handlers, &process, fds, &link, &err) != 0) {
        log_event("process %d: %s", message->pid, err.msg);
        return;
    }
    link->owner = dispatch;
    link->server = dispatch->server;
    struct storage_version *version = NULL;
    if (sscanf(message->text, "%96s %" SCNu64 " %" SCNu64, id, &sent, &received) == 3)
        version = storage_find(dispatch->config.storage, id, strlen(id));
    struct dispatch_function *function = version ? dispatch_function_of(dispatch, version) : NULL;
    if (!function || !version->current || !peers_claim_process(dispatch, message)) {
        link_close(link); /* it ends by itself */
        return;
    }
    storage_ref(version);
    link->sent = sent;
    link->received = received;
    link->loaded = message->status != 0;
    link->fresh = sent == 0;
    processes_enlist(dispatch, link, function);
    sweep_arm(dispatch);
    if (link->function->queue_head)
        processes_pump(dispatch, link->function);
}

void dispatch_hand_over(struct dispatch *dispatch, dispatch_on_return *on_return,
                        dispatch_on_process *on_process) {
    dispatch->on_return = on_return;
    dispatch->on_process = on_process;
    loop_disarm(dispatch->loop, &dispatch->reconnect);
    loop_disarm(dispatch->loop, &dispatch->settle);
    starts_forget(dispatch, 0);
    for (uint32_t i = 0; i < TABLE_WORKERS; i++)
        if (dispatch->wasm[i])
            wasm_retire(dispatch, dispatch->wasm[i]);
    sweep_arm(dispatch);
    handover_on_turn(dispatch);
}
