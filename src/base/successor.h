/* What a part and its supervisor say to each other when a part is started, perhaps to take another's place.
 *
 * The supervisor names a pipe in the environment (READY_FD_VARIABLE) on which the part says that it serves.
 * With TAKEOVER_VARIABLE the part that it is to replace is running still: the new one makes itself ready
 * first, then takes the other's socket and says so. The old one is sent SIGHUP then, and goes when it has
 * done what it had. */
#ifndef FAAS_BASE_SUCCESSOR_H
#define FAAS_BASE_SUCCESSOR_H

#include <stdbool.h>

#define READY_FD_VARIABLE "FAAS_READY_FD"
#define TAKEOVER_VARIABLE "FAAS_TAKEOVER"

/* To be called once, before threads and children: takes both variables out of the environment. */
void successor_begin(void);
/* Another process is to be replaced. */
bool successor_takes_over(void);
/* We serve. Nothing happens when nobody waits for it, and the second time. */
void successor_ready(void);

#endif
