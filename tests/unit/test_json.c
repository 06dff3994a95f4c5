/* JSON out of any bytes: read back by jansson, which is not ours. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "gateway/json.h"

static json_t *test_json_parse(const struct buf *buf) {
    json_error_t where;
    json_t *root = json_loadb((const char *)buf->data, buf->len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &where);
    if (!root)
        fail_msg("not JSON: %s at %d: %.*s", where.text, where.position, (int)buf->len,
                 (const char *)buf->data);
    return root;
}

static void test_json_round_trip(const void *data, size_t len) {
    struct buf out = {0};
    json_append_string(&out, data, len);
    json_t *root = test_json_parse(&out);
    assert_int_equal(json_string_length(root), len);
    assert_memory_equal(json_string_value(root), data, len);
    json_decref(root);
    buf_fini(&out);
}

static void every_ascii_byte_comes_back(void **state) {
    (void)state;
    char text[128];
    for (int i = 0; i < 128; i++)
        text[i] = (char)i;
    test_json_round_trip(text, sizeof text);
    for (int i = 0; i < 128; i++)
        test_json_round_trip(text + i, 1);
}

static void a_mebibyte_of_quotes_comes_back(void **state) {
    (void)state;
    size_t len = 1 << 20;
    char *quotes = malloc(len);
    memset(quotes, '"', len);
    test_json_round_trip(quotes, len);
    free(quotes);
}

static void utf8_of_every_length_comes_back(void **state) {
    (void)state;
    const char *text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\x89 \xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf";
    assert_true(json_is_utf8(text, strlen(text)));
    test_json_round_trip(text, strlen(text));
}

static void what_is_not_utf8_is_told_apart(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\x80",         "\xc0\xaf",         "\xc1\xbf",         "\xe0\x80\xaf",
        "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",         "abcdefgh\xc3",     "abcdefgh\xe2\x82"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(json_is_utf8(bad[i], strlen(bad[i])));
        struct buf out = {0};
        json_append_string(&out, bad[i], strlen(bad[i]));
        json_decref(test_json_parse(&out)); /* still JSON */
        buf_fini(&out);
    }
}

static void bytes_that_are_no_text_go_out_as_base64(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *base64;
    } rows[] = {{"\xff", 1, "/w=="},
                {"\xff\xfe", 2, "//4="},
                {"\xff\xfe\xfd", 3, "//79"},
                {"\0\xff\0\xff", 4, "AP8A/w=="}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = {0};
        buf_append(&out, "{", 1);
        json_append_bytes(&out, "output", rows[i].bytes, rows[i].len);
        buf_append(&out, "}", 1);
        json_t *root = test_json_parse(&out);
        assert_string_equal(json_string_value(json_object_get(root, "output")), rows[i].base64);
        assert_string_equal(json_string_value(json_object_get(root, "encoding")), "base64");
        json_decref(root);
        buf_fini(&out);
    }
}

static void an_error_has_its_cause(void **state) {
    (void)state;
    struct buf out = {0};
    json_append_error(&out, ERR_OOM, "a \"quoted\" reason\n");
    json_t *root = test_json_parse(&out);
    assert_true(json_is_false(json_object_get(root, "ok")));
    assert_string_equal(json_string_value(json_object_get(root, "error")), "a \"quoted\" reason\n");
    assert_string_equal(json_string_value(json_object_get(root, "cause")), "oom");
    json_decref(root);
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ascii_byte_comes_back),
        cmocka_unit_test(a_mebibyte_of_quotes_comes_back),
        cmocka_unit_test(utf8_of_every_length_comes_back),
        cmocka_unit_test(what_is_not_utf8_is_told_apart),
        cmocka_unit_test(bytes_that_are_no_text_go_out_as_base64),
        cmocka_unit_test(an_error_has_its_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
