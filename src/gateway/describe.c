/* What is deployed, and who works: GET /function/NAME, /functions, /workers. */
#include <stdio.h>
#include <string.h>

#include "gateway/gateway_internal.h"

static void describe_fields(struct buf *body, const struct storage_version *version) {
    const struct storage_meta *meta = &version->meta;
    const struct stats *stats = dispatch_stats(version);
    buf_append_format(body, "\"id\":\"%s\",\"name\":\"%s\",\"lang\":\"%s\",\"version\":%u,\"size\":%llu,",
                      meta->id, meta->name, meta->lang, meta->version, (unsigned long long)meta->size);
    bool fresh = meta->wasm || meta->isolated || strcmp(meta->entry, "script") == 0;
    buf_append_format(body, "\"wasm\":%s,\"entry\":\"%s\",\"http\":\"%s\",\"isolation\":\"%s\",",
                      meta->wasm ? "true" : "false", meta->entry, meta->cgi ? "cgi" : "plain",
                      fresh ? "call" : "process");
    buf_append_format(body, "\"created\":%llu,\"calls\":%llu,", (unsigned long long)meta->created_s,
                      (unsigned long long)(stats ? stats->calls : 0));
    if (stats && stats->last_call_s)
        buf_append_format(body, "\"last_call\":%llu,", (unsigned long long)stats->last_call_s);
    else
        buf_append_str(body, "\"last_call\":null,");
    buf_append_str(body, "\"limits\":{");
#define DESCRIBE_LIMIT(field, fallback, min, max, unit, doc)                                                 \
    buf_append_format(body, "\"" #field "\":%u,", meta->limits.field);
    LIMITS_TABLE(DESCRIBE_LIMIT)
#undef DESCRIBE_LIMIT
    body->len--; /* the last comma */
    buf_append(body, "}", 1);
}

void describe_function(struct gateway *gateway, struct http_conn *conn, struct storage_version *version) {
    struct buf body = {0}, code = {0};
    struct err err;
    char file[32];
    snprintf(file, sizeof file, "code.%s", storage_lang_find(version->meta.lang)->extension);
    if (storage_read(gateway->storage, version->meta.id, file, 256u << 20, &code, &err) != 0) {
        respond_err(gateway, conn, &err);
    } else {
        buf_append_str(&body, "{\"ok\":true,");
        describe_fields(&body, version);
        buf_append_str(&body, ",\"versions\":[");
        for (const struct storage_version *at = version; at; at = at->older)
            buf_append_format(&body, "%s\"%s\"", at == version ? "" : ",", at->meta.id);
        buf_append_str(&body, "],");
        json_append_bytes(&body, "code", code.data, code.len);
        buf_append(&body, "}", 1);
        respond_json(conn, 200, &body);
    }
    buf_fini(&code);
    buf_fini(&body);
}

void describe_list(struct gateway *gateway, struct http_conn *conn) {
    struct buf body = {0};
    buf_append_str(&body, "{\"ok\":true,\"functions\":[");
    bool first = true;
    for (struct storage_version *at = storage_next(gateway->storage, NULL); at;
         at = storage_next(gateway->storage, at)) {
        buf_append_str(&body, first ? "{" : ",{");
        describe_fields(&body, at);
        buf_append(&body, "}", 1);
        first = false;
    }
    buf_append_str(&body, "]}");
    respond_json(conn, 200, &body);
    buf_fini(&body);
}

static void describe_on_worker(void *context, const struct dispatch_worker *worker) {
    struct buf *body = context;
    static const char *const runtimes[RUNTIME_COUNT] = {"wasm", "node", "python"};
    if (body->data[body->len - 1] != '[')
        buf_append(body, ",", 1);
    buf_append_format(body, "{\"id\":%u,\"pid\":%d,\"runtime\":\"%s\",\"state\":\"%s\",\"in_flight\":%u,",
                      worker->worker, worker->pid, runtimes[worker->runtime], worker->state,
                      worker->in_flight);
    buf_append_format(body, "\"calls\":%llu,\"mean_us\":%.1f,\"weight\":%u,\"restarts\":%llu,",
                      (unsigned long long)worker->calls, (double)worker->mean_ns / 1000.0, worker->weight,
                      (unsigned long long)worker->restarts);
    if (worker->function)
        buf_append_format(body, "\"function\":\"%s\"}", worker->function);
    else
        buf_append_str(body, "\"function\":null}");
}

void describe_workers(struct gateway *gateway, struct http_conn *conn) {
    struct buf body = {0};
    struct dispatch_totals totals;
    dispatch_totals(gateway->dispatch, &totals);
    buf_append_format(&body, "{\"ok\":true,\"strategy\":\"%s\",\"workers\":[",
                      policy_strategy_name(totals.strategy));
    dispatch_each_worker(gateway->dispatch, describe_on_worker, &body);
    buf_append_str(&body, "]}");
    respond_json(conn, 200, &body);
    buf_fini(&body);
}
