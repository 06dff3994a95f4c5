/* worker --data-dir DIR --memory-max-mb N: started by the server, with a control socket on descriptor 3. */
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "worker/wasm_engine.h"
#include "worker/worker.h"

/* Guests run on this thread: its stack may grow to what they may use. */
static void main_raise_stack_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= WASM_ENGINE_STACK_BYTES)
        return;
    limit.rlim_cur = limit.rlim_max < WASM_ENGINE_STACK_BYTES ? limit.rlim_max : WASM_ENGINE_STACK_BYTES;
    setrlimit(RLIMIT_STACK, &limit);
}

/* A sanitizer looks at its own process in ways that nothing else of ours does. */
#if defined(__SANITIZE_ADDRESS__)
#define MAIN_SEALED false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MAIN_SEALED false
#endif
#endif
#ifndef MAIN_SEALED
#define MAIN_SEALED true
#endif

static bool main_is_sealed(void) {
    const char *mode = getenv("FAAS_SANDBOX");
    return MAIN_SEALED && !(mode && strcmp(mode, "off") == 0);
}

int main(int argc, char **argv) {
    static const struct option flags[] = {
        {"data-dir", required_argument, NULL, 'd'}, {"memory-max-mb", required_argument, NULL, 'm'}, {0}};
    struct worker_options options = {.data_dir = "./functions",
                                     .memory_max_mb = 1024,
                                     .control_fd = WORKER_CONTROL_FD,
                                     .sealed = main_is_sealed(),
                                     .ops = &wasm_engine_runtime};
    int flag;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        if (flag == 'd')
            options.data_dir = optarg;
        else if (flag == 'm' && atoi(optarg) > 0)
            options.memory_max_mb = (uint32_t)atoi(optarg);
        else {
            fputs("usage: worker --data-dir DIR --memory-max-mb N\n", stderr);
            return 2;
        }
    }
    /* A gateway that is gone shows as EPIPE. Ctrl+C on a terminal is the server's to act on: it lets the
     * calls under way finish. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    /* The engine lives on signals; a parent with an event loop leaves some of them blocked. */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    main_raise_stack_limit();
    struct err err;
    if (sodium_init() < 0) {
        fputs("worker: cannot start libsodium\n", stderr);
        return 1;
    }
    if (worker_run(&options, &err) < 0) {
        fprintf(stderr, "worker: %s\n", err.msg);
        return err_exit_status(err.code);
    }
    return 0;
}
