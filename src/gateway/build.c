#include "gateway/build.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/gateway_internal.h"

/* The builder's answer: 64 KiB of messages, each byte perhaps six as JSON. */
enum { BUILD_OUTPUT_MAX = 512 << 10 };

static void build_next(struct gateway *gateway);

/* ---- the builder's result ---- */

static bool build_parse_hash(const char *hex, uint8_t *ret_hash) {
    if (!hex || strlen(hex) != 2 * STORAGE_HASH_BYTES)
        return false;
    for (size_t i = 0; i < STORAGE_HASH_BYTES; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            return false;
        ret_hash[i] = (uint8_t)byte;
    }
    return true;
}

static int build_take_success(struct build *build, const json_t *root, struct err *err) {
    struct storage_meta *meta = build->meta;
    const char *entry = json_string_value(json_object_get(root, "entry"));
    const char *engine = json_string_value(json_object_get(root, "engine"));
    meta->wasm = json_is_true(json_object_get(root, "wasm"));
    meta->module = json_is_true(json_object_get(root, "module"));
    if (entry)
        snprintf(meta->entry, sizeof meta->entry, "%s", entry);
    if (!meta->wasm)
        return 0;
    snprintf(meta->engine, sizeof meta->engine, "%s", engine ? engine : "");
    if (!engine ||
        !build_parse_hash(json_string_value(json_object_get(root, "native_hash")), meta->native_hash))
        return err_set(err, ERR_INTERNAL, "the builder's result has no engine or hash");
    return 0;
}

static int build_take_failure(struct build *build, const json_t *root, struct err *err) {
    static const struct {
        const char *name;
        enum err_code code;
    } codes[] = {{"compile", ERR_COMPILE},
                 {"timeout", ERR_BUILD_TIMEOUT},
                 {"oom", ERR_BUILD_OOM},
                 {"output", ERR_BUILD_OUTPUT},
                 {"not_installed", ERR_NOT_INSTALLED},
                 {"bad_request", ERR_BAD_REQUEST},
                 {"storage_full", ERR_STORAGE_FULL}};
    const char *code = json_string_value(json_object_get(root, "code"));
    const char *text = json_string_value(json_object_get(root, "error"));
    build->error_text = strdup(text ? text : "the build failed");
    for (size_t i = 0; code && i < sizeof codes / sizeof *codes; i++)
        if (strcmp(codes[i].name, code) == 0)
            return err_set(err, codes[i].code, "%s", build->error_text ? build->error_text : "");
    return err_set(err, ERR_INTERNAL, "%s", build->error_text ? build->error_text : "");
}

static int build_take_result(struct build *build, struct err *err) {
    if (build->timed_out)
        return err_set(err, ERR_BUILD_TIMEOUT, "the build ran out of time");
    if (build->cut)
        return err_set(err, ERR_INTERNAL, "the builder's pipes broke");
    json_error_t where;
    json_t *root = json_loadb((const char *)build->output.data, build->output.len, JSON_ALLOW_NUL, &where);
    int rc;
    if (!json_is_object(root))
        rc = err_set(err, ERR_INTERNAL, "the builder died without a result");
    else if (json_is_true(json_object_get(root, "ok")))
        rc = build_take_success(build, root, err);
    else
        rc = build_take_failure(build, root, err);
    json_decref(root);
    return rc;
}

static void build_close(struct build *build, struct loop_watch *watch, int *fd) {
    if (*fd < 0)
        return;
    loop_unwatch(build->gateway->loop, watch);
    close(*fd);
    *fd = -1;
}

static void build_end(struct build *build, struct err *err) {
    struct gateway *gateway = build->gateway;
    loop_disarm(gateway->loop, &build->timer);
    build_close(build, &build->stdin_watch, &build->stdin_fd);
    build_close(build, &build->stdout_watch, &build->stdout_fd);
    build_close(build, &build->pid_watch, &build->pidfd);
    struct build **at = &gateway->builds_running_head;
    while (*at != build)
        at = &(*at)->next;
    *at = build->next;
    gateway->builds_running--;
    if (build->cancelled)
        err_set(err, ERR_DRAINING, "the build was given up");
    else if (err->code == ERR_OK)
        build_take_result(build, err);
    buf_fini(&build->output);
    build->on_done(build, err); /* frees the build */
    build_next(gateway);
}

static void build_maybe_end(struct build *build) {
    if (!build->exited || !build->closed)
        return;
    struct err err = {.code = ERR_OK};
    build_end(build, &err);
}

/* ---- the process ---- */

static void build_on_exit(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct build *build = watch->context;
    int status;
    waitpid(build->pid, &status, 0);
    loop_unwatch(build->gateway->loop, watch);
    build->exited = true;
    build_maybe_end(build);
}

static void build_on_output(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct build *build = watch->context;
    ssize_t got = -1;
    if (buf_reserve(&build->output, 16 << 10)) {
        got = read(watch->fd, build->output.data + build->output.len, 16 << 10);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
    }
    if (got > 0)
        build->output.len += (size_t)got;
    if (got > 0 && build->output.len < BUILD_OUTPUT_MAX)
        return;
    build->cut |= got < 0;
    build_close(build, watch, &build->stdout_fd);
    build->closed = true;
    build_maybe_end(build);
}

static void build_on_input(struct loop_watch *watch, uint32_t events) {
    struct build *build = watch->context;
    while (!(events & EPOLLERR) && build->sent < build->source.len) {
        ssize_t done = write(watch->fd, build->source.data + build->sent, build->source.len - build->sent);
        if (done < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (done < 0) {
            build->cut = errno != EPIPE; /* a builder that has seen enough says why */
            break;
        }
        build->sent += (size_t)done;
    }
    build_close(build, watch, &build->stdin_fd);
}

static void build_on_timeout(struct loop_timer *timer) {
    struct build *build = timer->context;
    kill(build->pid, build->timed_out ? SIGKILL : SIGTERM); /* SIGTERM: it ends its own children */
    build->timed_out = true;
    loop_arm(build->gateway->loop, timer, 2 * CLOCK_NS_PER_S);
}

/* The first that fails is the error: a builder with another's stdin would build something else. */
static int build_spawn_prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes,
                               int stdin_fd, int stdout_fd) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int failure = posix_spawn_file_actions_adddup2(actions, stdin_fd, 0);
    if (!failure)
        failure = posix_spawn_file_actions_adddup2(actions, stdout_fd, 1);
    if (!failure)
        failure = posix_spawnattr_setsigmask(attributes, &none);
    if (!failure)
        failure = posix_spawnattr_setsigdefault(attributes, &all);
    if (!failure)
        failure = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return failure;
}

static int build_spawn_process(struct build *build, int stdin_fd, int stdout_fd, struct err *err) {
    char program[1200];
    snprintf(program, sizeof program, "%s/builder", build->gateway->parts_dir);
    char *argv[BUILD_ARGS_MAX + 2] = {program};
    for (int i = 0; i < BUILD_ARGS_MAX && build->args[i]; i++)
        argv[i + 1] = (char *)(uintptr_t)build->args[i];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int failure = build_spawn_prepare(&actions, &attributes, stdin_fd, stdout_fd);
    if (!failure)
        failure = posix_spawn(&build->pid, program, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (failure) {
        errno = failure;
        return err_sys(err, "cannot start the builder '%s'", program);
    }
    return 0;
}

static int build_watch_fd(struct build *build, struct loop_watch *watch, int fd, loop_on_event *on_event,
                          uint32_t events, struct err *err) {
    *watch = (struct loop_watch){.fd = fd, .on_event = on_event, .context = build};
    return loop_watch(build->gateway->loop, watch, events, err);
}

static int build_spawn(struct build *build, struct err *err) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0)
        return err_sys(err, "pipe2");
    MEM_CLOSE_FD int child_in = in[0];
    build->stdin_fd = in[1];
    if (pipe2(out, O_CLOEXEC) != 0)
        return err_sys(err, "pipe2");
    MEM_CLOSE_FD int child_out = out[1];
    build->stdout_fd = out[0];
    fcntl(build->stdin_fd, F_SETFL, O_NONBLOCK);
    fcntl(build->stdout_fd, F_SETFL, O_NONBLOCK);
    int rc = build_spawn_process(build, child_in, child_out, err);
    if (rc != 0)
        return rc;
    build->pidfd = (int)syscall(SYS_pidfd_open, build->pid, 0);
    if (build->pidfd < 0) {
        rc = err_sys(err, "pidfd_open");
        kill(build->pid, SIGKILL);
        waitpid(build->pid, NULL, 0);
        return rc;
    }
    rc = build_watch_fd(build, &build->pid_watch, build->pidfd, build_on_exit, EPOLLIN, err);
    if (rc == 0)
        rc = build_watch_fd(build, &build->stdin_watch, build->stdin_fd, build_on_input, EPOLLOUT, err);
    if (rc == 0)
        rc = build_watch_fd(build, &build->stdout_watch, build->stdout_fd, build_on_output, EPOLLIN, err);
    if (rc != 0) {
        kill(build->pid, SIGKILL);
        waitpid(build->pid, NULL, 0);
        return rc;
    }
    build->timer = (struct loop_timer){.on_timer = build_on_timeout, .context = build};
    loop_arm(build->gateway->loop, &build->timer, BUILD_TIMEOUT_MS * CLOCK_NS_PER_MS);
    return 0;
}

static void build_run(struct build *build) {
    struct err err;
    struct gateway *gateway = build->gateway;
    build->next = gateway->builds_running_head;
    gateway->builds_running_head = build;
    gateway->builds_running++;
    if (build_spawn(build, &err) != 0)
        build_end(build, &err);
}

static void build_next(struct gateway *gateway) {
    struct build *build = gateway->builds_head;
    if (!build || gateway->builds_running >= (uint32_t)gateway->config->builds)
        return;
    gateway->builds_head = build->next;
    if (!gateway->builds_head)
        gateway->builds_tail = NULL;
    gateway->builds_waiting--;
    build_run(build);
}

void build_cancel_all(struct gateway *gateway) {
    struct build *build;
    struct err err;
    err_set(&err, ERR_DRAINING, "the build was given up");
    while ((build = gateway->builds_head)) {
        gateway->builds_head = build->next;
        if (!gateway->builds_head)
            gateway->builds_tail = NULL;
        gateway->builds_waiting--;
        build->on_done(build, &err); /* frees the build */
    }
    for (build = gateway->builds_running_head; build; build = build->next) {
        build->cancelled = true;
        if (!build->exited)
            kill(build->pid, SIGTERM);
        loop_arm(gateway->loop, &build->timer, 2 * CLOCK_NS_PER_S);
    }
}

int build_start(struct gateway *gateway, struct build *build, struct err *err) {
    if (gateway->builds_waiting >= BUILD_WAITING_MAX)
        return err_set(err, ERR_UNAVAILABLE, "too many builds wait");
    build->gateway = gateway;
    build->pidfd = build->stdin_fd = build->stdout_fd = -1;
    build->next = NULL;
    if (gateway->builds_tail)
        gateway->builds_tail->next = build;
    else
        gateway->builds_head = build;
    gateway->builds_tail = build;
    gateway->builds_waiting++;
    build_next(gateway);
    return 0;
}
