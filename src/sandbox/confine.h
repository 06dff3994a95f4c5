/* The walls that a process puts up around itself, for ever: Landlock and its filter of system calls. */
#ifndef FAAS_SANDBOX_CONFINE_H
#define FAAS_SANDBOX_CONFINE_H

#include "sandbox/init.h"

/* The last steps before the exec. False with errno and *ret_step, what failed. */
bool confine_enter(const struct init_plan *plan, const char **ret_step);

#endif
