/* The brokers (program `egress`) of the processes that may connect: started, ended with their process,
 * reaped. */
#ifndef FAAS_SERVER_EGRESS_CHILD_H
#define FAAS_SERVER_EGRESS_CHILD_H

#include <sys/types.h>

#include "base/loop.h"

/* It ended, and is freed, before egress_child_release. failed: not because its process has ended. */
typedef void egress_child_on_end(void *context, bool failed);

struct egress_children {
    struct loop *loop; /* borrowed */
    struct egress_child *first;
};

struct egress_child_spec {
    const char *parts_dir;  /* where the program is */
    const char *hosts_path; /* see egress/names.h */
    int channel_fd;         /* the broker's end; all three are borrowed */
    int policy_fd;
    int log_fd; /* the function's standard error */
    egress_child_on_end *on_end;
    void *context;
};

int egress_child_start(struct egress_children *children, const struct egress_child_spec *spec,
                       struct egress_child **ret_child, struct err *err);
/* Its process is gone: ends it. NULL is nothing. */
void egress_child_release(struct egress_child *child);
void egress_children_fini(struct egress_children *children);

#endif
