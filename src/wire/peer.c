#include "wire/peer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum { PEER_MESSAGES_PER_EVENT = 64 };

struct peer_queued {
    struct peer_queued *next;
    struct message message;
    int fds[MESSAGE_FDS_MAX]; /* owned */
    int fd_count;
};

static void peer_close_fds(const int *fds, int count) {
    for (int i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void peer_drop_first(struct peer *peer) {
    struct peer_queued *first = peer->first;
    peer->first = first->next;
    if (!peer->first)
        peer->last = NULL;
    peer->queued--;
    peer_close_fds(first->fds, first->fd_count);
    free(first);
}

/* The loop sees the end of the connection next and tells the owner: never from inside peer_send. */
static void peer_break(struct peer *peer) {
    while (peer->first)
        peer_drop_first(peer);
    shutdown(peer->watch.fd, SHUT_RDWR);
}

static void peer_flush(struct peer *peer) {
    struct err err;
    while (peer->first) {
        int rc = message_send(peer->watch.fd, &peer->first->message, peer->first->fds, peer->first->fd_count,
                              &err);
        if (rc == -ERR_UNAVAILABLE)
            break;
        if (rc < 0) {
            peer_break(peer);
            break;
        }
        peer_drop_first(peer);
    }
    loop_rewatch(peer->loop, &peer->watch, peer->first ? EPOLLIN | EPOLLOUT : EPOLLIN, &err);
}

static void peer_on_event(struct loop_watch *watch, uint32_t events) {
    struct peer *peer = watch->context;
    if (events & EPOLLOUT)
        peer_flush(peer);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    for (int i = 0; i < PEER_MESSAGES_PER_EVENT; i++) {
        struct message message;
        int fds[MESSAGE_FDS_MAX], fd_count = 0;
        struct err err;
        int rc = message_receive(watch->fd, &message, fds, &fd_count, &err);
        if (rc == 0)
            return;
        if (rc < 0) {
            peer->on_close(peer, &err);
            return;
        }
        peer->on_message(peer, &message, fds, fd_count);
        peer_close_fds(fds, fd_count);
        if (!peer_is_open(peer))
            return;
    }
}

int peer_accept(int listen_fd, int count, int most) {
    struct err err;
    int fd = -1;
    if (message_accept(listen_fd, &fd, &err) < 0)
        log_event("%s", err.msg);
    if (fd >= 0 && count >= most) {
        log_event("more than %d connections; refused one", most);
        mem_close_fd(&fd);
    }
    return fd;
}

int peer_open(struct peer *peer, int fd, struct err *err) {
    peer->watch = (struct loop_watch){.fd = fd, .on_event = peer_on_event, .context = peer};
    peer->first = peer->last = NULL;
    peer->queued = 0;
    int rc = loop_watch(peer->loop, &peer->watch, EPOLLIN, err);
    if (rc < 0)
        peer_close(peer);
    return rc;
}

void peer_close(struct peer *peer) {
    if (peer->watch.fd < 0)
        return;
    while (peer->first)
        peer_drop_first(peer);
    loop_unwatch(peer->loop, &peer->watch);
    close(peer->watch.fd);
    peer->watch.fd = -1;
}

bool peer_is_open(const struct peer *peer) {
    return peer->watch.fd >= 0;
}

static bool peer_enqueue(struct peer *peer, const struct message *message, const int *fds, int fd_count) {
    struct peer_queued *queued = peer->queued < PEER_QUEUE_MAX ? malloc(sizeof *queued) : NULL;
    if (!queued)
        return false;
    *queued = (struct peer_queued){.message = *message, .fd_count = fd_count};
    if (fd_count > 0)
        memcpy(queued->fds, fds, sizeof(int) * (size_t)fd_count);
    if (peer->last)
        peer->last->next = queued;
    else
        peer->first = queued;
    peer->last = queued;
    peer->queued++;
    return true;
}

void peer_send(struct peer *peer, const struct message *message, const int *fds, int fd_count) {
    struct err err;
    if (!peer_is_open(peer)) {
        peer_close_fds(fds, fd_count);
        return;
    }
    if (!peer->first) {
        int rc = message_send(peer->watch.fd, message, fds, fd_count, &err);
        if (rc != -ERR_UNAVAILABLE) {
            peer_close_fds(fds, fd_count);
            if (rc < 0)
                peer_break(peer);
            return;
        }
    }
    if (!peer_enqueue(peer, message, fds, fd_count)) {
        peer_close_fds(fds, fd_count);
        peer_break(peer);
        return;
    }
    loop_rewatch(peer->loop, &peer->watch, EPOLLIN | EPOLLOUT, &err);
}
