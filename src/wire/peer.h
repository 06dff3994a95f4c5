/* One end of a message socket on a loop: receives messages, queues those that the socket does not take yet.
 *
 * Embedded in its owner and kept in place until peer_close. The descriptors of a message that came are the
 * peer's and closed after on_message, but for those that the callback took (set to -1). on_close fires once,
 * from the loop, when the other side is gone, sent what is no message, or lets more than PEER_QUEUE_MAX
 * messages wait; the owner then calls peer_close. A callback may close its own peer; memory that holds one is
 * freed through loop_defer. */
#ifndef FAAS_WIRE_PEER_H
#define FAAS_WIRE_PEER_H

#include "base/loop.h"
#include "wire/message.h"

enum { PEER_QUEUE_MAX = 2048 };

struct peer;
struct peer_queued;

typedef void peer_on_message(struct peer *peer, const struct message *message, int *fds, int fd_count);
typedef void peer_on_close(struct peer *peer, const struct err *why);

struct peer {
    struct loop *loop;       /* borrowed: outlives the peer */
    struct loop_watch watch; /* its fd is owned; -1 = closed */
    peer_on_message *on_message;
    peer_on_close *on_close;
    void *context; /* the owner's */
    struct peer_queued *first, *last;
    int queued;
};

/* Takes a connection that waits at a listening message socket; -1 when there is none, or when `count` of
 * `most` are there already: that one is closed, and logged. */
int peer_accept(int listen_fd, int count, int most);
/* loop, on_message, on_close and context are set; the rest is overwritten. Takes fd, also when it fails. */
int peer_open(struct peer *peer, int fd, struct err *err);
/* Safe on a peer that is closed, or zeroed with watch.fd -1. */
void peer_close(struct peer *peer);
bool peer_is_open(const struct peer *peer);
/* Sends now or as soon as the socket takes it, in order. fds are taken (closed in the end) in every case;
 * nothing happens on a closed peer. A peer that is gone is told by on_close, later. */
void peer_send(struct peer *peer, const struct message *message, const int *fds, int fd_count);

#endif
