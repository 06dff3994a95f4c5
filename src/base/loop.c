#include "base/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    /* Events of a turn. What a turn gathers is written at its end: few, and what is behind it starts early;
     * many, and each write carries more. */
    LOOP_BATCH = 32,
    LOOP_HOOKS = 4,
};

struct loop_deferred {
    void (*release)(void *);
    void *ptr;
};

struct loop {
    int epoll_fd;
    bool stopping;
    uint64_t now_ns, spin_ns;
    struct epoll_event batch[LOOP_BATCH];
    int batch_count, batch_next; /* the events of this turn that were not delivered yet: [next, count) */
    struct loop_timer *timers;   /* sorted by due_ns */
    struct {
        loop_on_turn_end *hook;
        void *context;
    } hooks[LOOP_HOOKS];
    int hook_count;
    struct loop_deferred *deferred; /* owned */
    size_t deferred_count, deferred_cap;
    struct loop_watch signal_watch;
    loop_on_signal *on_signal;
    void *signal_context;
};

int loop_new(struct loop **ret_loop, struct err *err) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return err_sys(err, "epoll_create1");
    struct loop *loop = mem_zalloc(sizeof *loop);
    loop->epoll_fd = fd;
    loop->signal_watch.fd = -1;
    loop->now_ns = clock_now_ns();
    *ret_loop = loop;
    return 0;
}

static void loop_run_deferred(struct loop *loop) {
    /* A release may defer more. */
    for (size_t i = 0; i < loop->deferred_count; i++)
        loop->deferred[i].release(loop->deferred[i].ptr);
    loop->deferred_count = 0;
}

void loop_free(struct loop *loop) {
    if (!loop)
        return;
    loop_run_deferred(loop);
    free(loop->deferred);
    if (loop->signal_watch.fd >= 0)
        close(loop->signal_watch.fd);
    close(loop->epoll_fd);
    free(loop);
}

static int loop_ctl(struct loop *loop, int op, struct loop_watch *watch, uint32_t events, struct err *err) {
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, op, watch->fd, &event) != 0)
        return err_sys(err, "epoll_ctl");
    watch->events = events;
    return 0;
}

int loop_watch(struct loop *loop, struct loop_watch *watch, uint32_t events, struct err *err) {
    int rc = loop_ctl(loop, EPOLL_CTL_ADD, watch, events, err);
    watch->watched = rc == 0;
    return rc;
}

int loop_rewatch(struct loop *loop, struct loop_watch *watch, uint32_t events, struct err *err) {
    return watch->events == events ? 0 : loop_ctl(loop, EPOLL_CTL_MOD, watch, events, err);
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch) {
    if (!watch->watched)
        return;
    watch->watched = false;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = loop->batch_next; i < loop->batch_count; i++)
        if (loop->batch[i].data.ptr == watch)
            loop->batch[i].data.ptr = NULL;
}

void loop_disarm(struct loop *loop, struct loop_timer *timer) {
    if (!timer->armed)
        return;
    if (timer->prev)
        timer->prev->next = timer->next;
    else
        loop->timers = timer->next;
    if (timer->next)
        timer->next->prev = timer->prev;
    timer->armed = false;
}

void loop_arm(struct loop *loop, struct loop_timer *timer, uint64_t after_ns) {
    loop_disarm(loop, timer);
    timer->due_ns = clock_now_ns() + after_ns;
    struct loop_timer *prev = NULL, *next = loop->timers;
    while (next && next->due_ns <= timer->due_ns) {
        prev = next;
        next = next->next;
    }
    timer->prev = prev;
    timer->next = next;
    if (prev)
        prev->next = timer;
    else
        loop->timers = timer;
    if (next)
        next->prev = timer;
    timer->armed = true;
}

static void loop_on_signalfd(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct loop *loop = watch->context;
    struct signalfd_siginfo info;
    while (read(watch->fd, &info, sizeof info) == (ssize_t)sizeof info)
        loop->on_signal(loop->signal_context, (int)info.ssi_signo);
}

int loop_signals(struct loop *loop, const int *signals, int count, loop_on_signal *on_signal, void *context,
                 struct err *err) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++)
        sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return err_sys(err, "sigprocmask");
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return err_sys(err, "signalfd");
    loop->on_signal = on_signal;
    loop->signal_context = context;
    loop->signal_watch = (struct loop_watch){.fd = fd, .on_event = loop_on_signalfd, .context = loop};
    return loop_watch(loop, &loop->signal_watch, EPOLLIN, err);
}

void loop_at_turn_end(struct loop *loop, loop_on_turn_end *hook, void *context) {
    if (loop->hook_count >= LOOP_HOOKS)
        abort();
    loop->hooks[loop->hook_count].hook = hook;
    loop->hooks[loop->hook_count].context = context;
    loop->hook_count++;
}

void loop_defer(struct loop *loop, void (*release)(void *), void *ptr) {
    if (loop->deferred_count == loop->deferred_cap) {
        size_t cap = loop->deferred_cap ? loop->deferred_cap * 2 : 16;
        struct loop_deferred *grown = realloc(loop->deferred, cap * sizeof *grown);
        if (!grown)
            abort();
        loop->deferred = grown;
        loop->deferred_cap = cap;
    }
    loop->deferred[loop->deferred_count++] = (struct loop_deferred){release, ptr};
}

static void loop_fire_timers(struct loop *loop) {
    while (loop->timers && loop->timers->due_ns <= loop->now_ns) {
        struct loop_timer *timer = loop->timers;
        loop_disarm(loop, timer);
        timer->on_timer(timer);
    }
}

static int loop_wait_ms(const struct loop *loop) {
    if (!loop->timers)
        return -1;
    uint64_t now_ns = clock_now_ns();
    if (loop->timers->due_ns <= now_ns)
        return 0;
    uint64_t wait_ms = (loop->timers->due_ns - now_ns + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS;
    return wait_ms > 60000 ? 60000 : (int)wait_ms;
}

void loop_spin(struct loop *loop, uint64_t spin_ns) {
    loop->spin_ns = spin_ns;
}

static int loop_wait(struct loop *loop) {
    int wait_ms = loop_wait_ms(loop), count = 0;
    if (loop->spin_ns && wait_ms != 0) {
        uint64_t until_ns = clock_now_ns() + loop->spin_ns;
        do
            count = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, 0);
        while (count == 0 && clock_now_ns() < until_ns);
        wait_ms = loop_wait_ms(loop);
    }
    return count ? count : epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, wait_ms);
}

int loop_run(struct loop *loop, struct err *err) {
    while (!loop->stopping) {
        int count = loop_wait(loop);
        if (count < 0) {
            if (errno != EINTR)
                return err_sys(err, "epoll_wait");
            count = 0;
        }
        loop->now_ns = clock_now_ns();
        loop->batch_count = count;
        for (loop->batch_next = 0; loop->batch_next < count;) {
            struct epoll_event *event = &loop->batch[loop->batch_next++];
            struct loop_watch *watch = event->data.ptr;
            if (watch)
                watch->on_event(watch, event->events);
        }
        loop_fire_timers(loop);
        for (int i = 0; i < loop->hook_count; i++)
            loop->hooks[i].hook(loop->hooks[i].context);
        loop_run_deferred(loop);
    }
    return 0;
}

void loop_stop(struct loop *loop) {
    loop->stopping = true;
}

uint64_t loop_now_ns(const struct loop *loop) {
    return loop->now_ns;
}
