/* What walls this machine gives to the processes that we start; found out once. */
#ifndef FAAS_SANDBOX_PROBE_H
#define FAAS_SANDBOX_PROBE_H

#include "sandbox/sandbox.h"

enum probe_mode {
    PROBE_OFF,  /* switched off by the setting */
    PROBE_NONE, /* no namespaces */
    PROBE_USER, /* in a user namespace */
    PROBE_ROOT, /* namespaces with the rights that we have */
};

struct probe {
    enum probe_mode mode;
    bool privileged; /* programs get user ids of their own */
};

const struct probe *probe_get(void);

/* In sandbox.c: starts one in that mode. With program NULL in the spec it does everything but the exec. */
int sandbox_start_as(const struct probe *probe, const struct sandbox_spec *spec,
                     struct sandbox_child *ret_child, struct err *err);

#endif
