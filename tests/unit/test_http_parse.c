/* The request parser: every request is fed whole, and cut in two at every position, and byte by byte, from
 * memory that moves between the parts; all must come out the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/parse.h"

enum { BYTE_BY_BYTE = -1 };

static const struct http_limits limits = {.line_max = 100, .headers_max = 400, .body_max = 64};

struct outcome {
    int rc; /* of the last feed */
    size_t used;
    struct http_request request;
    struct http_parser parser;
    char *data; /* what the request points into */
    struct err err;
};

static void outcome_fini(struct outcome *outcome) {
    http_parser_fini(&outcome->parser);
    free(outcome->data);
}

/* Feeds text up to `end`, from a fresh copy of it all. */
static void outcome_feed(struct outcome *outcome, const char *text, size_t end) {
    char *data = malloc(end + 1); /* exactly: a read beyond is seen by the sanitizer */
    assert_non_null(data);
    memcpy(data, text, end);
    if (outcome->data) {
        http_parser_move(&outcome->parser, outcome->data, outcome->used, data);
        free(outcome->data);
    }
    outcome->data = data;
    size_t used = 0;
    outcome->rc =
        http_parser_feed(&outcome->parser, data + outcome->used, end - outcome->used, &used, &outcome->err);
    if (outcome->rc == 0)
        assert_int_equal(used, end - outcome->used);
    outcome->used += used;
}

static void outcome_run(struct outcome *outcome, const char *text, size_t len, int cut) {
    memset(outcome, 0, sizeof *outcome);
    http_parser_init(&outcome->parser, &limits);
    http_parser_begin(&outcome->parser, &outcome->request);
    for (size_t end = 1; cut == BYTE_BY_BYTE && end < len && outcome->rc == 0; end++)
        outcome_feed(outcome, text, end);
    if (cut > 0)
        outcome_feed(outcome, text, (size_t)cut);
    if (outcome->rc == 0)
        outcome_feed(outcome, text, len);
}

static void assert_slice(struct http_slice slice, const char *text) {
    assert_int_equal(slice.len, strlen(text));
    assert_memory_equal(slice.data, text, slice.len);
}

struct good {
    const char *text, *method, *path, *query, *body;
    size_t header_count, left; /* left: bytes of the next request */
    bool keep_alive, expect;
};

static const struct good goods[] = {
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/", "", "", 1, 0, true, false},
    {"GET / HTTP/1.0\r\n\r\n", "GET", "/", "", "", 0, 0, false, false},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET", "/", "", "", 1, 0, true, false},
    {"HEAD /a?b=c?d HTTP/1.1\r\nhOST:x:80\r\nConnection: close\r\n\r\n", "HEAD", "/a", "b=c?d", "", 2, 0,
     false, false},
    {"\r\n\r\nGET /a? HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/a", "", "", 1, 0, true, false},
    {"POST /invoke?fn=x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET ", "POST", "/invoke", "fn=x",
     "hello", 2, 4, true, false},
    {"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "PUT", "/a", "", "", 2, 0, true, false},
    {"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
     "Chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n3\r\n\\\r\n\r\n0\r\nTrailer: t\r\n\r\n"
     "X",
     "PUT", "/a", "", "hello\\\r\n", 2, 1, true, false},
    {"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n000\r\n\r\n", "PUT", "/a", "", "", 2, 0,
     true, false},
    {"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nb", "POST", "/a", "",
     "b", 3, 0, true, true},
    {"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", "POST", "/a", "", "", 2, 0, true, false},
    {"POST /a HTTP/1.0\r\nExpect: something\r\nContent-Length: 1\r\n\r\nb", "POST", "/a", "", "b", 2, 0,
     false, false},
    {"GET http://example.org/p?q HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/p", "q", "", 1, 0, true, false},
    {"GET HTTP://example.org HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/", "", "", 1, 0, true, false},
    {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS", "*", "", "", 1, 0, true, false},
    {"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\nZ", "GET", "/",
     "", "", 3, 1, true, false},
    {"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: "
     "chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
     "POST", "/", "", "a", 4, 0, true, false},
    {"GET / HTTP/1.1\r\nHost: x\r\nEmpty:\r\nPad: \t a b\t \r\nHigh: \xc3\xa9\r\n\r\n", "GET", "/", "", "", 4,
     0, true, false},
};

static void check_good(const struct good *good, int cut) {
    struct outcome outcome;
    size_t len = strlen(good->text);
    outcome_run(&outcome, good->text, len, cut);
    if (outcome.rc != 1)
        print_error("%s (cut %d): %d %s\n", good->text, cut, outcome.rc,
                    outcome.rc < 0 ? outcome.err.msg : "");
    assert_int_equal(outcome.rc, 1);
    const struct http_request *request = &outcome.request;
    assert_slice(request->method, good->method);
    assert_slice(request->path, good->path);
    assert_slice(request->query, good->query);
    assert_int_equal(request->body.len, strlen(good->body));
    assert_memory_equal(request->body.data, good->body, request->body.len);
    assert_int_equal(request->header_count, good->header_count);
    assert_int_equal(request->keep_alive, good->keep_alive);
    assert_int_equal(outcome.parser.expect_continue, good->expect);
    assert_int_equal(request->head, strcmp(good->method, "HEAD") == 0);
    if (cut <= 0 || (size_t)cut <= len - good->left)
        assert_int_equal(outcome.used, len - good->left);
    const char *head_end = strstr(good->text + 4, "\r\n\r\n") + 4;
    if (cut == 0)
        assert_int_equal(outcome.parser.head_bytes, head_end - good->text);
    outcome_fini(&outcome);
}

static void requests_come_out_the_same_however_they_are_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        size_t end = strlen(goods[i].text) - goods[i].left;
        for (int cut = 0; (size_t)cut < end; cut++)
            check_good(&goods[i], cut);
        check_good(&goods[i], BYTE_BY_BYTE);
    }
}

static void header_values_are_trimmed_and_found_in_any_case(void **state) {
    (void)state;
    const struct good *good = &goods[sizeof goods / sizeof *goods - 1];
    for (int cut = BYTE_BY_BYTE; (size_t)(cut + 1) < strlen(good->text); cut++) {
        struct outcome outcome;
        outcome_run(&outcome, good->text, strlen(good->text), cut);
        assert_slice(*http_request_header(&outcome.request, "PAD"), "a b");
        assert_slice(*http_request_header(&outcome.request, "empty"), "");
        assert_slice(*http_request_header(&outcome.request, "high"), "\xc3\xa9");
        assert_null(http_request_header(&outcome.request, "pa"));
        outcome_fini(&outcome);
    }
}

struct bad {
    enum err_code code;
    const char *text;
    size_t len; /* 0: strlen */
};
#define HOST "Host: x\r\n"
#define BYTES(text) (text), sizeof(text) - 1

static const struct bad bads[] = {
    /* two lengths */
    {ERR_BAD_REQUEST,
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST,
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\nabc", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\nabc", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3 3\r\n\r\nabc", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\nabc", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\nabc", 0},
    {ERR_BAD_REQUEST,
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \r\n\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0},
    /* chunks */
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
     0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n\r\na\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na0\r\n\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n\r\n",
     0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
     0},
    {ERR_BAD_REQUEST,
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\nA : b\r\n\r\n", 0},
    {ERR_TOO_LARGE, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n41\r\n", 0},
    {ERR_TOO_LARGE, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 0},
    {ERR_TOO_LARGE, "POST / HTTP/1.1\r\n" HOST "Content-Length: 65\r\n\r\n", 0},
    /* lines */
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\nHost: x\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\nHost: x\r\n\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "A: b\r\n\tc\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n Host: x\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\nHost : x\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "A B: c\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", 0},
    {ERR_BAD_REQUEST, BYTES("GET / HTTP/1.1\r\n" HOST "A: b\0c\r\n\r\n")},
    {ERR_BAD_REQUEST, BYTES("GET / HTTP/1.1\r\n" HOST "A\0: b\r\n\r\n")},
    {ERR_BAD_REQUEST, BYTES("GET /\0 HTTP/1.1\r\n" HOST "\r\n")},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "A: b\x7f\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET  / HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET /  HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1 \r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET /\t HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET /a b HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET /a#b HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET a HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET * HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET ftp://x/ HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "get / HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "NONSENSE / HTTP/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "\x16\x03\x01\x02", 0},
    {ERR_BAD_REQUEST, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/2.0\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.2\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/0.9\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET / http/1.1\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET / RTSP/1.0\r\n" HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET /\r\n\r\n", 0},
    {ERR_METHOD, "CONNECT x:80 HTTP/1.1\r\n" HOST "\r\n", 0},
    /* what an answer would depend on */
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST HOST "\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0},
    {ERR_BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 0},
    {ERR_EXPECTATION, "GET / HTTP/1.1\r\n" HOST "Expect: coffee\r\n\r\n", 0},
    {ERR_EXPECTATION, "GET / HTTP/1.1\r\n" HOST "Expect:\r\n\r\n", 0},
};

static void what_could_be_read_in_two_ways_is_refused_however_it_is_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        size_t len = bads[i].len ? bads[i].len : strlen(bads[i].text);
        for (int cut = BYTE_BY_BYTE; cut < (int)len; cut++) {
            struct outcome outcome;
            outcome_run(&outcome, bads[i].text, len, cut);
            if (outcome.rc != -(int)bads[i].code)
                print_error("%s (cut %d): %d\n", bads[i].text, cut, outcome.rc);
            assert_int_equal(outcome.rc, -(int)bads[i].code);
            assert_true(outcome.err.msg[0]);
            outcome_fini(&outcome);
        }
    }
}

/* --- limits -----------------------------------------------------------------------------------------------
 */

static int run_built(const struct buf *buf, int cut) {
    struct outcome outcome;
    outcome_run(&outcome, (const char *)buf->data, buf->len, cut);
    int rc = outcome.rc;
    outcome_fini(&outcome);
    return rc;
}

static void repeat(struct buf *buf, const char *text, size_t count) {
    while (count-- > 0)
        buf_append_str(buf, text);
}

static void a_request_line_over_the_limit_is_414(void **state) {
    (void)state;
    for (size_t over = 0; over <= 1; over++) {
        struct buf buf = {0};
        buf_append_str(&buf, "GET /");
        repeat(&buf, "a", limits.line_max - strlen("GET / HTTP/1.1") + over);
        buf_append_str(&buf, " HTTP/1.1\r\nHost: x\r\n\r\n");
        for (int cut = BYTE_BY_BYTE; cut < (int)buf.len; cut++)
            assert_int_equal(run_built(&buf, cut), over ? -ERR_URI_TOO_LONG : 1);
        buf_fini(&buf);
    }
    struct buf endless = {0};
    buf_append_str(&endless, "GET ");
    repeat(&endless, "/", 5000);
    assert_int_equal(run_built(&endless, 0), -ERR_URI_TOO_LONG);
    assert_int_equal(run_built(&endless, BYTE_BY_BYTE), -ERR_URI_TOO_LONG);
    buf_fini(&endless);
    buf_append_str(&endless, "GET ");
    repeat(&endless, " ", 5000);
    assert_true(run_built(&endless, BYTE_BY_BYTE) < 0);
    buf_fini(&endless);
}

static void headers_over_the_limit_of_bytes_are_431(void **state) {
    (void)state;
    for (size_t over = 0; over <= 1; over++) {
        struct buf buf = {0};
        buf_append_str(&buf, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
        repeat(&buf, "a", limits.headers_max - strlen("\r\nHost: x\r\nA: \r\n\r\n") + over);
        buf_append_str(&buf, "\r\n\r\n");
        for (int cut = BYTE_BY_BYTE; cut < (int)buf.len; cut++)
            assert_int_equal(run_built(&buf, cut), over ? -ERR_HEADERS_TOO_LARGE : 1);
        buf_fini(&buf);
    }
    static const char *const endless[] = {"a", " ", "b:\r\n", "c: d\r\n"};
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        struct buf buf = {0};
        buf_append_str(&buf, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
        buf_append_str(&buf, i >= 2 ? "\r\n" : "");
        repeat(&buf, endless[i], 1000);
        assert_int_equal(run_built(&buf, 0), -ERR_HEADERS_TOO_LARGE);
        assert_int_equal(run_built(&buf, BYTE_BY_BYTE), -ERR_HEADERS_TOO_LARGE);
        buf_fini(&buf);
    }
}

static void more_headers_than_the_list_holds_are_431(void **state) {
    (void)state;
    static const struct http_limits roomy = {.line_max = 100, .headers_max = 100000, .body_max = 10};
    for (size_t over = 0; over <= 1; over++) {
        struct buf buf = {0};
        buf_append_str(&buf, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n");
        repeat(&buf, "a: b\r\n", HTTP_HEADERS_MAX - 2 + over);
        buf_append_str(&buf, "\r\n0\r\n");
        repeat(&buf, "a: b\r\n", HTTP_HEADERS_MAX);
        buf_append_str(&buf, "\r\n");
        struct http_parser parser = {0};
        struct http_request request;
        struct err err;
        size_t used;
        http_parser_init(&parser, &roomy);
        http_parser_begin(&parser, &request);
        int rc = http_parser_feed(&parser, (const char *)buf.data, buf.len, &used, &err);
        assert_int_equal(rc, over ? -ERR_HEADERS_TOO_LARGE : 1);
        http_parser_fini(&parser);
        buf_fini(&buf);
    }
}

static void trailers_and_chunk_extensions_are_bounded(void **state) {
    (void)state;
    static const char *const endless[] = {"1;", "0\r\na: ", "0\r\n"};
    static const char *const repeated[] = {"a=b;", "c", "a: b\r\n"};
    for (size_t i = 0; i < 3; i++) {
        struct buf buf = {0};
        buf_append_str(&buf, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        buf_append_str(&buf, endless[i]);
        repeat(&buf, repeated[i], 1000);
        assert_true(run_built(&buf, 0) < 0);
        assert_true(run_built(&buf, BYTE_BY_BYTE) < 0);
        buf_fini(&buf);
    }
}

static void a_body_of_exactly_the_limit_passes_and_one_more_byte_is_413(void **state) {
    (void)state;
    for (size_t over = 0; over <= 1; over++) {
        struct buf buf = {0};
        buf_append_str(&buf, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (size_t i = 0; i < limits.body_max + over; i++)
            buf_append_str(&buf, "1\r\nx\r\n");
        buf_append_str(&buf, "0\r\n\r\n");
        for (int cut = BYTE_BY_BYTE; cut < (int)buf.len; cut += 3)
            assert_int_equal(run_built(&buf, cut), over ? -ERR_TOO_LARGE : 1);
        buf_fini(&buf);
    }
}

static void a_spilled_body_is_whole(void **state) {
    (void)state;
    static const char text[] =
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz";
    size_t head_len = sizeof text - 1 - 26;
    for (size_t inside = 0; inside < 26; inside++) {
        struct outcome outcome;
        memset(&outcome, 0, sizeof outcome);
        http_parser_init(&outcome.parser, &limits);
        http_parser_begin(&outcome.parser, &outcome.request);
        outcome_feed(&outcome, text, head_len + inside);
        assert_int_equal(outcome.rc, 0);
        const char *rest = text + head_len + inside, *end = text + sizeof text - 1;
        while (rest < end) {
            assert_int_equal(http_parser_spill(&outcome.parser, 7, &outcome.err), 0);
            struct buf *body = &outcome.parser.body;
            size_t part = (size_t)(end - rest) < 7 ? (size_t)(end - rest) : 7, used;
            assert_true(body->cap - body->len >= part);
            char *at = (char *)body->data + body->len;
            memcpy(at, rest, part);
            outcome.rc = http_parser_feed(&outcome.parser, at, part, &used, &outcome.err);
            assert_int_equal(used, part);
            rest += part;
        }
        assert_int_equal(outcome.rc, 1);
        assert_slice(outcome.request.body, "abcdefghijklmnopqrstuvwxyz");
        outcome_fini(&outcome);
    }
}

/* --- query ------------------------------------------------------------------------------------------------
 */

static void query_parameters_are_decoded_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *query, *name, *value; /* NULL: an error or absent */
        int rc;
    } cases[] = {
        {"fn=hello", "fn", "hello", 1},
        {"a=1&fn=x+y%20z&fn=2", "fn", "x y z", 1},
        {"fn", "fn", "", 1},
        {"fn=", "fn", "", 1},
        {"&&fn=1&", "fn", "1", 1},
        {"f%6E=1", "fn", "1", 1},
        {"fn=a%3db%26", "fn", "a=b&", 1},
        {"fn=a=b", "fn", "a=b", 1},
        {"", "fn", NULL, 0},
        {"fnx=1&xfn=2&f=3", "fn", NULL, 0},
        {"fn=%", "fn", NULL, -ERR_BAD_REQUEST},
        {"fn=%4", "fn", NULL, -ERR_BAD_REQUEST},
        {"fn=%zz", "fn", NULL, -ERR_BAD_REQUEST},
        {"fn=%00", "fn", NULL, -ERR_BAD_REQUEST},
        {"a=%zz&fn=1", "fn", "1", 1},
        {"fn=1234567", "fn", "1234567", 1},
        {"fn=12345678", "fn", NULL, -ERR_BAD_REQUEST},
        {"%=1&fn=2", "fn", "2", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char value[8];
        struct err err;
        int rc = http_query_get((struct http_slice){cases[i].query, strlen(cases[i].query)}, cases[i].name,
                                value, sizeof value, &err);
        assert_int_equal(rc, cases[i].rc);
        if (cases[i].value)
            assert_string_equal(value, cases[i].value);
    }
}

static void every_status_of_the_error_table_has_a_text(void **state) {
    (void)state;
    for (int code = 0; code < ERR_COUNT; code++)
        if (strcmp(http_status_text(err_http_status(code)), "Unknown") == 0)
            fail_msg("%d", err_http_status(code));
    assert_string_equal(http_status_text(200), "OK");
    assert_string_equal(http_status_text(511), "Network Authentication Required");
    assert_string_equal(http_status_text(299), "Unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_come_out_the_same_however_they_are_cut),
        cmocka_unit_test(header_values_are_trimmed_and_found_in_any_case),
        cmocka_unit_test(what_could_be_read_in_two_ways_is_refused_however_it_is_cut),
        cmocka_unit_test(a_request_line_over_the_limit_is_414),
        cmocka_unit_test(headers_over_the_limit_of_bytes_are_431),
        cmocka_unit_test(more_headers_than_the_list_holds_are_431),
        cmocka_unit_test(trailers_and_chunk_extensions_are_bounded),
        cmocka_unit_test(a_body_of_exactly_the_limit_passes_and_one_more_byte_is_413),
        cmocka_unit_test(a_spilled_body_is_whole),
        cmocka_unit_test(query_parameters_are_decoded_or_refused),
        cmocka_unit_test(every_status_of_the_error_table_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
