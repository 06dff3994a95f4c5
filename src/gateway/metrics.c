/* GET /metrics: the Prometheus text format, version 0.0.4. Names of functions need no escaping
 * (storage_name_check). */
#include <stdio.h>
#include <string.h>

#include "gateway/gateway_internal.h"
#include "sandbox/sandbox.h"

static void metrics_header(struct buf *out, const char *name, const char *type, const char *help) {
    buf_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void metrics_calls(struct buf *out, const struct storage_version *version, const struct stats *stats) {
    for (int i = 0; i < STATS_OUTCOMES && stats->outcomes[i].count; i++) {
        const struct stats_outcome *row = &stats->outcomes[i];
        buf_append_str(out, "faas_calls_total{function=\"");
        buf_append_str(out, version->meta.name);
        buf_append_str(out, "\",version=\"");
        buf_append_u64(out, version->meta.version);
        buf_append_str(out, "\",status=\"");
        buf_append_u64(out, row->status);
        buf_append_str(out, "\",cause=\"");
        buf_append_str(out, err_cause(row->code));
        buf_append_str(out, "\"} ");
        buf_append_u64(out, row->count);
        buf_append_str(out, "\n");
    }
}

static void metrics_queue_depth(struct buf *out, const struct storage_version *version) {
    uint32_t queued = dispatch_queued(version);
    if (!version->current || (queued == 0 && !histograms_shows(version)))
        return;
    buf_append_str(out, "faas_queue_depth{function=\"");
    buf_append_str(out, version->meta.name);
    buf_append_str(out, "\"} ");
    buf_append_u64(out, queued);
    buf_append_str(out, "\n");
}

/* Every version that has been called: the current ones and the older ones behind them. One walk, since there
 * may be ten thousand of them. */
static void metrics_versions(struct gateway *gateway, struct buf *calls, struct buf *depths) {
    metrics_header(calls, "faas_calls_total", "counter",
                   "Calls by function, version, HTTP status and cause.");
    metrics_header(depths, "faas_queue_depth", "gauge", "Calls that wait for a worker.");
    histograms_begin(&gateway->histograms);
    for (struct storage_version *current = storage_next(gateway->storage, NULL); current;
         current = storage_next(gateway->storage, current))
        for (struct storage_version *at = current; at; at = at->older) {
            const struct stats *stats = dispatch_stats(at);
            if (!stats || (stats->calls == 0 && dispatch_queued(at) == 0))
                continue;
            histograms_take(&gateway->histograms, at);
            metrics_calls(calls, at, stats);
            metrics_queue_depth(depths, at);
        }
}

struct metrics_states {
    const char *names[8];
    uint32_t counts[8];
};

static void metrics_on_worker(void *context, const struct dispatch_worker *worker) {
    struct metrics_states *states = context;
    int i = 0;
    while (strcmp(states->names[i], worker->state) != 0)
        i++;
    states->counts[i]++;
}

static void metrics_workers(struct gateway *gateway, struct buf *out) {
    struct metrics_states states = {.names = {"ready", "busy", "loading", "stalled", "retiring"}};
    struct dispatch_totals totals;
    dispatch_each_worker(gateway->dispatch, metrics_on_worker, &states);
    dispatch_totals(gateway->dispatch, &totals);
    metrics_header(out, "faas_workers", "gauge", "Workers and function processes by state.");
    for (int i = 0; states.names[i]; i++)
        buf_append_format(out, "faas_workers{state=\"%s\"} %u\n", states.names[i], states.counts[i]);
    metrics_header(out, "faas_worker_calls_total", "counter", "Calls answered by each WASM worker number.");
    for (int i = 0; i < TABLE_WORKERS; i++)
        if (totals.worker_calls[i] || i < (int)gateway->config->workers)
            buf_append_format(out, "faas_worker_calls_total{worker=\"%d\"} %llu\n", i,
                              (unsigned long long)totals.worker_calls[i]);
    metrics_header(out, "faas_worker_restarts_total", "counter", "WASM workers that were started again.");
    buf_append_format(out, "faas_worker_restarts_total %llu\n", (unsigned long long)totals.worker_restarts);
    metrics_header(out, "faas_calls_crashed_total", "counter",
                   "Calls that were running when their worker died.");
    buf_append_format(out, "faas_calls_crashed_total %llu\n", (unsigned long long)totals.crashes);
    metrics_header(out, "faas_calls_withdrawn_total", "counter",
                   "Times that a call was taken back from a worker that had not started it.");
    buf_append_format(out, "faas_calls_withdrawn_total %llu\n", (unsigned long long)totals.withdrawn);
    metrics_header(out, "faas_workers_killed_total", "counter", "Workers and processes killed over a limit.");
    buf_append_format(out, "faas_workers_killed_total %llu\n", (unsigned long long)totals.killed);
    metrics_header(out, "faas_part_up", "gauge", "1 while the gateway is connected to that part.");
    buf_append_format(out, "faas_part_up{part=\"server\"} %d\nfaas_part_up{part=\"load_balancer\"} %d\n",
                      totals.server_connected, totals.balancer_connected);
    metrics_header(out, "faas_strategy", "gauge", "1 for the strategy in force.");
    for (uint32_t i = 0; i < POLICY_COUNT; i++)
        buf_append_format(out, "faas_strategy{strategy=\"%s\"} %d\n", policy_strategy_name(i),
                          totals.strategy == i);
}

static void metrics_sandbox(struct buf *out) {
    const struct sandbox_report *report = sandbox_probe();
    metrics_header(out, "faas_sandbox_tier", "gauge", "1 for how far the walls around functions go here.");
    for (enum sandbox_tier tier = SANDBOX_OFF; tier <= SANDBOX_FULL; tier++)
        buf_append_format(out, "faas_sandbox_tier{tier=\"%s\"} %d\n", sandbox_tier_name(tier),
                          report->tier == tier);
    metrics_header(out, "faas_sandbox_wall", "gauge", "1 for each wall that is there.");
#define METRICS_WALL(field, name)                                                                            \
    buf_append_format(out, "faas_sandbox_wall{wall=\"" #field "\"} %d\n", report->field);
    SANDBOX_WALLS(METRICS_WALL)
#undef METRICS_WALL
}

static uint64_t metrics_word(const _Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}

static uint32_t metrics_word32(const _Atomic uint32_t *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void metrics_gauge(struct buf *out, const char *name, double value, const char *help) {
    metrics_header(out, name, "gauge", help);
    buf_append_format(out, "%s %.9g\n", name, value);
}

/* Of the balancer: how many WASM workers it wants, and by what it decides. Without one, what the settings
 * say. */
static void metrics_scaling(struct gateway *gateway, struct buf *out) {
    static const struct table_scaling none;
    const struct table_scaling *scaling = dispatch_scaling(gateway->dispatch);
    if (!scaling || metrics_word32(&scaling->target) == 0)
        scaling = &none;
    uint32_t target = metrics_word32(&scaling->target), ready = metrics_word32(&scaling->ready);
    uint32_t least = scaling == &none ? (uint32_t)gateway->config->workers : metrics_word32(&scaling->least);
    uint32_t most =
        scaling == &none ? (uint32_t)gateway->config->workers_max : metrics_word32(&scaling->most);
    metrics_gauge(out, "faas_scaling_target", target ? target : least, "WASM workers that are wanted.");
    metrics_gauge(out, "faas_scaling_least", least, "The fewest that may be wanted.");
    metrics_gauge(out, "faas_scaling_most", most, "The most that may be wanted.");
    metrics_header(out, "faas_scaling_changes_total", "counter", "Changes of faas_scaling_target.");
    buf_append_format(out, "faas_scaling_changes_total{direction=\"up\"} %llu\n",
                      (unsigned long long)metrics_word(&scaling->ups));
    buf_append_format(out, "faas_scaling_changes_total{direction=\"down\"} %llu\n",
                      (unsigned long long)metrics_word(&scaling->downs));
    metrics_gauge(out, "faas_scaling_utilisation_ratio",
                  ready ? metrics_word32(&scaling->busy_milli) / 1000.0 / ready : 0,
                  "Share of the workers' time in which a call was running, in the last 100 ms.");
    metrics_gauge(out, "faas_scaling_wait_seconds", (double)metrics_word(&scaling->wait_ns) / 1e9,
                  "How long a call waited for a worker, in the last 100 ms.");
    metrics_gauge(out, "faas_scaling_idle_cpus", metrics_word32(&scaling->idle_cores_milli) / 1000.0,
                  "CPUs that nobody used in the last 100 ms; looked at only while calls are there.");
}

static void metrics_keys(struct gateway *gateway, struct buf *out) {
    static const char *const reasons[] = {
#define METRICS_REASON(name, label) label,
        AUTH_REASONS(METRICS_REASON)
#undef METRICS_REASON
    };
    metrics_header(out, "faas_keys", "gauge", "API keys.");
    buf_append_format(out, "faas_keys %zu\n", keyring_count(gateway->auth.keyring));
    metrics_header(out, "faas_auth_refused_total", "counter",
                   "Requests refused for want of an API key that allows them.");
    for (int i = 0; i < AUTH_REASON_COUNT; i++)
        buf_append_format(out, "faas_auth_refused_total{reason=\"%s\"} %llu\n", reasons[i],
                          (unsigned long long)gateway->auth.refused[i]);
}

static void metrics_http(struct gateway *gateway, struct buf *out) {
    const struct http_stats *http = http_server_stats(gateway->http);
    metrics_header(out, "faas_http_connections", "gauge", "Open connections.");
    buf_append_format(out, "faas_http_connections %u\n", http->connections);
    metrics_header(out, "faas_http_buffered_bytes", "gauge", "Bodies and unsent answers in memory.");
    buf_append_format(out, "faas_http_buffered_bytes %zu\n", http->buffered_bytes);
    metrics_header(out, "faas_http_requests_total", "counter", "Requests that arrived whole.");
    buf_append_format(out, "faas_http_requests_total %llu\n", (unsigned long long)http->requests);
    metrics_header(out, "faas_http_refused_total", "counter", "Requests refused before a route saw them.");
    buf_append_format(out, "faas_http_refused_total %llu\n", (unsigned long long)http->refused);
    metrics_header(out, "faas_http_evicted_total", "counter", "Stalled connections closed to make room.");
    buf_append_format(out, "faas_http_evicted_total %llu\n", (unsigned long long)http->evicted);
    metrics_header(out, "faas_functions", "gauge", "Deployed functions.");
    buf_append_format(out, "faas_functions %u\n", storage_count(gateway->storage));
    metrics_header(out, "faas_builds", "gauge", "Builds under way and waiting.");
    buf_append_format(out, "faas_builds{state=\"running\"} %u\nfaas_builds{state=\"waiting\"} %u\n",
                      gateway->builds_running, gateway->builds_waiting);
}

void metrics_route(struct gateway *gateway, struct http_conn *conn) {
    static const char head[] = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
    struct buf out = {0}, depths = {0};
    metrics_versions(gateway, &out, &depths);
    metrics_workers(gateway, &out);
    metrics_scaling(gateway, &out);
    metrics_sandbox(&out);
    buf_append(&out, depths.data, depths.len);
    out.failed |= depths.failed;
    buf_fini(&depths);
    histograms_append(&gateway->histograms, &out);
    metrics_keys(gateway, &out);
    metrics_http(gateway, &out);
    if (out.failed)
        respond_error(gateway, conn, ERR_INTERNAL, "out of memory");
    else
        http_respond(conn, 200, (struct http_slice){head, sizeof head - 1},
                     (struct http_slice){(const char *)out.data, out.len});
    buf_fini(&out);
}
