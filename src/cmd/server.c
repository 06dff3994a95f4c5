/* server [--setting VALUE]... */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/successor.h"
#include "sandbox/programs.h"
#include "server/server.h"

static int server_fail(const struct err *err) {
    fprintf(stderr, "server: %s\n", err->msg);
    return err->code == ERR_BAD_REQUEST ? 2 : 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("usage: server [--setting VALUE]...\n\n");
        config_print_help();
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    successor_begin();
    signal(SIGCHLD, SIG_DFL);
    struct err err;
    struct config config;
    if (config_load(&config, &argc, argv, &err) < 0)
        return server_fail(&err);
    if (argc > 1) {
        fprintf(stderr, "server: unknown argument '%s'; see server --help\n", argv[1]);
        return 2;
    }
    char parts_dir[4096];
    if (programs_parts_dir(parts_dir, sizeof parts_dir, &err) < 0 ||
        log_open("server", config.log_dir, &err) < 0 || server_run(&config, parts_dir, &err) < 0)
        return server_fail(&err);
    return 0;
}
