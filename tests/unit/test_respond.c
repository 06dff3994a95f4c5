/* What a function's answer may say about itself: status and headers, from entries and from CGI. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/gateway_internal.h"

#define TEXT(literal) ((struct call_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

static void test_respond_entries(struct call_bytes entries, struct call_bytes output, int want_status,
                                 const char *want_head) {
    struct call_answer answer = {.code = ERR_OK, .head = entries, .output = output};
    struct buf head = {0};
    struct err err;
    int status;
    int rc = respond_head_of_entries(&answer, &status, &head, &err);
    if (want_status == 0) {
        assert_int_equal(rc, -ERR_BAD_ANSWER);
    } else {
        assert_int_equal(rc, 0);
        assert_int_equal(status, want_status);
        assert_int_equal(head.len, strlen(want_head));
        assert_memory_equal(head.data, want_head, head.len);
    }
    buf_fini(&head);
}

static void entries_give_status_and_headers(void **state) {
    (void)state;
    test_respond_entries(TEXT("status=404\0h:content-type=text/html\0h:x-a=1\0h:x-a=2\0"), TEXT("x"), 404,
                         "content-type: text/html\r\nx-a: 1\r\nx-a: 2\r\n");
    test_respond_entries(TEXT(""), TEXT("plain"), 200, "Content-Type: text/plain; charset=utf-8\r\n");
    test_respond_entries(TEXT(""), TEXT("\xff\xfe"), 200, "Content-Type: application/octet-stream\r\n");
    test_respond_entries(TEXT("json=1\0"), TEXT("{}"), 200, "Content-Type: application/json\r\n");
}

static void headers_of_the_platform_cannot_be_set(void **state) {
    (void)state;
    test_respond_entries(
        TEXT("h:Content-Length=5\0h:transfer-encoding=chunked\0h:connection=close\0h:x-call-id=me\0"
             "h:content-type=a/b\0"),
        TEXT("x"), 200, "content-type: a/b\r\n");
}

static void answers_that_make_no_sense_are_refused(void **state) {
    (void)state;
    test_respond_entries(TEXT("status=abc\0"), TEXT(""), 0, NULL);
    test_respond_entries(TEXT("status=100\0"), TEXT(""), 0, NULL);
    test_respond_entries(TEXT("status=600\0"), TEXT(""), 0, NULL);
    test_respond_entries(TEXT("h:x y=1\0"), TEXT(""), 0, NULL);
    test_respond_entries(TEXT("h:x\r\nset-cookie=1\0"), TEXT(""), 0, NULL);
    test_respond_entries(TEXT("h:x=a\r\nset-cookie: b\0"), TEXT(""), 0, NULL);
    test_respond_entries(TEXT("h:x=a\nb\0"), TEXT(""), 0, NULL);
}

static void test_respond_cgi(struct call_bytes output, int want_status, const char *want_head,
                             const char *want_body) {
    struct buf head = {0};
    struct err err;
    struct call_bytes body;
    int status;
    int rc = respond_head_of_cgi(output, &status, &head, &body, &err);
    if (want_status == 0) {
        assert_int_equal(rc, -ERR_BAD_ANSWER);
    } else {
        assert_int_equal(rc, 0);
        assert_int_equal(status, want_status);
        assert_int_equal(head.len, strlen(want_head));
        assert_memory_equal(head.data, want_head, head.len);
        assert_int_equal(body.len, strlen(want_body));
        assert_memory_equal(body.data, want_body, body.len);
    }
    buf_fini(&head);
}

static void cgi_responses(void **state) {
    (void)state;
    test_respond_cgi(TEXT("Content-Type: text/html\n\n<p>\n\n"), 200, "Content-Type: text/html\r\n",
                     "<p>\n\n");
    test_respond_cgi(TEXT("Status: 404 Not Found\r\nContent-Type: a/b\r\n\r\nno"), 404,
                     "Content-Type: a/b\r\n", "no");
    test_respond_cgi(TEXT("Location: /there\n\n"), 302, "Location: /there\r\n", "");
    test_respond_cgi(TEXT("Status: 204\n\n"), 204, "", "");
    test_respond_cgi(TEXT("hello\n\n"), 0, NULL, NULL);
    test_respond_cgi(TEXT("Content-Type: text/html\n"), 0, NULL, NULL);
    test_respond_cgi(TEXT(""), 0, NULL, NULL);
    test_respond_cgi(TEXT("X-A: 1\n\nbody"), 0, NULL, NULL);
    test_respond_cgi(TEXT("Status: 99\n\n"), 0, NULL, NULL);
    test_respond_cgi(TEXT("Content-Type: a/b\nX\0Y: 1\n\n"), 0, NULL, NULL);
    test_respond_cgi(TEXT("Content-Type: a/b\nX: 1\0\n\n"), 0, NULL, NULL);
    test_respond_cgi(TEXT("Content-Type: a/b\nX: 1\rSet-Cookie: a\n\n"), 0, NULL, NULL);
    test_respond_cgi(TEXT("Content-Type: a/b\n X: 1\n\n"), 0, NULL, NULL);
    test_respond_cgi(TEXT("Content-Type: a/b\n: 1\n\n"), 0, NULL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_give_status_and_headers),
        cmocka_unit_test(headers_of_the_platform_cannot_be_set),
        cmocka_unit_test(answers_that_make_no_sense_are_refused),
        cmocka_unit_test(cgi_responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
