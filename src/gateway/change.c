/* What can be changed of a function that is there, without a deploy: PATCH /function/NAME?timeout_ms=… */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/gateway_internal.h"

/* One change. The disk is the jobs' thread's, where changes follow each other; the answer goes out when no
 * call starts any more that would not see it. */
struct change {
    struct gateway *gateway;
    struct http_conn *conn;
    struct storage_version *version; /* referenced */
    char *query;                     /* owned */
    struct limits limits;            /* as they are then */
    struct job job;
    struct loop_timer timer;
    int rc;
    struct err err;
};

static struct change *change_of_job(struct job *job) {
    return (struct change *)((char *)job - offsetof(struct change, job));
}

static void change_free(void *context) {
    struct change *change = context;
    free(change->query);
    free(change);
}

/* Not at once: we may be inside its timer. */
static void change_end(struct change *change) {
    struct gateway *gateway = change->gateway;
    storage_unref(gateway->storage, change->version);
    loop_defer(gateway->loop, change_free, change);
    gateway->writes--;
    takeover_on_write_end(gateway);
}

static void change_on_settled(struct loop_timer *timer) {
    struct change *change = timer->context;
    struct buf body = {0};
    buf_append_format(&body, "{\"ok\":true,\"id\":\"%s\",\"name\":\"%s\",", change->version->meta.id,
                      change->version->meta.name);
    describe_limits(&body, &change->limits);
    buf_append(&body, "}", 1);
    respond_json(change->conn, 200, &body);
    buf_fini(&body);
    change_end(change);
}

static void change_run_limits(struct job *job) {
    struct change *change = change_of_job(job);
    struct storage *storage = change->gateway->storage;
    struct http_slice query = {change->query, strlen(change->query)};
    struct storage_meta meta;
    change->rc = storage_read_meta(storage, change->version->meta.id, &meta, &change->err);
    if (change->rc == 0)
        change->rc = limits_parse(change->gateway->config, query, &meta.limits, &change->err);
    if (change->rc == 0)
        change->rc = storage_write_meta(storage, &meta, &change->err);
    if (change->rc == 0)
        change->limits = meta.limits;
}

static void change_on_limits(struct job *job) {
    struct change *change = change_of_job(job);
    struct gateway *gateway = change->gateway;
    if (change->rc != 0) {
        respond_err(gateway, change->conn, &change->err);
        change_end(change);
        return;
    }
    change->version->meta.limits = change->limits;
    dispatch_renew(gateway->dispatch, change->version);
    change->timer = (struct loop_timer){.on_timer = change_on_settled, .context = change};
    loop_arm(gateway->loop, &change->timer, DISPATCH_RENEW_MS * CLOCK_NS_PER_MS);
}

void change_limits(struct gateway *gateway, struct http_conn *conn, struct http_request *http,
                   struct storage_version *version) {
    static const char *const others[] = {NULL};
    struct err err;
    struct limits ignored = version->meta.limits;
    *(struct request *)http_conn_context(conn) = (struct request){.gateway = gateway, .conn = conn};
    if (takeover_is_under_way(gateway)) {
        http_hold(conn);
        return;
    }
    int rc = limits_check_known(http->query, others, &err);
    if (rc == 0)
        rc = limits_parse(gateway->config, http->query, &ignored, &err);
    if (rc != 0) {
        respond_err(gateway, conn, &err);
        return;
    }
    struct change *change = mem_zalloc(sizeof *change);
    change->gateway = gateway;
    gateway->writes++;
    change->conn = conn;
    change->version = version;
    storage_ref(version);
    change->query = mem_zalloc(http->query.len + 1);
    if (http->query.len)
        memcpy(change->query, http->query.data, http->query.len);
    change->job = (struct job){.run = change_run_limits, .done = change_on_limits};
    jobs_add(gateway->jobs, &change->job);
}
