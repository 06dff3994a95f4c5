/* How many WASM workers there should be, pure: the clock and all that was measured are arguments.
 *
 * Up: all workers run calls, calls wait for one, twice in a row, and one more would help: the CPU for it is
 * there (calls that compute), or calls spend their time blocked (sleep), or they run long and the others wait
 * long. A quarter more at least, twice as many at most; the next step comes when those that were ordered are
 * there. Down: fewer would do, with a margin, for the whole of a period; then a quarter of those too many, at
 * least one. A step down that was followed by one up within two periods was wrong: the period doubles, and is
 * halved again when such steps are right.
 *
 * A worker that is runnable and gets no CPU is not needed: fewer would do the same work. So more workers than
 * cores are kept for calls that block, and not for calls that compute. */
#ifndef FAAS_BALANCER_SCALING_H
#define FAAS_BALANCER_SCALING_H

#include <stdbool.h>
#include <stdint.h>

#define SCALING_TICK_NS 100000000ull

/* X(NAME, what the log says) */
#define SCALING_REASONS(X)                                                                                   \
    X(KEEP, "no change")                                                                                     \
    X(UP_CPU, "calls wait and a CPU is idle")                                                                \
    X(UP_BLOCKED, "calls wait for calls that sleep")                                                         \
    X(UP_LONG, "calls wait long behind long calls")                                                          \
    X(DOWN, "fewer will do")
enum scaling_reason {
#define SCALING_ENUM(name, text) SCALING_##name,
    SCALING_REASONS(SCALING_ENUM)
#undef SCALING_ENUM
        SCALING_REASON_COUNT
};

/* Of one tick: what was there, as means over it. */
struct scaling_input {
    uint64_t now_ns, tick_ns; /* its end and length */
    uint32_t ready;           /* workers that take calls */
    double busy;              /* workers that ran a call, 0..ready */
    double delayed;           /* … of these, waiting for a CPU */
    double reserved;          /* workers that were kept from the calls that waited: 0..1 */
    double in_long;           /* workers whose call had been running for long */
    double cpu;               /* CPUs that the workers used */
    double idle_cores;        /* CPUs that nobody used; negative = not known */
    double waiting;           /* calls that waited for a worker, in a queue or behind another call */
    uint64_t answered;        /* calls */
    uint64_t oldest_wait_ns;  /* of the call that waits longest in a queue */
};

struct scaling {
    uint32_t least, most;
    uint64_t period_ns; /* of low use before a step down */
    uint32_t target;    /* the decision; least..most */

    uint32_t pressed;             /* ticks in a row in which all were busy and calls waited */
    double idle_cores, cpu_share; /* averages over these; cpu_share: CPUs of a busy worker */
    double needed;                /* workers, an average over a second */
    double peak;                  /* the highest of that since low_since_ns */
    uint64_t low_since_ns;        /* when fewer began to do; 0 = they would not */
    uint64_t down_ns, wrong_ns;   /* when the last step down was, and the last that was wrong; 0 = never */
    uint32_t patience;            /* periods before a step down: 1..SCALING_PATIENCE_MAX */
};
enum { SCALING_PATIENCE_MAX = 16 };

/* A new server, or a new balancer: target workers are there now. Bounds are put right when they are not. */
void scaling_start(struct scaling *scaling, uint32_t target, uint32_t least, uint32_t most,
                   uint64_t period_ns);
/* Changes scaling->target, or not. */
enum scaling_reason scaling_decide(struct scaling *scaling, const struct scaling_input *input);
/* How long a call waits for a worker, by the calls that wait and those that were answered. */
uint64_t scaling_wait_ns(const struct scaling_input *input);
const char *scaling_reason_text(enum scaling_reason reason);

#endif
