/* The event loop: a thin wrapper of epoll, signalfd and a timer list. One loop, one thread.
 *
 * A watch is embedded in what owns the descriptor and stays there until loop_unwatch; its callback fires with
 * the epoll events that are set (EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR; level-triggered). A callback may
 * unwatch any watch, its own included: events that were already fetched for it are dropped. An object whose
 * events may be pending in this turn is freed through loop_defer. Turn-end hooks run once after each batch of
 * events: what was gathered in a turn (frames to a worker) is written there with one system call. */
#ifndef FAAS_BASE_LOOP_H
#define FAAS_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
struct loop_watch;
struct loop_timer;

typedef void loop_on_event(struct loop_watch *watch, uint32_t events);
typedef void loop_on_timer(struct loop_timer *timer);
typedef void loop_on_signal(void *context, int signal_number);
typedef void loop_on_turn_end(void *context);

struct loop_watch {
    int fd; /* borrowed: the owner closes it after loop_unwatch */
    uint32_t events;
    loop_on_event *on_event;
    void *context; /* the owner's */
    bool watched;  /* the loop's */
};

struct loop_timer {
    loop_on_timer *on_timer;
    void *context;
    uint64_t due_ns; /* monotonic; the loop's while armed */
    struct loop_timer *next, *prev;
    bool armed;
};

int loop_new(struct loop **ret_loop, struct err *err);
void loop_free(struct loop *loop);

int loop_watch(struct loop *loop, struct loop_watch *watch, uint32_t events, struct err *err);
int loop_rewatch(struct loop *loop, struct loop_watch *watch, uint32_t events, struct err *err);
void loop_unwatch(struct loop *loop, struct loop_watch *watch); /* safe when not watched */

/* Fires once, not before due; arming an armed timer moves it. Timers are few (a list): per-call deadlines are
 * swept. */
void loop_arm(struct loop *loop, struct loop_timer *timer, uint64_t after_ns);
void loop_disarm(struct loop *loop, struct loop_timer *timer);

/* Blocks the signal for the process and delivers it as an event. At most one callback for the loop; call
 * before threads. */
int loop_signals(struct loop *loop, const int *signals, int count, loop_on_signal *on_signal, void *context,
                 struct err *err);

/* At most 4 hooks. */
void loop_at_turn_end(struct loop *loop, loop_on_turn_end *hook, void *context);

/* Calls release(ptr) after the events of this turn. */
void loop_defer(struct loop *loop, void (*release)(void *), void *ptr);

/* How long to look for events again and again before blocking: it spares a wake-up and burns a core
 * meanwhile. 0, as it is at first: not at all. */
void loop_spin(struct loop *loop, uint64_t spin_ns);

/* Runs until loop_stop. */
int loop_run(struct loop *loop, struct err *err);
void loop_stop(struct loop *loop);

/* The clock as of the start of this turn's events: good enough for stamps, costs nothing. */
uint64_t loop_now_ns(const struct loop *loop);

#endif
