/* From an HTTP request to a call. */
#include <ctype.h>
#include <string.h>

#include "gateway/gateway_internal.h"
#include "wire/frame.h"

static struct http_slice invoke_text(const char *text) {
    return (struct http_slice){text, strlen(text)};
}

static bool invoke_id_is_sane(const struct http_slice *id) {
    if (id->len == 0 || id->len > GATEWAY_CALL_ID_MAX)
        return false;
    for (size_t i = 0; i < id->len; i++)
        if (!isalnum((unsigned char)id->data[i]) && !memchr("-_.:", id->data[i], 4))
            return false;
    return true;
}

/* X-Call-Id: the caller's, or one of our own. */
static void invoke_name_call(struct request *request, const struct http_request *http) {
    const struct http_slice *given = http_request_header(http, "x-call-id");
    if (given && invoke_id_is_sane(given)) {
        memcpy(request->call_id, given->data, given->len);
        request->call_id[given->len] = '\0';
        return;
    }
    static const char hex[] = "0123456789abcdef";
    uint64_t words[2] = {request->gateway->call_id_seed, request->call.id};
    char *at = request->call_id;
    for (int shift = 28; shift >= 0; shift -= 4)
        *at++ = hex[words[0] >> shift & 15];
    for (int shift = 60; shift >= 0; shift -= 4)
        *at++ = hex[words[1] >> shift & 15];
    *at = '\0';
}

/* False: answered. */
static bool invoke_fits(struct gateway *gateway, struct http_conn *conn, const struct http_request *http,
                        const struct storage_version *version) {
    uint32_t limit_kb = version->meta.limits.payload_kb;
    if (limit_kb == 0 || http->body.len <= (size_t)limit_kb << 10)
        return true;
    struct err err;
    err_set(&err, ERR_TOO_LARGE, "the body has %zu bytes; payload_kb of '%s' is %u", http->body.len,
            version->meta.name, limit_kb);
    respond_err(gateway, conn, &err);
    return false;
}

static struct request *invoke_prepare(struct gateway *gateway, struct http_conn *conn,
                                      const struct http_request *http, struct storage_version *version) {
    struct request *request = http_conn_context(conn);
    *request = (struct request){.gateway = gateway, .conn = conn, .is_call = true};
    request->call = (struct call){.id = dispatch_next_id(gateway->dispatch),
                                  .version = version,
                                  .on_answer = respond_call,
                                  .context = request,
                                  .body = {(const uint8_t *)http->body.data, http->body.len}};
    invoke_name_call(request, http);
    return request;
}

void invoke_by_query(struct gateway *gateway, struct http_conn *conn, struct http_request *http) {
    struct err err;
    char name[STORAGE_ID_MAX + 1];
    int rc = http_query_get(http->query, "fn", name, sizeof name, &err);
    if (rc <= 0) {
        respond_error(gateway, conn, ERR_BAD_REQUEST,
                      rc == 0 ? "the parameter 'fn' is missing: name the function or its id" : err.msg);
        return;
    }
    struct storage_version *version = storage_find(gateway->storage, name, strlen(name));
    if (!version) {
        respond_no_function(gateway, conn, invoke_text(name));
        return;
    }
    if (!invoke_fits(gateway, conn, http, version))
        return;
    struct request *request = invoke_prepare(gateway, conn, http, version);
    request->envelope = true;
    static const char prefix[] = "FAAS_CALL_ID=";
    _Static_assert(sizeof request->head_small >= sizeof prefix + GATEWAY_CALL_ID_MAX, "any id fits");
    size_t id_size = strlen(request->call_id) + 1;
    memcpy(request->head_small, prefix, sizeof prefix - 1);
    memcpy(request->head_small + sizeof prefix - 1, request->call_id, id_size);
    request->call.head =
        (struct call_bytes){(const uint8_t *)request->head_small, sizeof prefix - 1 + id_size};
    dispatch_submit(gateway->dispatch, &request->call);
}

/* ---- a function as an HTTP endpoint ---- */

static int invoke_hex(char digit) {
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* PATH_INFO: the path percent-decoded. False for a bad escape or a NUL byte. */
static bool invoke_append_path(struct buf *head, struct http_slice path) {
    buf_append_str(head, "PATH_INFO=");
    if (path.len == 0)
        buf_append(head, "/", 1);
    for (size_t i = 0; i < path.len; i++) {
        char byte = path.data[i];
        if (byte == '%') {
            int high = i + 2 < path.len ? invoke_hex(path.data[i + 1]) : -1;
            int low = i + 2 < path.len ? invoke_hex(path.data[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0))
                return false;
            byte = (char)(high << 4 | low);
            i += 2;
        }
        buf_append(head, &byte, 1);
    }
    buf_append(head, "", 1);
    return true;
}

static void invoke_add(struct buf *head, const char *name, struct http_slice value) {
    frame_head_add(head, name, value.data, value.len);
}

/* SERVER_NAME and SERVER_PORT from the Host header, else from where we listen. */
static void invoke_add_server(struct buf *head, const struct gateway *gateway,
                              const struct http_request *http) {
    const struct http_slice *given = http_request_header(http, "host");
    struct http_slice host = given && given->len ? *given : invoke_text(gateway->config->listen);
    const char *colon = memrchr(host.data, ':', host.len);
    if (colon && memchr(colon, ']', host.len - (size_t)(colon - host.data)))
        colon = NULL;
    struct http_slice name = {host.data, colon ? (size_t)(colon - host.data) : host.len};
    struct http_slice port = invoke_text("80");
    if (colon)
        port = (struct http_slice){colon + 1, host.len - name.len - 1};
    invoke_add(head, "SERVER_NAME", name);
    invoke_add(head, "SERVER_PORT", port);
}

static void invoke_add_headers(struct buf *head, const struct http_request *http) {
    for (size_t i = 0; i < http->header_count; i++) {
        const struct http_header *header = &http->headers[i];
        if (auth_header_is_secret(header))
            continue;
        buf_append(head, "h:", 2);
        if (!buf_reserve(head, header->name.len))
            return;
        for (size_t j = 0; j < header->name.len; j++)
            head->data[head->len++] = (uint8_t)tolower((unsigned char)header->name.data[j]);
        buf_append(head, "=", 1);
        buf_append(head, header->value.data, header->value.len);
        buf_append(head, "", 1);
    }
}

static bool invoke_build_head(struct request *request, const struct http_request *http,
                              struct http_slice prefix, struct http_slice rest) {
    struct buf *head = &request->head;
    invoke_add(head, "FAAS_CALL_ID", invoke_text(request->call_id));
    invoke_add(head, "REQUEST_METHOD", http->method);
    if (!invoke_append_path(head, rest))
        return false;
    invoke_add(head, "QUERY_STRING", http->query);
    invoke_add(head, "SCRIPT_NAME", prefix);
    invoke_add(head, "SERVER_PROTOCOL", invoke_text("HTTP/1.1"));
    invoke_add(head, "GATEWAY_INTERFACE", invoke_text("CGI/1.1"));
    invoke_add(head, "SERVER_SOFTWARE", invoke_text("minifaas"));
    invoke_add(head, "REMOTE_ADDR", invoke_text(http_conn_peer(request->conn)));
    invoke_add_server(head, request->gateway, http);
    buf_append_str(head, "REQUEST_URI=");
    buf_append(head, rest.len ? rest.data : "/", rest.len ? rest.len : 1);
    if (http->query.len) {
        buf_append(head, "?", 1);
        buf_append(head, http->query.data, http->query.len);
    }
    buf_append(head, "", 1);
    invoke_add_headers(head, http);
    invoke_add(head, "h:x-forwarded-prefix", prefix);
    return true;
}

void invoke_by_path(struct gateway *gateway, struct http_conn *conn, struct http_request *http,
                    struct http_slice name, struct http_slice prefix, struct http_slice rest) {
    struct storage_version *version = storage_find(gateway->storage, name.data, name.len);
    if (!version) {
        respond_no_function(gateway, conn, name);
        return;
    }
    if (!invoke_fits(gateway, conn, http, version))
        return;
    struct request *request = invoke_prepare(gateway, conn, http, version);
    request->call.http = true;
    if (!invoke_build_head(request, http, prefix, rest)) {
        buf_fini(&request->head);
        request->is_call = false;
        respond_error(gateway, conn, ERR_BAD_REQUEST, "the path has a bad percent escape");
        return;
    }
    if (request->head.failed) {
        buf_fini(&request->head);
        request->is_call = false;
        respond_error(gateway, conn, ERR_INTERNAL, "out of memory");
        return;
    }
    request->call.head = (struct call_bytes){request->head.data, request->head.len};
    dispatch_submit(gateway->dispatch, &request->call);
}
