/* One gateway follows another, while both serve and no client notices.
 *
 *   old                                      new
 *    │ ◄──────────── GATEWAY_TAKEOVER ─────────┤ before it opens the data directory
 *    │ builds are given up, writes finish      │
 *    ├───────────── GATEWAY_RELEASED ─────────►│ reads the data directory
 *    │ calls go on; deploys are held           │
 *    │ ◄────────────── GATEWAY_READY ──────────┤ accepts; asks the server for the workers
 *    ├── GATEWAY_CONNECTION, GATEWAY_REQUEST ─►│ every connection, with the requests that nobody has started
 *    │ answers what runs; ends                 │
 *
 * Until GATEWAY_READY the old one goes on as before when the new one does not come to it. */
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/successor.h"
#include "gateway/build.h"
#include "gateway/gateway_internal.h"
#include "wire/peer.h"

enum {
    TAKEOVER_WAIT_MS = 40000, /* for the other's writes to the disk */
    TAKEOVER_LOOK_MS = 2,     /* connections that did not go yet; whether all is done */
    TAKEOVER_QUEUED_MAX = 64, /* connections in the queue of the socket */
};

enum takeover_state { TAKEOVER_NONE, TAKEOVER_RELEASING, TAKEOVER_RELEASED, TAKEOVER_HANDED };

struct takeover {
    struct gateway *gateway; /* borrowed: owns us */
    char path[1200];
    int before_fd;      /* to the gateway that we replace, until before is open */
    struct peer before; /* it */
    struct loop_watch listen_watch;
    struct peer next; /* the gateway that replaces us */
    enum takeover_state state;
    bool replaced; /* the supervisor knows that the next one is there: we may end */
    struct loop_timer look;
};

bool takeover_is_under_way(const struct gateway *gateway) {
    return gateway->takeover && gateway->takeover->state != TAKEOVER_NONE;
}

/* ---- the old one ---- */

static bool takeover_on_connection(void *context, int fd, struct http_slice bytes) {
    struct takeover *takeover = ((struct gateway *)context)->takeover;
    if (!peer_is_open(&takeover->next) || takeover->next.queued >= TAKEOVER_QUEUED_MAX)
        return false;
    MEM_CLOSE_FD int conn_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (conn_fd < 0)
        return false; /* others go, and leave descriptors */
    if (bytes.len == 0) {
        int fds[] = {mem_steal_fd(&conn_fd)};
        peer_send(&takeover->next, &(struct message){.type = MESSAGE_GATEWAY_CONNECTION}, fds, 1);
        return true;
    }
    MEM_CLOSE_FD int file = memfd_create("request", MFD_CLOEXEC);
    for (size_t done = 0; done < bytes.len;) {
        ssize_t put = file < 0 ? -1 : write(file, bytes.data + done, bytes.len - done);
        if (put < 0)
            return false;
        done += (size_t)put;
    }
    int fds[] = {mem_steal_fd(&conn_fd), mem_steal_fd(&file)};
    peer_send(&takeover->next, &(struct message){.type = MESSAGE_GATEWAY_REQUEST}, fds, 2);
    return true;
}

static void takeover_on_return(void *context, struct call *call) {
    (void)context;
    struct request *request = call->context;
    buf_fini(&request->head);
    request->is_call = false;
    http_hold(request->conn);
}

static bool takeover_on_process(void *context, const struct message *message, const int *fds) {
    struct takeover *takeover = ((struct gateway *)context)->takeover;
    enum { COUNT = 7 };
    int copies[COUNT];
    bool whole = peer_is_open(&takeover->next);
    for (int i = 0; i < COUNT; i++)
        whole &= (copies[i] = whole ? fcntl(fds[i], F_DUPFD_CLOEXEC, 0) : -1) >= 0;
    for (int i = 0; i < COUNT && !whole; i++)
        mem_close_fd(&copies[i]);
    if (whole)
        peer_send(&takeover->next, message, copies, COUNT);
    return whole;
}

static bool takeover_is_done(const struct gateway *gateway) {
    const struct takeover *takeover = gateway->takeover;
    return takeover->replaced && !peer_is_open(&takeover->before) &&
           http_server_stats(gateway->http)->connections == 0 && dispatch_is_idle(gateway->dispatch) &&
           !takeover->next.first;
}

void gateway_was_replaced(struct gateway *gateway) {
    gateway->takeover->replaced = true;
}

static void takeover_on_look(struct loop_timer *timer) {
    struct takeover *takeover = timer->context;
    struct gateway *gateway = takeover->gateway;
    http_server_hand_on(gateway->http);
    if (takeover_is_done(gateway))
        loop_stop(gateway->loop);
    else
        loop_arm(gateway->loop, timer, TAKEOVER_LOOK_MS * CLOCK_NS_PER_MS);
}

static void takeover_hand_over(struct takeover *takeover) {
    struct gateway *gateway = takeover->gateway;
    takeover->state = TAKEOVER_HANDED;
    log_event("the next gateway takes over; %u connections go there",
              http_server_stats(gateway->http)->connections);
    loop_unwatch(gateway->loop, &takeover->listen_watch);
    mem_close_fd(&takeover->listen_watch.fd); /* its path is the other's by now */
    dispatch_hand_over(gateway->dispatch, takeover_on_return, takeover_on_process);
    http_server_hand_over(gateway->http, takeover_on_connection);
    loop_arm(gateway->loop, &takeover->look, 0);
}

void takeover_on_write_end(struct gateway *gateway) {
    struct takeover *takeover = gateway->takeover;
    if (!takeover || takeover->state != TAKEOVER_RELEASING || gateway->writes > 0)
        return;
    takeover->state = TAKEOVER_RELEASED;
    storage_unlock(gateway->storage);
    peer_send(&takeover->next, &(struct message){.type = MESSAGE_GATEWAY_RELEASED}, NULL, 0);
}

static void takeover_on_next(struct peer *peer, const struct message *message, int *fds, int fd_count) {
    (void)fds;
    (void)fd_count;
    struct takeover *takeover = peer->context;
    if (message->type == MESSAGE_GATEWAY_TAKEOVER && takeover->state == TAKEOVER_NONE) {
        log_event("another gateway is to take our place");
        takeover->state = TAKEOVER_RELEASING;
        build_cancel_all(takeover->gateway);
        takeover_on_write_end(takeover->gateway);
    } else if (message->type == MESSAGE_GATEWAY_READY && takeover->state == TAKEOVER_RELEASED) {
        takeover_hand_over(takeover);
    }
}

/* The other gateway did not get as far as to serve: we go on. */
static void takeover_on_resume(struct takeover *takeover) {
    struct gateway *gateway = takeover->gateway;
    struct err err;
    if (takeover->state == TAKEOVER_RELEASED && storage_lock(gateway->storage, &err) < 0) {
        log_event("%s", err.msg); /* held by the other, which is ending */
        loop_arm(gateway->loop, &takeover->look, 10 * CLOCK_NS_PER_MS);
        return;
    }
    takeover->state = TAKEOVER_NONE;
    log_event("the next gateway has not come to serve; this one goes on");
    dispatch_unblock(gateway->dispatch);
    http_server_resume(gateway->http);
}

static void takeover_on_next_close(struct peer *peer, const struct err *why) {
    struct takeover *takeover = peer->context;
    peer_close(peer);
    if (takeover->state == TAKEOVER_HANDED) {
        log_event("the next gateway is gone (%s); what is left here ends", why->msg);
        gateway_drain(takeover->gateway);
    } else if (takeover->state != TAKEOVER_NONE) {
        takeover_on_resume(takeover);
    }
}

static void takeover_on_timer(struct loop_timer *timer) {
    struct takeover *takeover = timer->context;
    if (takeover->state == TAKEOVER_HANDED)
        takeover_on_look(timer);
    else if (takeover->state == TAKEOVER_RELEASED && !peer_is_open(&takeover->next))
        takeover_on_resume(takeover);
}

static void takeover_on_connect(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct takeover *takeover = watch->context;
    struct err err;
    int fd = peer_accept(watch->fd, peer_is_open(&takeover->next), 1);
    if (fd >= 0 && peer_open(&takeover->next, fd, &err) < 0)
        log_event("%s", err.msg);
}

/* ---- the new one ---- */

static int takeover_await_release(int fd, struct err *err) {
    struct message message = {.type = MESSAGE_GATEWAY_TAKEOVER};
    int fds[MESSAGE_FDS_MAX], fd_count = 0;
    int rc = message_send(fd, &message, NULL, 0, err);
    uint64_t until_ns = clock_now_ns() + TAKEOVER_WAIT_MS * CLOCK_NS_PER_MS;
    while (rc == 0 && clock_now_ns() < until_ns) {
        struct pollfd answer = {.fd = fd, .events = POLLIN};
        poll(&answer, 1, 1000);
        rc = message_receive(fd, &message, fds, &fd_count, err);
    }
    if (rc == 0)
        return err_set(err, ERR_UNAVAILABLE, "the running gateway does not let go of the data directory");
    if (rc > 0 && message.type == MESSAGE_GATEWAY_RELEASED)
        return 0;
    return rc < 0 ? rc : err_set(err, ERR_INTERNAL, "the running gateway sent message %u", message.type);
}

int takeover_begin(struct gateway *gateway, struct err *err) {
    struct takeover *takeover = mem_zalloc(sizeof *takeover);
    gateway->takeover = takeover;
    takeover->gateway = gateway;
    takeover->before_fd = takeover->listen_watch.fd = takeover->next.watch.fd = takeover->before.watch.fd =
        -1;
    takeover->look = (struct loop_timer){.on_timer = takeover_on_timer, .context = takeover};
    snprintf(takeover->path, sizeof takeover->path, "%s/faas_gateway.sock", gateway->config->run_dir);
    if (!successor_takes_over() || message_connect(takeover->path, &takeover->before_fd, err) < 0)
        return 0; /* nobody is there to be replaced */
    return takeover_await_release(takeover->before_fd, err);
}

static void takeover_on_before(struct peer *peer, const struct message *message, int *fds, int fd_count) {
    struct takeover *takeover = peer->context;
    struct err err;
    bool request = message->type == MESSAGE_GATEWAY_REQUEST;
    if (message->type == MESSAGE_GATEWAY_PROCESS) {
        dispatch_adopt(takeover->gateway->dispatch, message, fds);
        for (int i = 0; i < fd_count; i++)
            fds[i] = -1;
        return;
    }
    if (!request && message->type != MESSAGE_GATEWAY_CONNECTION)
        return;
    int rc = http_server_adopt(takeover->gateway->http, fds[0], request ? fds[1] : -1, &err);
    for (int i = 0; i < fd_count; i++)
        fds[i] = -1;
    if (rc < 0)
        log_event("a connection was lost: %s", err.msg);
}

static void takeover_on_before_close(struct peer *peer, const struct err *why) {
    (void)why;
    peer_close(peer);
}

int takeover_go_on(struct gateway *gateway, struct err *err) {
    struct takeover *takeover = gateway->takeover;
    int fd = -1;
    int rc = takeover->before_fd >= 0 ? message_listen_instead(takeover->path, &fd, err)
                                      : message_listen(takeover->path, &fd, err);
    if (rc < 0)
        return rc;
    takeover->next = (struct peer){.loop = gateway->loop,
                                   .watch.fd = -1,
                                   .on_message = takeover_on_next,
                                   .on_close = takeover_on_next_close,
                                   .context = takeover};
    takeover->listen_watch =
        (struct loop_watch){.fd = fd, .on_event = takeover_on_connect, .context = takeover};
    rc = loop_watch(gateway->loop, &takeover->listen_watch, EPOLLIN, err);
    if (rc < 0 || takeover->before_fd < 0)
        return rc;
    takeover->before = (struct peer){.loop = gateway->loop,
                                     .on_message = takeover_on_before,
                                     .on_close = takeover_on_before_close,
                                     .context = takeover};
    rc = peer_open(&takeover->before, mem_steal_fd(&takeover->before_fd), err);
    if (rc == 0)
        peer_send(&takeover->before, &(struct message){.type = MESSAGE_GATEWAY_READY}, NULL, 0);
    return rc;
}

void takeover_free(struct gateway *gateway) {
    struct takeover *takeover = gateway->takeover;
    if (!takeover)
        return;
    loop_disarm(gateway->loop, &takeover->look);
    peer_close(&takeover->next);
    peer_close(&takeover->before);
    mem_close_fd(&takeover->before_fd);
    if (takeover->listen_watch.fd >= 0) {
        message_unlisten(takeover->path);
        loop_unwatch(gateway->loop, &takeover->listen_watch);
        close(takeover->listen_watch.fd);
    }
    free(takeover);
    gateway->takeover = NULL;
}
