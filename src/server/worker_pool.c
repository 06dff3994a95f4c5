#include "server/worker_pool_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/channel.h"
#include "server/spawn.h"

enum { WORKER_POOL_PIPE_BYTES = 1 << 20, WORKER_POOL_IDLE_LOOKS = 2 };

struct message worker_pool_describe(const struct worker_slot *worker) {
    return (struct message){.worker = worker->number,
                            .pid = worker->pid,
                            .generation = worker->generation,
                            .weight = worker->weight};
}

static void worker_pool_set_page(struct worker_slot *worker, const struct page *page) {
    if (worker->page)
        munmap((void *)worker->page, PAGE_BYTES);
    worker->page = page;
}

void worker_pool_drop_offer(struct worker_slot *worker) {
    for (int i = 0; i < WORKER_OFFER_FDS; i++)
        mem_close_fd(&worker->offered[i]);
}

static void worker_pool_respawn_later(struct worker_slot *worker) {
    worker->state = WORKER_WAITING;
    worker->backoff_ns = worker->backoff_ns ? worker->backoff_ns * 2 : WORKER_POOL_BACKOFF_NS;
    if (worker->backoff_ns > WORKER_POOL_BACKOFF_MAX_NS)
        worker->backoff_ns = WORKER_POOL_BACKOFF_MAX_NS;
    log_event("worker %u is tried again in %llu ms", worker->number,
              (unsigned long long)(worker->backoff_ns / CLOCK_NS_PER_MS));
    loop_arm(worker->pool->config.loop, &worker->respawn, worker->backoff_ns);
}

static void worker_pool_log_end(const struct worker_slot *worker, int status) {
    const char *when = worker->state == WORKER_READY ? "" : " before it was ready";
    if (WIFSIGNALED(status))
        log_event("worker %u (pid %d) died%s: %s", worker->number, worker->pid, when,
                  strsignal(WTERMSIG(status)));
    else
        log_event("worker %u (pid %d) ended%s: exit code %d", worker->number, worker->pid, when,
                  WEXITSTATUS(status));
}

static void worker_pool_on_exit(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct worker_slot *worker = watch->context;
    struct worker_pool *pool = worker->pool;
    int status;
    pid_t reaped = waitpid(worker->pid, &status, WNOHANG);
    if (reaped == 0)
        return;
    if (reaped < 0)
        status = W_EXITCODE(255, 0);
    bool expected = pool->draining || worker->state == WORKER_RETIRING;
    if (!expected || (status != 0 && status != SIGTERM))
        worker_pool_log_end(worker, status);
    struct message gone = worker_pool_describe(worker);
    gone.status = status;
    gone.code = ERR_CRASH;
    bool was_ready = worker->state == WORKER_READY, retired = worker->state == WORKER_RETIRING;
    loop_unwatch(pool->config.loop, watch);
    mem_close_fd(&watch->fd);
    peer_close(&worker->control);
    worker_pool_set_page(worker, NULL);
    worker_pool_drop_offer(worker);
    worker->pid = 0;
    worker->state = retired ? WORKER_NONE : WORKER_WAITING;
    pool->alive--;
    /* The successor first: it boots while the others are told. */
    if (!pool->draining && was_ready) {
        worker->generation++;
        worker_pool_spawn(worker);
    } else if (!pool->draining && retired) {
        worker_pool_adjust(pool); /* its number is free */
    } else if (!pool->draining) {
        worker_pool_respawn_later(worker);
    }
    if (was_ready)
        pool->config.on_gone(pool->config.context, &gone);
    if (pool->draining && pool->alive == 0)
        pool->config.on_empty(pool->config.context);
}

/* The worker has taken up what it was offered last: only now does the gateway hear of it. */
static void worker_pool_attached(struct worker_slot *worker) {
    struct worker_pool *pool = worker->pool;
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, worker->offered[2], 0);
    if (page == MAP_FAILED) {
        log_event("worker %u: no memory for its page", worker->number);
        worker_pool_drop_offer(worker); /* it sees the end of the pipes, and waits for the next */
        return;
    }
    worker_pool_set_page(worker, page);
    struct message message = worker_pool_describe(worker);
    message.type = MESSAGE_SERVER_WORKER;
    pool->config.on_attached(pool->config.context, &message, worker->offered, WORKER_OFFER_FDS);
    for (int i = 0; i < WORKER_OFFER_FDS; i++)
        worker->offered[i] = -1;
}

static void worker_pool_on_message(struct peer *peer, const struct message *message, int *fds, int fd_count) {
    (void)fds;
    (void)fd_count;
    struct worker_slot *worker = peer->context;
    if (message->type == MESSAGE_WORKER_ATTACHED && worker->offered[0] >= 0 &&
        message->request == worker->offer)
        worker_pool_attached(worker);
    if (message->type != MESSAGE_WORKER_READY || worker->state != WORKER_STARTING)
        return;
    worker->state = WORKER_READY;
    worker->backoff_ns = 0;
    struct message ready = worker_pool_describe(worker);
    worker->pool->config.on_ready(worker->pool->config.context, &ready);
}

/* A worker that closed its control socket cannot be given pipes any more: it ends, or is made to. */
static void worker_pool_on_control_close(struct peer *peer, const struct err *why) {
    (void)why;
    struct worker_slot *worker = peer->context;
    peer_close(peer);
    spawn_kill(worker->pidfd_watch.fd, SIGKILL);
}

static int worker_pool_start_process(struct worker_slot *worker, int control_fd, struct err *err) {
    const struct worker_pool_config *config = &worker->pool->config;
    int rc = worker_start(worker, control_fd, err);
    if (rc < 0)
        return rc;
    int pidfd = -1;
    rc = spawn_open_pidfd(worker->pid, &pidfd, err);
    worker->pidfd_watch =
        (struct loop_watch){.fd = pidfd, .on_event = worker_pool_on_exit, .context = worker};
    if (rc == 0)
        rc = loop_watch(config->loop, &worker->pidfd_watch, EPOLLIN, err);
    if (rc < 0) {
        kill(worker->pid, SIGKILL);
        waitpid(worker->pid, NULL, 0);
        mem_close_fd(&worker->pidfd_watch.fd);
        worker->pid = 0;
    }
    return rc;
}

static int worker_pool_try_spawn(struct worker_slot *worker, struct err *err) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return err_sys(err, "socketpair");
    int rc = worker_pool_start_process(worker, pair[1], err);
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        return rc;
    }
    worker->pool->alive++;
    worker->state = WORKER_STARTING;
    rc = peer_open(&worker->control, pair[0], err);
    if (rc < 0)
        spawn_kill(worker->pidfd_watch.fd, SIGKILL);
    return 0;
}

void worker_pool_spawn(struct worker_slot *worker) {
    struct err err;
    if (worker_pool_try_spawn(worker, &err) < 0) {
        log_event("worker %u: %s", worker->number, err.msg);
        worker_pool_respawn_later(worker);
        return;
    }
    log_line("server: created worker %u (pid %d)", worker->number, worker->pid);
}

static void worker_pool_on_respawn(struct loop_timer *timer) {
    worker_pool_spawn(timer->context);
}

static uint32_t worker_pool_weight(const char *weights, uint32_t number) {
    const char *at = weights;
    for (uint32_t i = 0; i < number && at; i++)
        if ((at = strchr(at, ',')))
            at++;
    long weight = at ? strtol(at, NULL, 10) : 1;
    return weight > 0 ? (uint32_t)weight : 1;
}

struct worker_pool *worker_pool_new(const struct worker_pool_config *config) {
    struct worker_pool *pool = mem_zalloc(sizeof *pool);
    pool->config = *config;
    pool->nest = NEST_CLOSED;
    pool->target = config->least;
    pool->adjust_look = (struct loop_timer){.on_timer = worker_pool_on_adjust_look, .context = pool};
    for (uint32_t i = 0; i < config->most; i++) {
        struct worker_slot *worker = &pool->workers[i];
        worker->pool = pool;
        worker->number = i;
        worker->weight = worker_pool_weight(config->weights, i);
        for (int at = 0; at < WORKER_OFFER_FDS; at++)
            worker->offered[at] = -1;
        worker->pidfd_watch.fd = -1;
        worker->control = (struct peer){.loop = config->loop,
                                        .watch.fd = -1,
                                        .on_message = worker_pool_on_message,
                                        .on_close = worker_pool_on_control_close,
                                        .context = worker};
        worker->respawn = (struct loop_timer){.on_timer = worker_pool_on_respawn, .context = worker};
    }
    worker_pool_adjust(pool);
    return pool;
}

void worker_pool_free(struct worker_pool *pool) {
    if (!pool)
        return;
    for (uint32_t i = 0; i < pool->config.most; i++) {
        struct worker_slot *worker = &pool->workers[i];
        loop_disarm(pool->config.loop, &worker->respawn);
        peer_close(&worker->control);
        loop_unwatch(pool->config.loop, &worker->pidfd_watch);
        mem_close_fd(&worker->pidfd_watch.fd);
        worker_pool_set_page(worker, NULL);
        worker_pool_drop_offer(worker);
    }
    loop_disarm(pool->config.loop, &pool->drain_look);
    loop_disarm(pool->config.loop, &pool->adjust_look);
    nest_close(&pool->nest, pool->alive == 0);
    free(pool);
}

static int worker_pool_try_attach(struct worker_slot *worker, struct err *err) {
    struct channel channel;
    int rc = channel_open(&channel, WORKER_POOL_PIPE_BYTES, err);
    if (rc < 0)
        return rc;
    int page = fcntl(channel.page, F_DUPFD_CLOEXEC, 0);
    int pidfd = fcntl(worker->pidfd_watch.fd, F_DUPFD_CLOEXEC, 0);
    if (page < 0 || pidfd < 0) {
        err_sys(err, "descriptors");
        mem_close_fd(&page);
        mem_close_fd(&pidfd);
        channel_close(&channel);
        return -err->code;
    }
    worker_pool_drop_offer(worker);
    const int offered[WORKER_OFFER_FDS] = {channel.calls_write, channel.answers_read, page, pidfd};
    memcpy(worker->offered, offered, sizeof offered);
    struct message attach = {.type = MESSAGE_WORKER_ATTACH, .request = ++worker->offer};
    int to_worker[] = {channel.calls_read, channel.answers_write, channel.page};
    peer_send(&worker->control, &attach, to_worker, 3);
    return 0;
}

void worker_pool_attach(struct worker_pool *pool, uint32_t number) {
    struct worker_slot *worker = &pool->workers[number];
    struct err err;
    if (worker->state == WORKER_READY && !pool->draining && worker_pool_try_attach(worker, &err) < 0)
        log_event("worker %u gets no pipes: %s", number, err.msg);
}

void worker_pool_attach_all(struct worker_pool *pool) {
    for (uint32_t i = 0; i < pool->config.most; i++)
        worker_pool_attach(pool, i);
}

/* A worker ends when the gateway, which knows that we are draining, drops its pipes. One that has no call for
 * a while, and a gateway that holds on to it, is ended from here. */
static void worker_pool_on_drain_look(struct loop_timer *timer) {
    struct worker_pool *pool = timer->context;
    for (uint32_t i = 0; i < pool->config.most; i++) {
        struct worker_slot *worker = &pool->workers[i];
        worker->idle_looks = worker_pool_has_call(worker) ? 0 : worker->idle_looks + 1;
        if (worker->pid > 0 && worker->idle_looks >= WORKER_POOL_IDLE_LOOKS)
            spawn_kill(worker->pidfd_watch.fd, SIGTERM);
    }
    if (pool->alive > 0)
        loop_arm(pool->config.loop, timer, WORKER_POOL_LOOK_NS);
}

void worker_pool_drain(struct worker_pool *pool, bool impatient) {
    pool->draining = true;
    loop_disarm(pool->config.loop, &pool->adjust_look);
    pool->drain_look = (struct loop_timer){.on_timer = worker_pool_on_drain_look, .context = pool};
    if (impatient)
        loop_arm(pool->config.loop, &pool->drain_look, WORKER_POOL_LOOK_NS);
    for (uint32_t i = 0; i < pool->config.most; i++) {
        loop_disarm(pool->config.loop, &pool->workers[i].respawn);
        peer_close(&pool->workers[i].control);
        worker_pool_drop_offer(&pool->workers[i]);
    }
}

void worker_pool_kill(struct worker_pool *pool) {
    for (uint32_t i = 0; i < pool->config.most; i++)
        if (pool->workers[i].pid > 0)
            spawn_kill(pool->workers[i].pidfd_watch.fd, SIGKILL);
}

uint32_t worker_pool_alive(const struct worker_pool *pool) {
    return pool->alive;
}
