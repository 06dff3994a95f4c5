/* egress HOSTS_FILE     started by the server; descriptors: 3 policy, 4 gate, 5 the function's standard error
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "egress/broker.h"

enum { MAIN_POLICY_FD = 3, MAIN_CHANNEL_FD = 4, MAIN_LOG_FD = 5 };

int main(int argc, char **argv) {
    if (argc != 2 || strcmp(argv[1], "--help") == 0) {
        fprintf(stderr, "usage: egress HOSTS_FILE (the server starts it; see docs/protocol.md)\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct err err;
    struct broker_config config = {.channel_fd = MAIN_CHANNEL_FD,
                                   .policy_fd = MAIN_POLICY_FD,
                                   .log_fd = MAIN_LOG_FD,
                                   .hosts_path = argv[1]};
    if (broker_run(&config, &err) == 0)
        return 0;
    fprintf(stderr, "egress: %s\n", err.msg);
    return 1;
}
