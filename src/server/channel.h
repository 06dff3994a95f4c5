/* What gateway and worker talk through: two pipes and a shared page. The server makes it, hands an end to
 * each and keeps none. */
#ifndef FAAS_SERVER_CHANNEL_H
#define FAAS_SERVER_CHANNEL_H

#include "base/err.h"

/* Descriptors, all owned and close-on-exec; -1 = handed over or none. The gateway's ends do not block, the
 * worker's do. */
struct channel {
    int calls_write, answers_read; /* the gateway's */
    int calls_read, answers_write; /* the worker's */
    int page;                      /* both map it; sealed, PAGE_BYTES, zeroed */
};

#define CHANNEL_NONE                                                                                         \
    (struct channel) {                                                                                       \
        -1, -1, -1, -1, -1                                                                                   \
    }

/* pipe_bytes: the size that the pipes should have; less where the system allows no more. */
int channel_open(struct channel *ret_channel, int pipe_bytes, struct err *err);
/* Closes what was not taken out. */
void channel_close(struct channel *channel);

enum channel_side { CHANNEL_READ_NONBLOCK, CHANNEL_WRITE_NONBLOCK };
/* One pipe, close-on-exec, whose one end does not block. */
int channel_open_pipe(int ret_fds[2], enum channel_side nonblocking, int pipe_bytes, struct err *err);

#endif
