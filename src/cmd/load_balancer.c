/* load_balancer [RR|FIFO|WEIGHTED] [--setting VALUE]... */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "balancer/balancer.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/successor.h"

static int load_balancer_fail(const struct err *err) {
    fprintf(stderr, "load_balancer: %s\n", err->msg);
    return err->code == ERR_BAD_REQUEST ? 2 : 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("usage: load_balancer [RR|FIFO|WEIGHTED] [--setting VALUE]...\n\n");
        config_print_help();
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    successor_begin();
    struct err err;
    struct config config;
    if (config_load(&config, &argc, argv, &err) < 0)
        return load_balancer_fail(&err);
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fprintf(stderr, "load_balancer: unknown argument '%s'; see load_balancer --help\n", argv[argc - 1]);
        return 2;
    }
    struct balancer_options options = {
        .run_dir = config.run_dir,
        .scale_down_ns = (uint64_t)config.scale_down_s * CLOCK_NS_PER_S,
    };
    if (policy_strategy_parse(argc == 2 ? argv[1] : config.strategy, &options.strategy, &err) < 0 ||
        log_open("load_balancer", config.log_dir, &err) < 0 || balancer_run(&options, &err) < 0)
        return load_balancer_fail(&err);
    return 0;
}
