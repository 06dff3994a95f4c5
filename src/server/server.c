#include "server/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/successor.h"
#include "sandbox/sandbox.h"
#include "server/process_pool.h"
#include "server/registrar.h"
#include "server/worker_pool.h"

enum { SERVER_CLIENTS = 16 };
#define SERVER_DRAIN_NS (10 * CLOCK_NS_PER_S)
/* Interpreters are looked for, which takes a while, and spares booted, when the workers are ready (and some
 * time for the last to be registered), or after SERVER_FILL_NS. */
#define SERVER_FILL_NS CLOCK_NS_PER_S
#define SERVER_FILL_READY_NS (20 * CLOCK_NS_PER_MS)

struct server {
    struct loop *loop;
    const struct config *config;
    char path[4096];
    struct loop_watch listen_watch;
    struct server_client *clients; /* connections: the gateway, and those that it has taken over from */
    struct server_client *gateway; /* the newest that said SERVER_HELLO, or NULL: it has the workers */
    uint64_t last_serial;
    int client_count;
    struct worker_pool *workers;
    struct process_pool *processes;
    struct registrar registrar;
    bool ready[WORKER_POOL_MAX], registered[WORKER_POOL_MAX]; /* until all were, once */
    bool announced;
    bool filling; /* the runtimes are known */
    bool draining;
    bool replaced; /* the next server listens */
    struct loop_timer drain_timer, fill_timer;
};

struct server_client {
    struct server *server; /* borrowed: outlives its clients */
    struct peer peer;
    uint64_t serial;
    bool is_gateway; /* said SERVER_HELLO */
    struct server_client *next;
};

static void server_drop_client(struct server_client *client) {
    struct server *server = client->server;
    struct server_client **at = &server->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    server->client_count--;
    if (server->gateway == client)
        server->gateway = NULL;
    if (client->is_gateway)
        process_pool_orphan(server->processes, client->serial);
    peer_close(&client->peer);
    loop_defer(server->loop, free, client);
}

static void server_on_client_close(struct peer *peer, const struct err *why) {
    struct server_client *client = peer->context;
    if (client->server->gateway == client)
        log_event("lost the gateway (%s); workers wait for the next", why->msg);
    server_drop_client(client);
}

static void server_send_runtimes(struct server *server) {
    struct message runtimes = {.type = MESSAGE_SERVER_RUNTIMES};
    process_pool_missing(server->processes, runtimes.text, sizeof runtimes.text);
    peer_send(&server->gateway->peer, &runtimes, NULL, 0);
}

static void server_hello(struct server_client *client, const struct message *hello) {
    struct server *server = client->server;
    if (server->gateway && server->gateway != client)
        log_event("the next gateway is connected; the one before it keeps what it has until that has ended");
    else
        log_event("the gateway is connected");
    server->gateway = client;
    client->is_gateway = true;
    worker_pool_attach_all(server->workers);
    process_pool_spare_none(server->processes, hello->request);
    if (server->filling)
        process_pool_fill(server->processes);
    if (server->filling)
        server_send_runtimes(server);
}

static void server_on_message(struct peer *peer, const struct message *message, int *fds, int fd_count) {
    MEM_CLOSE_FD int policy_fd = fd_count == 1 ? fds[0] : -1; /* there is no message to here with more */
    struct server_client *client = peer->context;
    struct server *server = client->server;
    bool start = message->type == MESSAGE_SERVER_START || message->type == MESSAGE_SERVER_START_NET;
    if (message->type == MESSAGE_SERVER_HELLO) {
        server_hello(client, message);
    } else if (message->type == MESSAGE_SERVER_WANTED && client->is_gateway) {
        process_pool_want(server->processes, (enum runtime)message->runtime);
    } else if (start && client->is_gateway) {
        process_pool_take(server->processes, message, policy_fd,
                          (struct process_pool_asker){peer, client->serial});
    } else if (message->type == MESSAGE_SERVER_MEASURE && client->is_gateway) {
        process_pool_measure(server->processes, message, peer);
    } else if (message->type == MESSAGE_SERVER_ADOPT && client->is_gateway) {
        process_pool_adopt(server->processes, message->worker, client->serial);
    } else {
        log_event("message %u makes no sense here; closing the connection", message->type);
        server_drop_client(client);
    }
}

static void server_on_connect(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct server *server = watch->context;
    struct err err;
    int fd = peer_accept(watch->fd, server->client_count, SERVER_CLIENTS);
    if (fd < 0)
        return;
    struct server_client *client = calloc(1, sizeof *client);
    if (!client) {
        log_event("no memory for a connection");
        close(fd);
        return;
    }
    client->server = server;
    client->serial = ++server->last_serial;
    client->peer = (struct peer){.loop = server->loop,
                                 .on_message = server_on_message,
                                 .on_close = server_on_client_close,
                                 .context = client};
    if (peer_open(&client->peer, fd, &err) < 0) {
        log_event("%s", err.msg);
        free(client);
        return;
    }
    client->next = server->clients;
    server->clients = client;
    server->client_count++;
}

static bool server_all(const bool *flags, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!flags[i])
            return false;
    return true;
}

static int server_listen(struct server *server, struct err *err) {
    int fd = -1;
    int rc = successor_takes_over() ? message_listen_instead(server->path, &fd, err)
                                    : message_listen(server->path, &fd, err);
    if (rc < 0)
        return rc;
    server->listen_watch = (struct loop_watch){.fd = fd, .on_event = server_on_connect, .context = server};
    rc = loop_watch(server->loop, &server->listen_watch, EPOLLIN, err);
    if (rc == 0)
        log_line("server: listening on %s", server->path);
    return rc;
}

/* All workers are up: the gateway is to come to us now. */
static void server_take_over(struct server *server) {
    struct err err;
    if (server_listen(server, &err) < 0) {
        log_event("cannot take over: %s", err.msg);
        loop_stop(server->loop);
        return;
    }
    registrar_start(&server->registrar);
    successor_ready();
}

static void server_on_worker_ready(void *context, const struct message *worker) {
    struct server *server = context;
    registrar_add(&server->registrar, worker);
    if (server->gateway)
        worker_pool_attach(server->workers, worker->worker);
    server->ready[worker->worker] = true;
    if (server->filling || !server_all(server->ready, server->config->workers))
        return;
    if (server->listen_watch.fd < 0 && !server->draining)
        server_take_over(server);
    successor_ready();
    loop_arm(server->loop, &server->fill_timer, SERVER_FILL_READY_NS);
}

static void server_on_worker_attached(void *context, const struct message *worker, int *fds, int fd_count) {
    struct server *server = context;
    if (server->gateway)
        peer_send(&server->gateway->peer, worker, fds, fd_count);
    else
        for (int i = 0; i < fd_count; i++)
            close(fds[i]);
}

static void server_on_registered(void *context, uint32_t worker) {
    struct server *server = context;
    log_line("server: registered worker %u with load balancer", worker);
    server->registered[worker] = true;
    if (server->announced || !server_all(server->registered, server->config->workers))
        return;
    server->announced = true;
    log_line("server: %lld workers ready, forwarding requests to load balancer",
             (long long)server->config->workers);
}

static void server_tell_gateway(struct server *server, uint8_t type, const struct message *worker) {
    if (!server->gateway)
        return;
    struct message message = *worker;
    message.type = type;
    peer_send(&server->gateway->peer, &message, NULL, 0);
}

static void server_on_worker_gone(void *context, const struct message *worker) {
    struct server *server = context;
    registrar_remove(&server->registrar, worker->worker, ERR_CRASH);
    server_tell_gateway(server, MESSAGE_SERVER_GONE, worker);
}

static void server_on_worker_retire(void *context, const struct message *worker) {
    struct server *server = context;
    registrar_remove(&server->registrar, worker->worker, ERR_OK);
    server_tell_gateway(server, MESSAGE_SERVER_RETIRE, worker);
}

static uint32_t server_on_scale(void *context, uint32_t target) {
    struct server *server = context;
    return worker_pool_scale(server->workers, target);
}

static void server_on_process_gone(void *context, uint64_t serial, const struct message *gone) {
    struct server *server = context;
    for (struct server_client *client = server->clients; client; client = client->next)
        if (client->serial == serial)
            peer_send(&client->peer, gone, NULL, 0);
}

static void server_on_empty(void *context) {
    struct server *server = context;
    if (worker_pool_alive(server->workers) == 0 && process_pool_alive(server->processes) == 0)
        loop_stop(server->loop);
}

static void server_on_fill(struct loop_timer *timer) {
    struct server *server = timer->context;
    server->filling = true;
    process_pool_fill(server->processes);
    if (server->gateway)
        server_send_runtimes(server);
}

static void server_kill_all(struct server *server) {
    worker_pool_kill(server->workers);
    process_pool_kill(server->processes);
}

static void server_on_drain_end(struct loop_timer *timer) {
    struct server *server = timer->context;
    log_event("%u workers and %u processes still had calls; ending them", worker_pool_alive(server->workers),
              process_pool_alive(server->processes));
    server_kill_all(server);
}

static void server_close_socket(struct server *server) {
    if (server->listen_watch.fd < 0)
        return;
    message_unlisten(server->path);
    loop_unwatch(server->loop, &server->listen_watch);
    mem_close_fd(&server->listen_watch.fd);
}

static void server_tell_clients(struct server *server, uint8_t type) {
    for (struct server_client *client = server->clients; client; client = client->next)
        if (client->is_gateway)
            peer_send(&client->peer, &(struct message){.type = type}, NULL, 0);
}

/* The next server listens and its workers are up. Ours end when the gateway, which goes over to those, lets
 * go of them, and processes when they have answered: however long that takes. */
static void server_step_aside(struct server *server) {
    log_event("the next server has taken over; what runs here goes on until it is done");
    server->draining = server->replaced = true;
    server_close_socket(server);
    loop_disarm(server->loop, &server->fill_timer);
    registrar_stop(&server->registrar);
    server_tell_clients(server, MESSAGE_SERVER_REPLACED);
    worker_pool_drain(server->workers, false);
    process_pool_drain(server->processes);
    server_on_empty(server);
}

static void server_on_signal(void *context, int signal_number) {
    struct server *server = context;
    if (signal_number == SIGHUP) {
        if (!server->draining)
            server_step_aside(server);
        return;
    }
    if (server->draining && !server->replaced) {
        log_event("%s again: ending what is left", strsignal(signal_number));
        server_kill_all(server);
        return;
    }
    log_event("stopping (%s): waiting for calls in flight", strsignal(signal_number));
    server->draining = true;
    server->replaced = false;
    server_close_socket(server);
    loop_disarm(server->loop, &server->fill_timer);
    loop_arm(server->loop, &server->drain_timer, SERVER_DRAIN_NS);
    server_tell_clients(server, MESSAGE_SERVER_DRAINING);
    worker_pool_drain(server->workers, true);
    process_pool_drain(server->processes);
    server_on_empty(server);
}

static void server_start_parts(struct server *server, const char *parts_dir) {
    const struct config *config = server->config;
    server->processes =
        process_pool_new(&(struct process_pool_config){.loop = server->loop,
                                                       .parts_dir = parts_dir,
                                                       .hosts_path = config->egress_hosts,
                                                       .most = (uint32_t)config->processes_max,
                                                       .on_gone = server_on_process_gone,
                                                       .on_empty = server_on_empty,
                                                       .context = server});
    log_line("server: pre-forking %lld workers...", (long long)config->workers);
    server->workers = worker_pool_new(&(struct worker_pool_config){.loop = server->loop,
                                                                   .parts_dir = parts_dir,
                                                                   .data_dir = config->data_dir,
                                                                   .log_dir = config->log_dir,
                                                                   .weights = config->weights,
                                                                   .least = (uint32_t)config->workers,
                                                                   .most = (uint32_t)config->workers_max,
                                                                   .memory_max_mb = config->memory_max_mb,
                                                                   .on_ready = server_on_worker_ready,
                                                                   .on_attached = server_on_worker_attached,
                                                                   .on_gone = server_on_worker_gone,
                                                                   .on_retire = server_on_worker_retire,
                                                                   .on_empty = server_on_empty,
                                                                   .context = server});
    server->registrar.loop = server->loop;
    snprintf(server->registrar.path, sizeof server->registrar.path, "%s/faas_lb.sock", config->run_dir);
    server->registrar.on_registered = server_on_registered;
    server->registrar.on_scale = server_on_scale;
    server->registrar.target = server->registrar.least = (uint32_t)config->workers;
    server->registrar.most = (uint32_t)config->workers_max;
    server->registrar.context = server;
    registrar_init(&server->registrar);
    if (!successor_takes_over())
        registrar_start(&server->registrar);
    server->drain_timer = (struct loop_timer){.on_timer = server_on_drain_end, .context = server};
    server->fill_timer = (struct loop_timer){.on_timer = server_on_fill, .context = server};
    loop_arm(server->loop, &server->fill_timer, SERVER_FILL_NS);
}

static void server_fini(struct server *server) {
    while (server->clients)
        server_drop_client(server->clients);
    if (server->workers)
        registrar_stop(&server->registrar);
    worker_pool_free(server->workers);
    process_pool_free(server->processes);
    if (server->loop)
        server_close_socket(server);
    loop_free(server->loop);
    sandbox_fini();
}

/* Every process in the gateway's hands costs descriptors. */
static void server_raise_limits(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int server_run(const struct config *config, const char *parts_dir, struct err *err) {
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct server *server = mem_zalloc(sizeof *server);
    server->config = config;
    server->listen_watch.fd = -1;
    snprintf(server->path, sizeof server->path, "%s/faas_server.sock", config->run_dir);
    server_raise_limits();
    int rc = sandbox_use(config->sandbox, err);
    sandbox_prepare();
    if (rc == 0)
        rc = loop_new(&server->loop, err);
    if (rc == 0)
        rc = loop_signals(server->loop, signals, 3, server_on_signal, server, err);
    if (rc == 0 && !successor_takes_over())
        rc = server_listen(server, err);
    if (rc == 0) {
        server_start_parts(server, parts_dir);
        rc = loop_run(server->loop, err);
    }
    server_fini(server);
    free(server);
    return rc;
}
