/* Which handler a request goes to: one table. */
#include <stdio.h>
#include <string.h>

#include "gateway/gateway_internal.h"
#include "sandbox/sandbox.h"

typedef void routes_handler(struct gateway *gateway, struct http_conn *conn, struct http_request *request);

static void routes_invoke(struct gateway *gateway, struct http_conn *conn, struct http_request *request) {
    invoke_by_query(gateway, conn, request);
}

static void routes_deploy(struct gateway *gateway, struct http_conn *conn, struct http_request *request) {
    deploy_route(gateway, conn, request, request->method.data[1] == 'U');
}

static void routes_list(struct gateway *gateway, struct http_conn *conn, struct http_request *request) {
    (void)request;
    describe_list(gateway, conn);
}

static void routes_workers(struct gateway *gateway, struct http_conn *conn, struct http_request *request) {
    (void)request;
    describe_workers(gateway, conn);
}

static void routes_metrics(struct gateway *gateway, struct http_conn *conn, struct http_request *request) {
    (void)request;
    metrics_route(gateway, conn);
}

static void routes_healthz(struct gateway *gateway, struct http_conn *conn, struct http_request *request) {
    (void)gateway, (void)request;
    struct buf body = {0};
    buf_append_str(&body, "{\"ok\":true}");
    respond_json(conn, 200, &body);
    buf_fini(&body);
}

static void routes_readyz(struct gateway *gateway, struct http_conn *conn, struct http_request *request) {
    (void)request;
    if (!dispatch_is_ready(gateway->dispatch)) {
        respond_error(gateway, conn, ERR_UNAVAILABLE, "no worker is there");
        return;
    }
    struct buf body = {0};
    buf_append_format(&body, "{\"ok\":true,\"sandbox\":\"%s\"}", sandbox_tier_name(sandbox_probe()->tier));
    respond_json(conn, 200, &body);
    buf_fini(&body);
}

static void routes_on_strategy(void *context, const struct err *err) {
    struct request *request = context;
    if (err->code != ERR_OK) {
        respond_err(request->gateway, request->conn, err);
        return;
    }
    struct dispatch_totals totals;
    dispatch_totals(request->gateway->dispatch, &totals);
    struct buf body = {0};
    buf_append_format(&body, "{\"ok\":true,\"strategy\":\"%s\"}", policy_strategy_name(totals.strategy));
    respond_json(request->conn, 200, &body);
    buf_fini(&body);
}

static void routes_strategy(struct gateway *gateway, struct http_conn *conn, struct http_request *http) {
    struct request *request = http_conn_context(conn);
    *request = (struct request){.gateway = gateway, .conn = conn};
    if (http->method.data[0] != 'P') {
        routes_on_strategy(request, &(struct err){.code = ERR_OK});
        return;
    }
    struct err err;
    enum policy_strategy strategy;
    char name[32];
    size_t start = 0, end = http->body.len;
    while (start < end && strchr(" \t\r\n", http->body.data[start]))
        start++;
    while (end > start && strchr(" \t\r\n", http->body.data[end - 1]))
        end--;
    snprintf(name, sizeof name, "%.*s", (int)(end - start < sizeof name ? end - start : sizeof name - 1),
             http->body.data ? http->body.data + start : "");
    if (policy_strategy_parse(name, &strategy, &err) != 0)
        respond_err(gateway, conn, &err);
    else
        dispatch_set_strategy(gateway->dispatch, strategy, routes_on_strategy, request);
}

/* HEAD counts as GET. */
static bool routes_method_equals(const struct http_request *request, const char *method, size_t len) {
    if (request->method.len == len && memcmp(request->method.data, method, len) == 0)
        return true;
    return request->head && len == 3 && memcmp(method, "GET", 3) == 0;
}

bool routes_method_is(const struct http_request *request, const char *method) {
    return routes_method_equals(request, method, strlen(method));
}

void routes_wrong_method(struct http_conn *conn, const char *allow) {
    struct buf body = {0}, head = {0};
    buf_append_format(&head, "Content-Type: application/json\r\nAllow: %s\r\n", allow);
    char error[128];
    snprintf(error, sizeof error, "this route takes %s", allow);
    json_append_error(&body, ERR_METHOD, error);
    http_respond(conn, err_http_status(ERR_METHOD), (struct http_slice){(const char *)head.data, head.len},
                 (struct http_slice){(const char *)body.data, body.len});
    buf_fini(&head);
    buf_fini(&body);
}

void routes_no_route(struct gateway *gateway, struct http_conn *conn, struct http_slice path) {
    struct err err;
    err_set(&err, ERR_NOT_FOUND, "there is no route '%.*s'", (int)(path.len < 100 ? path.len : 100),
            path.data);
    respond_err(gateway, conn, &err);
}

/* By name, with all its versions; also one whose metadata cannot be read any more. */
static void routes_delete(struct gateway *gateway, struct http_conn *conn, struct http_slice name) {
    char text[STORAGE_ID_MAX + 1];
    snprintf(text, sizeof text, "%.*s", (int)(name.len < sizeof text ? name.len : sizeof text - 1),
             name.data);
    const struct storage_function *function = storage_find_function(gateway->storage, text);
    if (function && strlen(text) == name.len && (function->current || function->damaged))
        deploy_delete(gateway, conn, text);
    else if (storage_find(gateway->storage, name.data, name.len))
        respond_error(gateway, conn, ERR_BAD_REQUEST,
                      "a function is deleted by its name, with all its versions");
    else
        respond_no_function(gateway, conn, name);
}

/* /function/NAME, /function/NAME/env… */
static void routes_function(struct gateway *gateway, struct http_conn *conn, struct http_request *request) {
    static const size_t prefix_len = sizeof "/function/" - 1;
    struct http_slice name = {request->path.data + prefix_len, request->path.len - prefix_len};
    const char *slash = memchr(name.data, '/', name.len);
    if (slash) {
        size_t name_len = (size_t)(slash - name.data);
        variables_route(gateway, conn, request, (struct http_slice){name.data, name_len},
                        (struct http_slice){slash + 1, name.len - name_len - 1});
        return;
    }
    if (routes_method_is(request, "POST")) {
        invoke_by_path(gateway, conn, request, name, request->path, (struct http_slice){"", 0});
        return;
    }
    if (routes_method_is(request, "DELETE")) {
        routes_delete(gateway, conn, name);
        return;
    }
    bool patch = routes_method_is(request, "PATCH");
    if (!patch && !routes_method_is(request, "GET")) {
        routes_wrong_method(conn, "GET, POST, PATCH, DELETE");
        return;
    }
    struct storage_version *version = storage_find(gateway->storage, name.data, name.len);
    if (!version)
        respond_no_function(gateway, conn, name);
    else if (patch)
        limits_patch(gateway, conn, request, version);
    else
        describe_function(gateway, conn, version);
}

/* /fn/NAME, /fn/NAME/any/path */
static void routes_endpoint(struct gateway *gateway, struct http_conn *conn, struct http_request *request) {
    static const size_t prefix_len = sizeof "/fn/" - 1;
    const char *name = request->path.data + prefix_len;
    size_t left = request->path.len - prefix_len;
    const char *slash = memchr(name, '/', left);
    size_t name_len = slash ? (size_t)(slash - name) : left;
    invoke_by_path(gateway, conn, request, (struct http_slice){name, name_len},
                   (struct http_slice){request->path.data, prefix_len + name_len},
                   (struct http_slice){name + name_len, left - name_len});
}

#define ROUTES_SAME(scope) (scope), (scope), (scope)
static const struct routes_row {
    const char *path;    /* one that ends with '/' is a prefix with something behind it */
    const char *methods; /* "" = any; the handler may look closer */
    routes_handler *handler;
    uint32_t get, post, other;  /* scopes that a key needs, by method; 0 = admin */
    const char *name_parameter; /* of the query, that names the function; "" = the path names it */
} routes_table[] = {
    {"/invoke", "POST", routes_invoke, ROUTES_SAME(KEY_SCOPE_INVOKE), "fn"},
    {"/fn/", "", routes_endpoint, ROUTES_SAME(KEY_SCOPE_INVOKE), ""},
    {"/function/", "", routes_function, KEY_SCOPE_READ, KEY_SCOPE_INVOKE, KEY_SCOPE_DEPLOY, ""},
    {"/deploy", "POST, PUT", routes_deploy, ROUTES_SAME(KEY_SCOPE_DEPLOY), "name"},
    {"/functions", "GET", routes_list, ROUTES_SAME(KEY_SCOPE_READ), NULL},
    {"/workers", "GET", routes_workers, ROUTES_SAME(KEY_SCOPE_READ), NULL},
    {"/strategy", "GET, PUT", routes_strategy, KEY_SCOPE_READ, KEY_SCOPE_ADMIN, KEY_SCOPE_ADMIN, NULL},
    {"/healthz", "GET", routes_healthz, ROUTES_SAME(AUTH_NOTHING), NULL},
    {"/readyz", "GET", routes_readyz, ROUTES_SAME(AUTH_NOTHING), NULL},
    {"/metrics", "GET", routes_metrics, ROUTES_SAME(KEY_SCOPE_READ), NULL},
};
#undef ROUTES_SAME

static bool routes_path_is(struct http_slice path, const char *route) {
    size_t len = strlen(route);
    if (path.len < len || memcmp(path.data, route, len) != 0)
        return false;
    return route[len - 1] == '/' ? path.len > len : path.len == len;
}

static bool routes_method_in(const struct http_request *request, const char *methods) {
    if (*methods == '\0')
        return true;
    for (const char *at = methods; *at;) {
        size_t len = strcspn(at, ", ");
        if (routes_method_equals(request, at, len))
            return true;
        at += len + strspn(at + len, ", ");
    }
    return false;
}

/* NULL: there is no such route. */
static const struct routes_row *routes_find(struct http_slice path) {
    for (size_t i = 0; i < sizeof routes_table / sizeof *routes_table; i++)
        if (routes_path_is(path, routes_table[i].path))
            return &routes_table[i];
    return NULL;
}

/* Without a route any key will do: who has none is not told what there is. */
static struct auth_want routes_want(const struct routes_row *row, const struct http_request *request) {
    static const uint32_t any = KEY_SCOPE_DEPLOY | KEY_SCOPE_INVOKE | KEY_SCOPE_READ | KEY_SCOPE_ADMIN;
    struct auth_want want = {.scopes = any};
    if (!row)
        return want;
    want.scopes = routes_method_is(request, "GET")    ? row->get
                  : routes_method_is(request, "POST") ? row->post
                                                      : row->other;
    if (want.scopes == 0)
        want.scopes = KEY_SCOPE_ADMIN;
    want.name_parameter = row->name_parameter;
    want.path_prefix = strlen(row->path);
    return want;
}

/* Before the body is taken, so that strangers cannot fill the memory. */
int routes_on_head(void *context, struct http_conn *conn, const struct http_request *request,
                   struct err *err) {
    struct gateway *gateway = context;
    struct auth_want want = routes_want(routes_find(request->path), request);
    return auth_check(gateway, conn, request, &want, err);
}

void routes_on_request(void *context, struct http_conn *conn, struct http_request *request) {
    struct gateway *gateway = context;
    const struct routes_row *row = routes_find(request->path);
    struct auth_want want = routes_want(row, request);
    if (!auth_admit(gateway, conn, request, &want))
        return;
    if (!row) {
        routes_no_route(gateway, conn, request->path);
    } else if (routes_method_in(request, row->methods)) {
        row->handler(gateway, conn, request);
    } else {
        routes_wrong_method(conn, row->methods);
    }
}

void routes_on_abandon(void *context, struct http_conn *conn) {
    struct gateway *gateway = context;
    struct request *request = http_conn_context(conn);
    if (request->is_call && request->call.state != CALL_ANSWERED)
        dispatch_abandon(gateway->dispatch, &request->call);
}
