/* A function's environment and secrets:
 *
 *     GET, PUT, DELETE /function/NAME/env            PUT, DELETE /function/NAME/env/KEY
 *     GET, DELETE      /function/NAME/secrets        PUT, DELETE /function/NAME/secrets/KEY
 *
 * A secret's text comes in and goes to the function; no route has it in an answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/change.h"

struct variables_change {
    struct change change;
    char function[STORAGE_NAME_MAX + 1];
    char name[VARS_NAME_MAX + 1]; /* "" = all of them */
    struct storage_vars_change what;
    uint8_t *value;    /* owned: may be a secret's text */
    struct vars *vars; /* owned: as they are then */
};

static void variables_append_kind(struct buf *body, const struct vars *vars, bool secret) {
    const char *before = "";
    buf_append_str(body, secret ? "\"secrets\":[" : "\"env\":[");
    for (size_t i = 0; vars && i < vars->count; i++)
        if (vars->entries[i].secret == secret) {
            buf_append_str(body, before);
            json_append_text(body, vars->entries[i].name);
            before = ",";
        }
    buf_append_str(body, "]");
}

void variables_append_names(struct buf *body, const struct vars *vars) {
    variables_append_kind(body, vars, false);
    buf_append_str(body, ",");
    variables_append_kind(body, vars, true);
}

static void variables_append_env(struct buf *body, const struct vars *vars) {
    const char *before = "";
    buf_append_str(body, "\"env\":{");
    for (size_t i = 0; vars && i < vars->count; i++) {
        const struct vars_entry *entry = &vars->entries[i];
        if (entry->secret)
            continue;
        buf_append_str(body, before);
        json_append_text(body, entry->name);
        buf_append_str(body, ":");
        json_append_string(body, entry->value, entry->len);
        before = ",";
    }
    buf_append_str(body, "}");
}

static void variables_respond(struct http_conn *conn, const char *function, const struct vars *vars,
                              bool secret) {
    struct buf body = {0};
    buf_append_format(&body, "{\"ok\":true,\"name\":\"%s\",", function);
    if (secret)
        variables_append_kind(&body, vars, true);
    else
        variables_append_env(&body, vars);
    buf_append_str(&body, "}");
    respond_json(conn, 200, &body);
    buf_fini(&body);
}

/* ---- changes ---- */

static void variables_wipe(struct variables_change *own) {
    if (own->value)
        explicit_bzero(own->value, own->what.len);
    free(own->value);
    own->value = NULL;
}

static int variables_change_run(struct change *change, struct err *err) {
    struct variables_change *own = (struct variables_change *)change;
    int rc = storage_change_vars(change->gateway->storage, own->function, &own->what, &own->vars, err);
    variables_wipe(own);
    return rc;
}

static void variables_change_apply(struct change *change) {
    struct variables_change *own = (struct variables_change *)change;
    struct storage *storage = change->gateway->storage;
    vars_ref(own->vars);
    storage_install_vars(storage, own->function, own->vars);
    const struct storage_function *function = storage_find_function(storage, own->function);
    for (struct storage_version *at = function ? function->versions : NULL; at; at = at->older)
        dispatch_renew(change->gateway->dispatch, at);
}

static void variables_change_respond(struct change *change) {
    struct variables_change *own = (struct variables_change *)change;
    if (own->what.kind == STORAGE_VARS_REMOVE)
        http_respond(change->conn, 204, (struct http_slice){"", 0}, (struct http_slice){"", 0});
    else
        variables_respond(change->conn, own->function, own->vars, own->what.secret);
}

static void variables_change_free(void *context) {
    struct variables_change *own = context;
    variables_wipe(own);
    vars_unref(own->vars);
    free(own);
}

static int variables_take_value(struct variables_change *own, struct http_slice body, struct err *err) {
    const uint8_t *value = (const uint8_t *)body.data;
    int rc = 0;
    if (own->what.kind == STORAGE_VARS_SET)
        rc = vars_value_check(own->name, value, body.len, own->what.secret, err);
    else if (body.len > VARS_JSON_MAX_BYTES)
        rc = err_set(err, ERR_TOO_LARGE, "an environment of more than %d bytes", VARS_JSON_MAX_BYTES);
    if (rc == 0 && !(own->value = malloc(body.len + 1)))
        rc = err_set(err, ERR_INTERNAL, "out of memory");
    if (rc != 0)
        return rc;
    if (body.len)
        memcpy(own->value, value, body.len);
    own->what.value = own->value;
    own->what.len = body.len;
    return 0;
}

/* The connection's buffer. */
static void variables_wipe_body(struct http_slice body) {
    if (body.len)
        explicit_bzero((void *)(uintptr_t)body.data, body.len);
}

static void variables_start(struct variables_change *own, struct http_slice body) {
    static const struct change_kind kind = {variables_change_run, variables_change_apply,
                                            variables_change_respond, variables_change_free};
    struct err err;
    own->change.kind = &kind;
    own->what.name = *own->name ? own->name : NULL;
    int rc = own->what.kind == STORAGE_VARS_REMOVE ? 0 : variables_take_value(own, body, &err);
    if (own->what.secret)
        variables_wipe_body(body);
    if (rc == 0) {
        change_start(&own->change);
        return;
    }
    respond_err(own->change.gateway, own->change.conn, &err);
    variables_change_free(own);
}

/* ---- routes ---- */

struct variables_target {
    struct storage_function *function;
    bool secret;
    struct http_slice key; /* data NULL: all of them */
};

/* False: answered. */
static bool variables_find(struct gateway *gateway, struct http_conn *conn, struct http_slice name,
                           struct variables_target *target) {
    char text[STORAGE_NAME_MAX + 1];
    if (name.len < sizeof text) {
        snprintf(text, sizeof text, "%.*s", (int)name.len, name.data);
        target->function = storage_find_function(gateway->storage, text);
    }
    if (target->function && (target->function->current || target->function->damaged))
        return true;
    if (storage_find(gateway->storage, name.data, name.len))
        respond_error(gateway, conn, ERR_BAD_REQUEST,
                      "variables belong to a function, not to one of its versions: give its name");
    else
        respond_no_function(gateway, conn, name);
    return false;
}

static bool variables_parse(struct http_slice rest, struct variables_target *ret_target) {
    const char *slash = memchr(rest.data, '/', rest.len);
    size_t len = slash ? (size_t)(slash - rest.data) : rest.len;
    bool env = len == 3 && memcmp(rest.data, "env", 3) == 0;
    bool secret = len == 7 && memcmp(rest.data, "secrets", 7) == 0;
    *ret_target = (struct variables_target){.secret = secret};
    if (slash)
        ret_target->key = (struct http_slice){slash + 1, rest.len - len - 1};
    return env || secret;
}

static void variables_get(struct gateway *gateway, struct http_conn *conn,
                          const struct variables_target *target) {
    const struct vars *vars = target->function->vars;
    if (vars && vars->problem && vars->count == 0)
        respond_error(gateway, conn, ERR_INTERNAL, vars->problem); /* the file could not be read */
    else
        variables_respond(conn, target->function->name, vars, target->secret);
}

static void variables_change(struct gateway *gateway, struct http_conn *conn, struct http_request *http,
                             const struct variables_target *target) {
    struct variables_change *own = mem_zalloc(sizeof *own);
    bool put = routes_method_is(http, "PUT");
    own->change.gateway = gateway;
    own->change.conn = conn;
    own->what.secret = target->secret;
    own->what.kind = !put ? STORAGE_VARS_REMOVE : target->key.data ? STORAGE_VARS_SET : STORAGE_VARS_SET_ALL;
    snprintf(own->function, sizeof own->function, "%s", target->function->name);
    struct err err;
    if (target->key.data && vars_name_check(target->key.data, target->key.len, &err) != 0) {
        variables_wipe_body(http->body);
        respond_err(gateway, conn, &err);
        variables_change_free(own);
        return;
    }
    if (target->key.data)
        memcpy(own->name, target->key.data, target->key.len);
    variables_start(own, http->body);
}

void variables_route(struct gateway *gateway, struct http_conn *conn, struct http_request *http,
                     struct http_slice name, struct http_slice rest) {
    struct variables_target target;
    if (!variables_parse(rest, &target)) {
        routes_no_route(gateway, conn, http->path);
        return;
    }
    bool one = target.key.data != NULL;
    bool get = !one && routes_method_is(http, "GET"), remove = routes_method_is(http, "DELETE");
    bool put = (one || !target.secret) && routes_method_is(http, "PUT");
    if (!get && !put && !remove)
        routes_wrong_method(conn, one ? "PUT, DELETE" : target.secret ? "GET, DELETE" : "GET, PUT, DELETE");
    else if (!variables_find(gateway, conn, name, &target))
        return;
    else if (get)
        variables_get(gateway, conn, &target);
    else if (!change_must_wait(gateway, conn))
        variables_change(gateway, conn, http, &target);
}
