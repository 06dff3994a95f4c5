/* What is deployed, and who works: GET /function/NAME, /functions, /workers. */
#include <stdio.h>
#include <string.h>

#include "gateway/gateway_internal.h"

#define DESCRIBE_LITERAL(body, text) buf_append(body, text, sizeof(text) - 1)

/* Of texts that need no escaping: names, and words of ours. `key`: with all around it. */
static void describe_text(struct buf *body, const char *key, const char *text) {
    buf_append_str(body, key);
    buf_append_str(body, text);
    DESCRIBE_LITERAL(body, "\"");
}

static void describe_number(struct buf *body, const char *key, uint64_t number) {
    buf_append_str(body, key);
    buf_append_u64(body, number);
}

void describe_limits(struct buf *body, const struct limits *limits) {
    const char *before = "\"limits\":{\"";
#define DESCRIBE_LIMIT(field, fallback, min, max, unit, doc)                                                 \
    buf_append_str(body, before);                                                                            \
    describe_number(body, #field "\":", limits->field);                                                      \
    before = ",\"";
    LIMITS_TABLE(DESCRIBE_LIMIT)
#undef DESCRIBE_LIMIT
    DESCRIBE_LITERAL(body, "}");
}

/* "a:1,b:2" as ["a:1","b:2"]. */
static void describe_allow(struct buf *body, const char *allow) {
    DESCRIBE_LITERAL(body, ",\"allow\":[");
    for (const char *at = allow; *at;) {
        size_t len = strcspn(at, ",");
        buf_append_str(body, at == allow ? "\"" : ",\"");
        buf_append(body, at, len);
        DESCRIBE_LITERAL(body, "\"");
        at += len + (at[len] == ',');
    }
    DESCRIBE_LITERAL(body, "]");
}

/* No formatting: the list may have ten thousand of them, and the loop waits for it. */
static void describe_fields(struct buf *body, const struct storage_version *version) {
    const struct storage_meta *meta = &version->meta;
    const struct stats *stats = dispatch_stats(version);
    describe_text(body, "\"id\":\"", meta->id);
    describe_text(body, ",\"name\":\"", meta->name);
    describe_text(body, ",\"lang\":\"", meta->lang);
    describe_number(body, ",\"version\":", meta->version);
    describe_number(body, ",\"size\":", meta->size);
    buf_append_str(body, meta->wasm ? ",\"wasm\":true" : ",\"wasm\":false");
    describe_text(body, ",\"entry\":\"", meta->entry);
    describe_text(body, ",\"http\":\"", meta->cgi ? "cgi" : "plain");
    bool fresh = meta->wasm || meta->isolated || strcmp(meta->entry, "script") == 0;
    describe_text(body, ",\"isolation\":\"", fresh ? "call" : "process");
    describe_allow(body, meta->allow);
    describe_number(body, ",\"created\":", meta->created_s);
    describe_number(body, ",\"calls\":", stats ? stats->calls : 0);
    if (stats && stats->last_call_s)
        describe_number(body, ",\"last_call\":", stats->last_call_s);
    else
        DESCRIBE_LITERAL(body, ",\"last_call\":null");
    DESCRIBE_LITERAL(body, ",");
    describe_limits(body, &meta->limits);
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
        variables_append_names(&body, version->vars);
        buf_append_str(&body, ",");
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
