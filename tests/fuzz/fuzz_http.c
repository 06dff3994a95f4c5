/* Any bytes to the request parser. What must hold: however they are cut and wherever they lie, the same
 * requests come out or the same refusal; every slice lies inside what it may lie in; and a request that was
 * accepted, written down again in the plainest form, reads as the same request. Input: one byte that seeds
 * the cuts, then the bytes of a connection. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/parse.h"

enum { FUZZ_REQUESTS_MAX = 8 };

static const struct http_limits limits = {.line_max = 200, .headers_max = 600, .body_max = 300};

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "violated: %s\n", #condition);                                                   \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

struct fuzz_input {
    const char *data;
    size_t len;
    uint32_t seed; /* 0: not cut */
};

/* Small steps mostly, so that cuts fall everywhere. */
static size_t fuzz_step(struct fuzz_input *input, size_t left) {
    if (input->seed == 0)
        return left;
    input->seed = input->seed * 1664525u + 1013904223u;
    uint32_t pick = input->seed >> 16;
    size_t step = 1 + (pick & 7 ? pick >> 3 & 7 : pick >> 3 & 255);
    return step < left ? step : left;
}

static void fuzz_write_slice(struct buf *buf, struct http_slice slice) {
    buf_append_u64(buf, slice.len);
    buf_append(buf, ":", 1);
    buf_append(buf, slice.data, slice.len); /* reads all of it, too */
}

static bool fuzz_is_framing(const struct http_slice *name) {
    return (name->len == 14 && strncasecmp(name->data, "content-length", 14) == 0) ||
           (name->len == 17 && strncasecmp(name->data, "transfer-encoding", 17) == 0);
}

static void fuzz_render(const struct http_parser *parser, struct buf *buf) {
    const struct http_request *request = parser->request;
    buf_append(buf, request->method.data, request->method.len);
    buf_append_str(buf, " ");
    buf_append(buf, request->target.data, request->target.len);
    buf_append_str(buf, parser->http10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
    for (size_t i = 0; i < request->header_count; i++) {
        if (fuzz_is_framing(&request->headers[i].name))
            continue;
        buf_append(buf, request->headers[i].name.data, request->headers[i].name.len);
        buf_append_str(buf, ": ");
        buf_append(buf, request->headers[i].value.data, request->headers[i].value.len);
        buf_append_str(buf, "\r\n");
    }
    buf_append_format(buf, "Content-Length: %zu\r\n\r\n", request->body.len);
    buf_append(buf, request->body.data, request->body.len);
}

/* All that a request says, as text; without the headers about framing, which a second writing has otherwise.
 */
static void fuzz_describe(const struct http_parser *parser, struct buf *buf) {
    const struct http_request *request = parser->request;
    fuzz_write_slice(buf, request->method);
    fuzz_write_slice(buf, request->target);
    fuzz_write_slice(buf, request->path);
    fuzz_write_slice(buf, request->query);
    fuzz_write_slice(buf, request->body);
    for (size_t i = 0; i < request->header_count; i++) {
        if (fuzz_is_framing(&request->headers[i].name))
            continue;
        fuzz_write_slice(buf, request->headers[i].name);
        fuzz_write_slice(buf, request->headers[i].value);
    }
    buf_append_format(buf, "%d%d%d;", request->head, request->keep_alive, parser->http10);
}

static void fuzz_check_round_trip(const struct http_parser *parser) {
    static const struct http_limits roomy = {.line_max = 1000, .headers_max = 10000, .body_max = 1000};
    struct buf text = {0}, before = {0}, after = {0};
    struct http_parser second = {0};
    struct http_request request;
    struct err err;
    size_t used = 0;
    if (parser->request->header_count == HTTP_HEADERS_MAX)
        return; /* no room for one more */
    fuzz_render(parser, &text);
    http_parser_init(&second, &roomy);
    http_parser_begin(&second, &request);
    CHECK(http_parser_feed(&second, (char *)text.data, text.len, &used, &err) == 1);
    CHECK(used == text.len);
    fuzz_describe(parser, &before);
    fuzz_describe(&second, &after);
    CHECK(before.len == after.len && memcmp(before.data, after.data, after.len) == 0);
    http_parser_fini(&second);
    buf_fini(&text);
    buf_fini(&before);
    buf_fini(&after);
}

/* One message from input->data[at] on, written into the log; *ret_used bytes. What was fed moves before each
 * part. */
static int fuzz_parse_one(struct http_parser *parser, struct fuzz_input *input, size_t at, struct buf *log,
                          size_t *ret_used) {
    char *memory = NULL;
    size_t fed = 0, left = input->len - at;
    struct http_request request;
    struct err err;
    int rc = 0;
    http_parser_begin(parser, &request);
    while (rc == 0 && fed < left) {
        size_t step = fuzz_step(input, left - fed), used = 0;
        char *moved = malloc(fed + step);
        CHECK(moved);
        memcpy(moved, input->data + at, fed + step);
        if (memory)
            http_parser_move(parser, memory, fed, moved);
        free(memory);
        memory = moved;
        if ((input->seed & 0x100) && parser->stage == HTTP_STAGE_LENGTH)
            CHECK(http_parser_spill(parser, step, &err) == 0);
        rc = http_parser_feed(parser, memory + fed, step, &used, &err);
        CHECK(rc < 0 || (used <= step && (rc == 1 || used == step)));
        fed += rc < 0 ? 0 : used;
    }
    if (rc == 1) {
        CHECK(request.body.len <= limits.body_max && request.target.len <= limits.line_max);
        CHECK(request.header_count <= HTTP_HEADERS_MAX);
        fuzz_describe(parser, log);
        fuzz_check_round_trip(parser);
    }
    *ret_used = fed;
    free(memory);
    return rc;
}

/* The requests of a connection, and how it ends, as text. */
static void fuzz_parse_all(struct fuzz_input input, struct buf *ret_log) {
    struct http_parser parser = {0};
    http_parser_init(&parser, &limits);
    int rc = 1;
    for (size_t at = 0, used = 0, count = 0; rc == 1 && at < input.len && count < FUZZ_REQUESTS_MAX;
         count++) {
        rc = fuzz_parse_one(&parser, &input, at, ret_log, &used);
        at += used;
    }
    buf_append_str(ret_log, rc < 0 ? "refused" : rc == 0 ? "incomplete" : "whole");
    http_parser_fini(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    struct fuzz_input input = {.data = (const char *)data + 1, .len = size - 1};
    struct buf whole = {0}, cut = {0};
    fuzz_parse_all(input, &whole);
    input.seed = data[0] + 1u;
    fuzz_parse_all(input, &cut);
    CHECK(!whole.failed && !cut.failed);
    CHECK(whole.len == cut.len && memcmp(whole.data, cut.data, cut.len) == 0);
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
