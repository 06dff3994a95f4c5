/* The two sockets: to the server, which hands over the workers' pipes, and to the load balancer, which hands
 * over the table. Both may be away at any time; what they gave last goes on serving. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "dispatch/dispatch_internal.h"
#include "egress/broker.h"

/* A server that the next has taken over from: it knows how our processes of it end. */
struct peers_former {
    struct dispatch *dispatch; /* borrowed */
    struct loop_watch watch;   /* its fd is owned */
    uint32_t server;           /* number of the connection */
    struct peers_former *next;
};

static void peers_arm(struct dispatch *dispatch) {
    if (!dispatch->reconnect.armed && !dispatch->on_return &&
        (dispatch->server_fd < 0 || dispatch->balancer_fd < 0))
        loop_arm(dispatch->loop, &dispatch->reconnect, DISPATCH_RECONNECT_MS * CLOCK_NS_PER_MS);
}

/* ---- server ---- */

static void peers_connect_server(struct dispatch *dispatch);

/* Its workers serve on until others are there. */
static void peers_forget_server(struct dispatch *dispatch) {
    loop_unwatch(dispatch->loop, &dispatch->server_watch);
    dispatch->server_fd = -1;
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        if (dispatch->wasm[i])
            dispatch->wasm[i]->orphan = true;
}

static void peers_server_lost(struct dispatch *dispatch) {
    close(dispatch->server_fd);
    peers_forget_server(dispatch);
    log_event("lost the server; its running workers go on serving");
    processes_server_lost(dispatch, dispatch->server);
    peers_arm(dispatch);
}

static void peers_take_worker(struct dispatch *dispatch, const struct message *message, int *fds) {
    wasm_attach(dispatch, message, fds);
    if (message->generation > 0)
        dispatch->totals.worker_restarts +=
            dispatch->seen_generation[message->worker] < message->generation
                ? message->generation - dispatch->seen_generation[message->worker]
                : 0;
    dispatch->seen_generation[message->worker] = message->generation;
}

/* Nothing more for its workers: they end when they have answered what they have. Calls wait for the next
 * server. */
static void peers_server_drains(struct dispatch *dispatch) {
    log_event("the server is stopping");
    for (uint32_t i = 0; i < TABLE_WORKERS; i++)
        if (dispatch->wasm[i])
            wasm_retire(dispatch, dispatch->wasm[i]);
    processes_retire_all(dispatch);
}

/* One worker fewer is needed. */
static void peers_retire_worker(struct dispatch *dispatch, const struct message *message) {
    struct link *link = message->worker < TABLE_WORKERS ? dispatch->wasm[message->worker] : NULL;
    if (link && link->pid == message->pid)
        wasm_retire(dispatch, link);
}

/* What a server that was replaced may still say, too. */
static void peers_on_process_message(struct dispatch *dispatch, const struct message *message, int *fds,
                                     int fd_count, uint32_t server) {
    if (message->type == MESSAGE_SERVER_PROCESS && fd_count == 7) {
        processes_attach(dispatch, message, fds, server);
        return;
    }
    for (int i = 0; i < fd_count; i++)
        close(fds[i]);
    if (message->type == MESSAGE_SERVER_START_FAILED)
        starts_failed(dispatch, message);
    else if (message->type == MESSAGE_SERVER_GONE)
        processes_gone(dispatch, message, server);
    else if (message->type == MESSAGE_SERVER_USAGE)
        cpu_on_usage(dispatch, message, server);
}

static void peers_drop_former(struct peers_former *former) {
    struct dispatch *dispatch = former->dispatch;
    struct peers_former **at = &dispatch->formers;
    while (*at != former)
        at = &(*at)->next;
    *at = former->next;
    loop_unwatch(dispatch->loop, &former->watch);
    close(former->watch.fd);
    loop_defer(dispatch->loop, free, former);
}

static void peers_on_former(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct peers_former *former = watch->context;
    struct dispatch *dispatch = former->dispatch;
    struct message message;
    struct err err;
    int fds[MESSAGE_FDS_MAX], fd_count, rc;
    while ((rc = message_receive(watch->fd, &message, fds, &fd_count, &err)) > 0)
        peers_on_process_message(dispatch, &message, fds, fd_count, former->server);
    if (rc == 0)
        return;
    processes_server_lost(dispatch, former->server);
    peers_drop_former(former);
}

/* Goes over to the next server. What runs on the workers and processes of this one goes on. */
static void peers_server_replaced(struct dispatch *dispatch) {
    struct err err;
    struct peers_former *former = mem_zalloc(sizeof *former);
    int fd = dispatch->server_fd;
    log_event("the server is replaced");
    peers_forget_server(dispatch);
    *former = (struct peers_former){.dispatch = dispatch,
                                    .watch = {.fd = fd, .on_event = peers_on_former, .context = former},
                                    .server = dispatch->server,
                                    .next = dispatch->formers};
    dispatch->formers = former;
    if (loop_watch(dispatch->loop, &former->watch, EPOLLIN, &err) != 0)
        peers_drop_former(former);
    if (!dispatch->on_return)
        peers_connect_server(dispatch);
    if (dispatch->server_fd >= 0)
        processes_replace(dispatch);
    peers_arm(dispatch);
}

static void peers_on_message(struct dispatch *dispatch, const struct message *message, int *fds,
                             int fd_count) {
    if (message->type == MESSAGE_SERVER_WORKER && fd_count == 4 && message->worker < TABLE_WORKERS &&
        !dispatch->on_return) {
        peers_take_worker(dispatch, message, fds);
        return;
    }
    peers_on_process_message(dispatch, message, fds, fd_count, dispatch->server);
    if (message->type == MESSAGE_SERVER_DRAINING)
        peers_server_drains(dispatch);
    else if (message->type == MESSAGE_SERVER_REPLACED)
        peers_server_replaced(dispatch);
    else if (message->type == MESSAGE_SERVER_RETIRE)
        peers_retire_worker(dispatch, message);
    else if (message->type == MESSAGE_SERVER_RUNTIMES && message->text[0])
        log_event("this machine has no %s: functions of that kind are not served", message->text);
}

static void peers_on_server(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct dispatch *dispatch = watch->context;
    struct message message;
    struct err err;
    int fds[MESSAGE_FDS_MAX], fd_count, rc;
    int fd = dispatch->server_fd;
    while ((rc = message_receive(fd, &message, fds, &fd_count, &err)) > 0) {
        peers_on_message(dispatch, &message, fds, fd_count);
        if (dispatch->server_fd != fd)
            return; /* another one now */
    }
    if (rc < 0)
        peers_server_lost(dispatch);
}

static void peers_on_settle(struct loop_timer *timer) {
    struct dispatch *dispatch = timer->context;
    bool fresh = false;
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        fresh |= dispatch->wasm[i] && !dispatch->wasm[i]->orphan;
    if (fresh)
        wasm_retire_orphans(dispatch);
    if (fresh)
        processes_retire_former(dispatch);
    else if (dispatch->server_fd >= 0)
        loop_arm(dispatch->loop, timer, DISPATCH_SETTLE_MS * CLOCK_NS_PER_MS);
}

static int peers_connect(struct dispatch *dispatch, const char *socket_name, int *fd,
                         struct loop_watch *watch, loop_on_event *on_event) {
    struct err err;
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", dispatch->config.run_dir, socket_name);
    if (message_connect(path, fd, &err) != 0)
        return -1;
    *watch = (struct loop_watch){.fd = *fd, .on_event = on_event, .context = dispatch};
    if (loop_watch(dispatch->loop, watch, EPOLLIN, &err) == 0)
        return 0;
    close(*fd);
    *fd = -1;
    return -1;
}

/* Bits of the runtimes of which there is no function. */
static uint32_t peers_unwanted(struct dispatch *dispatch) {
    uint32_t unwanted = 1u << RUNTIME_NODE | 1u << RUNTIME_PYTHON;
    struct storage *storage = dispatch->config.storage;
    struct storage_version *at = storage_next(storage, NULL);
    for (; at && unwanted; at = storage_next(storage, at))
        unwanted &= ~(1u << storage_lang_find(at->meta.lang)->runtime);
    return unwanted;
}

void dispatch_expect(struct dispatch *dispatch, enum runtime runtime) {
    struct err err;
    struct message message = {
        .type = MESSAGE_SERVER_WANTED, .format = MESSAGE_FORMAT, .runtime = (uint8_t)runtime};
    if (dispatch->server_fd >= 0 && (dispatch->unwanted >> runtime & 1) &&
        message_send(dispatch->server_fd, &message, NULL, 0, &err) == 0)
        dispatch->unwanted &= ~(1u << runtime);
}

static void peers_connect_server(struct dispatch *dispatch) {
    struct err err;
    if (peers_connect(dispatch, "faas_server.sock", &dispatch->server_fd, &dispatch->server_watch,
                      peers_on_server) != 0) {
        if (!dispatch->server_lost_logged)
            log_event("waiting for the server");
        dispatch->server_lost_logged = true;
        return;
    }
    dispatch->server_lost_logged = false;
    dispatch->server++;
    dispatch->unwanted = peers_unwanted(dispatch);
    struct message hello = {.type = MESSAGE_SERVER_HELLO,
                            .format = MESSAGE_FORMAT,
                            .role = MESSAGE_ROLE_GATEWAY,
                            .request = dispatch->unwanted};
    if (message_send(dispatch->server_fd, &hello, NULL, 0, &err) != 0) {
        peers_server_lost(dispatch);
        return;
    }
    log_event("connected to the server");
    loop_arm(dispatch->loop, &dispatch->settle, DISPATCH_SETTLE_MS * CLOCK_NS_PER_MS);
}

bool peers_ask_process(struct dispatch *dispatch, struct storage_version *version, uint32_t request) {
    struct err err;
    struct message message = {.type = MESSAGE_SERVER_START,
                              .format = MESSAGE_FORMAT,
                              .role = MESSAGE_ROLE_GATEWAY,
                              .runtime = (uint8_t)storage_lang_find(version->meta.lang)->runtime,
                              .request = request,
                              .limits = version->meta.limits};
    snprintf(message.text, sizeof message.text, "%s", version->meta.name);
    if (dispatch->server_fd < 0)
        return false;
    if (!version->meta.allow[0])
        return message_send(dispatch->server_fd, &message, NULL, 0, &err) == 0;
    MEM_CLOSE_FD int policy_fd = -1;
    message.type = MESSAGE_SERVER_START_NET;
    return broker_write_policy(dispatch->config.gateway_port, version->meta.allow, &policy_fd, &err) == 0 &&
           message_send(dispatch->server_fd, &message, &policy_fd, 1, &err) == 0;
}

/* To the server that a process is from; -1: it is away. */
static int peers_server_of(const struct dispatch *dispatch, const struct link *link) {
    for (const struct peers_former *former = dispatch->formers; former; former = former->next)
        if (former->server == link->server)
            return former->watch.fd;
    return link->server == dispatch->server ? dispatch->server_fd : -1;
}

bool peers_ask_usage(struct dispatch *dispatch, const struct link *link, uint32_t request) {
    struct err err;
    int fd = peers_server_of(dispatch, link);
    struct message message = {.type = MESSAGE_SERVER_MEASURE,
                              .format = MESSAGE_FORMAT,
                              .role = MESSAGE_ROLE_GATEWAY,
                              .worker = link->worker,
                              .request = request};
    return fd >= 0 && message_send(fd, &message, NULL, 0, &err) == 0;
}

bool peers_claim_process(struct dispatch *dispatch, const struct message *process) {
    struct err err;
    struct message message = {.type = MESSAGE_SERVER_ADOPT,
                              .format = MESSAGE_FORMAT,
                              .worker = process->worker,
                              .pid = process->pid};
    return dispatch->server_fd >= 0 && message_send(dispatch->server_fd, &message, NULL, 0, &err) == 0;
}

/* ---- load balancer ---- */

static void peers_strategy_done(struct dispatch *dispatch, const struct err *err) {
    dispatch_on_strategy *on_strategy = dispatch->on_strategy;
    dispatch->on_strategy = NULL;
    loop_disarm(dispatch->loop, &dispatch->strategy_timer);
    if (on_strategy)
        on_strategy(dispatch->strategy_context, err);
}

static void peers_on_strategy_late(struct loop_timer *timer) {
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "the load balancer does not answer");
    peers_strategy_done(timer->context, &err);
}

static void peers_balancer_lost(struct dispatch *dispatch) {
    loop_unwatch(dispatch->loop, &dispatch->balancer_watch);
    close(dispatch->balancer_fd);
    dispatch->balancer_fd = -1;
    log_event("lost the load balancer; its last table goes on serving");
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "the load balancer went away");
    peers_strategy_done(dispatch, &err);
    peers_arm(dispatch);
}

static int peers_send_strategy(struct dispatch *dispatch, struct err *err) {
    struct message message = {.type = MESSAGE_LB_STRATEGY,
                              .format = MESSAGE_FORMAT,
                              .role = MESSAGE_ROLE_GATEWAY,
                              .request = ++dispatch->strategy_request};
    snprintf(message.text, sizeof message.text, "%s", policy_strategy_name(dispatch->strategy));
    return message_send(dispatch->balancer_fd, &message, NULL, 0, err);
}

static void peers_take_table(struct dispatch *dispatch, int fd) {
    struct err err;
    struct table *table;
    if (table_map(fd, &table, &err) != 0) {
        log_event("the load balancer's table: %s", err.msg);
        return;
    }
    table_unmap(dispatch->table);
    dispatch->table = table;
    for (uint32_t i = 0; i < dispatch->worker_count; i++)
        if (dispatch->wasm[i])
            wasm_publish(dispatch, dispatch->wasm[i]);
    if (dispatch->strategy_chosen && atomic_load(&table->strategy) != (uint32_t)dispatch->strategy)
        peers_send_strategy(dispatch, &err);
}

static void peers_on_balancer(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct dispatch *dispatch = watch->context;
    struct message message;
    struct err err;
    int fds[MESSAGE_FDS_MAX], fd_count, rc;
    while ((rc = message_receive(dispatch->balancer_fd, &message, fds, &fd_count, &err)) > 0) {
        if (message.type == MESSAGE_LB_TABLE && fd_count == 1)
            peers_take_table(dispatch, fds[0]);
        for (int i = 0; i < fd_count; i++)
            close(fds[i]);
        if (message.type == MESSAGE_LB_STRATEGY_SET && message.request == dispatch->strategy_request) {
            err_set(&err, message.code == ERR_OK ? ERR_OK : ERR_BAD_REQUEST, "%s", message.text);
            peers_strategy_done(dispatch, &err);
        }
    }
    if (rc < 0)
        peers_balancer_lost(dispatch);
}

static void peers_connect_balancer(struct dispatch *dispatch) {
    struct err err;
    if (peers_connect(dispatch, "faas_lb.sock", &dispatch->balancer_fd, &dispatch->balancer_watch,
                      peers_on_balancer) != 0) {
        if (!dispatch->balancer_lost_logged)
            log_event("waiting for the load balancer");
        dispatch->balancer_lost_logged = true;
        return;
    }
    dispatch->balancer_lost_logged = false;
    struct message hello = {.type = MESSAGE_LB_HELLO, .format = MESSAGE_FORMAT, .role = MESSAGE_ROLE_GATEWAY};
    if (message_send(dispatch->balancer_fd, &hello, NULL, 0, &err) != 0) {
        peers_balancer_lost(dispatch);
        return;
    }
    log_event("connected to the load balancer");
}

void dispatch_set_strategy(struct dispatch *dispatch, enum policy_strategy strategy,
                           dispatch_on_strategy *on_strategy, void *context) {
    struct err err;
    if (dispatch->on_strategy) {
        err_set(&err, ERR_CONFLICT, "another change of the strategy is under way");
        on_strategy(context, &err);
        return;
    }
    if (dispatch->balancer_fd < 0) {
        err_set(&err, ERR_UNAVAILABLE, "the load balancer is away");
        on_strategy(context, &err);
        return;
    }
    dispatch->strategy = strategy;
    dispatch->strategy_chosen = true;
    dispatch->on_strategy = on_strategy;
    dispatch->strategy_context = context;
    loop_arm(dispatch->loop, &dispatch->strategy_timer, DISPATCH_STRATEGY_MS * CLOCK_NS_PER_MS);
    if (peers_send_strategy(dispatch, &err) != 0)
        peers_strategy_done(dispatch, &err);
}

/* ---- both ---- */

static void peers_on_reconnect(struct loop_timer *timer) {
    struct dispatch *dispatch = timer->context;
    if (dispatch->server_fd < 0)
        peers_connect_server(dispatch);
    if (dispatch->balancer_fd < 0)
        peers_connect_balancer(dispatch);
    peers_arm(dispatch);
}

void peers_start(struct dispatch *dispatch) {
    dispatch->reconnect = (struct loop_timer){.on_timer = peers_on_reconnect, .context = dispatch};
    dispatch->strategy_timer = (struct loop_timer){.on_timer = peers_on_strategy_late, .context = dispatch};
    dispatch->settle = (struct loop_timer){.on_timer = peers_on_settle, .context = dispatch};
    peers_on_reconnect(&dispatch->reconnect);
}

void peers_stop(struct dispatch *dispatch) {
    loop_disarm(dispatch->loop, &dispatch->reconnect);
    loop_disarm(dispatch->loop, &dispatch->settle);
    loop_disarm(dispatch->loop, &dispatch->strategy_timer);
    loop_unwatch(dispatch->loop, &dispatch->server_watch);
    loop_unwatch(dispatch->loop, &dispatch->balancer_watch);
    while (dispatch->formers)
        peers_drop_former(dispatch->formers);
    if (dispatch->server_fd >= 0)
        close(dispatch->server_fd);
    if (dispatch->balancer_fd >= 0)
        close(dispatch->balancer_fd);
}
