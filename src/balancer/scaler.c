#include "balancer/scaler.h"

#include "base/clock.h"
#include "base/log.h"

/* Older than that, and the gateway is gone or has nothing to do. */
#define SCALER_STALE_NS (3 * SCALING_TICK_NS)

#define SCALER_CALLS_MAX 1e9 /* that wait */

static uint64_t scaler_load(const _Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void scaler_store(_Atomic uint32_t *word, double value) {
    atomic_store_explicit(word, (uint32_t)(value + 0.5), memory_order_relaxed);
}

void scaler_start(struct scaler *scaler, uint32_t target, uint32_t least, uint32_t most) {
    if (most > TABLE_WORKERS)
        most = TABLE_WORKERS;
    scaling_start(&scaler->scaling, target, least < most ? least : most, most, scaler->period_ns);
    scaler->started = true;
    struct table_scaling *shown = &scaler->table->scaling;
    atomic_store_explicit(&shown->target, scaler->scaling.target, memory_order_relaxed);
    atomic_store_explicit(&shown->least, scaler->scaling.least, memory_order_relaxed);
    atomic_store_explicit(&shown->most, scaler->scaling.most, memory_order_relaxed);
}

/* What passed since the last tick, 0..most: others write these words, and start again at 0. */
static double scaler_passed(uint64_t now, uint64_t before, double most) {
    double passed = now > before ? (double)(now - before) : 0;
    return passed > most ? most : passed;
}

/* Adds what this worker did in the tick. */
static void scaler_look_row(struct scaler *scaler, uint32_t worker, bool loaded,
                            struct scaling_input *input) {
    struct table_row *shared = &scaler->table->rows[worker];
    struct scaler_row before = scaler->rows[worker], *row = &scaler->rows[worker];
    uint32_t state = atomic_load_explicit(&shared->state, memory_order_relaxed);
    *row = (struct scaler_row){0};
    if (state != TABLE_READY && state != TABLE_STALLED)
        return;
    input->ready++;
    row->pid = atomic_load_explicit(&shared->pid, memory_order_relaxed);
    row->busy_ns = scaler_load(&shared->busy_ns);
    row->timed = loaded && cpu_thread_times(row->pid, &row->ran_ns, &row->delayed_ns);
    if (before.pid != row->pid)
        return;
    double tick_ns = (double)input->tick_ns;
    double busy_ns = scaler_passed(row->busy_ns, before.busy_ns, tick_ns);
    input->busy += busy_ns / tick_ns;
    if (row->timed && before.timed) {
        double ran_ns = scaler_passed(row->ran_ns, before.ran_ns, tick_ns);
        double delayed_ns = scaler_passed(row->delayed_ns, before.delayed_ns, busy_ns);
        input->cpu += ran_ns / tick_ns;
        input->delayed += delayed_ns / tick_ns;
    } else {
        input->cpu += busy_ns / tick_ns; /* nobody knows: as if it computed */
    }
}

/* The mean over the tick of one of the gateway's totals, 0..most. */
static double scaler_mean(const _Atomic uint64_t *word, uint64_t *before, const struct scaling_input *input,
                          double most) {
    double tick_ns = (double)input->tick_ns;
    uint64_t now = scaler_load(word);
    double passed_ns = scaler_passed(now, *before, most * tick_ns);
    *before = now;
    return passed_ns / tick_ns;
}

static void scaler_look_load(struct scaler *scaler, struct scaling_input *input) {
    struct table_load *load = &scaler->table->load;
    uint64_t stamp_ns = scaler_load(&load->stamp_ns), answered = scaler_load(&load->answered);
    struct scaling_input seen = *input;
    seen.waiting = scaler_mean(&load->waiting_ns, &scaler->waiting_ns, input, SCALER_CALLS_MAX);
    seen.reserved = scaler_mean(&load->reserved_ns, &scaler->reserved_ns, input, 1);
    seen.in_long = scaler_mean(&load->long_ns, &scaler->long_ns, input, input->ready);
    seen.answered = answered > scaler->answered ? answered - scaler->answered : 0;
    if (input->now_ns - stamp_ns < SCALER_STALE_NS)
        seen.oldest_wait_ns = scaler_load(&load->oldest_wait_ns);
    bool known = scaler->stamp_ns != 0;
    scaler->stamp_ns = stamp_ns;
    scaler->answered = answered;
    if (known)
        *input = seen;
}

static void scaler_show(struct scaler *scaler, const struct scaling_input *input,
                        enum scaling_reason reason) {
    struct table_scaling *shown = &scaler->table->scaling;
    scaler_store(&shown->busy_milli, input->busy * 1000);
    scaler_store(&shown->idle_cores_milli, input->idle_cores > 0 ? input->idle_cores * 1000 : 0);
    atomic_store_explicit(&shown->ready, input->ready, memory_order_relaxed);
    atomic_store_explicit(&shown->wait_ns, scaling_wait_ns(input), memory_order_relaxed);
    if (reason == SCALING_KEEP)
        return;
    atomic_fetch_add_explicit(reason == SCALING_DOWN ? &shown->downs : &shown->ups, 1, memory_order_relaxed);
    atomic_store_explicit(&shown->target, scaler->scaling.target, memory_order_relaxed);
}

static void scaler_log(const struct scaling_input *input, uint32_t from, uint32_t to,
                       enum scaling_reason reason) {
    log_event("workers %u to %u: %s (%.1f of %u busy, %.1f of these without a CPU, %.1f calls wait, %.1f ms; "
              "%.1f CPUs used by workers, %.1f idle)",
              from, to, scaling_reason_text(reason), input->busy, input->ready, input->delayed,
              input->waiting, (double)scaling_wait_ns(input) / (double)CLOCK_NS_PER_MS, input->cpu,
              input->idle_cores);
}

bool scaler_tick(struct scaler *scaler, uint64_t now_ns) {
    uint64_t before_ns = scaler->looked_ns;
    scaler->looked_ns = now_ns;
    if (!scaler->started || now_ns <= before_ns)
        return false;
    struct scaling_input input = {.now_ns = now_ns,
                                  .tick_ns = before_ns ? now_ns - before_ns : SCALING_TICK_NS};
    bool loaded = now_ns - scaler_load(&scaler->table->load.stamp_ns) < SCALER_STALE_NS;
    for (uint32_t worker = 0; worker < TABLE_WORKERS; worker++)
        scaler_look_row(scaler, worker, loaded, &input);
    scaler_look_load(scaler, &input);
    if (!loaded)
        scaler->idle.at_ns = 0;
    input.idle_cores = loaded ? cpu_idle_look(&scaler->idle, now_ns) : -1;
    uint32_t from = scaler->scaling.target;
    enum scaling_reason reason = scaling_decide(&scaler->scaling, &input);
    scaler_show(scaler, &input, reason);
    if (reason != SCALING_KEEP)
        scaler_log(&input, from, scaler->scaling.target, reason);
    return reason != SCALING_KEEP;
}
