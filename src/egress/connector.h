/* Answers what a function's system calls ask through the gate: decides by the rule, connects from the network
 * of the host, and puts the connected socket in the place of the function's own.
 *
 * The function's own socket is never let go on to connect, so that what it writes into memory after it was
 * read makes no difference. Several threads may be in connector_answer at a time. */
#ifndef FAAS_EGRESS_CONNECTOR_H
#define FAAS_EGRESS_CONNECTOR_H

#include <linux/seccomp.h>

#include "egress/names.h"
#include "egress/notice.h"
#include "egress/rule.h"
#include "egress/sockets.h"

enum {
    CONNECTOR_OPEN_MAX = 64,    /* connections of a process at a time */
    CONNECTOR_PER_S = 100,      /* attempts */
    CONNECTOR_BURST = 200,      /* … at once */
    CONNECTOR_CONNECT_S = 30,   /* how long a connect that blocks may take */
    CONNECTOR_NAME_OLD_S = 300, /* a name is looked up again at a connect */
};

struct connector {
    int listener; /* of the gate; borrowed, as is all that follows */
    const struct rule *rule;
    struct names *names;
    struct notice *notice;
    struct sockets *sockets;
    struct bucket *attempts;
};

/* Gives the thread that waits its answer. May take CONNECTOR_CONNECT_S. */
void connector_answer(const struct connector *connector, const struct seccomp_notif *question);

#endif
