/* How often something may happen: so many at once, then so many a second. Any thread. */
#ifndef FAAS_EGRESS_BUCKET_H
#define FAAS_EGRESS_BUCKET_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct bucket {
    pthread_mutex_t lock;
    uint64_t each_ns, burst_ns;
    uint64_t full_ns; /* when a whole burst may happen again */
};

void bucket_init(struct bucket *bucket, unsigned per_s, unsigned burst);
/* True when it may happen now, and counts it. */
bool bucket_take(struct bucket *bucket);

#endif
