#include "server/registrar.h"

#include <stddef.h>

#include "base/log.h"

static void registrar_register(struct registrar *registrar, uint32_t worker) {
    struct message message = {.type = MESSAGE_LB_REGISTER,
                              .worker = worker,
                              .pid = registrar->workers[worker].pid,
                              .generation = registrar->workers[worker].generation,
                              .weight = registrar->workers[worker].weight};
    registrar->workers[worker].registered = false;
    peer_send(&registrar->peer, &message, NULL, 0);
}

static void registrar_connect(struct registrar *registrar) {
    struct err err;
    int fd = -1;
    if (message_connect(registrar->path, &fd, &err) < 0 || peer_open(&registrar->peer, fd, &err) < 0) {
        loop_arm(registrar->loop, &registrar->retry, REGISTRAR_RETRY_NS);
        return;
    }
    if (registrar->lost)
        log_event("the load balancer is back");
    registrar->lost = false;
    struct message hello = {.type = MESSAGE_LB_HELLO,
                            .role = MESSAGE_ROLE_SERVER,
                            .target = registrar->target,
                            .least = registrar->least,
                            .most = registrar->most};
    peer_send(&registrar->peer, &hello, NULL, 0);
    for (uint32_t worker = 0; worker < TABLE_WORKERS; worker++)
        if (registrar->workers[worker].known)
            registrar_register(registrar, worker);
}

static void registrar_on_message(struct peer *peer, const struct message *message, int *fds, int fd_count) {
    (void)fds; /* the table: the server has no use for it */
    (void)fd_count;
    struct registrar *registrar = peer->context;
    uint32_t worker = message->worker;
    if (message->type == MESSAGE_LB_SCALE)
        registrar->target = registrar->on_scale(registrar->context, message->target);
    if (message->type != MESSAGE_LB_REGISTERED || worker >= TABLE_WORKERS ||
        !registrar->workers[worker].known || registrar->workers[worker].registered ||
        registrar->workers[worker].pid != message->pid)
        return;
    registrar->workers[worker].registered = true;
    registrar->on_registered(registrar->context, worker);
}

static void registrar_on_close(struct peer *peer, const struct err *why) {
    struct registrar *registrar = peer->context;
    log_event("lost the load balancer (%s); workers go on serving", why->msg);
    registrar->lost = true;
    peer_close(peer);
    loop_arm(registrar->loop, &registrar->retry, REGISTRAR_RETRY_NS);
}

static void registrar_on_retry(struct loop_timer *timer) {
    registrar_connect(timer->context);
}

void registrar_init(struct registrar *registrar) {
    registrar->peer = (struct peer){.loop = registrar->loop,
                                    .watch.fd = -1,
                                    .on_message = registrar_on_message,
                                    .on_close = registrar_on_close,
                                    .context = registrar};
    registrar->retry = (struct loop_timer){.on_timer = registrar_on_retry, .context = registrar};
}

void registrar_start(struct registrar *registrar) {
    registrar_connect(registrar);
}

void registrar_stop(struct registrar *registrar) {
    loop_disarm(registrar->loop, &registrar->retry);
    peer_close(&registrar->peer);
}

void registrar_add(struct registrar *registrar, const struct message *worker) {
    registrar->workers[worker->worker].known = true;
    registrar->workers[worker->worker].pid = worker->pid;
    registrar->workers[worker->worker].generation = worker->generation;
    registrar->workers[worker->worker].weight = worker->weight;
    registrar_register(registrar, worker->worker);
}

void registrar_remove(struct registrar *registrar, uint32_t worker, int code) {
    if (!registrar->workers[worker].known)
        return;
    registrar->workers[worker].known = false;
    struct message message = {
        .type = MESSAGE_LB_GONE, .worker = worker, .pid = registrar->workers[worker].pid, .code = code};
    peer_send(&registrar->peer, &message, NULL, 0);
}
