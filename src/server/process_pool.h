/* The processes of Node.js and Python: spares booted ahead of need, processes in the gateway's hands, and the
 * end of both.
 *
 * A process is a SPARE until a SERVER_START takes it (or is booted for one that no spare fits) and then
 * belongs to the gateway connection that asked. When that connection goes, its processes see the end of their
 * frames; those that stay are killed after PROCESS_POOL_ORPHAN_NS. Spares stay. */
#ifndef FAAS_SERVER_PROCESS_POOL_H
#define FAAS_SERVER_PROCESS_POOL_H

#include <stddef.h>

#include "wire/peer.h"

enum {
    PROCESS_POOL_SPARES = 2, /* a runtime */
    PROCESS_POOL_FIRST_NUMBER = 1000
};
#define PROCESS_POOL_ORPHAN_NS 1000000000ull

struct process_pool;

/* A process that belonged to the gateway connection `serial` has ended: worker, pid, status and code as in
 * SERVER_GONE. */
typedef void process_pool_on_gone(void *context, uint64_t serial, const struct message *gone);
/* After process_pool_drain: the last one has ended. */
typedef void process_pool_on_empty(void *context);

struct process_pool_config {
    struct loop *loop;      /* borrowed, as is the text */
    const char *parts_dir;  /* runtimes/ is below it */
    const char *hosts_path; /* for the brokers: see egress/names.h */
    uint32_t most;          /* processes in the gateway's hands */
    process_pool_on_gone *on_gone;
    process_pool_on_empty *on_empty;
    void *context;
};

struct process_pool *process_pool_new(const struct process_pool_config *config);
void process_pool_free(struct process_pool *pool);

/* Starts to boot spares, one after the other. */
void process_pool_fill(struct process_pool *pool);
/* No spares of the runtimes whose bits (1 << runtime) are set, until process_pool_want; those that are there
 * stay. */
void process_pool_spare_none(struct process_pool *pool, uint32_t runtimes);
void process_pool_want(struct process_pool *pool, enum runtime runtime);
/* Who wants a process: the answer goes to the peer. */
struct process_pool_asker {
    struct peer *peer;
    uint64_t serial; /* of that gateway connection */
};
/* Answers SERVER_START with SERVER_PROCESS or SERVER_START_FAILED. policy_fd: what SERVER_START_NET came
 * with, borrowed; -1 = a process without a network. */
void process_pool_take(struct process_pool *pool, const struct message *start, int policy_fd,
                       struct process_pool_asker asker);
/* Answers SERVER_MEASURE with SERVER_USAGE; not at all when the process is gone. */
void process_pool_measure(struct process_pool *pool, const struct message *measure, struct peer *gateway);
/* A process in a gateway's hands now belongs to the gateway connection `serial`. */
void process_pool_adopt(struct process_pool *pool, uint32_t number, uint64_t serial);
/* The gateway connection `serial` is gone. */
void process_pool_orphan(struct process_pool *pool, uint64_t serial);
/* Names of the runtimes that this machine does not have, a space between them. */
void process_pool_missing(struct process_pool *pool, char *ret_text, size_t size);

/* Ends the spares; takes give ERR_DRAINING. */
void process_pool_drain(struct process_pool *pool);
/* Ends what is left now. */
void process_pool_kill(struct process_pool *pool);
uint32_t process_pool_alive(const struct process_pool *pool);

#endif
