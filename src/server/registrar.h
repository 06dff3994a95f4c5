/* The server's connection to the load balancer: tells it which workers there are.
 *
 * It keeps the list, connects again and again while the balancer is away (every REGISTRAR_RETRY_NS), and
 * registers all of them when it is back. Workers serve meanwhile. The balancer says how many there should be.
 */
#ifndef FAAS_SERVER_REGISTRAR_H
#define FAAS_SERVER_REGISTRAR_H

#include "balancer/table.h"
#include "wire/peer.h"

#define REGISTRAR_RETRY_NS 50000000ull

/* The balancer has confirmed this worker; fires again when it comes back. */
typedef void registrar_on_registered(void *context, uint32_t worker);
/* The balancer wants so many workers; returns how many it gets. */
typedef uint32_t registrar_on_scale(void *context, uint32_t target);

struct registrar {
    struct loop *loop; /* borrowed */
    char path[4096];
    registrar_on_registered *on_registered;
    registrar_on_scale *on_scale;
    uint32_t target, least, most; /* workers that are kept, and the bounds of that */
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

/* loop, path, target, least, most, on_registered, on_scale and context are set, the rest zero. */
void registrar_init(struct registrar *registrar);
/* Connects, now and whenever the balancer is away. */
void registrar_start(struct registrar *registrar);
void registrar_stop(struct registrar *registrar);
void registrar_add(struct registrar *registrar, const struct message *worker);
/* code: ERR_CRASH, or ERR_OK when it was retired. */
void registrar_remove(struct registrar *registrar, uint32_t worker, int code);

#endif
