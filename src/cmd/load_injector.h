/* The load injector: what to send (plan), how long it took (histogram), the threads that send (run), the
 * table. */
#ifndef FAAS_CMD_LOAD_INJECTOR_H
#define FAAS_CMD_LOAD_INJECTOR_H

#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/client.h"

enum {
    INJECTOR_CONNECTIONS_MAX = 10000,
    INJECTOR_REQUESTS_MAX = 100000000, /* a connection */
    INJECTOR_RATE_MAX = 10000000,      /* a second */
    INJECTOR_PAYLOAD_MAX = 1 << 30,
    INJECTOR_TIMEOUT_MAX_MS = 86400000,
};

/* --- plan --------------------------------------------------------------------------------------------------
 */

struct injector_plan {
    const char *function;
    uint32_t connections;
    uint64_t requests; /* a connection */
    uint32_t rate; /* requests a second over all connections; 0: each as soon as the one before is answered */
    uint32_t timeout_ms;
    const char *payload_file; /* or NULL */
    const char *token;        /* of an API key, or NULL */
    bool json;
    char target[300]; /* host:port, for messages and the Host header */
    struct sockaddr_storage address;
    socklen_t address_len;
    struct buf request; /* the bytes of one request */
};

/* Finds the address from `url` (http://host:port[/path]), else `listen` (host:port), else 127.0.0.1:8080, and
 * renders the request. ERR_BAD_REQUEST: malformed; ERR_NOT_FOUND: no such host or file; ERR_TOO_LARGE. */
int injector_plan_prepare(struct injector_plan *plan, const char *url, const char *listen, struct err *err);
/* One connection to the target, to be told at once when there is nobody. ERR_IO. */
int injector_plan_probe(const struct injector_plan *plan, struct err *err);

/* --- histogram ---------------------------------------------------------------------------------------------
 */

enum { HISTOGRAM_SUB_BITS = 7, HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS };

/* Counts of values in buckets whose width is at most 1/128 of the value, so any percentile is within 0.8 %.
 */
struct histogram {
    uint64_t count, min, max, sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* Value that `percent` of all values do not exceed; 0 when there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

/* --- run ---------------------------------------------------------------------------------------------------
 */

enum { INJECTOR_STATUSES = 600 };

struct injector_result {
    struct histogram latency_ns;           /* of the calls answered with 200 */
    uint64_t statuses[INJECTOR_STATUSES];  /* answers by HTTP status */
    uint64_t outcomes[HTTP_OUTCOME_COUNT]; /* calls by what became of them */
    uint64_t elapsed_ns;
};

typedef void injector_on_progress(const struct injector_plan *plan, uint64_t done, uint64_t failed,
                                  uint64_t ns);

/* Sends all of the plan's requests; on_progress (may be NULL) fires from the calling thread about five times
 * a second. Ends early, with what there is, once *stop is set. */
int injector_run(const struct injector_plan *plan, const atomic_bool *stop, injector_on_progress *on_progress,
                 struct injector_result *ret_result, struct err *err);

/* --- report ------------------------------------------------------------------------------------------------
 */

uint64_t injector_report_failed(const struct injector_result *result);
void injector_report_print(const struct injector_plan *plan, const struct injector_result *result,
                           FILE *file);

#endif
