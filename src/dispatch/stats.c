#include "dispatch/stats.h"

#include <stddef.h>

/* X(seconds as text, ns) */
#define STATS_BOUNDS(X)                                                                                      \
    X("0.000005", 5000)                                                                                      \
    X("0.00001", 10000)                                                                                      \
    X("0.000025", 25000)                                                                                     \
    X("0.00005", 50000)                                                                                      \
    X("0.0001", 100000)                                                                                      \
    X("0.00025", 250000)                                                                                     \
    X("0.0005", 500000)                                                                                      \
    X("0.001", 1000000)                                                                                      \
    X("0.0025", 2500000)                                                                                     \
    X("0.01", 10000000)                                                                                      \
    X("0.025", 25000000)                                                                                     \
    X("0.1", 100000000)                                                                                      \
    X("0.5", 500000000)                                                                                      \
    X("2.5", 2500000000)                                                                                     \
    X("10", 10000000000)                                                                                     \
    X("+Inf", UINT64_MAX)

const char *const stats_bucket_labels[STATS_BUCKETS] = {
#define STATS_LABEL(label, ns) label,
    STATS_BOUNDS(STATS_LABEL)
#undef STATS_LABEL
};
const uint64_t stats_bucket_ns[STATS_BUCKETS] = {
#define STATS_NS(label, ns) ns,
    STATS_BOUNDS(STATS_NS)
#undef STATS_NS
};

void stats_observe(struct stats_histogram *histogram, uint64_t ns) {
    unsigned i = 0;
    while (ns > stats_bucket_ns[i])
        i++;
    histogram->buckets[i]++;
    histogram->sum_ns += ns;
}

void stats_count(struct stats *stats, int status, int code) {
    struct stats_outcome *row = stats->outcomes;
    struct stats_outcome *last = &stats->outcomes[STATS_OUTCOMES - 1];
    for (; row < last; row++)
        if (row->count == 0 || (row->status == status && row->code == code))
            break;
    if (row < last) {
        row->status = (uint16_t)status;
        row->code = (uint16_t)code;
    } else {
        row->status = 0;
        row->code = (uint16_t)code;
    }
    row->count++;
    stats->calls++;
}
