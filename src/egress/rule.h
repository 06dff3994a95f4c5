/* The rule: may a function connect to this? Pure.
 *
 * The platform's own socket: never, whatever the list says. What nothing can be connected to (0.0.0.0/8,
 * multicast…): never. An address of a private range (address.h), or of this very host: only when the list has
 * it as an address or as a network that lies wholly in that range; a name that leads there does not name it.
 * Any other: when the list has its name, or itself. */
#ifndef FAAS_EGRESS_RULE_H
#define FAAS_EGRESS_RULE_H

#include "egress/allow.h"

enum { RULE_WHY_BYTES = 96 };

struct rule {
    struct allow allow;
    uint16_t gateway_port; /* where the gateway listens; 0 = not known: then no address of this host at all */
};

struct rule_target {
    struct address address;
    uint16_t port;
    const char *name; /* cleaned, that led to the address; NULL when there was none */
    bool own;         /* the address is one of this host's */
};

/* False with what to say about it: "private address, not in allow=". */
bool rule_permits(const struct rule *rule, const struct rule_target *target, char ret_why[RULE_WHY_BYTES]);

#endif
