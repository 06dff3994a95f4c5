/* A thread that ticks while there is work: the clock by which the engine stops a call at its deadline.
 *
 * The busy thread pays no system call for it: it sets a flag. The ticker looks at the flag every period and
 * parks itself when nothing was busy for a while; only the first work after that costs a wake-up. */
#ifndef FAAS_WORKER_TICKER_H
#define FAAS_WORKER_TICKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

enum { TICKER_PERIOD_MS = 5, TICKER_PARK_AFTER = 40 /* periods without work */ };

typedef void ticker_on_tick(void *context); /* on the ticker's thread */

struct ticker {
    pthread_t thread;
    ticker_on_tick *on_tick;
    void *context;
    _Atomic uint32_t busy;
    _Atomic uint32_t parked; /* a futex */
    _Atomic uint32_t stopping;
};

/* The thread blocks all signals. */
int ticker_start(struct ticker *ticker, ticker_on_tick *on_tick, void *context, struct err *err);
void ticker_stop(struct ticker *ticker);

void ticker_wake(struct ticker *ticker);

/* Ticks come from at most one period after ticker_busy until ticker_idle. */
static inline void ticker_busy(struct ticker *ticker) {
    atomic_store(&ticker->busy, 1);
    if (atomic_load(&ticker->parked))
        ticker_wake(ticker);
}

static inline void ticker_idle(struct ticker *ticker) {
    atomic_store_explicit(&ticker->busy, 0, memory_order_release);
}

#endif
