#include "http/parse.h"

#include <string.h>
#include <strings.h>

/* What one pass over the headers of a whole head finds. */
struct parse_facts {
    const struct http_slice *host, *expect, *coding;
    uint32_t host_count, length_count, coding_count;
};

static struct http_parser *parse_owner(const llhttp_t *llhttp) {
    return llhttp->data;
}

/* Stops llhttp from inside a callback. */
static int parse_refuse(struct http_parser *parser, enum err_code code) {
    parser->refusal = code;
    return HPE_USER;
}

/* Bytes of the message up to `at`. */
static size_t parse_offset(const struct http_parser *parser, const char *at) {
    return parser->fed_before + (size_t)(at - parser->fed);
}

/* llhttp reports a token in pieces when it was fed in pieces; they adjoin in memory. */
static void parse_extend(struct http_slice *slice, const char *at, size_t len) {
    if (slice->len == 0 && len > 0)
        slice->data = at;
    slice->len += len;
}

static int parse_on_method(llhttp_t *llhttp, const char *at, size_t len) {
    parse_extend(&parse_owner(llhttp)->request->method, at, len);
    return 0;
}

static int parse_on_url(llhttp_t *llhttp, const char *at, size_t len) {
    struct http_parser *parser = parse_owner(llhttp);
    if (parse_offset(parser, at + len) > parser->limits->line_max)
        return parse_refuse(parser, ERR_URI_TOO_LONG);
    parse_extend(&parser->request->target, at, len);
    return 0;
}

static int parse_on_version(llhttp_t *llhttp, const char *at, size_t len) {
    struct http_parser *parser = parse_owner(llhttp);
    parser->line_bytes = parse_offset(parser, at + len);
    return parser->line_bytes > parser->limits->line_max ? parse_refuse(parser, ERR_URI_TOO_LONG) : 0;
}

static int parse_count_extra(struct http_parser *parser, size_t len, enum err_code code) {
    parser->extra_bytes += len;
    return parser->extra_bytes > parser->limits->headers_max ? parse_refuse(parser, code) : 0;
}

static int parse_on_header_name(llhttp_t *llhttp, const char *at, size_t len) {
    struct http_parser *parser = parse_owner(llhttp);
    struct http_request *request = parser->request;
    bool first_piece = !parser->in_name;
    parser->in_name = true;
    if (parser->stage == HTTP_STAGE_CHUNKS) { /* a trailer: counted and dropped */
        parser->trailer_count += first_piece;
        if (parser->trailer_count > HTTP_HEADERS_MAX)
            return parse_refuse(parser, ERR_HEADERS_TOO_LARGE);
        return parse_count_extra(parser, len, ERR_HEADERS_TOO_LARGE);
    }
    if (first_piece) {
        if (request->header_count == HTTP_HEADERS_MAX)
            return parse_refuse(parser, ERR_HEADERS_TOO_LARGE);
        request->headers[request->header_count++] = (struct http_header){{"", 0}, {"", 0}};
    }
    parse_extend(&request->headers[request->header_count - 1].name, at, len);
    return 0;
}

static int parse_on_header_value(llhttp_t *llhttp, const char *at, size_t len) {
    struct http_parser *parser = parse_owner(llhttp);
    if (parser->stage == HTTP_STAGE_CHUNKS)
        return parse_count_extra(parser, len, ERR_HEADERS_TOO_LARGE);
    parse_extend(&parser->request->headers[parser->request->header_count - 1].value, at, len);
    return 0;
}

static int parse_on_header_end(llhttp_t *llhttp) {
    parse_owner(llhttp)->in_name = false;
    return 0;
}

/* Everything behind the head is decided outside of llhttp, where the position is known. */
static int parse_on_head(llhttp_t *llhttp) {
    (void)llhttp;
    return HPE_PAUSED;
}

static int parse_on_chunk(llhttp_t *llhttp) {
    struct http_parser *parser = parse_owner(llhttp);
    if (llhttp->content_length > parser->limits->body_max - parser->body.len)
        return parse_refuse(parser, ERR_TOO_LARGE);
    return 0;
}

static int parse_on_chunk_extension(llhttp_t *llhttp, const char *at, size_t len) {
    (void)at;
    return parse_count_extra(parse_owner(llhttp), len, ERR_BAD_REQUEST);
}

static int parse_on_body(llhttp_t *llhttp, const char *at, size_t len) {
    struct http_parser *parser = parse_owner(llhttp);
    buf_append(&parser->body, at, len);
    return parser->body.failed ? parse_refuse(parser, ERR_UNAVAILABLE) : 0;
}

static int parse_on_end(llhttp_t *llhttp) {
    parse_owner(llhttp)->stage = HTTP_STAGE_WHOLE;
    return HPE_PAUSED;
}

static const llhttp_settings_t parse_settings = {
    .on_method = parse_on_method,
    .on_url = parse_on_url,
    .on_version = parse_on_version,
    .on_header_field = parse_on_header_name,
    .on_header_value = parse_on_header_value,
    .on_header_value_complete = parse_on_header_end,
    .on_headers_complete = parse_on_head,
    .on_chunk_header = parse_on_chunk,
    .on_chunk_extension_name = parse_on_chunk_extension,
    .on_chunk_extension_value = parse_on_chunk_extension,
    .on_body = parse_on_body,
    .on_message_complete = parse_on_end,
};

void http_parser_init(struct http_parser *parser, const struct http_limits *limits) {
    parser->limits = limits;
}

void http_parser_fini(struct http_parser *parser) {
    buf_fini(&parser->body);
}

void http_parser_begin(struct http_parser *parser, struct http_request *request) {
    /* Not the whole struct: the headers are 3 KiB, and those in front of header_count are written anyway. */
    request->method = request->target = request->path = request->query = request->body =
        (struct http_slice){"", 0};
    request->header_count = 0;
    request->head = request->keep_alive = false;
    request->received_ns = 0;
    parser->request = request;
    parser->stage = HTTP_STAGE_START;
    parser->http10 = parser->expect_continue = parser->in_name = false;
    parser->body_in_place = true;
    parser->body_left = 0;
    buf_clear(&parser->body);
    parser->fed_before = parser->line_bytes = parser->extra_bytes = 0;
    parser->trailer_count = 0;
    parser->refusal = ERR_OK;
}

static int parse_explain(struct http_parser *parser, struct err *err) {
    const struct http_limits *limits = parser->limits;
    switch (parser->refusal) {
    case ERR_OK:
        return err_set(err, ERR_BAD_REQUEST, "malformed request: %s",
                       llhttp_get_error_reason(&parser->llhttp));
    case ERR_URI_TOO_LONG:
        return err_set(err, ERR_URI_TOO_LONG, "the request line is longer than %zu bytes", limits->line_max);
    case ERR_HEADERS_TOO_LARGE:
        return err_set(err, ERR_HEADERS_TOO_LARGE,
                       "the headers are over the limit of %d headers or %zu bytes", HTTP_HEADERS_MAX,
                       limits->headers_max);
    case ERR_TOO_LARGE:
        return err_set(err, ERR_TOO_LARGE, "the body is larger than %zu bytes", limits->body_max);
    case ERR_UNAVAILABLE:
        return err_set(err, ERR_UNAVAILABLE, "no memory for the request's body");
    default:
        return err_set(err, parser->refusal, "malformed request: too many bytes of chunk extensions");
    }
}

static bool parse_is_token(const struct http_slice *slice, const char *token) {
    return slice->len == strlen(token) && strncasecmp(slice->data, token, slice->len) == 0;
}

/* The white space behind a value is not a part of it (that before it was not taken by llhttp). */
static void parse_trim(struct http_slice *value) {
    while (value->len > 0 && (value->data[value->len - 1] == ' ' || value->data[value->len - 1] == '\t'))
        value->len--;
}

static void parse_find_facts(struct http_request *request, struct parse_facts *facts) {
    for (size_t i = 0; i < request->header_count; i++) {
        struct http_header *header = &request->headers[i];
        parse_trim(&header->value);
        switch (header->name.len) {
        case 4:
            if (parse_is_token(&header->name, "host")) {
                facts->host = &header->value;
                facts->host_count++;
            }
            break;
        case 6:
            if (parse_is_token(&header->name, "expect"))
                facts->expect = &header->value;
            break;
        case 14:
            facts->length_count += parse_is_token(&header->name, "content-length");
            break;
        case 17:
            if (parse_is_token(&header->name, "transfer-encoding")) {
                facts->coding = &header->value;
                facts->coding_count++;
            }
            break;
        default:
            break;
        }
    }
}

/* origin-form, absolute-form, or the asterisk of OPTIONS (RFC 9112, 3.2). */
static int parse_split_target(struct http_request *request, struct err *err) {
    const char *at = request->target.data, *end = at + request->target.len;
    bool asterisk = request->target.len == 1 && *at == '*' && parse_is_token(&request->method, "OPTIONS");
    size_t scheme = 0;
    if (request->target.len > 7 && strncasecmp(at, "http://", 7) == 0)
        scheme = 7;
    else if (request->target.len > 8 && strncasecmp(at, "https://", 8) == 0)
        scheme = 8;
    if (scheme)
        for (at += scheme; at < end && *at != '/' && *at != '?';)
            at++;
    else if (!asterisk && (at == end || *at != '/'))
        return err_set(err, ERR_BAD_REQUEST, "malformed request: the target is not a path");
    if (memchr(request->target.data, '#', request->target.len))
        return err_set(err, ERR_BAD_REQUEST, "malformed request: a fragment in the target");
    const char *mark = memchr(at, '?', (size_t)(end - at));
    const char *path_end = mark ? mark : end;
    request->path =
        path_end > at ? (struct http_slice){at, (size_t)(path_end - at)} : (struct http_slice){"/", 1};
    if (mark)
        request->query = (struct http_slice){mark + 1, (size_t)(end - mark - 1)};
    return 0;
}

static bool parse_host_is_sane(const struct http_slice *host) {
    static const bool refused[256] = {['/'] = true, ['\\'] = true, ['?'] = true, ['#'] = true, ['@'] = true,
                                      [','] = true, ['<'] = true,  ['>'] = true, ['"'] = true};
    for (size_t i = 0; i < host->len; i++)
        if ((unsigned char)host->data[i] <= ' ' || refused[(unsigned char)host->data[i]])
            return false;
    return true;
}

static int parse_check_framing(const struct http_parser *parser, const struct parse_facts *facts,
                               struct err *err) {
    if (facts->length_count > 1)
        return err_set(err, ERR_BAD_REQUEST, "malformed request: more than one Content-Length");
    if (facts->coding_count && facts->length_count)
        return err_set(err, ERR_BAD_REQUEST, "malformed request: Content-Length beside Transfer-Encoding");
    if (facts->coding_count &&
        (facts->coding_count > 1 || parser->http10 || !parse_is_token(facts->coding, "chunked")))
        return err_set(err, ERR_BAD_REQUEST, "malformed request: a Transfer-Encoding other than chunked");
    if (facts->host_count > 1 || (facts->host && !parse_host_is_sane(facts->host)))
        return err_set(err, ERR_BAD_REQUEST, "malformed request: more than one Host, or a bad one");
    if (!facts->host && !parser->http10)
        return err_set(err, ERR_BAD_REQUEST, "malformed request: HTTP/1.1 without Host");
    return 0;
}

/* The head is whole and took head_bytes: is it one we answer, and what follows? */
static int parse_check_head(struct http_parser *parser, size_t head_bytes, struct err *err) {
    struct http_request *request = parser->request;
    llhttp_t *llhttp = &parser->llhttp;
    if (llhttp->http_major != 1 || llhttp->http_minor > 1)
        return err_set(err, ERR_BAD_REQUEST, "malformed request: HTTP version is not 1.0 or 1.1");
    parser->http10 = llhttp->http_minor == 0;
    /* Exactly "METHOD target HTTP/1.x": llhttp also takes more spaces, and other protocols. */
    if (parser->line_bytes != request->method.len + request->target.len + sizeof "  HTTP/1.1" - 1 ||
        memcmp(request->target.data + request->target.len, " HTTP/1.", 8) != 0)
        return err_set(err, ERR_BAD_REQUEST, "malformed request: not a request line of HTTP/1.1");
    if (head_bytes - parser->line_bytes > parser->limits->headers_max) {
        parser->refusal = ERR_HEADERS_TOO_LARGE;
        return parse_explain(parser, err);
    }
    if (llhttp->method == HTTP_CONNECT)
        return err_set(err, ERR_METHOD, "CONNECT: this is not a proxy");

    struct parse_facts facts = {0};
    parse_find_facts(request, &facts);
    int rc = parse_check_framing(parser, &facts, err);
    if (rc == 0)
        rc = parse_split_target(request, err);
    if (rc < 0)
        return rc;
    request->head = llhttp->method == HTTP_HEAD;
    request->keep_alive = llhttp_should_keep_alive(llhttp) != 0;
    if (facts.expect && !parser->http10) {
        if (!parse_is_token(facts.expect, "100-continue"))
            return err_set(err, ERR_EXPECTATION, "an expectation other than 100-continue");
        parser->expect_continue = facts.coding_count || llhttp->content_length > 0;
    }
    if (facts.length_count && llhttp->content_length > parser->limits->body_max)
        return err_set(err, ERR_TOO_LARGE, "a body of %llu bytes is over the limit of %zu bytes",
                       (unsigned long long)llhttp->content_length, parser->limits->body_max);
    if (facts.coding_count) {
        parser->body_in_place = false;
        parser->stage = HTTP_STAGE_CHUNKS;
        llhttp->upgrade = 0; /* Upgrade is declined by not answering it */
        llhttp_resume(llhttp);
    } else {
        parser->body_left = facts.length_count ? llhttp->content_length : 0;
        parser->stage = parser->body_left ? HTTP_STAGE_LENGTH : HTTP_STAGE_WHOLE;
    }
    return 0;
}

static int parse_feed_head(struct http_parser *parser, const char *data, size_t len, size_t *ret_used,
                           struct err *err) {
    size_t skipped = 0;
    if (parser->stage == HTTP_STAGE_START) {
        /* An empty line before a request line is the trace of an old client's bug (RFC 9112, 2.2). */
        while (skipped < len && (data[skipped] == '\r' || data[skipped] == '\n'))
            skipped++;
        *ret_used = parser->head_bytes = skipped;
        if (skipped == len)
            return 0;
        llhttp_init(&parser->llhttp, HTTP_REQUEST, &parse_settings);
        parser->llhttp.data = parser;
        parser->stage = HTTP_STAGE_HEAD;
    }
    data += skipped;
    len -= skipped;
    parser->fed = data;
    llhttp_errno_t result = llhttp_execute(&parser->llhttp, data, len);
    if (result == HPE_PAUSED) {
        size_t used = (size_t)(llhttp_get_error_pos(&parser->llhttp) - data);
        *ret_used = skipped + used;
        parser->head_bytes += parser->fed_before + used;
        return parse_check_head(parser, parser->fed_before + used, err);
    }
    if (result != HPE_OK)
        return parse_explain(parser, err);
    *ret_used = skipped + len;
    parser->fed_before += len;
    if (parser->line_bytes == 0 && parser->fed_before > parser->limits->line_max)
        parser->refusal = ERR_URI_TOO_LONG;
    else if (parser->line_bytes && parser->fed_before - parser->line_bytes > parser->limits->headers_max)
        parser->refusal = ERR_HEADERS_TOO_LARGE;
    return parser->refusal == ERR_OK ? 0 : parse_explain(parser, err);
}

static int parse_feed_length(struct http_parser *parser, const char *data, size_t len, size_t *ret_used,
                             struct err *err) {
    size_t take = len < parser->body_left ? len : (size_t)parser->body_left;
    if (parser->body_in_place)
        parse_extend(&parser->request->body, data, take);
    else if (parser->body.data + parser->body.len == (const uint8_t *)data)
        parser->body.len += take; /* read straight to its place */
    else
        buf_append(&parser->body, data, take);
    if (parser->body.failed) {
        parser->refusal = ERR_UNAVAILABLE;
        return parse_explain(parser, err);
    }
    parser->body_left -= take;
    *ret_used = take;
    if (parser->body_left == 0)
        parser->stage = HTTP_STAGE_WHOLE;
    return 0;
}

static int parse_feed_chunks(struct http_parser *parser, const char *data, size_t len, size_t *ret_used,
                             struct err *err) {
    llhttp_errno_t result = llhttp_execute(&parser->llhttp, data, len);
    if (result == HPE_OK)
        *ret_used = len;
    else if (result == HPE_PAUSED && parser->stage == HTTP_STAGE_WHOLE)
        *ret_used = (size_t)(llhttp_get_error_pos(&parser->llhttp) - data);
    else
        return parse_explain(parser, err);
    return 0;
}

int http_parser_feed(struct http_parser *parser, const char *data, size_t len, size_t *ret_used,
                     struct err *err) {
    size_t used = 0;
    int rc = 0;
    while (rc == 0 && used < len && parser->stage != HTTP_STAGE_WHOLE) {
        size_t taken = 0;
        if (parser->stage <= HTTP_STAGE_HEAD)
            rc = parse_feed_head(parser, data + used, len - used, &taken, err);
        else if (parser->stage == HTTP_STAGE_LENGTH)
            rc = parse_feed_length(parser, data + used, len - used, &taken, err);
        else
            rc = parse_feed_chunks(parser, data + used, len - used, &taken, err);
        used += taken;
    }
    if (rc < 0)
        return rc;
    *ret_used = used;
    if (parser->stage != HTTP_STAGE_WHOLE)
        return 0;
    if (!parser->body_in_place)
        parser->request->body =
            (struct http_slice){parser->body.len ? (const char *)parser->body.data : "", parser->body.len};
    return 1;
}

struct parse_shift {
    const char *from, *to;
    size_t len;
};

static void parse_shift_slice(struct http_slice *slice, const struct parse_shift *shift) {
    if (slice->len && slice->data >= shift->from && slice->data < shift->from + shift->len)
        slice->data = shift->to + (slice->data - shift->from);
}

void http_parser_move(struct http_parser *parser, const char *from, size_t len, const char *to) {
    struct http_request *request = parser->request;
    struct parse_shift shift = {from, to, len};
    parse_shift_slice(&request->method, &shift);
    parse_shift_slice(&request->target, &shift);
    parse_shift_slice(&request->path, &shift);
    parse_shift_slice(&request->query, &shift);
    for (size_t i = 0; i < request->header_count; i++) {
        parse_shift_slice(&request->headers[i].name, &shift);
        parse_shift_slice(&request->headers[i].value, &shift);
    }
    if (parser->body_in_place)
        parse_shift_slice(&request->body, &shift);
}

int http_parser_spill(struct http_parser *parser, size_t room, struct err *err) {
    if (room > parser->body_left)
        room = (size_t)parser->body_left;
    if (parser->body_in_place) {
        parser->body_in_place = false;
        struct http_slice have = parser->request->body;
        parser->request->body = (struct http_slice){"", 0};
        buf_reserve(&parser->body, have.len + room);
        buf_append(&parser->body, have.data, have.len);
    }
    if (buf_reserve(&parser->body, room))
        return 0;
    parser->refusal = ERR_UNAVAILABLE;
    return parse_explain(parser, err);
}
