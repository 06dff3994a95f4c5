/* The load balancer: owner of the worker table and of the strategy, beside the path of the calls.
 *
 * Listens on <run dir>/faas_lb.sock. The server registers its workers, server and gateway get the table. The
 * rows of a server that went away stay as they are (its workers still serve) until another one registers. It
 * tells the server how many workers to keep (scaling.h). */
#ifndef FAAS_BALANCER_BALANCER_H
#define FAAS_BALANCER_BALANCER_H

#include "balancer/policy.h"
#include "base/err.h"

struct balancer_options {
    const char *run_dir;
    enum policy_strategy strategy;
    uint64_t scale_down_ns; /* of low use before a worker is given up */
};

/* Runs until SIGTERM, SIGINT, or SIGHUP (another has taken our place). ERR_CONFLICT: another one listens in
 * this run directory, and we are not to replace it. */
int balancer_run(const struct balancer_options *options, struct err *err);

#endif
