/* The process of a WASM worker: in namespaces where there are any, else as we are. It seals itself in both.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "sandbox/sandbox.h"
#include "server/spawn.h"
#include "server/worker_pool_internal.h"

enum { WORKER_START_VARIABLES = 8 };

static int worker_start_open_log(const struct worker_pool *pool) {
    char path[4096];
    snprintf(path, sizeof path, "%s/worker.log", pool->config.log_dir);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int worker_start_open_nest(struct worker_pool *pool, struct err *err) {
    if (nest_is_open(&pool->nest))
        return 0;
    /* The gateway may be the first to make it, or we. */
    if (mkdir(pool->config.data_dir, 0755) != 0 && errno != EEXIST)
        return err_sys(err, "cannot create the data directory '%s'", pool->config.data_dir);
    int rc = nest_open(pool->config.parts_dir, pool->config.data_dir, &pool->nest, err);
    if (rc == 0 && sandbox_probe()->own_users && !pool->nest.own_user)
        log_event(
            "the files in '%s' cannot be mapped to a user of the workers' own: workers keep this one's id, "
            "without its rights",
            pool->config.data_dir);
    return rc;
}

/* Nothing of our environment is a worker's business, but for what the sanitizers and the walls are told. */
static void worker_start_environment(char **ret_environment) {
    static const char *const names[] = {"FAAS_SANDBOX", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};
    extern char **environ;
    int count = 0;
    for (char **at = environ; *at; at++)
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (strncmp(*at, names[i], strlen(names[i])) == 0 && (*at)[strlen(names[i])] == '=' &&
                count < WORKER_START_VARIABLES - 1)
                ret_environment[count++] = *at;
    ret_environment[count] = NULL;
}

static int worker_start_in_nest(struct worker_slot *worker, struct nest_start *start, struct err *err) {
    struct worker_pool *pool = worker->pool;
    int rc = worker_start_open_nest(pool, err);
    if (rc < 0)
        return rc;
    rc = nest_start(&pool->nest, start, &worker->pid, err);
    if (rc == 0 || pool->alive > 0)
        return rc;
    /* It is ending, or was broken from outside; nobody lives in it. */
    nest_close(&pool->nest, true);
    rc = worker_start_open_nest(pool, err);
    return rc < 0 ? rc : nest_start(&pool->nest, start, &worker->pid, err);
}

int worker_start(struct worker_slot *worker, int control_fd, struct err *err) {
    const struct worker_pool_config *config = &worker->pool->config;
    bool nested = sandbox_has_root();
    char program[4096], memory[32], *environment[WORKER_START_VARIABLES];
    snprintf(program, sizeof program, "%s/worker", config->parts_dir);
    snprintf(memory, sizeof memory, "%lld", (long long)config->memory_max_mb);
    char *data_dir = nested ? (char[]){NEST_DATA_DIR} : (char *)config->data_dir;
    char *argv[] = {"worker", "--data-dir", data_dir, "--memory-max-mb", memory, NULL};
    /* Not our own stdout: a worker may outlive us, and would keep a pipe open that somebody reads to its end.
     */
    MEM_CLOSE_FD int log_fd = worker_start_open_log(worker->pool);
    if (!nested) {
        struct spawn spawn = {
            .program = program, .argv = argv, .fds = {-1, log_fd, log_fd, control_fd}, .fd_count = 4};
        return spawn_start(&spawn, &worker->pid, err);
    }
    worker_start_environment(environment);
    struct nest_start start = {
        .argv = argv, .envp = environment, .fds = {-1, log_fd, log_fd, control_fd}, .fd_count = 4};
    return worker_start_in_nest(worker, &start, err);
}
