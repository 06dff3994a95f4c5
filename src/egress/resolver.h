/* Answers a function's questions about names: those in its list with an address of names.h, all others with
 * "no such name" and a line in its log. A thread a lookup, so that one that takes its time holds up no other.
 */
#ifndef FAAS_EGRESS_RESOLVER_H
#define FAAS_EGRESS_RESOLVER_H

#include <stdatomic.h>

#include "egress/names.h"
#include "egress/notice.h"
#include "egress/rule.h"

enum {
    RESOLVER_THREADS = 8, /* lookups at a time; one more is told that it failed, and asks again */
    RESOLVER_PER_S = 50,
    RESOLVER_BURST = 200,
};

struct resolver {
    int fd; /* of the function's network; borrowed, as is all that follows */
    const struct rule *rule;
    struct names *names;
    struct notice *notice;
    struct bucket *lookups;
    atomic_int running;
};

/* One packet; nothing when there is none. Does not wait. */
void resolver_serve(struct resolver *resolver);

#endif
