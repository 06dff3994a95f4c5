/* Whether an address is one of this very host's, whatever interface or table has it: asked of the kernel. */
#ifndef FAAS_EGRESS_ROUTE_H
#define FAAS_EGRESS_ROUTE_H

#include "egress/address.h"

/* True also for broadcast addresses, and when the kernel does not say. False when there is no way there. */
bool route_is_own(const struct address *address);

#endif
