/* A function's limits as parameters of a request, and the server's caps above them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/change.h"

/* X(limit, setting that caps it, variable of that, times). What the server takes as a body holds by itself.
 */
#define LIMITS_CAPS(X)                                                                                       \
    X(timeout_ms, timeout_max_ms, "FAAS_TIMEOUT_MAX_MS", 1)                                                  \
    X(memory_mb, memory_max_mb, "FAAS_MEMORY_MAX_MB", 1)                                                     \
    X(concurrency, concurrency_max, "FAAS_CONCURRENCY_MAX", 1)                                               \
    X(output_mb, output_max_mb, "FAAS_OUTPUT_MAX_MB", 1)                                                     \
    X(processes, forks_max, "FAAS_FORKS_MAX", 1)                                                             \
    X(tmp_mb, tmp_max_mb, "FAAS_TMP_MAX_MB", 1)                                                              \
    X(cpu_ms, cpu_max_ms, "FAAS_CPU_MAX_MS", 1)                                                              \
    X(payload_kb, body_mb, "FAAS_BODY_MB", 1024)                                                             \
    X(queue, queue_max, "FAAS_QUEUE_MAX", 1)

struct limits_row {
    const char *name;
    size_t offset; /* in struct limits */
    int64_t min, max;
    bool may_be_none; /* 0 stands for no limit */
};

static const struct limits_row limits_rows[] = {
#define LIMITS_ROW(field, fallback, low, high, unit, doc)                                                    \
    {#field, offsetof(struct limits, field), (low), (high), (fallback) == 0},
    LIMITS_TABLE(LIMITS_ROW)
#undef LIMITS_ROW
};
enum { LIMITS_ROWS = sizeof limits_rows / sizeof *limits_rows };

struct limits_cap {
    int64_t value;
    const char *variable;
    bool is_own; /* of the functions: not met elsewhere already */
};

static struct limits_cap limits_cap_of(const struct config *config, const struct limits_row *row) {
    struct limits_cap cap = {row->max, "", row->offset != offsetof(struct limits, payload_kb)};
#define LIMITS_CAP(field, setting, name, times)                                                              \
    if (row->offset == offsetof(struct limits, field)) {                                                     \
        cap.value = config->setting * (times);                                                               \
        cap.variable = (name);                                                                               \
    }
    LIMITS_CAPS(LIMITS_CAP)
#undef LIMITS_CAP
    if (cap.value > row->max)
        cap.value = row->max;
    return cap;
}

static uint32_t *limits_field(struct limits *limits, const struct limits_row *row) {
    return (uint32_t *)(void *)((char *)limits + row->offset);
}

/* Where the server has a cap of its own, "no limit" means that one. */
static void limits_set(const struct limits_row *row, const struct limits_cap *cap, int64_t value,
                       struct limits *limits) {
    if ((row->may_be_none && value == 0 && cap->is_own && cap->value < row->max) || value > cap->value)
        value = cap->value;
    *limits_field(limits, row) = (uint32_t)value;
}

void limits_hold(const struct config *config, struct limits *limits) {
    for (size_t i = 0; i < LIMITS_ROWS; i++) {
        struct limits_cap cap = limits_cap_of(config, &limits_rows[i]);
        limits_set(&limits_rows[i], &cap, *limits_field(limits, &limits_rows[i]), limits);
    }
}

void limits_set_defaults(const struct config *config, struct limits *ret_limits) {
    *ret_limits = LIMITS_DEFAULTS;
    limits_hold(config, ret_limits);
}

static int limits_parse_one(const struct limits_row *row, const struct limits_cap *cap, const char *text,
                            struct limits *limits, struct err *err) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return err_set(err, ERR_BAD_REQUEST, "%s=%s is not a whole number", row->name, text);
    if (value < row->min || value > cap->value)
        return err_set(err, ERR_BAD_REQUEST, "%s=%s is outside of %lld to %lld, the cap of this server (%s)",
                       row->name, text, (long long)row->min, (long long)cap->value, cap->variable);
    limits_set(row, cap, value, limits);
    return 0;
}

int limits_parse(const struct config *config, struct http_slice query, struct limits *limits,
                 struct err *err) {
    char text[64];
    for (size_t i = 0; i < LIMITS_ROWS; i++) {
        int rc = http_query_get(query, limits_rows[i].name, text, sizeof text, err);
        struct limits_cap cap = limits_cap_of(config, &limits_rows[i]);
        if (rc > 0)
            rc = limits_parse_one(&limits_rows[i], &cap, text, limits, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool limits_is_known(const char *name, size_t len, const char *const *others) {
    for (; *others; others++)
        if (strlen(*others) == len && memcmp(*others, name, len) == 0)
            return true;
    for (size_t i = 0; i < LIMITS_ROWS; i++)
        if (strlen(limits_rows[i].name) == len && memcmp(limits_rows[i].name, name, len) == 0)
            return true;
    return len == 0;
}

static int limits_refuse_unknown(const char *name, size_t len, const char *const *others, struct err *err) {
    char known[160] = "";
    for (; *others; others++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s, ", *others);
    for (size_t i = 0; i < LIMITS_ROWS; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 limits_rows[i].name);
    return err_set(err, ERR_BAD_REQUEST, "unknown parameter '%.*s'; known: %s", (int)(len < 24 ? len : 24),
                   name, known);
}

int limits_check_known(struct http_slice query, const char *const *others, struct err *err) {
    const char *at = query.data, *end = query.data + query.len;
    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop ? stop : end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        size_t len = (size_t)((equals ? equals : stop) - at);
        if (!limits_is_known(at, len, others))
            return limits_refuse_unknown(at, len, others, err);
        at = stop + 1;
    }
    return 0;
}

/* ---- PATCH /function/NAME?timeout_ms=…: limits without new code ---- */

struct limits_change {
    struct change change;
    struct storage_version *version; /* referenced */
    char *query;                     /* owned */
    struct limits limits;            /* as they are then */
};

/* From what is on the disk: another change may have come between. */
static int limits_change_run(struct change *change, struct err *err) {
    struct limits_change *own = (struct limits_change *)change;
    struct storage *storage = change->gateway->storage;
    struct http_slice query = {own->query, strlen(own->query)};
    struct storage_meta meta;
    int rc = storage_read_meta(storage, own->version->meta.id, &meta, err);
    if (rc == 0)
        rc = limits_parse(change->gateway->config, query, &meta.limits, err);
    if (rc == 0)
        rc = storage_write_meta(storage, &meta, err);
    if (rc != 0)
        return rc;
    own->limits = meta.limits;
    limits_hold(change->gateway->config, &own->limits);
    return 0;
}

static void limits_change_apply(struct change *change) {
    struct limits_change *own = (struct limits_change *)change;
    own->version->meta.limits = own->limits;
    dispatch_renew(change->gateway->dispatch, own->version);
}

static void limits_change_respond(struct change *change) {
    struct limits_change *own = (struct limits_change *)change;
    const struct storage_meta *meta = &own->version->meta;
    struct buf body = {0};
    buf_append_format(&body, "{\"ok\":true,\"id\":\"%s\",\"name\":\"%s\",", meta->id, meta->name);
    describe_limits(&body, &own->limits);
    buf_append(&body, "}", 1);
    respond_json(change->conn, 200, &body);
    buf_fini(&body);
}

static void limits_change_free(void *context) {
    struct limits_change *own = context;
    storage_unref(own->change.gateway->storage, own->version);
    free(own->query);
    free(own);
}

void limits_patch(struct gateway *gateway, struct http_conn *conn, struct http_request *http,
                  struct storage_version *version) {
    static const struct change_kind kind = {limits_change_run, limits_change_apply, limits_change_respond,
                                            limits_change_free};
    static const char *const others[] = {NULL};
    struct err err;
    struct limits tried = version->meta.limits;
    if (change_must_wait(gateway, conn))
        return;
    int rc = limits_check_known(http->query, others, &err);
    if (rc == 0)
        rc = limits_parse(gateway->config, http->query, &tried, &err);
    if (rc != 0) {
        respond_err(gateway, conn, &err);
        return;
    }
    struct limits_change *own = calloc(1, sizeof *own);
    char *query_copy = calloc(1, http->query.len + 1);
    if (!own || !query_copy) {
        free(own);
        free(query_copy);
        respond_error(gateway, conn, ERR_UNAVAILABLE, "no memory for a change");
        return;
    }
    own->change = (struct change){.kind = &kind, .gateway = gateway, .conn = conn};
    own->version = version;
    storage_ref(version);
    own->query = query_copy;
    if (http->query.len)
        memcpy(own->query, http->query.data, http->query.len);
    change_start(&own->change);
}
