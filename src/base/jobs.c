#include "base/jobs.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

struct jobs_queue {
    struct job *first, **last; /* *last is where the next one goes */
};

struct jobs {
    struct loop *loop; /* borrowed: freed after us */
    struct loop_watch finished_watch;
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    struct jobs_queue waiting, finished;
    bool stopping;
};

static void jobs_queue_init(struct jobs_queue *queue) {
    queue->first = NULL;
    queue->last = &queue->first;
}

static void jobs_queue_push(struct jobs_queue *queue, struct job *job) {
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
}

static struct job *jobs_queue_pop(struct jobs_queue *queue) {
    struct job *job = queue->first;
    if (!job)
        return NULL;
    queue->first = job->next;
    if (!queue->first)
        queue->last = &queue->first;
    return job;
}

/* NULL: stopping, and nothing waits. */
static struct job *jobs_wait(struct jobs *jobs) {
    pthread_mutex_lock(&jobs->lock);
    struct job *job;
    while (!(job = jobs_queue_pop(&jobs->waiting)) && !jobs->stopping)
        pthread_cond_wait(&jobs->changed, &jobs->lock);
    pthread_mutex_unlock(&jobs->lock);
    return job;
}

static void *jobs_thread(void *context) {
    struct jobs *jobs = context;
    struct job *job;
    while ((job = jobs_wait(jobs))) {
        job->run(job);
        pthread_mutex_lock(&jobs->lock);
        jobs_queue_push(&jobs->finished, job);
        pthread_mutex_unlock(&jobs->lock);
        /* Can only fail when the counter is full, and then the loop is being woken anyway. */
        (void)!eventfd_write(jobs->finished_watch.fd, 1);
    }
    return NULL;
}

static void jobs_on_finished(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct jobs *jobs = watch->context;
    eventfd_t count;
    (void)!eventfd_read(watch->fd, &count);
    /* Only what is there now: a `done` that adds a job must not keep the loop from its other work. */
    pthread_mutex_lock(&jobs->lock);
    struct job *job = jobs->finished.first;
    jobs_queue_init(&jobs->finished);
    pthread_mutex_unlock(&jobs->lock);
    while (job) {
        struct job *next = job->next; /* `done` may free the job, or add it again */
        job->done(job);
        job = next;
    }
}

/* Signals are the loop's: the thread must never be the one that takes them. */
static int jobs_start_thread(struct jobs *jobs) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&jobs->thread, NULL, jobs_thread, jobs);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

int jobs_new(struct loop *loop, struct jobs **ret_jobs, struct err *err) {
    MEM_CLOSE_FD int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return err_sys(err, "eventfd");
    struct jobs *jobs = mem_zalloc(sizeof *jobs);
    jobs->loop = loop;
    jobs->finished_watch = (struct loop_watch){.fd = fd, .on_event = jobs_on_finished, .context = jobs};
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->changed, NULL);
    jobs_queue_init(&jobs->waiting);
    jobs_queue_init(&jobs->finished);
    int rc = loop_watch(loop, &jobs->finished_watch, EPOLLIN, err);
    if (rc == 0 && (errno = jobs_start_thread(jobs)) != 0) {
        rc = err_sys(err, "cannot start the thread for disk work");
        loop_unwatch(loop, &jobs->finished_watch);
    }
    if (rc != 0) {
        pthread_cond_destroy(&jobs->changed);
        pthread_mutex_destroy(&jobs->lock);
        free(jobs);
        return rc;
    }
    mem_steal_fd(&fd);
    *ret_jobs = jobs;
    return 0;
}

void jobs_free(struct jobs *jobs) {
    if (!jobs)
        return;
    pthread_mutex_lock(&jobs->lock);
    jobs->stopping = true;
    pthread_cond_signal(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
    pthread_join(jobs->thread, NULL);
    loop_unwatch(jobs->loop, &jobs->finished_watch);
    close(jobs->finished_watch.fd);
    pthread_cond_destroy(&jobs->changed);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs);
}

void jobs_add(struct jobs *jobs, struct job *job) {
    pthread_mutex_lock(&jobs->lock);
    jobs_queue_push(&jobs->waiting, job);
    pthread_cond_signal(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
}
