/* A thread beside the loop for work that blocks on the disk. Jobs run one after the other, in order; `done`
 * fires on the loop's thread. */
#ifndef FAAS_BASE_JOBS_H
#define FAAS_BASE_JOBS_H

#include "base/loop.h"

struct jobs;
struct job {
    void (*run)(struct job *job);  /* on the thread */
    void (*done)(struct job *job); /* on the loop */
    struct job *next;              /* the queue's */
};

int jobs_new(struct loop *loop, struct jobs **ret_jobs, struct err *err);
/* Waits for the jobs that are queued, without calling `done` for those that end here: their owners free them
 * after. Not from within a `done`. */
void jobs_free(struct jobs *jobs);
/* The job belongs to the queue until `done`. */
void jobs_add(struct jobs *jobs, struct job *job);

#endif
