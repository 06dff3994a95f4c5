/* Whether this kernel lets a broker stand between a process and its connects. */
#ifndef FAAS_EGRESS_PROBE_H
#define FAAS_EGRESS_PROBE_H

#include "base/err.h"

/* Tries it with a child, once in the life of the process (about 1 ms). ERR_NOT_INSTALLED says what is
 * missing. */
int probe_run(struct err *err);

#endif
