/* The worker process: runs calls, one at a time, each in a fresh instance of its function.
 *
 * It is started by the server with a control socket, says WORKER_READY when its engine is up, and gets its
 * pipes and its page with WORKER_ATTACH. It serves the pipe until its end (the gateway is gone), forgets what
 * that gateway told it, and waits for the next WORKER_ATTACH; the end of the control socket as well ends it.
 * A server that dies is noticed only then: calls go on. */
#ifndef FAAS_WORKER_WORKER_H
#define FAAS_WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "worker/runtime.h"

enum { WORKER_CONTROL_FD = 3 };

struct worker_options {
    const char *data_dir;
    uint32_t memory_max_mb;
    int control_fd;
    bool sealed; /* gives up, before WORKER_READY, what running functions does not take (sandbox/seal.h) */
    const struct runtime_ops *ops;
};

/* Returns 0 when both the pipe and the control socket have ended. ERR_BAD_ANSWER when what comes on the pipe
 * is no frame: nothing behind it can be trusted, and the server starts a new worker. Changes the calling
 * thread's scheduling class. */
int worker_run(const struct worker_options *options, struct err *err);

#endif
