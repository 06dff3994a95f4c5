/* Counters of one function version: plain integers of the gateway's thread, read by /metrics. */
#ifndef FAAS_DISPATCH_STATS_H
#define FAAS_DISPATCH_STATS_H

#include <stdint.h>

enum { STATS_BUCKETS = 16, STATS_OUTCOMES = 24 };

/* Upper bounds in seconds, as Prometheus text and in ns; the last is +Inf. */
extern const char *const stats_bucket_labels[STATS_BUCKETS];
extern const uint64_t stats_bucket_ns[STATS_BUCKETS];

struct stats_histogram {
    uint64_t buckets[STATS_BUCKETS]; /* not cumulative */
    uint64_t sum_ns;
};

struct stats_outcome {
    uint16_t status; /* HTTP; 0 = all that found no row of their own */
    uint16_t code;   /* enum err_code */
    uint64_t count;
};

struct stats {
    struct stats_outcome outcomes[STATS_OUTCOMES];
    struct stats_histogram queue, start, run, total;
    uint64_t calls;
    uint64_t last_call_s; /* since the epoch; 0 = never */
};

void stats_observe(struct stats_histogram *histogram, uint64_t ns);
void stats_count(struct stats *stats, int status, int code);

#endif
