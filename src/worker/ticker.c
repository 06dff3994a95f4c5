#include "worker/ticker.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static void ticker_park(struct ticker *ticker) {
    atomic_store(&ticker->parked, 1);
    /* Work that came before it saw `parked` is seen here. */
    while (atomic_load(&ticker->parked) && !atomic_load(&ticker->busy) && !atomic_load(&ticker->stopping))
        syscall(SYS_futex, &ticker->parked, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    atomic_store(&ticker->parked, 0);
}

static void *ticker_main(void *argument) {
    struct ticker *ticker = argument;
    uint32_t idle_periods = 0;
    uint64_t next_ns = clock_now_ns();
    while (!atomic_load(&ticker->stopping)) {
        if (atomic_load(&ticker->busy)) {
            ticker->on_tick(ticker->context);
            idle_periods = 0;
        } else if (++idle_periods >= TICKER_PARK_AFTER) {
            ticker_park(ticker);
            idle_periods = 0;
        }
        next_ns += TICKER_PERIOD_MS * CLOCK_NS_PER_MS;
        uint64_t now_ns = clock_now_ns();
        if (next_ns < now_ns) /* it was parked, or the machine was slow: no ticks are made up for */
            next_ns = now_ns + TICKER_PERIOD_MS * CLOCK_NS_PER_MS;
        struct timespec at = {(time_t)(next_ns / CLOCK_NS_PER_S), (long)(next_ns % CLOCK_NS_PER_S)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
    return NULL;
}

int ticker_start(struct ticker *ticker, ticker_on_tick *on_tick, void *context, struct err *err) {
    ticker->on_tick = on_tick;
    ticker->context = context;
    atomic_init(&ticker->busy, 0);
    atomic_init(&ticker->parked, 0);
    atomic_init(&ticker->stopping, 0);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    int failed = pthread_create(&ticker->thread, &attributes, ticker_main, ticker);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    return failed ? err_sys(err, "cannot start the worker's clock") : 0;
}

void ticker_wake(struct ticker *ticker) {
    atomic_store(&ticker->parked, 0);
    syscall(SYS_futex, &ticker->parked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void ticker_stop(struct ticker *ticker) {
    atomic_store(&ticker->stopping, 1);
    ticker_wake(ticker);
    pthread_join(ticker->thread, NULL);
}
