/* Settings of an instance: each is a variable of the environment, a flag and a line of the configuration
 * file, from one table. flag (`--data-dir DIR` or `--data-dir=DIR`) > environment (`FAAS_DATA_DIR`) > file
 * (`data_dir = DIR`) > default. A number of 0..1 is a switch: as a flag alone it is 1. */
#ifndef FAAS_BASE_CONFIG_H
#define FAAS_BASE_CONFIG_H

#include <stdint.h>

#include "base/err.h"

/* X(field, VARIABLE, default, what it is) for texts; X(field, VARIABLE, default, min, max, what it is) for
 * numbers. A default of -1 is computed (see config_load). */
#define CONFIG_TEXTS(X)                                                                                      \
    X(listen, "FAAS_LISTEN", "127.0.0.1:8080", "address and port of the gateway; port 0 = any")              \
    X(data_dir, "FAAS_DATA_DIR", "./functions", "where deployed functions are kept")                         \
    X(run_dir, "FAAS_RUN_DIR", "/tmp", "where the two sockets live")                                         \
    X(log_dir, "FAAS_LOG_DIR", "./logs", "where the parts' logs go")                                         \
    X(strategy, "FAAS_STRATEGY", "RR", "RR, FIFO or WEIGHTED")                                               \
    X(secret_key_file, "FAAS_SECRET_KEY_FILE", "",                                                           \
      "key that secrets are sealed with (the data directory with .key behind it, made at need)")             \
    X(weights, "FAAS_WEIGHTS", "",                                                                           \
      "weights of the workers by number, for WEIGHTED: 4,2,1; 1 where not given")                            \
    X(egress_hosts, "FAAS_EGRESS_HOSTS", "",                                                                 \
      "names that functions may connect to: a file like /etc/hosts, asked first")                            \
    X(sandbox, "FAAS_SANDBOX", "auto", "auto; require: every wall, or nothing starts; off: to measure")
#define CONFIG_NUMBERS(X)                                                                                    \
    X(workers, "FAAS_WORKERS", 4, 1, 64, "WASM workers at start, and the least")                             \
    X(workers_max, "FAAS_WORKERS_MAX", -1, 1, 64, "the most (4 x cores); as FAAS_WORKERS: always so many")   \
    X(scale_down_s, "FAAS_SCALE_DOWN_S", 10, 1, 86400, "seconds of low use before a worker is given up")     \
    X(queue_ms, "FAAS_QUEUE_MS", 5000, 1, 600000, "how long a call may wait for a worker, in ms")            \
    X(spin_us, "FAAS_SPIN_US", 0, 0, 10000, "how long the gateway looks for work before it sleeps, in us")   \
    X(builds, "FAAS_BUILDS", 2, 1, 64, "builds at a time")                                                   \
    X(body_mb, "FAAS_BODY_MB", 16, 1, 1024, "largest request body, in MiB")                                  \
    X(head_ms, "FAAS_HEAD_MS", 15000, 100, 600000, "how long a request's line and headers may take, in ms")  \
    X(stall_ms, "FAAS_STALL_MS", 30000, 100, 600000,                                                         \
      "how long a client may take to send, or to read, the next 32 KiB, in ms")                              \
    X(idle_ms, "FAAS_IDLE_MS", 75000, 100, 86400000, "how long a connection may wait for a request, in ms")  \
    X(connections, "FAAS_CONNECTIONS", 10000, 1, 1000000, "connections at a time")                           \
    X(buffer_mb, "FAAS_BUFFER_MB", 1024, 16, 65536, "memory for bodies and answers under way, in MiB")       \
    X(memory_max_mb, "FAAS_MEMORY_MAX_MB", 1024, 16, 4096, "largest memory_mb of a function")                \
    X(allow_open, "FAAS_ALLOW_OPEN", 0, 0, 1, "1: listen on any address without an API key")                 \
    X(timeout_max_ms, "FAAS_TIMEOUT_MAX_MS", 900000, 10, 86400000, "largest timeout_ms of a function")       \
    X(cpu_max_ms, "FAAS_CPU_MAX_MS", 86400000, 1, 86400000, "largest cpu_ms of a function")                  \
    X(output_max_mb, "FAAS_OUTPUT_MAX_MB", 256, 1, 256, "largest output_mb of a function")                   \
    X(tmp_max_mb, "FAAS_TMP_MAX_MB", 4096, 0, 4096, "largest tmp_mb of a function")                          \
    X(forks_max, "FAAS_FORKS_MAX", 1024, 1, 1024, "largest 'processes' of a function")                       \
    X(concurrency_max, "FAAS_CONCURRENCY_MAX", 10000, 1, 10000, "largest concurrency of a function")         \
    X(queue_max, "FAAS_QUEUE_MAX", 1024, 1, 65536, "largest queue of a function")                            \
    X(processes_per_function, "FAAS_PROCESSES", 4, 1, 256,                                                   \
      "Node.js or Python processes a function may have")                                                     \
    X(processes_max, "FAAS_PROCESSES_MAX", -1, 1, 4096,                                                      \
      "… and all functions together (memory / 64 MiB, 8 to 256)")

struct config {
#define CONFIG_FIELD(field, variable, fallback, doc) char field[1024];
    CONFIG_TEXTS(CONFIG_FIELD)
#undef CONFIG_FIELD
#define CONFIG_FIELD(field, variable, fallback, min, max, doc) int64_t field;
    CONFIG_NUMBERS(CONFIG_FIELD)
#undef CONFIG_FIELD
};

/* Reads the flags (those it knows are taken out of argv and *argc; `--help` is the caller's), the environment
 * and the file that --config or FAAS_CONFIG names (that one must exist), else /etc/minifaas/minifaas.conf
 * (may be missing). An unknown key of the file, a value that is no number or outside of its range is
 * ERR_BAD_REQUEST and the message names it. strategy is checked and upper-cased. Relative directories stay as
 * they are. */
int config_load(struct config *ret_config, int *argc, char **argv, struct err *err);

/* The table as help text, for --help. */
void config_print_help(void);

/* Puts every value into the environment, so that parts started from here see the same. */
int config_export(const struct config *config, struct err *err);

#endif
