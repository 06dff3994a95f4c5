#include "balancer/scaling.h"

#include <math.h>
#include <string.h>

#define SCALING_BUSY 0.9           /* share of the workers that run calls, of those that may: all do */
#define SCALING_WAIT_NS 2000000ull /* shorter waits are not worth a worker */
#define SCALING_BLOCKED 0.75       /* share of a call's time that it needs no CPU: such calls sleep */
#define SCALING_DELAYED 0.5 /* share of a call's time that it waits for a CPU: there is none to be had */
/* Calls that run long may share a core with others at no cost worth speaking of, and no call should wait so
 * long for them. */
#define SCALING_LONG 0.5 /* share of the busy workers that are in a call that has been running for long */
#define SCALING_LONG_WAIT_NS 250000000ull
#define SCALING_MARGIN 1.25 /* workers for the work of one, before a step down */
#define SCALING_FAST 0.5    /* weight of the newest tick in an average over two */
#define SCALING_SLOW 0.3    /* … over a third of a second */
#define SCALING_LEAST_SHARE 0.01
enum { SCALING_PRESSED_TICKS = 2, SCALING_UP_PART = 4, SCALING_DOWN_PART = 4 };

static const char *const scaling_texts[SCALING_REASON_COUNT] = {
#define SCALING_TEXT(name, text) [SCALING_##name] = (text),
    SCALING_REASONS(SCALING_TEXT)
#undef SCALING_TEXT
};

const char *scaling_reason_text(enum scaling_reason reason) {
    return scaling_texts[reason];
}

void scaling_start(struct scaling *scaling, uint32_t target, uint32_t least, uint32_t most,
                   uint64_t period_ns) {
    memset(scaling, 0, sizeof *scaling);
    scaling->least = least ? least : 1;
    scaling->most = most > scaling->least ? most : scaling->least;
    scaling->target = target < scaling->least  ? scaling->least
                      : target > scaling->most ? scaling->most
                                               : target;
    scaling->period_ns = period_ns;
    scaling->patience = 1;
}

uint64_t scaling_wait_ns(const struct scaling_input *input) {
    double wait_ns = 0;
    if (input->answered > 0)
        wait_ns = input->waiting * (double)input->tick_ns / (double)input->answered;
    else if (input->waiting >= 1)
        wait_ns = (double)input->tick_ns;
    return wait_ns > (double)input->oldest_wait_ns ? (uint64_t)wait_ns : input->oldest_wait_ns;
}

/* Busy workers that were not held up by others; the rest are too many. */
static double scaling_needed(const struct scaling_input *input) {
    return input->busy > input->delayed ? input->busy - input->delayed : 0;
}

static double scaling_average(double average, double newest, double weight) {
    return average + weight * (newest - average);
}

/* One more tick in which all workers were busy and calls waited. */
static void scaling_press(struct scaling *scaling, const struct scaling_input *input) {
    double needed = scaling_needed(input);
    double share = needed > 0 ? input->cpu / needed : 0, idle = input->idle_cores;
    share = share > 1 ? 1 : share;
    if (scaling->pressed++ == 0) {
        scaling->cpu_share = share;
        scaling->idle_cores = idle;
        return;
    }
    scaling->cpu_share = scaling_average(scaling->cpu_share, share, SCALING_FAST);
    bool known = scaling->idle_cores >= 0 && idle >= 0;
    scaling->idle_cores = known ? scaling_average(scaling->idle_cores, idle, SCALING_FAST) : idle;
}

/* How many more the machine can feed, and why one more would help. */
static enum scaling_reason scaling_room(const struct scaling *scaling, const struct scaling_input *input,
                                        double *ret_room) {
    double share = scaling->cpu_share > SCALING_LEAST_SHARE ? scaling->cpu_share : SCALING_LEAST_SHARE;
    /* Twice in a row: what the load's first tick finds idle may be from before it. */
    double fed = floor(fmin(scaling->idle_cores, input->idle_cores) / share + 0.5);
    double blocked = input->busy - input->delayed - input->cpu;
    if (blocked >= SCALING_BLOCKED * input->busy) {
        *ret_room = fed > input->ready ? fed : input->ready;
        return SCALING_UP_BLOCKED;
    }
    /* A worker that does not get the CPU it wants knows better than /proc/stat: a quota, or a cpuset. */
    if (fed >= 1 && input->delayed <= SCALING_DELAYED * input->busy) {
        *ret_room = fed;
        return SCALING_UP_CPU;
    }
    *ret_room = 1;
    return input->in_long >= SCALING_LONG * input->busy && input->oldest_wait_ns >= SCALING_LONG_WAIT_NS
               ? SCALING_UP_LONG
               : SCALING_KEEP;
}

static void scaling_grow(struct scaling *scaling, const struct scaling_input *input, double room) {
    double more = fmax(ceil(input->waiting), scaling->target / (double)SCALING_UP_PART);
    more = fmin(more, fmin(room, fmin(scaling->target, scaling->most - scaling->target)));
    scaling->target += more >= 1 ? (uint32_t)more : 1;
    scaling->pressed = 0;
    uint64_t period_ns = scaling->period_ns * scaling->patience;
    if (scaling->down_ns && input->now_ns - scaling->down_ns < 2 * period_ns) {
        scaling->patience *= 2;
        if (scaling->patience > SCALING_PATIENCE_MAX)
            scaling->patience = SCALING_PATIENCE_MAX;
        scaling->wrong_ns = input->now_ns;
        scaling->down_ns = 0;
    }
}

static void scaling_shrink(struct scaling *scaling, uint64_t now_ns) {
    uint64_t period_ns = scaling->period_ns * scaling->patience;
    double enough = ceil(scaling->peak * SCALING_MARGIN);
    uint32_t floor_count = enough > scaling->least ? (uint32_t)enough : scaling->least;
    uint32_t too_many = scaling->target > floor_count ? scaling->target - floor_count : 1;
    scaling->target -= too_many > SCALING_DOWN_PART ? too_many / SCALING_DOWN_PART : 1;
    scaling->low_since_ns = now_ns;
    scaling->peak = scaling->needed;
    if (scaling->patience > 1 && now_ns - scaling->wrong_ns > 4 * period_ns) {
        scaling->patience /= 2;
        scaling->wrong_ns = now_ns;
    }
    scaling->down_ns = now_ns;
}

/* True when fewer have done for a whole period. */
static bool scaling_is_low(struct scaling *scaling, uint64_t now_ns) {
    if (scaling->target <= scaling->least || scaling->needed * SCALING_MARGIN > scaling->target - 1) {
        scaling->low_since_ns = 0;
        return false;
    }
    if (!scaling->low_since_ns) {
        scaling->low_since_ns = now_ns;
        scaling->peak = 0;
    }
    if (scaling->needed > scaling->peak)
        scaling->peak = scaling->needed;
    return now_ns - scaling->low_since_ns >= scaling->period_ns * scaling->patience;
}

/* All that are wanted are there and busy, and calls wait, for long enough: why another one would help, or
 * KEEP. */
static enum scaling_reason scaling_judge(struct scaling *scaling, const struct scaling_input *input,
                                         double *ret_room) {
    if (input->ready == 0 || input->busy < SCALING_BUSY * (input->ready - input->reserved) ||
        scaling_wait_ns(input) < SCALING_WAIT_NS) {
        scaling->pressed = 0;
        return SCALING_KEEP;
    }
    scaling_press(scaling, input);
    return scaling->pressed >= SCALING_PRESSED_TICKS ? scaling_room(scaling, input, ret_room) : SCALING_KEEP;
}

enum scaling_reason scaling_decide(struct scaling *scaling, const struct scaling_input *input) {
    scaling->needed = scaling_average(scaling->needed, scaling_needed(input), SCALING_SLOW);
    double room = 0;
    enum scaling_reason reason = scaling_judge(scaling, input, &room);
    if (reason != SCALING_KEEP) {
        scaling->low_since_ns = 0;
        if (input->ready < scaling->target || scaling->target >= scaling->most)
            return SCALING_KEEP; /* those that come may be all that is missing */
        scaling_grow(scaling, input, room);
        return reason;
    }
    if (!scaling_is_low(scaling, input->now_ns))
        return SCALING_KEEP;
    scaling_shrink(scaling, input->now_ns);
    return SCALING_DOWN;
}
