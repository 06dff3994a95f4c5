#include "balancer/balancer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "balancer/health.h"
#include "balancer/scaler.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/successor.h"
#include "wire/peer.h"

enum { BALANCER_CLIENTS = 64, BALANCER_ASK_MS = 1000 };

struct balancer {
    struct loop *loop;
    struct loop_watch listen_watch;
    struct loop_timer heartbeat;
    char path[4096];
    int table_fd;
    struct table *table; /* owned mapping */
    struct health health;
    struct scaler scaler;
    uint32_t owners[TABLE_WORKERS]; /* serial of the connection that registered the row */
    uint32_t last_serial, last_server;
    uint32_t scaled; /* serial of the server that is told how many workers to keep: the newest */
    struct balancer_client *clients;
    int client_count;
};

struct balancer_client {
    struct balancer *balancer; /* borrowed: outlives its clients */
    struct peer peer;
    enum message_role role; /* 0 before LB_HELLO */
    uint32_t serial;
    struct balancer_client *next;
};

static const char *balancer_role_name(enum message_role role) {
    return role == MESSAGE_ROLE_SERVER ? "server" : role == MESSAGE_ROLE_GATEWAY ? "gateway" : "stranger";
}

static void balancer_drop_client(struct balancer_client *client) {
    struct balancer *balancer = client->balancer;
    struct balancer_client **at = &balancer->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    balancer->client_count--;
    if (balancer->scaled == client->serial)
        balancer->scaler.started = false;
    peer_close(&client->peer);
    loop_defer(balancer->loop, free, client);
}

static void balancer_on_close(struct peer *peer, const struct err *why) {
    struct balancer_client *client = peer->context;
    if (client->role)
        log_event("lost the %s (%s)%s", balancer_role_name(client->role), why->msg,
                  client->role == MESSAGE_ROLE_SERVER ? "; its workers stay in the table" : "");
    balancer_drop_client(client);
}

static void balancer_hello(struct balancer_client *client, const struct message *message) {
    if (message->role != MESSAGE_ROLE_SERVER && message->role != MESSAGE_ROLE_GATEWAY) {
        balancer_drop_client(client);
        return;
    }
    client->role = (enum message_role)message->role;
    int fd = fcntl(client->balancer->table_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        log_event("no descriptor left for the table of the %s", balancer_role_name(client->role));
        balancer_drop_client(client);
        return;
    }
    log_event("the %s is connected", balancer_role_name(client->role));
    if (client->role == MESSAGE_ROLE_SERVER) {
        client->balancer->scaled = client->serial;
        scaler_start(&client->balancer->scaler, message->target, message->least, message->most);
    }
    peer_send(&client->peer, &(struct message){.type = MESSAGE_LB_TABLE}, &fd, 1);
}

/* The first worker of a new server: what an older one left is not there any more for it. */
static void balancer_forget_others(struct balancer *balancer, uint32_t serial) {
    for (uint32_t i = 0; i < TABLE_WORKERS; i++)
        if (atomic_load(&balancer->table->rows[i].state) != TABLE_EMPTY && balancer->owners[i] != serial)
            atomic_store(&balancer->table->rows[i].state, TABLE_GONE);
}

static void balancer_register(struct balancer_client *client, const struct message *message) {
    struct balancer *balancer = client->balancer;
    if (message->worker >= TABLE_WORKERS || message->pid <= 0) {
        log_event("a worker that cannot be: number %u, pid %d", message->worker, message->pid);
        balancer_drop_client(client);
        return;
    }
    struct table_row *row = &balancer->table->rows[message->worker];
    if (atomic_load(&row->state) == TABLE_EMPTY)
        atomic_store(&row->restarts, message->generation);
    else if (atomic_load(&row->pid) != message->pid)
        atomic_fetch_add(&row->restarts, 1);
    balancer->owners[message->worker] = client->serial;
    health_reset(&balancer->health, balancer->table, message->worker, loop_now_ns(balancer->loop));
    atomic_store(&row->generation, message->generation);
    atomic_store(&row->pid, message->pid);
    atomic_store(&row->weight, message->weight ? message->weight : 1);
    atomic_store(&row->state, TABLE_READY);
    if (balancer->last_server != client->serial) {
        balancer->last_server = client->serial;
        balancer_forget_others(balancer, client->serial);
    }
    log_line("lb: registered worker %u (pid %d)", message->worker, message->pid);
    struct message answer = {.type = MESSAGE_LB_REGISTERED, .worker = message->worker, .pid = message->pid};
    peer_send(&client->peer, &answer, NULL, 0);
}

static void balancer_gone(struct balancer_client *client, const struct message *message) {
    struct balancer *balancer = client->balancer;
    if (message->worker >= TABLE_WORKERS || balancer->owners[message->worker] != client->serial)
        return;
    struct table_row *row = &balancer->table->rows[message->worker];
    if (atomic_load(&row->pid) != message->pid)
        return;
    bool retired = message->code == ERR_OK;
    atomic_store(&row->state, retired ? TABLE_EMPTY : TABLE_GONE);
    log_event("worker %u (pid %d) is %s", message->worker, message->pid, retired ? "retired" : "gone");
}

static void balancer_set_strategy(struct balancer_client *client, const struct message *message) {
    struct message answer = {.type = MESSAGE_LB_STRATEGY_SET, .request = message->request};
    enum policy_strategy strategy;
    struct err err;
    if (policy_strategy_parse(message->text, &strategy, &err) < 0) {
        answer.code = err.code;
        snprintf(answer.text, sizeof answer.text, "%s", err.msg);
    } else {
        if (atomic_exchange(&client->balancer->table->strategy, strategy) != strategy)
            log_event("strategy is now %s", policy_strategy_name(strategy));
        snprintf(answer.text, sizeof answer.text, "%s", policy_strategy_name(strategy));
    }
    peer_send(&client->peer, &answer, NULL, 0);
}

static void balancer_on_message(struct peer *peer, const struct message *message, int *fds, int fd_count) {
    (void)fds;
    (void)fd_count;
    struct balancer_client *client = peer->context;
    bool server = client->role == MESSAGE_ROLE_SERVER, gateway = client->role == MESSAGE_ROLE_GATEWAY;
    if (message->type == MESSAGE_LB_HELLO && !client->role)
        balancer_hello(client, message);
    else if (message->type == MESSAGE_LB_REGISTER && server)
        balancer_register(client, message);
    else if (message->type == MESSAGE_LB_GONE && server)
        balancer_gone(client, message);
    else if (message->type == MESSAGE_LB_STRATEGY && gateway)
        balancer_set_strategy(client, message);
    else {
        log_event("message %u from a %s makes no sense; closing", message->type,
                  balancer_role_name(client->role));
        balancer_drop_client(client);
    }
}

static void balancer_on_connect(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct balancer *balancer = watch->context;
    struct err err;
    int fd = peer_accept(watch->fd, balancer->client_count, BALANCER_CLIENTS);
    if (fd < 0)
        return;
    struct balancer_client *client = calloc(1, sizeof *client);
    if (!client) {
        log_event("no memory for a connection");
        close(fd);
        return;
    }
    client->balancer = balancer;
    client->serial = ++balancer->last_serial;
    client->peer = (struct peer){.loop = balancer->loop,
                                 .on_message = balancer_on_message,
                                 .on_close = balancer_on_close,
                                 .context = client};
    if (peer_open(&client->peer, fd, &err) < 0) {
        log_event("%s", err.msg);
        free(client);
        return;
    }
    client->next = balancer->clients;
    balancer->clients = client;
    balancer->client_count++;
}

static void balancer_on_health_change(void *context, uint32_t worker, enum table_state state) {
    (void)context;
    if (state == TABLE_STALLED)
        log_event("worker %u is stalled: calls in flight, none finished for %llu ms", worker,
                  HEALTH_STALL_NS / CLOCK_NS_PER_MS);
    else
        log_event("worker %u is %s again", worker, table_state_name(state));
}

static void balancer_scale(struct balancer *balancer) {
    struct message message = {.type = MESSAGE_LB_SCALE, .target = balancer->scaler.scaling.target};
    for (struct balancer_client *client = balancer->clients; client; client = client->next)
        if (client->serial == balancer->scaled)
            peer_send(&client->peer, &message, NULL, 0);
}

static void balancer_on_heartbeat(struct loop_timer *timer) {
    struct balancer *balancer = timer->context;
    uint64_t now_ns = clock_now_ns();
    atomic_store_explicit(&balancer->table->heartbeat_ns, now_ns, memory_order_relaxed);
    health_check(&balancer->health, balancer->table, now_ns, balancer_on_health_change, balancer);
    if (scaler_tick(&balancer->scaler, now_ns))
        balancer_scale(balancer);
    loop_arm(balancer->loop, timer, SCALING_TICK_NS);
}

static void balancer_on_signal(void *context, int signal_number) {
    struct balancer *balancer = context;
    if (signal_number == SIGHUP)
        log_event("the next load balancer has taken over");
    else
        log_event("stopping (%s)", strsignal(signal_number));
    loop_stop(balancer->loop);
}

/* The strategy of the balancer that is to be replaced: it may have been changed since the start. */
static void balancer_ask_predecessor(struct balancer *balancer) {
    struct err err;
    struct message message = {.type = MESSAGE_LB_HELLO, .role = MESSAGE_ROLE_GATEWAY};
    int fds[MESSAGE_FDS_MAX], fd_count = 0;
    MEM_CLOSE_FD int fd = -1;
    struct table *table;
    int rc = message_connect(balancer->path, &fd, &err);
    if (rc == 0)
        rc = message_send(fd, &message, NULL, 0, &err);
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    if (rc == 0 && poll(&answer, 1, BALANCER_ASK_MS) == 1)
        rc = message_receive(fd, &message, fds, &fd_count, &err);
    if (rc == 1 && fd_count == 1 && table_map(fds[0], &table, &err) == 0) {
        atomic_store(&balancer->table->strategy, atomic_load(&table->strategy));
        table_unmap(table);
    }
    for (int i = 0; i < fd_count; i++)
        close(fds[i]);
}

static int balancer_start(struct balancer *balancer, const struct balancer_options *options,
                          struct err *err) {
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    int rc = loop_new(&balancer->loop, err);
    if (rc == 0)
        rc = loop_signals(balancer->loop, signals, 3, balancer_on_signal, balancer, err);
    if (rc == 0)
        rc = table_create(&balancer->table_fd, &balancer->table, err);
    if (rc < 0)
        return rc;
    atomic_store(&balancer->table->strategy, options->strategy);
    balancer->scaler.table = balancer->table;
    balancer->scaler.period_ns = options->scale_down_ns;
    balancer->heartbeat = (struct loop_timer){.on_timer = balancer_on_heartbeat, .context = balancer};
    balancer_on_heartbeat(&balancer->heartbeat);
    int fd = -1;
    if (successor_takes_over())
        balancer_ask_predecessor(balancer);
    rc = successor_takes_over() ? message_listen_instead(balancer->path, &fd, err)
                                : message_listen(balancer->path, &fd, err);
    if (rc < 0)
        return rc;
    balancer->listen_watch =
        (struct loop_watch){.fd = fd, .on_event = balancer_on_connect, .context = balancer};
    return loop_watch(balancer->loop, &balancer->listen_watch, EPOLLIN, err);
}

static void balancer_fini(struct balancer *balancer) {
    while (balancer->clients)
        balancer_drop_client(balancer->clients);
    if (balancer->listen_watch.fd >= 0) {
        message_unlisten(balancer->path);
        close(balancer->listen_watch.fd);
    }
    table_unmap(balancer->table);
    mem_close_fd(&balancer->table_fd);
    loop_free(balancer->loop);
}

int balancer_run(const struct balancer_options *options, struct err *err) {
    struct balancer *balancer = mem_zalloc(sizeof *balancer);
    balancer->table_fd = balancer->listen_watch.fd = -1;
    snprintf(balancer->path, sizeof balancer->path, "%s/faas_lb.sock", options->run_dir);
    int rc = balancer_start(balancer, options, err);
    if (rc == 0) {
        log_line("load_balancer: listening on %s (%s strategy)", balancer->path,
                 policy_strategy_name(options->strategy));
        log_line("load_balancer: waiting for worker registrations from server...");
        successor_ready();
        rc = loop_run(balancer->loop, err);
    }
    balancer_fini(balancer);
    free(balancer);
    return rc;
}
