/* minifaas VERB …: the command line for people. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "cmd/minifaas.h"
#include "sandbox/programs.h"
#include "server/control.h"
#include "server/supervisor.h"

#define MINIFAAS_VERSION "0.1.0"

static minifaas_run minifaas_up, minifaas_reload, minifaas_help, minifaas_version;

static const struct minifaas_verb {
    const char *name, *arguments, *doc;
    minifaas_run *run;
} minifaas_verbs[] = {
    {"up", "[RR|FIFO|WEIGHTED] [--setting VALUE]...", "start everything here, until Ctrl+C", minifaas_up},
    {"reload", "[PART] [--run-dir DIR]", "replace the running parts by new versions; no call fails",
     minifaas_reload},
    {"key", "create|ls|revoke ...", "make, list and revoke API keys; see minifaas key", minifaas_key},
    {"help", "", "this text, and the settings", minifaas_help},
    {"version", "", "the version", minifaas_version},
};
enum { MINIFAAS_VERBS = sizeof minifaas_verbs / sizeof minifaas_verbs[0] };

static void minifaas_print_usage(FILE *out) {
    fprintf(out, "usage: minifaas VERB ...\n\n");
    for (size_t i = 0; i < MINIFAAS_VERBS; i++)
        fprintf(out, "  %-8s %-40s %s\n", minifaas_verbs[i].name, minifaas_verbs[i].arguments,
                minifaas_verbs[i].doc);
}

static int minifaas_fail(const struct err *err) {
    fprintf(stderr, "minifaas: %s\n", err->msg);
    return err->code == ERR_BAD_REQUEST ? 2 : 1;
}

static int minifaas_help(int argc, char **argv) {
    (void)argc;
    (void)argv;
    minifaas_print_usage(stdout);
    printf("\n");
    config_print_help();
    return 0;
}

static int minifaas_version(int argc, char **argv) {
    (void)argc;
    (void)argv;
    printf("minifaas %s\n", MINIFAAS_VERSION);
    return 0;
}

/* A strategy is a flag without its name. */
static int minifaas_load(struct config *ret_config, int argc, char **argv, struct err *err) {
    int rc = config_load(ret_config, &argc, argv, err);
    if (rc < 0 || argc == 1)
        return rc;
    if (argc > 2 || argv[1][0] == '-')
        return err_set(err, ERR_BAD_REQUEST, "unknown argument '%.64s'; see minifaas help", argv[argc - 1]);
    char *flags[] = {argv[0], "--strategy", argv[1], NULL};
    struct config strategy;
    int count = 3;
    rc = config_load(&strategy, &count, flags, err);
    if (rc == 0)
        memcpy(ret_config->strategy, strategy.strategy, sizeof strategy.strategy);
    return rc;
}

static int minifaas_up(int argc, char **argv) {
    struct err err;
    struct config config;
    char parts_dir[4096];
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    if (minifaas_load(&config, argc, argv, &err) < 0 ||
        programs_parts_dir(parts_dir, sizeof parts_dir, &err) < 0 ||
        supervisor_run(&config, parts_dir, &err) < 0)
        return minifaas_fail(&err);
    return 0;
}

/* PART: one of the parts' names, or what it is for short. */
static int minifaas_reload(int argc, char **argv) {
    static const char *const names[][2] = {{"all", ""},
                                           {"gateway", "api_gateway"},
                                           {"balancer", "load_balancer"},
                                           {"api_gateway", "api_gateway"},
                                           {"server", "server"},
                                           {"load_balancer", "load_balancer"}};
    struct err err;
    struct config config;
    char text[MESSAGE_TEXT_BYTES];
    const char *part = NULL;
    signal(SIGPIPE, SIG_IGN);
    if (config_load(&config, &argc, argv, &err) < 0)
        return minifaas_fail(&err);
    for (size_t i = 0; argc == 2 && i < sizeof names / sizeof *names; i++)
        if (strcmp(argv[1], names[i][0]) == 0)
            part = names[i][1];
    if (argc == 1)
        part = "";
    if (argc > 2 || !part) {
        fprintf(stderr, "minifaas: reload takes one of: gateway, server, balancer, all\n");
        return 2;
    }
    if (control_ask_reload(config.run_dir, part, text, &err) < 0)
        return minifaas_fail(&err);
    printf("%s\n", text);
    return 0;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < MINIFAAS_VERBS; i++) {
        if (strcmp(name, minifaas_verbs[i].name) != 0)
            continue;
        for (int at = 2; at < argc; at++)
            if (strcmp(argv[at], "--help") == 0)
                return minifaas_help(0, NULL);
        return minifaas_verbs[i].run(argc - 1, argv + 1);
    }
    if (*name)
        fprintf(stderr, "minifaas: unknown verb '%s'\n", name);
    minifaas_print_usage(stderr);
    return 2;
}
