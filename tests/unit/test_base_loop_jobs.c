#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/jobs.h"
#include "base/loop.h"
#include "base/mem.h"

/* Nothing here takes long: a loop that still runs then hangs. */
#define HANG_NS (60 * CLOCK_NS_PER_S)

struct fixture {
    struct loop *loop;
    struct loop_timer hang;
    struct loop_watch watches[3];
    int pipes[3][2];
    int fired[3], count;
    char order[64];
};

static void on_hang(struct loop_timer *timer) {
    (void)timer;
    fail_msg("the loop hangs");
}

static int setup(void **state) {
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct err err;
    assert_non_null(fixture);
    assert_int_equal(loop_new(&fixture->loop, &err), 0);
    fixture->hang = (struct loop_timer){.on_timer = on_hang};
    loop_arm(fixture->loop, &fixture->hang, HANG_NS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pipe2(fixture->pipes[i], O_CLOEXEC | O_NONBLOCK), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    loop_free(fixture->loop);
    for (int i = 0; i < 3; i++) {
        mem_close_fd(&fixture->pipes[i][0]);
        mem_close_fd(&fixture->pipes[i][1]);
    }
    free(fixture);
    return 0;
}

static void run(struct fixture *fixture) {
    struct err err;
    assert_int_equal(loop_run(fixture->loop, &err), 0);
}

static void mark(struct fixture *fixture, char what) {
    size_t len = strlen(fixture->order);
    assert_true(len + 1 < sizeof fixture->order);
    fixture->order[len] = what;
}

/* ---- watches ---- */

static void watch_pipe(struct fixture *fixture, int i, loop_on_event *on_event) {
    struct err err;
    fixture->watches[i] =
        (struct loop_watch){.fd = fixture->pipes[i][0], .on_event = on_event, .context = fixture};
    assert_int_equal(loop_watch(fixture->loop, &fixture->watches[i], EPOLLIN, &err), 0);
}

static void poke(const struct fixture *fixture, int i) {
    assert_int_equal(write(fixture->pipes[i][1], "x", 1), 1);
}

static void on_readable(struct loop_watch *watch, uint32_t events) {
    struct fixture *fixture = watch->context;
    char byte;
    assert_true(events & EPOLLIN);
    assert_int_equal(read(watch->fd, &byte, 1), 1);
    fixture->fired[watch - fixture->watches]++;
    if (++fixture->count == 6)
        loop_stop(fixture->loop);
}

static void test_events_come_while_there_is_something_to_read(void **state) {
    struct fixture *fixture = *state;
    for (int i = 0; i < 3; i++) {
        watch_pipe(fixture, i, on_readable);
        for (int j = 0; j <= i; j++)
            poke(fixture, i);
    }
    run(fixture);
    assert_int_equal(fixture->fired[0], 1);
    assert_int_equal(fixture->fired[1], 2);
    assert_int_equal(fixture->fired[2], 3);
}

static void on_hang_up(struct loop_watch *watch, uint32_t events) {
    struct fixture *fixture = watch->context;
    assert_true(events & EPOLLHUP);
    loop_unwatch(fixture->loop, watch);
    loop_unwatch(fixture->loop, watch);
    loop_stop(fixture->loop);
}

static void test_the_other_end_gone_is_an_event(void **state) {
    struct fixture *fixture = *state;
    watch_pipe(fixture, 0, on_hang_up);
    mem_close_fd(&fixture->pipes[0][1]);
    run(fixture);
}

/* Of several that are ready in one turn the first that fires takes all away. */
static void on_first_of_many(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct fixture *fixture = watch->context;
    fixture->count++;
    for (int i = 0; i < 3; i++)
        loop_unwatch(fixture->loop, &fixture->watches[i]);
    loop_stop(fixture->loop);
}

static void test_events_that_were_fetched_for_an_unwatched_one_are_dropped(void **state) {
    struct fixture *fixture = *state;
    for (int i = 0; i < 3; i++) {
        watch_pipe(fixture, i, on_first_of_many);
        poke(fixture, i);
    }
    run(fixture);
    assert_int_equal(fixture->count, 1);
}

static void on_writable(struct loop_watch *watch, uint32_t events) {
    struct fixture *fixture = watch->context;
    struct err err;
    assert_true(events & EPOLLOUT);
    if (++fixture->count == 3) {
        assert_int_equal(loop_rewatch(fixture->loop, watch, 0, &err), 0);
        loop_stop(fixture->loop);
    }
}

static void test_rewatch_changes_what_is_waited_for(void **state) {
    struct fixture *fixture = *state;
    struct err err;
    struct loop_watch *watch = &fixture->watches[0];
    *watch = (struct loop_watch){.fd = fixture->pipes[0][1], .on_event = on_writable, .context = fixture};
    assert_int_equal(loop_watch(fixture->loop, watch, 0, &err), 0);
    assert_int_equal(loop_rewatch(fixture->loop, watch, EPOLLOUT, &err), 0);
    assert_int_equal(watch->events, EPOLLOUT);
    run(fixture);
    assert_int_equal(fixture->count, 3);
}

static void test_a_descriptor_that_cannot_be_watched_is_an_error(void **state) {
    struct fixture *fixture = *state;
    struct err err;
    struct loop_watch watch = {.fd = -1, .on_event = on_readable};
    assert_int_equal(loop_watch(fixture->loop, &watch, EPOLLIN, &err), -ERR_IO);
    assert_false(watch.watched);
    loop_unwatch(fixture->loop, &watch);
}

/* ---- timers ---- */

struct timer_test {
    struct loop_timer timer;
    struct fixture *fixture;
    char what;
    uint64_t due_ns;
};

static void on_mark(struct loop_timer *timer) {
    struct timer_test *test = timer->context;
    assert_false(timer->armed);
    assert_true(clock_now_ns() >= test->due_ns);
    mark(test->fixture, test->what);
    if (test->what == 'z')
        loop_stop(test->fixture->loop);
}

static void arm(struct fixture *fixture, struct timer_test *test, char what, uint64_t after_ns) {
    *test = (struct timer_test){.fixture = fixture, .what = what, .due_ns = clock_now_ns() + after_ns};
    test->timer = (struct loop_timer){.on_timer = on_mark, .context = test};
    loop_arm(fixture->loop, &test->timer, after_ns);
}

static void test_timers_fire_in_order_and_not_early(void **state) {
    struct fixture *fixture = *state;
    struct timer_test tests[6];
    arm(fixture, &tests[0], 'd', 15 * CLOCK_NS_PER_MS);
    arm(fixture, &tests[1], 'b', 5 * CLOCK_NS_PER_MS);
    arm(fixture, &tests[2], 'x', 7 * CLOCK_NS_PER_MS);
    arm(fixture, &tests[3], 'z', 25 * CLOCK_NS_PER_MS);
    arm(fixture, &tests[4], 'a', 0);
    arm(fixture, &tests[5], 'c', 1 * CLOCK_NS_PER_MS);
    /* Moved behind, and disarmed: once is enough, and again is harmless. */
    tests[5].due_ns = clock_now_ns() + 10 * CLOCK_NS_PER_MS;
    loop_arm(fixture->loop, &tests[5].timer, 10 * CLOCK_NS_PER_MS);
    loop_disarm(fixture->loop, &tests[2].timer);
    loop_disarm(fixture->loop, &tests[2].timer);
    assert_false(tests[2].timer.armed);
    run(fixture);
    assert_string_equal(fixture->order, "abcdz");
}

static void on_rearm(struct loop_timer *timer) {
    struct fixture *fixture = timer->context;
    if (++fixture->count == 20)
        loop_stop(fixture->loop);
    else
        loop_arm(fixture->loop, timer, 0);
}

static void test_a_timer_that_arms_itself_does_not_starve_the_rest(void **state) {
    struct fixture *fixture = *state;
    struct loop_timer timer = {.on_timer = on_rearm, .context = fixture};
    watch_pipe(fixture, 0, on_readable);
    poke(fixture, 0);
    loop_arm(fixture->loop, &timer, 0);
    run(fixture);
    assert_int_equal(fixture->fired[0], 1);
    assert_true(fixture->count >= 20);
}

/* ---- a turn ---- */

static void on_turn_end(void *context) {
    mark(context, 't');
}

static void on_last_turn_end(void *context) {
    struct fixture *fixture = context;
    mark(fixture, 'u');
    if (strlen(fixture->order) > 8)
        loop_stop(fixture->loop);
}

static void release_second(void *ptr) {
    mark(ptr, 'R');
}

static void release_first(void *ptr) {
    struct fixture *fixture = ptr;
    mark(fixture, 'r');
    loop_defer(fixture->loop, release_second, fixture);
}

static void on_turn_event(struct loop_watch *watch, uint32_t events) {
    struct fixture *fixture = watch->context;
    char byte;
    (void)events;
    assert_int_equal(read(watch->fd, &byte, 1), 1);
    mark(fixture, 'e');
    loop_defer(fixture->loop, release_first, fixture);
}

static void test_a_turn_is_events_then_hooks_then_what_was_deferred(void **state) {
    struct fixture *fixture = *state;
    loop_at_turn_end(fixture->loop, on_turn_end, fixture);
    loop_at_turn_end(fixture->loop, on_last_turn_end, fixture);
    watch_pipe(fixture, 0, on_turn_event);
    watch_pipe(fixture, 1, on_turn_event);
    for (int i = 0; i < 2; i++)
        poke(fixture, i);
    struct loop_timer timer = {.on_timer = on_rearm, .context = fixture};
    fixture->count = -1000;
    loop_arm(fixture->loop, &timer, 0);
    run(fixture);
    fixture->order[8] = 0;
    assert_string_equal(fixture->order, "eeturrRR");
}

static void test_what_is_deferred_is_released_with_the_loop(void **state) {
    struct fixture *fixture = *state;
    for (int i = 0; i < 50; i++)
        loop_defer(fixture->loop, free, malloc(10));
    struct err err;
    loop_free(fixture->loop); /* the leak check is the assertion */
    assert_int_equal(loop_new(&fixture->loop, &err), 0);
    loop_free(NULL);
}

/* ---- signals ---- */

static void on_signal(void *context, int signal_number) {
    struct fixture *fixture = context;
    mark(fixture, signal_number == SIGUSR1 ? '1' : '2');
    if (signal_number == SIGUSR2)
        loop_stop(fixture->loop);
}

static void test_signals_are_events(void **state) {
    struct fixture *fixture = *state;
    static const int signals[] = {SIGUSR1, SIGUSR2};
    struct err err;
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(loop_signals(fixture->loop, signals, 2, on_signal, fixture, &err), 0);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    run(fixture);
    assert_string_equal(fixture->order, "12");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- jobs ---- */

enum { JOBS = 200 };

struct job_test {
    struct job job;
    struct fixture *fixture;
    struct jobs *jobs;
    atomic_int *ran;
    pthread_t thread;
    int number, sequence;
    bool blocked;
};

static void run_job(struct job *job) {
    struct job_test *test = (struct job_test *)job;
    test->thread = pthread_self();
    test->sequence = atomic_fetch_add(test->ran, 1);
}

static void done_job(struct job *job) {
    struct job_test *test = (struct job_test *)job;
    struct fixture *fixture = test->fixture;
    assert_int_equal(test->sequence, test->number);
    assert_int_equal(fixture->count, test->number);
    assert_false(pthread_equal(test->thread, pthread_self()));
    if (++fixture->count == JOBS)
        loop_stop(fixture->loop);
}

static void test_jobs_run_in_order_on_a_thread_and_end_on_the_loop(void **state) {
    struct fixture *fixture = *state;
    static struct job_test tests[JOBS];
    atomic_int ran = 0;
    struct jobs *jobs;
    struct err err;
    assert_int_equal(jobs_new(fixture->loop, &jobs, &err), 0);
    for (int i = 0; i < JOBS; i++) {
        tests[i] = (struct job_test){
            .job = {.run = run_job, .done = done_job}, .fixture = fixture, .ran = &ran, .number = i};
        jobs_add(jobs, &tests[i].job);
    }
    run(fixture);
    assert_int_equal(fixture->count, JOBS);
    jobs_free(jobs);
    jobs_free(NULL);
}

static void done_again(struct job *job) {
    struct job_test *test = (struct job_test *)job;
    struct fixture *fixture = test->fixture;
    if (++fixture->count == JOBS) {
        loop_stop(fixture->loop);
        free(test);
    } else {
        jobs_add(test->jobs, job);
    }
}

static void test_a_job_may_be_added_again_or_freed_when_done(void **state) {
    struct fixture *fixture = *state;
    atomic_int ran = 0;
    struct job_test *test = calloc(1, sizeof *test);
    struct err err;
    assert_non_null(test);
    *test = (struct job_test){.job = {.run = run_job, .done = done_again}, .fixture = fixture, .ran = &ran};
    assert_int_equal(jobs_new(fixture->loop, &test->jobs, &err), 0);
    struct jobs *jobs = test->jobs;
    jobs_add(jobs, &test->job);
    run(fixture);
    assert_int_equal(ran, JOBS);
    jobs_free(jobs);
}

static void done_never(struct job *job) {
    (void)job;
    fail_msg("done after jobs_free");
}

static void test_free_waits_for_what_is_queued(void **state) {
    struct fixture *fixture = *state;
    static struct job_test tests[JOBS];
    atomic_int ran = 0;
    struct jobs *jobs;
    struct err err;
    assert_int_equal(jobs_new(fixture->loop, &jobs, &err), 0);
    for (int i = 0; i < JOBS; i++) {
        tests[i] =
            (struct job_test){.job = {.run = run_job, .done = done_never}, .fixture = fixture, .ran = &ran};
        jobs_add(jobs, &tests[i].job);
    }
    jobs_free(jobs);
    assert_int_equal(ran, JOBS);
}

static void run_look_at_mask(struct job *job) {
    struct job_test *test = (struct job_test *)job;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    test->blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGCHLD) && sigismember(&mask, SIGUSR1);
}

static void done_stop(struct job *job) {
    loop_stop(((struct job_test *)job)->fixture->loop);
}

static void test_the_thread_takes_no_signal(void **state) {
    struct fixture *fixture = *state;
    struct job_test test = {.job = {.run = run_look_at_mask, .done = done_stop}, .fixture = fixture};
    struct jobs *jobs;
    struct err err;
    sigset_t mask;
    assert_int_equal(jobs_new(fixture->loop, &jobs, &err), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_false(sigismember(&mask, SIGTERM)); /* ours is as it was */
    jobs_add(jobs, &test.job);
    run(fixture);
    assert_true(test.blocked);
    jobs_free(jobs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_events_come_while_there_is_something_to_read),
        TEST(test_the_other_end_gone_is_an_event),
        TEST(test_events_that_were_fetched_for_an_unwatched_one_are_dropped),
        TEST(test_rewatch_changes_what_is_waited_for),
        TEST(test_a_descriptor_that_cannot_be_watched_is_an_error),
        TEST(test_timers_fire_in_order_and_not_early),
        TEST(test_a_timer_that_arms_itself_does_not_starve_the_rest),
        TEST(test_a_turn_is_events_then_hooks_then_what_was_deferred),
        TEST(test_what_is_deferred_is_released_with_the_loop),
        TEST(test_signals_are_events),
        TEST(test_jobs_run_in_order_on_a_thread_and_end_on_the_loop),
        TEST(test_a_job_may_be_added_again_or_freed_when_done),
        TEST(test_free_waits_for_what_is_queued),
        TEST(test_the_thread_takes_no_signal),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
