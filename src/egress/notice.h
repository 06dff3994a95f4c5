/* Lines of the broker in the function's log: they go into the pipe of its standard error. A few a second at
 * most; what was left out is counted in the next one. Any thread. */
#ifndef FAAS_EGRESS_NOTICE_H
#define FAAS_EGRESS_NOTICE_H

#include <pthread.h>
#include <stdint.h>

enum { NOTICE_BURST = 20, NOTICE_PER_S = 5 };

struct notice {
    int fd; /* borrowed */
    pthread_mutex_t lock;
    uint64_t full_ns; /* when there is room for a whole burst again */
    uint64_t left_out;
};

void notice_init(struct notice *notice, int fd);
/* "network: " and the line, without its end. Dropped when nobody reads the pipe. */
void notice_write(struct notice *notice, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
