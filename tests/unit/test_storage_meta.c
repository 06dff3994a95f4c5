#include "storage_fixture.h"

static struct storage_meta meta_of_test(void) {
    struct storage_meta meta = fixture_meta("hello-world_2", 1728435600, 7);
    meta.size = 123;
    meta.cgi = true;
    for (size_t i = 0; i < STORAGE_HASH_BYTES; i++)
        meta.native_hash[i] = (uint8_t)(i * 37 + 1);
    return meta;
}

static void assert_same_meta(const struct storage_meta *a, const struct storage_meta *b) {
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->lang, b->lang);
    assert_string_equal(a->entry, b->entry);
    assert_int_equal(a->module, b->module);
    assert_int_equal(a->cgi, b->cgi);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->created_s, b->created_s);
    assert_int_equal(a->wasm, b->wasm);
    assert_string_equal(a->engine, b->engine);
    assert_memory_equal(a->native_hash, b->native_hash, STORAGE_HASH_BYTES);
    assert_memory_equal(&a->limits, &b->limits, sizeof a->limits);
}

static void assert_round_trip(const struct storage_meta *meta) {
    struct buf json = {0};
    struct err err = {0};
    struct storage_meta back;
    memset(&back, 0xa5, sizeof back);
    if (storage_meta_encode(meta, &json, &err) != 0)
        fail_msg("encode: %s", err.msg);
    if (storage_meta_decode((const char *)json.data, json.len, &back, &err) != 0)
        fail_msg("decode: %s", err.msg);
    assert_same_meta(meta, &back);
    buf_fini(&json);
}

static void test_round_trip(void **state) {
    (void)state;
    struct storage_meta meta = meta_of_test();
    assert_round_trip(&meta);
    meta.module = true;
    meta.cgi = false;
    meta.version = UINT32_MAX;
    meta.size = 0;
    meta.created_s = 0;
    memset(meta.engine, 'e', sizeof meta.engine - 1);
    assert_round_trip(&meta);
}

static void test_round_trip_of_every_lang_and_longest_name(void **state) {
    (void)state;
    for (const struct storage_lang *lang = storage_lang_all(); lang->name; lang++) {
        char name[STORAGE_NAME_MAX + 1] = {0};
        memset(name, 'n', STORAGE_NAME_MAX);
        struct storage_meta meta = fixture_meta(name, 999999999999999999, 1);
        fixture_format(meta.lang, sizeof meta.lang, "%s", lang->name);
        meta.created_s = 1;
        meta.wasm = lang->runtime == RUNTIME_WASM;
        if (!meta.wasm)
            meta.engine[0] = 0;
        assert_round_trip(&meta);
        assert_ptr_equal(storage_lang_find(lang->name), lang);
    }
    assert_null(storage_lang_find("cobol"));
    assert_null(storage_lang_find(""));
}

static void test_round_trip_of_limits_at_their_bounds(void **state) {
    (void)state;
    struct storage_meta meta = meta_of_test();
#define LIMIT_BOUNDS(field, fallback, min, max, unit, doc)                                                   \
    meta.limits.field = (min);                                                                               \
    assert_round_trip(&meta);                                                                                \
    meta.limits.field = (max);                                                                               \
    assert_round_trip(&meta);
    LIMITS_TABLE(LIMIT_BOUNDS)
#undef LIMIT_BOUNDS
}

/* The text with the first `from` replaced. */
static void replaced(const struct buf *json, const char *from, const char *to, struct buf *ret_text) {
    const char *text = (const char *)json->data, *at = memmem(text, json->len, from, strlen(from));
    assert_non_null(at);
    buf_append(ret_text, text, (size_t)(at - text));
    buf_append_str(ret_text, to);
    buf_append(ret_text, at + strlen(from), json->len - (size_t)(at - text) - strlen(from));
}

static void test_every_wrong_value_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } rows[] = {
        {"\"format\":1", "\"format\":2", "format 2"},
        {"\"format\":1", "\"format\":0", "format 0"},
        {"\"format\":1", "\"format\":1.0", "format"},
        {"\"format\":1", "\"formal\":1", "'format' is missing"},
        {"\"id\"", "\"Id\"", "'id' is missing"},
        {"\"hello-world_2_1728435600\"", "17", "'id' is of the wrong type"},
        {"\"hello-world_2_1728435600\"", "null", "'id' is of the wrong type"},
        {"hello-world_2_1728435600", "hello-world_3_1728435600", "'id' is no id"},
        {"hello-world_2_1728435600", "hello-world_2_172843560", "ok"},
        {"hello-world_2_1728435600", "hello-world_2_17284356", "'id' is no id"},
        {"hello-world_2_1728435600", "hello-world_2_0728435600", "'id' is no id"},
        {"hello-world_2_1728435600", "hello-world_2_1234567890123456789", "'id' is no id"},
        {"hello-world_2_1728435600", "hello-world_2_123456789_1728435600", "'id' is no id"},
        {"hello-world_2_1728435600", "../../etc/passwd_1728435600", "'id' is no id"},
        {"hello-world_2_1728435600", "hello-world_2", "'id' is no id"},
        {"hello-world_2_1728435600", "", "'id' is no id"},
        {"\"name\":\"hello-world_2\"", "\"name\":\"Hello\"", "'name'"},
        {"\"name\":\"hello-world_2\"", "\"name\":\"\"", "'name'"},
        {"\"name\":\"hello-world_2\"", "\"name\":\"..\"", "'name'"},
        {"\"name\":\"hello-world_2\"", "\"name\":\"hello-world_2\\u0000x\"", "no JSON"},
        {"\"name\":\"hello-world_2\"",
         "\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "'name'"},
        {"\"lang\":\"c\"", "\"lang\":\"cobol\"", "'lang'"},
        {"\"lang\":\"c\"", "\"lang\":\"a-language-with-a-long-name\"", "'lang'"},
        {"\"entry\":\"wasi\"", "\"entry\":\"main\"", "'entry'"},
        {"\"module\":false", "\"module\":0", "'module' is of the wrong type"},
        {"\"cgi\":true", "\"cgi\":\"yes\"", "'cgi' is of the wrong type"},
        {"\"version\":7", "\"version\":0", "'version'"},
        {"\"version\":7", "\"version\":-1", "'version'"},
        {"\"version\":7", "\"version\":7.0", "'version' is of the wrong type"},
        {"\"version\":7", "\"version\":7e0", "'version' is of the wrong type"},
        {"\"version\":7", "\"version\":4294967296", "'version'"},
        {"\"version\":7", "\"version\":18446744073709551623", "no JSON"},
        {"\"size\":123", "\"size\":1073741825", "'size'"},
        {"\"size\":123", "\"size\":\"123\"", "'size' is of the wrong type"},
        {"\"created_s\":1728435600", "\"created_s\":-5", "'created_s'"},
        {"\"created_s\":1728435600", "\"created_s\":253402300800", "'created_s'"},
        {"\"limits\":{", "\"limits\":5, \"x\":{", "'limits'"},
        {"\"limits\":{", "\"limit\":{", "'limits'"},
        {"\"timeout_ms\":10000", "\"timeout_ms\":0", "timeout_ms'"},
        {"\"timeout_ms\":10000", "\"timeout_ms\":86400001", "timeout_ms'"},
        {"\"timeout_ms\":10000", "\"timeout_ms\":1.5", "'timeout_ms' is of the wrong type"},
        {"\"memory_mb\":128", "\"memory_mb\":4097", "memory_mb'"},
        {"\"concurrency\":0", "\"concurrency\":10001", "concurrency'"},
        {"\"output_mb\":16", "\"output_mb\":0", "output_mb'"},
        {"\"processes\":64", "\"processes\":-64", "processes'"},
        {"\"tmp_mb\":64", "\"tmp_mb\":null", "'tmp_mb' is of the wrong type"},
        {"\"tmp_mb\":64", "\"another\":64", "ok"},
        {"\"wasm\":true", "\"wasm\":1", "'wasm' is of the wrong type"},
        {"\"wasm\":true", "\"wasm\":false", "ok"},
        {"\"engine\":\"engine", "\"engine\":\"\\nengine", "'engine'"},
        {"\"engine\":\"engine-1.2.3-for-tests\"", "\"engine\":\"\"", "'engine'"},
        {"\"engine\":\"engine",
         "\"engine\":\"0123456789012345678901234567890123456789012345678901234567890123engine", "'engine'"},
        {"\"engine\"", "\"motor\"", "'engine' is missing"},
        {"\"native_hash\":\"01", "\"native_hash\":\"0", "'native_hash'"},
        {"\"native_hash\":\"01", "\"native_hash\":\"001", "'native_hash'"},
        {"\"native_hash\":\"01", "\"native_hash\":\"0G", "'native_hash'"},
        {"\"native_hash\":\"01", "\"native_hash\":\"0A", "'native_hash'"},
        {"\"native_hash\":\"01", "\"native_has\":\"01", "'native_hash' is missing"},
        {"\"cgi\":true", "\"cgi\":true, \"cgi\":true", "no JSON"},
        {"\"cgi\":true", "\"cgi\":true, \"later\":{\"deep\":[1.5, null]}", "ok"},
        {"\"cgi\":true", "\"cgi\":tru", "no JSON"},
        {"{", "[{", "no JSON"},
        {"{", "", "no JSON"},
        {"{", "{}{", "no JSON"},
    };
    struct storage_meta meta = meta_of_test(), back;
    struct buf json = {0};
    struct err err = {0};
    assert_int_equal(storage_meta_encode(&meta, &json, &err), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf text = {0};
        replaced(&json, rows[i].from, rows[i].to, &text);
        err = (struct err){0};
        struct storage_meta untouched;
        memset(&back, 0x5a, sizeof back);
        memset(&untouched, 0x5a, sizeof untouched);
        int rc = storage_meta_decode((const char *)text.data, text.len, &back, &err);
        if (strcmp(rows[i].says, "ok") == 0) {
            if (rc != 0)
                fail_msg("%s -> %s: %s", rows[i].from, rows[i].to, err.msg);
        } else {
            if (rc != -ERR_BAD_REQUEST || err.code != ERR_BAD_REQUEST || !strstr(err.msg, rows[i].says))
                fail_msg("%s -> %s: %d, \"%s\"", rows[i].from, rows[i].to, rc, err.msg);
            assert_memory_equal(&back, &untouched, sizeof back);
        }
        buf_fini(&text);
    }
    buf_fini(&json);
}

/* A blank in front is for the reader of all of JSON; without one it is the form that is written. */
static void test_both_readers_say_the_same(void **state) {
    (void)state;
    struct storage_meta meta = meta_of_test(), quick, general;
    struct buf json = {0}, blank = {0};
    struct err err = {0};
    assert_int_equal(storage_meta_encode(&meta, &json, &err), 0);
    buf_append_str(&blank, " ");
    buf_append(&blank, json.data, json.len);
    /* Every byte in turn becomes another. */
    static const char others[] = "0 \"x{}\\,:-\n";
    for (size_t i = 0; i < json.len; i++) {
        for (const char *other = others; *other; other++) {
            uint8_t before = json.data[i];
            json.data[i] = blank.data[i + 1] = (uint8_t)*other;
            memset(&quick, 0, sizeof quick);
            memset(&general, 0, sizeof general);
            int rc = storage_meta_decode((const char *)json.data, json.len, &quick, &err);
            if (storage_meta_decode((const char *)blank.data, blank.len, &general, &err) != rc)
                fail_msg("byte %zu as '%c': %d and not", i, *other, rc);
            assert_same_meta(&quick, &general);
            json.data[i] = blank.data[i + 1] = before;
        }
    }
    buf_fini(&json);
    buf_fini(&blank);
}

static void test_every_cut_is_refused(void **state) {
    (void)state;
    struct storage_meta meta = meta_of_test(), back;
    struct buf json = {0};
    struct err err = {0};
    assert_int_equal(storage_meta_encode(&meta, &json, &err), 0);
    /* The last two bytes are "}\n". */
    for (size_t len = 0; len < json.len - 1; len++) {
        char *exact = malloc(len ? len : 1); /* so that reading past the end is seen */
        assert_non_null(exact);
        memcpy(exact, json.data, len);
        assert_int_equal(storage_meta_decode(exact, len, &back, &err), -ERR_BAD_REQUEST);
        free(exact);
    }
    assert_int_equal(storage_meta_decode(NULL, 0, &back, &err), -ERR_BAD_REQUEST);
    buf_fini(&json);
}

static void test_huge_and_deep_json_is_refused(void **state) {
    (void)state;
    size_t len = 4 << 20;
    char *text = malloc(len);
    assert_non_null(text);
    struct storage_meta back;
    struct err err;
    memset(text, '[', len);
    assert_int_equal(storage_meta_decode(text, len, &back, &err), -ERR_BAD_REQUEST);
    assert_int_equal(storage_meta_decode(text, 60000, &back, &err), -ERR_BAD_REQUEST);
    free(text);
}

static void test_no_metadata_is_written_that_would_be_refused(void **state) {
    (void)state;
    struct buf json = {0};
    struct err err;
    struct storage_meta meta = meta_of_test();
    meta.version = 0;
    assert_int_equal(storage_meta_encode(&meta, &json, &err), -ERR_BAD_REQUEST);
    meta = meta_of_test();
    memset(meta.name, 'a', sizeof meta.name); /* not terminated */
    assert_int_equal(storage_meta_encode(&meta, &json, &err), -ERR_BAD_REQUEST);
    meta = meta_of_test();
    memset(meta.id, 'a', sizeof meta.id);
    assert_int_equal(storage_meta_encode(&meta, &json, &err), -ERR_BAD_REQUEST);
    meta = meta_of_test();
    memset(meta.engine, 'a', sizeof meta.engine);
    assert_int_equal(storage_meta_encode(&meta, &json, &err), -ERR_BAD_REQUEST);
    meta = meta_of_test();
    meta.limits.memory_mb = 4097;
    assert_int_equal(storage_meta_encode(&meta, &json, &err), -ERR_BAD_REQUEST);
    assert_null(json.data);
}

static void test_names(void **state) {
    (void)state;
    static const char *const good[] = {"a",
                                       "0",
                                       "a-b_c",
                                       "hello_12345678",
                                       "123456789",
                                       "a_-123456789",
                                       "x__1",
                                       "9-",
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                       "a_123456789b"};
    static const char *const bad[] = {"",
                                      "-a",
                                      "_a",
                                      "A",
                                      "a b",
                                      "a/b",
                                      "..",
                                      "a.b",
                                      "\xc3\xa4",
                                      "a\n",
                                      "hello_123456789",
                                      "hello_000000001",
                                      "a_1234567890123456789012",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct err err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(storage_name_check(good[i], &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (storage_name_check(bad[i], &err) != -ERR_BAD_REQUEST)
            fail_msg("'%s' is taken for a name", bad[i]);
}

static void test_hash_is_keyed_by_the_engine(void **state) {
    (void)state;
    uint8_t a[STORAGE_HASH_BYTES], b[STORAGE_HASH_BYTES];
    char longest[81] = {0};
    memset(longest, 'k', 80);
    static const char *const engines[] = {"", "e", "engine-1.2.3-for-tests", "engine-1.2.4-for-tests"};
    for (size_t i = 0; i < 4; i++) {
        storage_hash("code", 4, engines[i], a);
        storage_hash("code", 4, engines[i], b);
        assert_memory_equal(a, b, sizeof a);
        for (size_t j = 0; j < 4; j++) {
            storage_hash("code", 4, engines[j], b);
            assert_int_equal(memcmp(a, b, sizeof a) == 0, i == j);
        }
        storage_hash("cod", 3, engines[i], b);
        assert_memory_not_equal(a, b, sizeof a);
    }
    storage_hash("code", 4, longest, a);
    longest[64] = 0;
    storage_hash("code", 4, longest, b);
    assert_memory_equal(a, b, sizeof a);
    storage_hash(NULL, 0, "e", a);
}

/* BLAKE2b-256 of nothing and of "abc", key 0123456789abcdef: the values of hashlib.blake2b in Python. */
static void test_hash_is_blake2b(void **state) {
    (void)state;
    static const uint8_t want[2][STORAGE_HASH_BYTES] = {
        {0xbb, 0x15, 0xa8, 0xd3, 0x92, 0x54, 0xae, 0x1e, 0x04, 0x7a, 0xf5, 0x04, 0x8d, 0xb7, 0x90, 0xeb,
         0x55, 0xbe, 0x8a, 0x64, 0x22, 0x59, 0xb4, 0x2e, 0x9a, 0x45, 0xf0, 0x98, 0x07, 0x9c, 0x6e, 0xf0},
        {0x66, 0xb4, 0x85, 0x7d, 0x42, 0xc6, 0x44, 0xc6, 0x1f, 0xca, 0x8c, 0x0b, 0xce, 0xa2, 0x43, 0xe0,
         0xe7, 0x50, 0x88, 0x58, 0x2c, 0x79, 0x64, 0xbb, 0xac, 0x6b, 0x92, 0xc0, 0x23, 0x81, 0xd9, 0xc7}};
    uint8_t got[STORAGE_HASH_BYTES];
    storage_hash("", 0, "0123456789abcdef", got);
    assert_memory_equal(got, want[0], sizeof got);
    storage_hash("abc", 3, "0123456789abcdef", got);
    assert_memory_equal(got, want[1], sizeof got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_round_trip_of_every_lang_and_longest_name),
        cmocka_unit_test(test_round_trip_of_limits_at_their_bounds),
        cmocka_unit_test(test_every_wrong_value_is_refused),
        cmocka_unit_test(test_both_readers_say_the_same),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_huge_and_deep_json_is_refused),
        cmocka_unit_test(test_no_metadata_is_written_that_would_be_refused),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_hash_is_keyed_by_the_engine),
        cmocka_unit_test(test_hash_is_blake2b),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
