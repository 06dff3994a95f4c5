/* How many of the sockets that the broker made are still open in the function's process. The broker keeps no
 * descriptor of them, which would keep them open, but they stay registered with an epoll of its own for just
 * as long as anybody has one: that is counted. Any thread. */
#ifndef FAAS_EGRESS_SOCKETS_H
#define FAAS_EGRESS_SOCKETS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"

struct sockets {
    int epoll_fd;
    int most;
    pthread_mutex_t lock;
    int counted; /* at least so many were open at the last count, and were added since */
};

int sockets_open(struct sockets *sockets, int most, struct err *err);
/* Room for one more. Each true is followed by sockets_add or sockets_give_up. */
bool sockets_reserve(struct sockets *sockets);
void sockets_give_up(struct sockets *sockets);
/* The caller closes its descriptor then. */
bool sockets_add(struct sockets *sockets, int fd);

#endif
