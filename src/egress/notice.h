/* Lines of the broker in the function's log: they go into the pipe of its standard error. A few a second at
 * most; what was left out is counted in the next one. Any thread. */
#ifndef FAAS_EGRESS_NOTICE_H
#define FAAS_EGRESS_NOTICE_H

#include <stdatomic.h>

#include "egress/bucket.h"

enum { NOTICE_BURST = 20, NOTICE_PER_S = 5 };

struct notice {
    int fd; /* borrowed */
    struct bucket bucket;
    atomic_uint left_out;
};

void notice_init(struct notice *notice, int fd);
/* "network: " and the line, without its end. Dropped when nobody reads the pipe. */
void notice_write(struct notice *notice, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
