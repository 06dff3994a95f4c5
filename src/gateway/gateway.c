#include "gateway/gateway.h"

#include <limits.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/mem.h"
#include "egress/address.h"
#include "gateway/gateway_internal.h"
#include "sandbox/programs.h"
#include "sandbox/sandbox.h"

enum { GATEWAY_DRAIN_S = 10, GATEWAY_DRAIN_CHECK_MS = 5 };

static void gateway_on_log(void *context, struct storage_version *version, int stream,
                           struct call_bytes text) {
    struct gateway *gateway = context;
    function_log_write(gateway->log, version->meta.name, stream, text.data, text.len);
}

/* The dispatcher as storage's release callback has no context of its own. */
static struct gateway *gateway_of_process;

static void gateway_on_release(struct storage_version *version) {
    if (!gateway_of_process->dispatch)
        return;
    histograms_forget(&gateway_of_process->histograms, version);
    dispatch_forget(gateway_of_process->dispatch, version);
}

/* 0 when it cannot be told. */
static uint16_t gateway_port(int listen_fd) {
    struct sockaddr_storage address;
    struct address ignored;
    socklen_t len = sizeof address;
    uint16_t port = 0;
    if (getsockname(listen_fd, (struct sockaddr *)&address, &len) == 0)
        address_from_socket((const struct sockaddr *)&address, len, &ignored, &port);
    return port;
}

static int gateway_open_dispatch(struct gateway *gateway, int listen_fd, struct err *err) {
    struct dispatch_config config = {
        .loop = gateway->loop,
        .storage = gateway->storage,
        .run_dir = gateway->config->run_dir,
        .spin_us = (uint32_t)gateway->config->spin_us,
        .queue_ms = (uint32_t)gateway->config->queue_ms,
        .queue_all_max = 16384,
        .processes_per_function = (uint32_t)gateway->config->processes_per_function,
        .processes_max = (uint32_t)gateway->config->processes_max,
        .gateway_port = gateway_port(listen_fd),
        .on_log = gateway_on_log,
        .on_artefact = deploy_rebuild,
        .context = gateway,
    };
    int rc = policy_strategy_parse(gateway->config->strategy, &config.strategy, err);
    return rc == 0 ? dispatch_new(&config, &gateway->dispatch, err) : rc;
}

static int gateway_open_http(struct gateway *gateway, int listen_fd, struct err *err) {
    struct http_config config = {
        .loop = gateway->loop,
        .listen_fd = listen_fd,
        .line_max = 16 << 10,
        .headers_max = 64 << 10,
        .body_max = (size_t)gateway->config->body_mb << 20,
        .buffered_max = (size_t)gateway->config->buffer_mb << 20,
        .connections_max = (uint32_t)gateway->config->connections,
        .request_timeout_ms = (uint32_t)gateway->config->head_ms,
        .body_timeout_ms = (uint32_t)gateway->config->stall_ms,
        .idle_timeout_ms = (uint32_t)gateway->config->idle_ms,
        .write_timeout_ms = (uint32_t)gateway->config->stall_ms,
        .on_head = routes_on_head,
        .on_request = routes_on_request,
        .on_abandon = routes_on_abandon,
        .on_error_body = respond_error_body,
        .context = gateway,
    };
    return http_server_new(&config, &gateway->http, err);
}

static int gateway_open_keys(struct gateway *gateway, int listen_fd, struct err *err) {
    bool loopback = listen_is_loopback(listen_fd);
    struct keyring_config config = {
        .loop = gateway->loop,
        .data_dir = gateway->config->data_dir,
        .may_be_open = loopback || gateway->config->allow_open,
    };
    gateway->auth.refuses_pages = loopback && !gateway->config->allow_open;
    return keyring_new(&config, &gateway->auth.keyring, err);
}

/* Now, while there is one thread: to be shown. The builders make their own sandboxes. */
static int gateway_use_sandbox(const struct config *config, struct err *err) {
    int rc = sandbox_use(config->sandbox, err);
    if (rc == 0)
        sandbox_probe();
    sandbox_fini();
    return rc;
}

/* On the disk they stay as they were asked for: the caps may be raised again. */
static void gateway_hold_limits(struct gateway *gateway) {
    for (struct storage_version *at = NULL; (at = storage_next(gateway->storage, at));)
        for (struct storage_version *version = at; version; version = version->older)
            limits_hold(gateway->config, &version->meta.limits);
}

int gateway_new(struct loop *loop, const struct config *config, int listen_fd, struct gateway **ret_gateway,
                struct err *err) {
    struct gateway *gateway = mem_zalloc(sizeof *gateway);
    gateway->loop = loop;
    gateway->config = config;
    gateway_of_process = gateway;
    int rc = 0;
    if (getrandom(&gateway->call_id_seed, sizeof gateway->call_id_seed, 0) < 0)
        rc = err_sys(err, "getrandom");
    if (rc == 0)
        rc = gateway_use_sandbox(config, err);
    if (rc == 0)
        rc = programs_parts_dir(gateway->parts_dir, sizeof gateway->parts_dir, err);
    if (rc == 0)
        rc = takeover_begin(gateway, err);
    if (rc == 0)
        rc = storage_open(config->data_dir, &gateway->storage, err);
    if (rc == 0)
        rc = gateway_open_keys(gateway, listen_fd, err);
    if (rc == 0)
        rc = storage_open_vars(gateway->storage, config->secret_key_file, err);
    if (rc == 0)
        rc = function_log_open(config->log_dir, &gateway->log, err);
    if (rc == 0)
        rc = jobs_new(loop, &gateway->jobs, err);
    if (rc == 0)
        rc = takeover_go_on(gateway, err);
    if (rc == 0)
        rc = gateway_open_dispatch(gateway, listen_fd, err);
    if (rc == 0)
        rc = gateway_open_http(gateway, listen_fd, err);
    if (rc != 0) {
        gateway_free(gateway);
        return rc;
    }
    gateway_hold_limits(gateway);
    storage_set_release(gateway->storage, gateway_on_release);
    *ret_gateway = gateway;
    return 0;
}

static void gateway_on_drain_check(struct loop_timer *timer) {
    struct gateway *gateway = timer->context;
    bool idle = dispatch_is_idle(gateway->dispatch) && http_server_is_idle(gateway->http);
    if (idle || clock_now_ns() > gateway->drain_until_ns)
        loop_stop(gateway->loop);
    else
        loop_arm(gateway->loop, timer, GATEWAY_DRAIN_CHECK_MS * CLOCK_NS_PER_MS);
}

void gateway_drain(struct gateway *gateway) {
    if (gateway->drain_until_ns)
        return;
    log_event("draining");
    gateway->drain_until_ns = clock_now_ns() + GATEWAY_DRAIN_S * CLOCK_NS_PER_S;
    dispatch_drain(gateway->dispatch);
    http_server_drain(gateway->http);
    gateway->drain_timer = (struct loop_timer){.on_timer = gateway_on_drain_check, .context = gateway};
    loop_arm(gateway->loop, &gateway->drain_timer, 0);
}

void gateway_free(struct gateway *gateway) {
    if (!gateway)
        return;
    takeover_free(gateway);
    jobs_free(gateway->jobs);
    dispatch_free(gateway->dispatch); /* answers what is still in flight */
    gateway->dispatch = NULL;
    http_server_free(gateway->http);
    storage_free(gateway->storage);
    function_log_free(gateway->log);
    keyring_free(gateway->auth.keyring);
    buf_fini(&gateway->scratch);
    buf_fini(&gateway->head_scratch);
    free(gateway);
}
