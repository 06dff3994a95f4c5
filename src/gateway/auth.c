#include "gateway/auth.h"

#include <stdio.h>
#include <strings.h>

#include "base/clock.h"
#include "gateway/gateway_internal.h"

_Static_assert(sizeof(struct keyring_session) <= HTTP_SESSION_BYTES, "a connection remembers it");

static bool auth_is(struct http_slice text, const char *what) {
    return text.len == strlen(what) && strncasecmp(text.data, what, text.len) == 0;
}

/* What is behind "Bearer ", or nothing. */
static struct http_slice auth_bearer(struct http_slice value) {
    static const char scheme[] = "Bearer ";
    if (value.len < sizeof scheme - 1 || strncasecmp(value.data, scheme, sizeof scheme - 1) != 0)
        return (struct http_slice){"", 0};
    value.data += sizeof scheme - 1;
    value.len -= sizeof scheme - 1;
    while (value.len && *value.data == ' ') {
        value.data++;
        value.len--;
    }
    return value;
}

/* X-API-Key, so that a function may have an Authorization of its own; else Authorization: Bearer. */
static struct http_slice auth_token(const struct http_request *request) {
    const struct http_slice *given = http_request_header(request, "x-api-key");
    if (given)
        return *given;
    given = http_request_header(request, "authorization");
    return given ? auth_bearer(*given) : (struct http_slice){"", 0};
}

bool auth_header_is_secret(const struct http_header *header) {
    struct http_slice value = {"", 0};
    if (header->name.len == sizeof "x-api-key" - 1 && auth_is(header->name, "x-api-key"))
        value = header->value;
    else if (header->name.len == sizeof "authorization" - 1 && auth_is(header->name, "authorization"))
        value = auth_bearer(header->value);
    return value.len >= 3 && memcmp(value.data, "mf_", 3) == 0;
}

/* A browser says which site's page sends a request that changes something. */
static bool auth_origin_is_local(struct http_slice origin) {
    static const char *const locals[] = {"localhost", "127.0.0.1", "[::1]"};
    struct http_slice host = origin;
    size_t scheme = origin.len > 7 && strncasecmp(origin.data, "http://", 7) == 0    ? 7
                    : origin.len > 8 && strncasecmp(origin.data, "https://", 8) == 0 ? 8
                                                                                     : 0;
    if (!scheme)
        return false;
    host.data += scheme;
    host.len -= scheme;
    const char *colon = memrchr(host.data, ':', host.len);
    if (colon && !memchr(colon, ']', host.len - (size_t)(colon - host.data)))
        host.len = (size_t)(colon - host.data);
    for (size_t i = 0; i < sizeof locals / sizeof *locals; i++)
        if (auth_is(host, locals[i]))
            return true;
    return false;
}

static int auth_check_page(struct auth *auth, const struct http_request *request,
                           const struct auth_want *want, struct err *err) {
    if (!auth->refuses_pages || (want->scopes & (KEY_SCOPE_READ | KEY_SCOPE_INVOKE)))
        return 0;
    const struct http_slice *origin = http_request_header(request, "origin");
    if (!origin || auth_origin_is_local(*origin))
        return 0;
    auth->refused[AUTH_ORIGIN]++;
    return err_set(err, ERR_FORBIDDEN, "a page of another site (%.*s) may not do this without an API key",
                   (int)(origin->len < 80 ? origin->len : 80), origin->data);
}

static int auth_refuse_scope(struct auth *auth, const struct key *key, uint32_t scopes, struct err *err) {
    struct buf names = {0};
    key_scopes_append(scopes, &names);
    auth->refused[AUTH_SCOPE]++;
    err_set(err, ERR_FORBIDDEN, "the key %s has not the scope '%.*s'", key->id, (int)names.len,
            names.data ? (const char *)names.data : "");
    buf_fini(&names);
    return -ERR_FORBIDDEN;
}

/* The function that a request is about, as it is named there; `text` is room for a parameter. */
static struct http_slice auth_function(const struct http_request *request, const struct auth_want *want,
                                       char text[STORAGE_ID_MAX + 1]) {
    struct err err;
    if (!want->name_parameter)
        return (struct http_slice){"", 0};
    if (*want->name_parameter) {
        int rc = http_query_get(request->query, want->name_parameter, text, STORAGE_ID_MAX + 1, &err);
        return (struct http_slice){text, rc > 0 ? strlen(text) : 0};
    }
    struct http_slice name = {request->path.data + want->path_prefix, request->path.len - want->path_prefix};
    const char *slash = memchr(name.data, '/', name.len);
    if (slash)
        name.len = (size_t)(slash - name.data);
    return name;
}

/* By the function's name, also where the request has an id. */
static int auth_check_function(struct gateway *gateway, const struct key *key,
                               const struct http_request *request, const struct auth_want *want,
                               struct err *err) {
    char text[STORAGE_ID_MAX + 1];
    if (!key->functions)
        return 0;
    struct http_slice name = auth_function(request, want, text);
    const struct storage_version *version =
        name.len ? storage_find(gateway->storage, name.data, name.len) : NULL;
    if (version)
        name = (struct http_slice){version->meta.name, strlen(version->meta.name)};
    if (name.len && key_is_for(key, name.data, name.len))
        return 0;
    gateway->auth.refused[AUTH_FUNCTION]++;
    return err_set(err, ERR_FORBIDDEN, "the key %s is only for: %.100s", key->id, key->functions);
}

/* *ret_key: NULL when nobody needed one. */
static int auth_find(struct gateway *gateway, struct http_conn *conn, const struct http_request *request,
                     const struct auth_want *want, struct key **ret_key, struct err *err) {
    struct auth *auth = &gateway->auth;
    *ret_key = NULL;
    if (want->scopes == AUTH_NOTHING)
        return 0;
    if (keyring_is_open(auth->keyring))
        return auth_check_page(auth, request, want, err);
    struct http_slice token = auth_token(request);
    if (token.len == 0) {
        auth->refused[AUTH_MISSING]++;
        return err_set(err, ERR_UNAUTHORIZED,
                       "an API key is needed: Authorization: Bearer mf_..., or X-API-Key: mf_...");
    }
    struct key *key = keyring_find(auth->keyring, http_conn_session(conn), token.data, token.len);
    if (!key) {
        auth->refused[AUTH_UNKNOWN]++;
        return err_set(err, ERR_UNAUTHORIZED, "the API key is not known, or was revoked");
    }
    if (!(key->scopes & (want->scopes | KEY_SCOPE_ADMIN)))
        return auth_refuse_scope(auth, key, want->scopes, err);
    int rc = auth_check_function(gateway, key, request, want, err);
    if (rc == 0)
        *ret_key = key;
    return rc;
}

int auth_check(struct gateway *gateway, struct http_conn *conn, const struct http_request *request,
               const struct auth_want *want, struct err *err) {
    struct key *key;
    return auth_find(gateway, conn, request, want, &key, err);
}

static void auth_respond(struct http_conn *conn, const struct err *err, const char *header) {
    struct buf body = {0}, head = {0};
    buf_append_str(&head, "Content-Type: application/json\r\n");
    buf_append_str(&head, header);
    json_append_error(&body, err->code, err->msg);
    http_respond(conn, err_http_status(err->code), (struct http_slice){(const char *)head.data, head.len},
                 (struct http_slice){(const char *)body.data, body.len});
    buf_fini(&head);
    buf_fini(&body);
}

static void auth_respond_early(struct http_conn *conn, const struct key *key, uint64_t early_ns) {
    struct err err;
    char retry[64];
    snprintf(retry, sizeof retry, "Retry-After: %llu\r\n",
             (unsigned long long)((early_ns + CLOCK_NS_PER_S - 1) / CLOCK_NS_PER_S));
    err_set(&err, ERR_LIMITED, "the key %s is over its rate of %u requests a second", key->id, key->rate);
    auth_respond(conn, &err, retry);
}

bool auth_admit(struct gateway *gateway, struct http_conn *conn, const struct http_request *request,
                const struct auth_want *want) {
    struct key *key;
    struct err err;
    if (auth_find(gateway, conn, request, want, &key, &err) < 0) {
        auth_respond(conn, &err,
                     err.code == ERR_UNAUTHORIZED ? "WWW-Authenticate: Bearer realm=\"minifaas\"\r\n" : "");
        return false;
    }
    uint64_t early_ns = key ? keyring_count_request(key, request->received_ns) : 0;
    if (early_ns == 0)
        return true;
    gateway->auth.refused[AUTH_RATE]++;
    auth_respond_early(conn, key, early_ns);
    return false;
}
