/* Carries calls to workers and their answers back: queues, credit windows, pipes, deadlines.
 *
 * One thread. It connects to the server (which hands it the pipes of the workers) and to the load balancer
 * (which hands it the shared table), and does without either while it is away. WASM calls go to the worker
 * that the balancer's policy names, several in flight on one pipe; Node.js and Python calls go to a process
 * of their function, several at a time while they are short; a plain script gets a fresh process for every
 * call.
 *
 * dispatch_submit is followed by exactly one on_answer, perhaps before it returns; or, after
 * dispatch_hand_over, by one on_return. */
#ifndef FAAS_DISPATCH_DISPATCH_H
#define FAAS_DISPATCH_DISPATCH_H

#include "balancer/policy.h"
#include "base/loop.h"
#include "dispatch/call.h"
#include "dispatch/stats.h"
#include "storage/storage.h"

struct dispatch;

/* What a function wrote to its log during a call or between calls. stream: 1 stdout, 2 stderr. */
typedef void dispatch_on_log(void *context, struct storage_version *version, int stream,
                             struct call_bytes text);
/* Native code that a worker refused: make it again, then call dispatch_rebuilt. Calls of the version wait
 * meanwhile. */
typedef void dispatch_on_artefact(void *context, struct storage_version *version);
/* A call that was not started, and will not be here: it is for the gateway that has taken our place. */
typedef void dispatch_on_return(void *context, struct call *call);
/* A process of Node.js or Python for the gateway that has taken our place: GATEWAY_PROCESS with 7
 * descriptors, borrowed. False: it cannot go there. */
typedef bool dispatch_on_process(void *context, const struct message *message, const int *fds);
/* err->code ERR_OK: the strategy is set. */
typedef void dispatch_on_strategy(void *context, const struct err *err);

struct dispatch_config {
    struct loop *loop;       /* borrowed */
    struct storage *storage; /* borrowed */
    const char *run_dir;
    enum policy_strategy strategy; /* until the balancer says otherwise */
    uint32_t queue_ms;             /* how long a call may wait for a worker */
    uint32_t queue_all_max;        /* calls that may wait in all */
    uint32_t spin_us;              /* how long to look for an answer before sleeping; 0: not */
    uint32_t processes_per_function, processes_max; /* of Node.js and Python */
    uint16_t gateway_port;                          /* where no function may connect to */
    dispatch_on_log *on_log;
    dispatch_on_artefact *on_artefact;
    void *context;
};

int dispatch_new(const struct dispatch_config *config, struct dispatch **ret_dispatch, struct err *err);
void dispatch_free(struct dispatch *dispatch);

/* call: id, version, head, body, on_answer are set, the rest zero. Takes its own reference of the version. */
void dispatch_submit(struct dispatch *dispatch, struct call *call);
/* The client went away: a call that was not sent yet is answered with ERR_ABANDONED, any other goes on. */
void dispatch_abandon(struct dispatch *dispatch, struct call *call);
/* A fresh call id. */
uint64_t dispatch_next_id(struct dispatch *dispatch);

/* rebuilt false: the calls that wait are answered with ERR_ARTEFACT. */
void dispatch_rebuilt(struct dispatch *dispatch, struct storage_version *version, bool rebuilt);
/* A function of this runtime is about to be deployed. */
void dispatch_expect(struct dispatch *dispatch, enum runtime runtime);

/* Somebody who waits until WASM workers have made a version ready. Embedded; zeroed but for on_warm. */
struct dispatch_warmth {
    void (*on_warm)(struct dispatch_warmth *warmth); /* once */
    /* The dispatcher's until then: */
    struct dispatch *dispatch;
    uint32_t key;
    uint64_t missing; /* workers, a bit each */
    struct loop_timer timer;
    struct dispatch_warmth *next, *prev;
};

/* A version that was deployed now, and will be called: WASM workers make it ready, those that are idle at
 * once. Says so when all have, or when 10 ms are over: a worker with calls does it later. Not before it
 * returns. */
void dispatch_warm(struct dispatch *dispatch, struct storage_version *version,
                   struct dispatch_warmth *warmth);
/* The version is no longer current: its processes end when they are idle. */
void dispatch_retire(struct storage_version *version);
enum { DISPATCH_RENEW_MS = 5 };
/* What the version's calls get beside their request has changed: its limits, its variables. Calls that start
 * from DISPATCH_RENEW_MS later on have it as it is now; those of plain scripts that were sent before keep
 * what was. */
void dispatch_renew(struct dispatch *dispatch, struct storage_version *version);
/* The version's last reference is gone: releases what belongs to it (storage's release callback). */
void dispatch_forget(struct dispatch *dispatch, struct storage_version *version);

void dispatch_set_strategy(struct dispatch *dispatch, enum policy_strategy strategy,
                           dispatch_on_strategy *on_strategy, void *context);
/* Calls that waited for dispatch_rebuilt are sent again. */
void dispatch_unblock(struct dispatch *dispatch);

/* Lets go of the workers, each when the call that it runs is answered, and returns every other call. No call
 * is submitted afterwards. */
void dispatch_hand_over(struct dispatch *dispatch, dispatch_on_return *on_return,
                        dispatch_on_process *on_process);
/* The other end of on_process. The descriptors are taken. */
void dispatch_adopt(struct dispatch *dispatch, const struct message *message, int *fds);
/* New calls are answered with ERR_DRAINING. */
void dispatch_drain(struct dispatch *dispatch);
bool dispatch_is_idle(const struct dispatch *dispatch);
/* A call would be served: a WASM worker is there. */
bool dispatch_is_ready(const struct dispatch *dispatch);

/* Counts an answer under the HTTP status that it went out with. */
void dispatch_count(struct storage_version *version, int status, int code);
/* For describe and metrics. NULL when the version was never called. */
const struct stats *dispatch_stats(const struct storage_version *version);
uint32_t dispatch_queued(const struct storage_version *version);

struct dispatch_worker {
    uint32_t worker, generation, weight, in_flight;
    int32_t pid;
    enum runtime runtime;
    const char *function; /* of a process; NULL for WASM */
    const char *state;    /* "ready", "busy", "stalled", "loading", "retiring" */
    uint64_t calls, mean_ns, restarts;
};
typedef void dispatch_on_worker(void *context, const struct dispatch_worker *worker);
void dispatch_each_worker(const struct dispatch *dispatch, dispatch_on_worker *on_worker, void *context);

struct dispatch_totals {
    uint64_t worker_calls[TABLE_WORKERS]; /* answered, by worker number, over all generations */
    uint64_t worker_restarts;
    uint64_t crashes, withdrawn, killed;
    uint32_t queued;
    bool server_connected, balancer_connected;
    enum policy_strategy strategy;
};
void dispatch_totals(const struct dispatch *dispatch, struct dispatch_totals *ret_totals);
/* What the balancer says of scaling; NULL while there was none. */
const struct table_scaling *dispatch_scaling(const struct dispatch *dispatch);

#endif
