/* The server's connection to the load balancer: tells it which workers there are.
 *
 * It keeps the list, connects again and again while the balancer is away (every REGISTRAR_RETRY_NS), and
 * registers all of them when it is back. Workers serve meanwhile. */
#ifndef FAAS_SERVER_REGISTRAR_H
#define FAAS_SERVER_REGISTRAR_H

#include "balancer/table.h"
#include "wire/peer.h"

#define REGISTRAR_RETRY_NS 50000000ull

/* The balancer has confirmed this worker; fires again when it comes back. */
typedef void registrar_on_registered(void *context, uint32_t worker);

struct registrar {
    struct loop *loop; /* borrowed */
    char path[4096];
    registrar_on_registered *on_registered;
    void *context;
    struct peer peer;
    struct loop_timer retry;
    bool lost; /* it was connected before */
    struct {
        bool known, registered;
        int32_t pid;
        uint32_t generation, weight;
    } workers[TABLE_WORKERS];
};

/* loop, path, on_registered and context are set, the rest zero. */
void registrar_start(struct registrar *registrar);
void registrar_stop(struct registrar *registrar);
void registrar_add(struct registrar *registrar, const struct message *worker);
void registrar_remove(struct registrar *registrar, uint32_t worker);

#endif
