#include "egress/bucket.h"

#include "base/clock.h"

void bucket_init(struct bucket *bucket, unsigned per_s, unsigned burst) {
    *bucket = (struct bucket){.each_ns = CLOCK_NS_PER_S / per_s, .burst_ns = CLOCK_NS_PER_S / per_s * burst};
    pthread_mutex_init(&bucket->lock, NULL);
}

bool bucket_take(struct bucket *bucket) {
    uint64_t now_ns = clock_now_ns();
    pthread_mutex_lock(&bucket->lock);
    if (bucket->full_ns < now_ns)
        bucket->full_ns = now_ns;
    bool may = bucket->full_ns + bucket->each_ns <= now_ns + bucket->burst_ns;
    if (may)
        bucket->full_ns += bucket->each_ns;
    pthread_mutex_unlock(&bucket->lock);
    return may;
}
