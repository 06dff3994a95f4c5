/* The program `egress`: one stands beside each process of a function that has an allow-list, in the network
 * of the host, under the user id of that one process and with no right of root's. It ends when its process
 * has ended. */
#ifndef FAAS_EGRESS_BROKER_H
#define FAAS_EGRESS_BROKER_H

#include <stdint.h>

#include "base/err.h"

enum {
    BROKER_POLICY_MAX = 4096,
    BROKER_THREADS_MAX = 16, /* connects that block at a time; more wait their turn */
    /* What a process asks of us is our processor time and not its own: beyond this it waits. */
    BROKER_QUESTIONS_PER_S = 1000,
    BROKER_QUESTIONS_BURST = 2000,
};

struct broker_config {
    int channel_fd;         /* the gate comes through it; owned */
    int policy_fd;          /* what broker_write_policy wrote; borrowed, as are the following */
    int log_fd;             /* the function's standard error */
    const char *hosts_path; /* a file like /etc/hosts, see names.h; "" = none */
};

/* A sealed memfd that says where the gateway listens and what the function may connect to. */
int broker_write_policy(uint16_t gateway_port, const char *allow, int *ret_fd, struct err *err);
/* [0] is the broker's end, [1] the gate's (gate_install). Both close-on-exec. */
int broker_open_channel(int ret_fds[2], struct err *err);
/* Returns when the process has ended. */
int broker_run(const struct broker_config *config, struct err *err);
/* The gate as it came: ret_fds[1] is -1 when there was but one. *ret_user, *ret_group: of who sent it. 1;
 * 0 when the other side is gone. */
int broker_receive_gate(int channel_fd, int ret_fds[2], uint32_t *ret_user, uint32_t *ret_group,
                        struct err *err);

#endif
