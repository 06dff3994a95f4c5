/* Answers: the platform's own, and those of calls. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/gateway_internal.h"
#include "wire/frame.h"

#define RESPOND_JSON_TYPE "Content-Type: application/json\r\n"

static struct http_slice respond_slice(const struct buf *buf) {
    return (struct http_slice){(const char *)buf->data, buf->len};
}

void respond_json(struct http_conn *conn, int status, const struct buf *body) {
    static const char head[] = RESPOND_JSON_TYPE;
    if (body->failed) {
        static const char sorry[] = "{\"ok\":false,\"error\":\"out of memory\",\"cause\":\"internal\"}";
        http_respond(conn, 500, (struct http_slice){head, sizeof head - 1},
                     (struct http_slice){sorry, sizeof sorry - 1});
        return;
    }
    http_respond(conn, status, (struct http_slice){head, sizeof head - 1}, respond_slice(body));
}

void respond_error_body(void *context, const struct err *err, struct buf *ret_body) {
    (void)context;
    json_append_error(ret_body, err->code, err->msg);
}

static bool respond_wants_retry(int code) {
    return code == ERR_LIMITED || code == ERR_UNAVAILABLE || code == ERR_DRAINING;
}

void respond_error(struct gateway *gateway, struct http_conn *conn, int code, const char *error) {
    (void)gateway;
    struct buf body = {0};
    json_append_error(&body, code, error);
    struct http_slice head = {RESPOND_JSON_TYPE "Retry-After: 1\r\n", sizeof RESPOND_JSON_TYPE - 1};
    if (respond_wants_retry(code))
        head.len += sizeof "Retry-After: 1\r\n" - 1;
    http_respond(conn, err_http_status(code), head, respond_slice(&body));
    buf_fini(&body);
}

void respond_err(struct gateway *gateway, struct http_conn *conn, const struct err *err) {
    respond_error(gateway, conn, err->code, err->msg);
}

void respond_no_function(struct gateway *gateway, struct http_conn *conn, struct http_slice name) {
    struct err err;
    err_set(&err, ERR_NOT_FOUND, "function '%.*s' does not exist", (int)(name.len < 100 ? name.len : 100),
            name.data);
    respond_err(gateway, conn, &err);
}

/* ---- headers of a call's answer ---- */

/* Milliseconds with three digits: "12.345". */
static void respond_append_ms(struct buf *head, uint64_t ns) {
    uint64_t us = ns / 1000;
    char digits[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10), (char)('0' + us % 10)};
    buf_append_u64(head, us / 1000);
    buf_append(head, digits, sizeof digits);
}

#define RESPOND_LITERAL(buf, text) buf_append(buf, text, sizeof(text) - 1)

static void respond_append_call_headers(struct buf *head, const struct request *request,
                                        const struct call_answer *answer) {
    const struct storage_meta *meta = &request->call.version->meta;
    RESPOND_LITERAL(head, "X-Call-Id: ");
    buf_append_str(head, request->call_id);
    RESPOND_LITERAL(head, "\r\nX-Function-Name: ");
    buf_append_str(head, meta->name);
    RESPOND_LITERAL(head, "\r\nX-Function-Version: ");
    buf_append_u64(head, meta->version);
    if (answer->cold)
        RESPOND_LITERAL(head, "\r\nX-Cold-Start: true\r\nServer-Timing: queue;dur=");
    else
        RESPOND_LITERAL(head, "\r\nX-Cold-Start: false\r\nServer-Timing: queue;dur=");
    respond_append_ms(head, answer->queue_ns);
    RESPOND_LITERAL(head, ", start;dur=");
    respond_append_ms(head, answer->start_ns);
    RESPOND_LITERAL(head, ", run;dur=");
    respond_append_ms(head, answer->run_ns);
    RESPOND_LITERAL(head, "\r\n");
    if (respond_wants_retry(answer->code))
        RESPOND_LITERAL(head, "Retry-After: 1\r\n");
}

/* A header that a function may set: a token, a value without control bytes, and not one that the platform
 * owns. */
static bool respond_header_is_ours(const char *name, size_t len) {
    static const char *const ours[] = {"content-length",  "transfer-encoding",
                                       "connection",      "keep-alive",
                                       "upgrade",         "date",
                                       "server-timing",   "x-call-id",
                                       "x-function-name", "x-function-version",
                                       "x-cold-start",    "te",
                                       "trailer"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strlen(ours[i]) == len && strncasecmp(ours[i], name, len) == 0)
            return true;
    return false;
}

static bool respond_is_token(char byte) {
    return isalnum((unsigned char)byte) || (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

static int respond_append_header(struct buf *head, const char *name, size_t name_len, const char *value,
                                 size_t value_len, struct err *err) {
    if (name_len == 0)
        return err_set(err, ERR_BAD_ANSWER, "the function's answer has a header without a name");
    for (size_t i = 0; i < name_len; i++)
        if (!respond_is_token(name[i]))
            return err_set(err, ERR_BAD_ANSWER, "the function's answer has a header with a bad name");
    for (size_t i = 0; i < value_len; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
            return err_set(err, ERR_BAD_ANSWER, "header '%.*s' of the function's answer holds a control byte",
                           (int)(name_len < 64 ? name_len : 64), name);
    if (respond_header_is_ours(name, name_len))
        return 0;
    buf_append(head, name, name_len);
    buf_append(head, ": ", 2);
    buf_append(head, value, value_len);
    buf_append(head, "\r\n", 2);
    return 0;
}

static int respond_parse_status(const char *text, size_t len, int *ret_status, struct err *err) {
    if (len < 3 || !isdigit((unsigned char)text[0]) || !isdigit((unsigned char)text[1]) ||
        !isdigit((unsigned char)text[2]) || (len > 3 && text[3] != ' '))
        return err_set(err, ERR_BAD_ANSWER, "the function's answer has a status that is no number");
    int status = (text[0] - '0') * 100 + (text[1] - '0') * 10 + text[2] - '0';
    if (status < 200 || status > 599)
        return err_set(err, ERR_BAD_ANSWER, "the function's answer has status %d", status);
    *ret_status = status;
    return 0;
}

static void respond_append_default_type(struct buf *head, struct call_bytes body) {
    if (json_is_utf8(body.data, body.len))
        RESPOND_LITERAL(head, "Content-Type: text/plain; charset=utf-8\r\n");
    else
        RESPOND_LITERAL(head, "Content-Type: application/octet-stream\r\n");
}

int respond_head_of_entries(const struct call_answer *answer, int *ret_status, struct buf *head,
                            struct err *err) {
    size_t at = 0, name_len, value_len;
    const char *name, *value;
    bool typed = false, json = false;
    *ret_status = 200;
    while (frame_head_next(answer->head.data, answer->head.len, &at, &name, &name_len, &value, &value_len)) {
        int rc = 0;
        if (name_len == 6 && memcmp(name, "status", 6) == 0) {
            rc = respond_parse_status(value, value_len, ret_status, err);
        } else if (name_len > 2 && memcmp(name, "h:", 2) == 0) {
            typed |= name_len == 14 && strncasecmp(name + 2, "content-type", 12) == 0;
            rc = respond_append_header(head, name + 2, name_len - 2, value, value_len, err);
        } else if (name_len == 4 && memcmp(name, "json", 4) == 0) {
            json = true;
        }
        if (rc != 0)
            return rc;
    }
    if (!typed && json)
        RESPOND_LITERAL(head, RESPOND_JSON_TYPE);
    else if (!typed && *ret_status != 204 && *ret_status != 304)
        respond_append_default_type(head, answer->output);
    return 0;
}

int respond_head_of_cgi(struct call_bytes output, int *ret_status, struct buf *head,
                        struct call_bytes *ret_body, struct err *err) {
    const char *at = (const char *)output.data, *end = at + output.len;
    bool typed = false, status_set = false, located = false;
    *ret_status = 200;
    for (;;) {
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (!newline)
            return err_set(err, ERR_BAD_ANSWER, "the CGI response has no end of its headers");
        const char *stop = newline > at && newline[-1] == '\r' ? newline - 1 : newline;
        if (stop == at) {
            at = newline + 1;
            break;
        }
        const char *colon = memchr(at, ':', (size_t)(stop - at));
        if (!colon)
            return err_set(err, ERR_BAD_ANSWER, "the CGI response has a header line without a colon");
        const char *value = colon + 1;
        while (value < stop && (*value == ' ' || *value == '\t'))
            value++;
        size_t name_len = (size_t)(colon - at), value_len = (size_t)(stop - value);
        int rc = 0;
        if (name_len == 6 && strncasecmp(at, "status", 6) == 0) {
            rc = respond_parse_status(value, value_len, ret_status, err);
            status_set = true;
        } else {
            typed |= name_len == 12 && strncasecmp(at, "content-type", 12) == 0;
            located |= name_len == 8 && strncasecmp(at, "location", 8) == 0;
            rc = respond_append_header(head, at, name_len, value, value_len, err);
        }
        if (rc != 0)
            return rc;
        at = newline + 1;
    }
    if (!typed && !located && !status_set)
        return err_set(err, ERR_BAD_ANSWER, "the CGI response has no Content-Type, Location or Status");
    if (located && !status_set)
        *ret_status = 302;
    *ret_body = (struct call_bytes){(const uint8_t *)at, (size_t)(end - at)};
    return 0;
}

/* ---- the answer of a call ---- */

static void respond_finish(struct request *request, int status, struct buf *head,
                           const struct http_slice *pieces, size_t count) {
    dispatch_count(request->call.version, status, request->code);
    struct http_conn *conn = request->conn;
    buf_fini(&request->head);
    http_respond_pieces(conn, status, respond_slice(head), pieces, count);
}

static void respond_call_error(struct request *request, struct buf *head, const struct call_answer *answer) {
    struct buf body = {0};
    buf_append_str(&body, "{\"ok\":false,\"error\":");
    json_append_text(&body, answer->error ? answer->error : err_cause(answer->code));
    buf_append_str(&body, ",\"cause\":");
    json_append_text(&body, err_cause(answer->code));
    if (answer->exit_code != 0)
        buf_append_format(&body, ",\"exit_code\":%d", answer->exit_code);
    buf_append(&body, ",", 1);
    json_append_bytes(&body, "output", answer->output.data, answer->output.len);
    buf_append(&body, "}", 1);
    RESPOND_LITERAL(head, RESPOND_JSON_TYPE);
    respond_append_call_headers(head, request, answer);
    struct http_slice piece = respond_slice(&body);
    respond_finish(request, err_http_status(answer->code), head, &piece, 1);
    buf_fini(&body);
}

static void respond_call_envelope(struct request *request, struct buf *head,
                                  const struct call_answer *answer) {
    struct buf *body = &request->gateway->scratch;
    RESPOND_LITERAL(body, "{\"ok\":true,");
    json_append_bytes(body, "output", answer->output.data, answer->output.len);
    RESPOND_LITERAL(body, "}");
    RESPOND_LITERAL(head, RESPOND_JSON_TYPE);
    respond_append_call_headers(head, request, answer);
    struct http_slice piece = respond_slice(body);
    respond_finish(request, 200, head, &piece, 1);
}

/* The function's own bytes, status and headers; a bad answer becomes the platform's error. */
static int respond_call_plain(struct request *request, struct buf *head, const struct call_answer *answer,
                              struct err *err) {
    int status;
    struct call_bytes body = answer->output;
    int rc = request->call.version->meta.cgi ? respond_head_of_cgi(answer->output, &status, head, &body, err)
                                             : respond_head_of_entries(answer, &status, head, err);
    if (rc != 0)
        return rc;
    respond_append_call_headers(head, request, answer);
    struct http_slice piece = {(const char *)body.data, body.len};
    respond_finish(request, status, head, &piece, 1);
    return 0;
}

void respond_call(struct call *call, const struct call_answer *answer) {
    struct request *request = call->context;
    struct gateway *gateway = request->gateway;
    struct buf *head = &gateway->head_scratch;
    request->code = answer->code;
    if (answer->code == ERR_OK && request->envelope) {
        respond_call_envelope(request, head, answer);
    } else if (answer->code != ERR_OK) {
        respond_call_error(request, head, answer);
    } else {
        struct err err;
        if (respond_call_plain(request, head, answer, &err) != 0) {
            struct call_answer bad = *answer;
            bad.code = err.code;
            bad.error = err.msg;
            bad.output = (struct call_bytes){0};
            request->code = err.code;
            buf_clear(head);
            respond_call_error(request, head, &bad);
        }
    }
    buf_clear(head);
    buf_clear(&gateway->scratch);
    buf_trim(&gateway->scratch, 1 << 20);
}
