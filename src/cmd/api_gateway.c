/* api_gateway: HTTP in front, workers behind. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/config.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/successor.h"
#include "base/loop.h"
#include "gateway/gateway.h"
#include "keys/key_listen.h"

static void api_gateway_on_signal(void *context, int signal_number) {
    if (signal_number == SIGHUP)
        gateway_was_replaced(context);
    else
        gateway_drain(context);
}

/* As many connections as the system allows us. */
static void api_gateway_raise_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int api_gateway_run(const struct config *config, struct err *err) {
    struct loop *loop;
    struct gateway *gateway;
    int listen_fd;
    char address[128];
    bool supervised =
        getenv(LISTEN_FD_VARIABLE); /* then the supervisor has looked whether it may be listened on */
    int rc = log_open("api_gateway", config->log_dir, err);
    if (rc == 0)
        rc = listen_take_or_open(config->listen, &listen_fd, address, sizeof address, err);
    if (rc == 0 && !supervised)
        rc = key_listen_check(config, listen_fd, err);
    if (rc == 0)
        rc = loop_new(&loop, err);
    if (rc != 0)
        return rc;
    rc = gateway_new(loop, config, listen_fd, &gateway, err);
    if (rc == 0) {
        static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
        rc = loop_signals(loop, signals, 3, api_gateway_on_signal, gateway, err);
        if (rc == 0) {
            log_line("api_gateway listening on %s", address);
            successor_ready();
            rc = loop_run(loop, err);
        }
        gateway_free(gateway);
    }
    loop_free(loop);
    return rc;
}

int main(int argc, char **argv) {
    struct config config;
    struct err err;
    signal(SIGPIPE, SIG_IGN);
    successor_begin();
    api_gateway_raise_files();
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        puts("usage: api_gateway [--flag value ...]");
        config_print_help();
        return 0;
    }
    if (config_load(&config, &argc, argv, &err) != 0) {
        fprintf(stderr, "api_gateway: %s\n", err.msg);
        return 2;
    }
    if (argc > 1) {
        fprintf(stderr, "api_gateway: unknown argument '%s' (see --help)\n", argv[1]);
        return 2;
    }
    if (api_gateway_run(&config, &err) != 0) {
        log_event("%s", err.msg);
        return 1;
    }
    return 0;
}
