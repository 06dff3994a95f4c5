/* The load balancer: owner of the worker table and of the strategy, beside the path of the calls.
 *
 * Listens on <run dir>/faas_lb.sock. The server registers its workers, server and gateway get the table. The
 * rows of a server that went away stay as they are (its workers still serve) until another one registers. */
#ifndef FAAS_BALANCER_BALANCER_H
#define FAAS_BALANCER_BALANCER_H

#include "balancer/policy.h"
#include "base/err.h"

/* Runs until SIGTERM or SIGINT. ERR_CONFLICT: another one listens in this run directory. */
int balancer_run(const char *run_dir, enum policy_strategy strategy, struct err *err);

#endif
