#include "cmd/load_injector.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/mem.h"

enum { RUN_THREADS_MAX = 16, RUN_TICK_MS = 10, RUN_PROGRESS_MS = 200, RUN_SCRATCH_BYTES = 65536 };

struct run_conn {
    struct http_client client;
    struct run_thread *thread; /* borrowed */
    uint64_t sent, released;   /* requests; those in between are due but wait for the connection */
    uint64_t start_ns;         /* what the latency of the one under way counts from */
    uint64_t first_due_ns;     /* open loop: when the first is due */
    bool busy, pausing;        /* pausing: the last connect failed; goes on with the next tick */
};

struct run_thread {
    const struct injector_plan *plan;
    const atomic_bool *stop;
    struct loop *loop;      /* owned */
    struct run_conn *conns; /* owned */
    uint32_t conn_count, cursor;
    uint64_t conn_interval_ns; /* open loop: between two requests of a connection */
    uint64_t left;             /* requests without an outcome */
    struct loop_timer tick;
    struct loop_watch pace; /* a timerfd that expires once for every request that is due */
    struct buf scratch;
    struct injector_result result;
    atomic_uint_fast64_t done, failed; /* for the progress line */
    pthread_t pthread;
    bool started;
    int rc;
    struct err err;
};

static void run_count(struct run_thread *thread, enum http_outcome outcome, int status, uint64_t latency_ns) {
    thread->result.outcomes[outcome]++;
    bool good = outcome == HTTP_OUTCOME_ANSWERED && status == 200;
    if (outcome == HTTP_OUTCOME_ANSWERED)
        thread->result.statuses[status < INJECTOR_STATUSES ? status : 0]++;
    if (good)
        histogram_add(&thread->result.latency_ns, latency_ns);
    else
        atomic_fetch_add_explicit(&thread->failed, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&thread->done, 1, memory_order_relaxed);
    if (--thread->left == 0)
        loop_stop(thread->loop);
}

/* Sends the next request that is due, if any. */
static void run_send_next(struct run_conn *conn) {
    struct run_thread *thread = conn->thread;
    const struct buf *request = &thread->plan->request;
    if (conn->busy || conn->pausing || conn->sent >= conn->released)
        return;
    /* Open loop: from when it was due, not from when it could be sent, else a server that stalls would hide
     * all the requests that it kept from being sent (coordinated omission). */
    conn->start_ns =
        thread->plan->rate ? conn->first_due_ns + conn->sent * thread->conn_interval_ns : clock_now_ns();
    conn->sent++;
    struct err err;
    bool connected = conn->client.connected;
    if (http_client_send(&conn->client, (struct http_slice){(const char *)request->data, request->len},
                         &err) == 0) {
        conn->busy = true;
        return;
    }
    conn->pausing = true;
    run_count(thread, connected ? HTTP_OUTCOME_BROKEN : HTTP_OUTCOME_NOT_CONNECTED, 0, 0);
}

static void run_on_outcome(struct http_client *client, enum http_outcome outcome, int status) {
    struct run_conn *conn = client->context;
    uint64_t now_ns = clock_now_ns();
    conn->busy = false;
    conn->pausing = outcome == HTTP_OUTCOME_NOT_CONNECTED;
    run_count(conn->thread, outcome, status, now_ns > conn->start_ns ? now_ns - conn->start_ns : 0);
    run_send_next(conn);
}

static void run_on_tick(struct loop_timer *timer) {
    struct run_thread *thread = timer->context;
    uint64_t now_ns = clock_now_ns(), timeout_ns = thread->plan->timeout_ms * CLOCK_NS_PER_MS;
    if (atomic_load_explicit(thread->stop, memory_order_relaxed)) {
        loop_stop(thread->loop);
        return;
    }
    for (uint32_t i = 0; i < thread->conn_count; i++) {
        struct run_conn *conn = &thread->conns[i];
        conn->pausing = false;
        if (conn->busy && now_ns > conn->start_ns && now_ns - conn->start_ns > timeout_ns) {
            http_client_cancel(&conn->client);
            run_on_outcome(&conn->client, HTTP_OUTCOME_TIMED_OUT, 0);
        } else {
            run_send_next(conn);
        }
    }
    loop_arm(thread->loop, timer, RUN_TICK_MS * CLOCK_NS_PER_MS);
}

static void run_on_pace(struct loop_watch *watch, uint32_t events) {
    struct run_thread *thread = watch->context;
    uint64_t due = 0;
    (void)events;
    if (read(watch->fd, &due, sizeof due) != (ssize_t)sizeof due)
        return;
    for (; due > 0; due--) {
        struct run_conn *conn = &thread->conns[thread->cursor++ % thread->conn_count];
        if (conn->released >= thread->plan->requests)
            continue;
        conn->released++;
        run_send_next(conn);
    }
}

/* Open loop: the requests of a thread are due at equal intervals, its connections in turn. */
static int run_start_pace(struct run_thread *thread, struct err *err) {
    uint64_t interval_ns =
        (CLOCK_NS_PER_S * thread->plan->connections / thread->plan->rate + thread->conn_count / 2) /
        thread->conn_count;
    interval_ns += interval_ns == 0;
    thread->conn_interval_ns = interval_ns * thread->conn_count;
    uint64_t start_ns = clock_now_ns();
    for (uint32_t i = 0; i < thread->conn_count; i++)
        thread->conns[i].first_due_ns = start_ns + (i + 1) * interval_ns;
    uint64_t first_ns = start_ns + interval_ns;
    struct itimerspec times = {
        .it_value = {(time_t)(first_ns / CLOCK_NS_PER_S), (long)(first_ns % CLOCK_NS_PER_S)},
        .it_interval = {(time_t)(interval_ns / CLOCK_NS_PER_S), (long)(interval_ns % CLOCK_NS_PER_S)},
    };
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0)
        return err_sys(err, "timerfd_create");
    thread->pace = (struct loop_watch){.fd = fd, .on_event = run_on_pace, .context = thread};
    if (timerfd_settime(fd, TFD_TIMER_ABSTIME, &times, NULL) != 0)
        return err_sys(err, "timerfd_settime");
    return loop_watch(thread->loop, &thread->pace, EPOLLIN, err);
}

static void *run_main(void *context) {
    struct run_thread *thread = context;
    thread->tick = (struct loop_timer){.on_timer = run_on_tick, .context = thread};
    loop_arm(thread->loop, &thread->tick, RUN_TICK_MS * CLOCK_NS_PER_MS);
    if (thread->plan->rate) {
        thread->rc = run_start_pace(thread, &thread->err);
    } else {
        for (uint32_t i = 0; i < thread->conn_count; i++) {
            thread->conns[i].released = thread->plan->requests;
            run_send_next(&thread->conns[i]);
        }
    }
    if (thread->rc == 0)
        thread->rc = loop_run(thread->loop, &thread->err);
    return NULL;
}

static int run_thread_init(struct run_thread *thread, const struct injector_plan *plan, struct err *err) {
    thread->plan = plan;
    thread->pace.fd = -1;
    thread->left = thread->conn_count * plan->requests;
    thread->conns = mem_zalloc(thread->conn_count * sizeof *thread->conns);
    if (!buf_reserve(&thread->scratch, RUN_SCRATCH_BYTES))
        return err_set(err, ERR_INTERNAL, "no memory");
    int rc = loop_new(&thread->loop, err);
    for (uint32_t i = 0; rc == 0 && i < thread->conn_count; i++) {
        struct run_conn *conn = &thread->conns[i];
        conn->thread = thread;
        conn->client = (struct http_client){
            .loop = thread->loop,
            .address = (const struct sockaddr *)&plan->address,
            .address_len = plan->address_len,
            .scratch = &thread->scratch,
            .on_outcome = run_on_outcome,
            .context = conn,
        };
        http_client_init(&conn->client);
    }
    return rc;
}

static void run_thread_fini(struct run_thread *thread) {
    for (uint32_t i = 0; thread->loop && i < thread->conn_count; i++)
        http_client_cancel(&thread->conns[i].client);
    if (thread->loop && thread->pace.fd >= 0) {
        loop_unwatch(thread->loop, &thread->pace);
        close(thread->pace.fd);
    }
    loop_free(thread->loop);
    free(thread->conns);
    buf_fini(&thread->scratch);
}

/* The other half of the machine is for what is measured. */
static uint32_t run_thread_count(const struct injector_plan *plan) {
    cpu_set_t cpus;
    long cores = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    uint32_t count = cores > 2 ? (uint32_t)cores / 2 : 1;
    if (count > RUN_THREADS_MAX)
        count = RUN_THREADS_MAX;
    return count < plan->connections ? count : plan->connections;
}

static bool run_join(struct run_thread *thread) {
    struct timespec until;
    uint64_t until_ns = clock_real_ns() + RUN_PROGRESS_MS * CLOCK_NS_PER_MS;
    until = (struct timespec){(time_t)(until_ns / CLOCK_NS_PER_S), (long)(until_ns % CLOCK_NS_PER_S)};
    return pthread_timedjoin_np(thread->pthread, NULL, &until) == 0;
}

/* Waits for the threads, and says how far they are meanwhile. */
static void run_wait(struct run_thread *threads, uint32_t count, injector_on_progress *on_progress) {
    uint64_t start_ns = clock_now_ns();
    for (uint32_t i = 0; i < count; i++) {
        while (threads[i].started && !run_join(&threads[i])) {
            uint64_t done = 0, failed = 0;
            for (uint32_t k = 0; k < count; k++) {
                done += atomic_load_explicit(&threads[k].done, memory_order_relaxed);
                failed += atomic_load_explicit(&threads[k].failed, memory_order_relaxed);
            }
            if (on_progress)
                on_progress(threads[i].plan, done, failed, clock_now_ns() - start_ns);
        }
    }
}

static void run_merge(struct injector_result *into, const struct injector_result *from) {
    histogram_merge(&into->latency_ns, &from->latency_ns);
    for (int i = 0; i < INJECTOR_STATUSES; i++)
        into->statuses[i] += from->statuses[i];
    for (int i = 0; i < HTTP_OUTCOME_COUNT; i++)
        into->outcomes[i] += from->outcomes[i];
}

int injector_run(const struct injector_plan *plan, const atomic_bool *stop, injector_on_progress *on_progress,
                 struct injector_result *ret_result, struct err *err) {
    uint32_t count = run_thread_count(plan);
    struct run_thread *threads = mem_zalloc(count * sizeof *threads);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        threads[i].stop = stop;
        threads[i].conn_count = plan->connections / count + (i < plan->connections % count);
        rc = run_thread_init(&threads[i], plan, err);
    }
    uint64_t start_ns = clock_now_ns();
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        int failure = pthread_create(&threads[i].pthread, NULL, run_main, &threads[i]);
        threads[i].started = failure == 0;
        if (failure)
            rc = err_set(err, ERR_INTERNAL, "thread: %s", strerror(failure));
    }
    run_wait(threads, count, on_progress);
    memset(ret_result, 0, sizeof *ret_result);
    ret_result->elapsed_ns = clock_now_ns() - start_ns;
    for (uint32_t i = 0; i < count; i++) {
        if (rc == 0 && threads[i].rc < 0) {
            *err = threads[i].err;
            rc = threads[i].rc;
        }
        run_merge(ret_result, &threads[i].result);
        run_thread_fini(&threads[i]);
    }
    free(threads);
    return rc;
}
