/* Variables and secrets of functions: the seal, the file, and what of them the index shows. */
#include "storage_fixture.h"

#include <sodium.h>

#include "storage/seal.h"
#include "storage/vars.h"

static const struct seal_owner owner = {"hello", "TOKEN"};

static void key_path(const struct fixture *fixture, char ret_path[PATH_MAX]) {
    fixture_path(fixture, "the.key", ret_path);
}

static struct seal *make_key(const struct fixture *fixture) {
    char path[PATH_MAX];
    struct err err = {0};
    struct seal *seal = NULL;
    key_path(fixture, path);
    unlink(path);
    if (seal_make_key(path, &seal, &err) != 0)
        fail_msg("%s", err.msg);
    return seal;
}

/* ---- the seal ---- */

static void sealed_opens_again_and_shows_nothing(void **state) {
    struct seal *seal = make_key(*state);
    static uint8_t text[VARS_VALUE_MAX], sealed[VARS_VALUE_MAX + SEAL_OVERHEAD], back[VARS_VALUE_MAX];
    struct err err;
    for (size_t len = 0; len <= sizeof text; len = len * 2 + 1) {
        randombytes_buf(text, sizeof text);
        seal_wrap(seal, &owner, text, len, sealed);
        assert_int_equal(seal_unwrap(seal, &owner, sealed, len + SEAL_OVERHEAD, back, &err), 0);
        assert_memory_equal(back, text, len);
        assert_true(len < 8 || !memmem(sealed, len + SEAL_OVERHEAD, text, 8));
    }
    seal_free(seal);
}

static void the_same_text_never_looks_the_same(void **state) {
    struct seal *seal = make_key(*state);
    uint8_t one[5 + SEAL_OVERHEAD], other[sizeof one];
    seal_wrap(seal, &owner, (const uint8_t *)"hello", 5, one);
    seal_wrap(seal, &owner, (const uint8_t *)"hello", 5, other);
    assert_memory_equal(one, other, SEAL_KEY_ID_BYTES);
    assert_memory_not_equal(one + SEAL_KEY_ID_BYTES, other + SEAL_KEY_ID_BYTES, SEAL_NONCE_BYTES);
    assert_memory_not_equal(one + SEAL_KEY_ID_BYTES + SEAL_NONCE_BYTES,
                            other + SEAL_KEY_ID_BYTES + SEAL_NONCE_BYTES, 5);
    seal_free(seal);
}

static void any_changed_byte_and_any_cut_is_found(void **state) {
    struct seal *seal = make_key(*state);
    uint8_t sealed[5 + SEAL_OVERHEAD], back[sizeof sealed];
    struct err err;
    seal_wrap(seal, &owner, (const uint8_t *)"hello", 5, sealed);
    for (size_t i = 0; i < sizeof sealed; i++) {
        for (int bit = 0; bit < 8; bit++) {
            sealed[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(seal_unwrap(seal, &owner, sealed, sizeof sealed, back, &err), -ERR_SECRETS);
            sealed[i] ^= (uint8_t)(1 << bit);
        }
        assert_int_equal(seal_unwrap(seal, &owner, sealed, i, back, &err), -ERR_SECRETS);
    }
    assert_int_equal(seal_unwrap(seal, &owner, sealed, sizeof sealed, back, &err), 0);
    seal_free(seal);
}

static void nobody_else_opens_it(void **state) {
    static const struct seal_owner others[] = {{"hello", "TOKE"},   {"hello", "TOKENS"}, {"hell", "TOKEN"},
                                               {"hellos", "TOKEN"}, {"TOKEN", "hello"},  {"", "helloTOKEN"}};
    struct seal *seal = make_key(*state);
    uint8_t sealed[5 + SEAL_OVERHEAD], back[5];
    struct err err;
    seal_wrap(seal, &owner, (const uint8_t *)"hello", 5, sealed);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(seal_unwrap(seal, &others[i], sealed, sizeof sealed, back, &err), -ERR_SECRETS);
    struct seal *another = make_key(*state);
    assert_int_equal(seal_unwrap(another, &owner, sealed, sizeof sealed, back, &err), -ERR_SECRETS);
    assert_non_null(strstr(err.msg, "another key"));
    seal_free(another);
    seal_free(seal);
}

static void key_file_is_private_kept_and_checked(void **state) {
    struct fixture *fixture = *state;
    char path[PATH_MAX];
    struct err err;
    struct stat about;
    struct seal *seal = make_key(fixture), *again = NULL;
    uint8_t sealed[5 + SEAL_OVERHEAD], back[5];
    key_path(fixture, path);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    seal_wrap(seal, &owner, (const uint8_t *)"hello", 5, sealed);
    /* Made again: it is the one that is there. */
    assert_int_equal(seal_make_key(path, &again, &err), 0);
    assert_int_equal(seal_unwrap(again, &owner, sealed, sizeof sealed, back, &err), 0);
    seal_free(again);
    for (mode_t mode = 0601; mode <= 0677; mode++) {
        assert_int_equal(chmod(path, mode), 0);
        assert_int_equal(seal_read_key(path, &again, &err), mode & 077 ? -ERR_SECRETS : 0);
    }
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, about.st_size - 1), 0);
    assert_int_equal(seal_read_key(path, &again, &err), -ERR_SECRETS);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(seal_read_key(path, &again, &err), -ERR_NOT_FOUND);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(seal_read_key(path, &again, &err), -ERR_SECRETS);
    assert_int_equal(rmdir(path), 0);
    assert_true(seal_make_key("/nowhere/at/all", &again, &err) < 0);
    assert_true(seal_make_key("", &again, &err) < 0);
    seal_free(seal);
}

/* ---- the variables ---- */

static int set(struct vars *vars, const char *name, const char *value, struct err *err) {
    struct vars_entry entry = {(char *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(value), false};
    return vars_set(vars, &entry, err);
}

static void they_are_sorted_replaced_and_removed(void **state) {
    (void)state;
    struct vars *vars = vars_new();
    struct err err;
    uint8_t sealed[SEAL_OVERHEAD + 3] = {0};
    struct vars_entry secret = {(char *)(uintptr_t) "M", sealed, sizeof sealed, true};
    assert_int_equal(set(vars, "Z", "1", &err) | set(vars, "A", "22", &err) | set(vars, "B", "", &err), 0);
    assert_int_equal(vars_set(vars, &secret, &err), 0);
    assert_int_equal(set(vars, "A", "333", &err), 0);
    static const char *const names[] = {"A", "B", "M", "Z"};
    assert_int_equal(vars->count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(vars->entries[i].name, names[i]);
    assert_int_equal(vars_bytes(vars), 4 + 3 + 1 + 3);
    assert_memory_equal(vars_find(vars, "A")->value, "333", 3);
    assert_null(vars_find(vars, "AA"));
    assert_int_equal(set(vars, "M", "x", &err), -ERR_CONFLICT);
    assert_false(vars_remove(vars, "M", false));
    assert_false(vars_remove(vars, "N", true));
    assert_true(vars_remove(vars, "M", true));
    assert_true(vars_remove(vars, NULL, false));
    assert_int_equal(vars->count, 0);
    assert_false(vars_remove(vars, NULL, true));
    vars_unref(vars);
}

static void assert_round_trip(const struct vars *vars) {
    struct buf json = {0};
    struct vars *back = NULL;
    struct err err;
    assert_int_equal(vars_encode(vars, "hello", &json, &err), 0);
    assert_true(json.len <= VARS_JSON_MAX_BYTES);
    if (vars_decode((const char *)json.data, json.len, "hello", &back, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(back->count, vars->count);
    for (size_t i = 0; i < vars->count; i++) {
        assert_string_equal(back->entries[i].name, vars->entries[i].name);
        assert_int_equal(back->entries[i].secret, vars->entries[i].secret);
        assert_int_equal(back->entries[i].len, vars->entries[i].len);
        assert_memory_equal(back->entries[i].value, vars->entries[i].value, vars->entries[i].len);
    }
    assert_int_equal(vars_decode((const char *)json.data, json.len, "other", &back, &err), -ERR_BAD_REQUEST);
    buf_fini(&json);
    vars_unref(back);
}

static void file_holds_the_largest_there_can_be(void **state) {
    (void)state;
    struct vars *vars = vars_new();
    struct err err;
    static char value[VARS_VALUE_MAX + 1];
    assert_round_trip(vars);
    memset(value, 1, VARS_VALUE_MAX); /* six bytes of JSON for each */
    for (char name[] = "A"; name[0] < 'D'; name[0]++)
        assert_int_equal(set(vars, name, value, &err), 0);
    uint8_t *sealed = calloc(1, SEAL_OVERHEAD + VARS_VALUE_MAX);
    struct vars_entry secret = {(char *)(uintptr_t) "S", sealed, SEAL_OVERHEAD + VARS_VALUE_MAX - 64, true};
    assert_int_equal(vars_set(vars, &secret, &err), 0);
    free(sealed);
    assert_round_trip(vars);
    value[61] = 0;
    assert_int_equal(vars_bytes(vars), VARS_BYTES_MAX - 60);
    assert_int_equal(set(vars, "X", value, &err), -ERR_BAD_REQUEST);
    assert_int_equal(set(vars, "X", value + 2, &err), 0);
    vars_unref(vars);
}

static void a_value_of_every_byte_is_checked(void **state) {
    (void)state;
    struct err err;
    uint8_t value[3] = {'a', 0, 'b'};
    for (int byte = 0; byte < 256; byte++) {
        value[1] = (uint8_t)byte;
        assert_int_equal(vars_value_check("A", value, 3, true, &err), byte ? 0 : -ERR_BAD_REQUEST);
        assert_int_equal(vars_value_check("A", value, 3, false, &err),
                         byte && byte < 128 ? 0 : -ERR_BAD_REQUEST);
    }
    assert_int_equal(vars_value_check("A", NULL, 0, false, &err), 0);
}

static void what_is_no_file_of_ours_is_refused(void **state) {
    (void)state;
    static const char *const good = "{\"format\":1,\"function\":\"f\",\"env\":{\"A\":\"1\"},\"secrets\":{}}";
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"format\":2,\"function\":\"f\",\"env\":{},\"secrets\":{}}",
        "{\"format\":\"1\",\"function\":\"f\",\"env\":{},\"secrets\":{}}",
        "{\"format\":1,\"function\":\"g\",\"env\":{},\"secrets\":{}}",
        "{\"format\":1,\"env\":{},\"secrets\":{}}",
        "{\"format\":1,\"function\":\"f\",\"env\":[],\"secrets\":{}}",
        "{\"format\":1,\"function\":\"f\",\"secrets\":{}}",
        "{\"format\":1,\"function\":\"f\",\"env\":{}}",
        "{\"format\":1,\"function\":\"f\",\"env\":{\"A\":1},\"secrets\":{}}",
        "{\"format\":1,\"function\":\"f\",\"env\":{\"A\":\"\\u0000\"},\"secrets\":{}}",
        "{\"format\":1,\"function\":\"f\",\"env\":{\"1\":\"\"},\"secrets\":{}}",
        "{\"format\":1,\"function\":\"f\",\"env\":{\"FAAS_A\":\"\"},\"secrets\":{}}",
        "{\"format\":1,\"function\":\"f\",\"env\":{},\"secrets\":{\"A\":\"\"}}",
        "{\"format\":1,\"function\":\"f\",\"env\":{},\"secrets\":{\"A\":5}}",
        "{\"format\":1,\"function\":\"f\",\"env\":{},\"secrets\":{\"A\":\"no base64, not a bit of it\"}}",
        "{\"format\":1,\"function\":\"f\",\"env\":{},\"env\":{},\"secrets\":{}}",
    };
    struct err err;
    struct vars *vars = NULL;
    assert_int_equal(vars_decode(good, strlen(good), "f", &vars, &err), 0);
    vars_unref(vars);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (vars_decode(bad[i], strlen(bad[i]), "f", &vars, &err) != -ERR_BAD_REQUEST)
            fail_msg("taken: %s", bad[i]);
}

/* ---- in the storage ---- */

static int change(struct fixture *fixture, const char *function, const struct storage_vars_change *what,
                  struct err *err) {
    struct vars *vars = NULL;
    int rc = storage_change_vars(fixture->storage, function, what, &vars, err);
    if (rc == 0)
        storage_install_vars(fixture->storage, function, vars);
    return rc;
}

static int put(struct fixture *fixture, const char *function, const char *name, const char *value,
               bool secret, struct err *err) {
    struct storage_vars_change what = {.kind = STORAGE_VARS_SET,
                                       .secret = secret,
                                       .name = name,
                                       .value = (const uint8_t *)value,
                                       .len = strlen(value)};
    return change(fixture, function, &what, err);
}

static void open_vars(struct fixture *fixture) {
    struct err err;
    char path[PATH_MAX];
    key_path(fixture, path);
    if (storage_open_vars(fixture->storage, path, &err) != 0)
        fail_msg("%s", err.msg);
}

static void assert_secret(struct fixture *fixture, const struct storage_version *version, const char *name,
                          const char *value) {
    uint8_t plain[VARS_VALUE_MAX];
    struct err err;
    const struct vars_entry *entry = version->vars ? vars_find(version->vars, name) : NULL;
    assert_non_null(entry);
    assert_true(entry->secret);
    assert_int_equal(entry->len, strlen(value) + SEAL_OVERHEAD);
    assert_int_equal(storage_open_secret(fixture->storage, version->meta.name, entry, plain, &err), 0);
    assert_memory_equal(plain, value, strlen(value));
}

static void every_version_shares_them_and_one_that_is_gone_keeps_its(void **state) {
    struct fixture *fixture = *state;
    struct err err;
    open_vars(fixture);
    struct storage_version *first = fixture_deploy(fixture->storage, "f", false, "one");
    assert_null(first->vars);
    assert_int_equal(put(fixture, "f", "A", "1", false, &err), 0);
    assert_int_equal(put(fixture, "f", "S", "hush", true, &err), 0);
    struct storage_version *second = fixture_deploy(fixture->storage, "f", true, "two");
    assert_ptr_equal(first->vars, second->vars);
    assert_secret(fixture, second, "S", "hush");
    storage_ref(second); /* a call */
    assert_int_equal(storage_erase(fixture->storage, "f", &err), 0);
    storage_index_remove(fixture->storage, "f");
    assert_secret(fixture, second, "S", "hush");
    struct storage_version *third = fixture_deploy(fixture->storage, "f", false, "three");
    assert_null(third->vars);
    storage_unref(fixture->storage, second);
    assert_int_equal(put(fixture, "g", "A", "1", false, &err), -ERR_NOT_FOUND);
    assert_false(fixture_exists(fixture, "vars/f.json"));
}

static void they_are_there_after_a_restart(void **state) {
    struct fixture *fixture = *state;
    struct err err;
    open_vars(fixture);
    fixture_deploy(fixture->storage, "f", false, "one");
    fixture_deploy(fixture->storage, "g", false, "one");
    assert_int_equal(put(fixture, "f", "S", "hush", true, &err), 0);
    assert_int_equal(put(fixture, "g", "A", "1", false, &err), 0);
    fixture_reopen(fixture);
    open_vars(fixture);
    assert_secret(fixture, fixture_find(fixture->storage, "f"), "S", "hush");
    assert_null(fixture_find(fixture->storage, "f")->vars->problem);
    char path[PATH_MAX];
    key_path(fixture, path);
    assert_int_equal(chmod(path, 0644), 0);
    fixture_reopen(fixture);
    open_vars(fixture);
    assert_non_null(fixture_find(fixture->storage, "f")->vars->problem);
    assert_null(fixture_find(fixture->storage, "g")->vars->problem);
}

/* Somebody kept the file of an erased function, or it could not be removed. */
static void a_new_function_does_not_inherit(void **state) {
    struct fixture *fixture = *state;
    struct err err;
    char path[PATH_MAX], aside[PATH_MAX];
    open_vars(fixture);
    fixture_deploy(fixture->storage, "f", false, "one");
    assert_int_equal(put(fixture, "f", "S", "hush", true, &err), 0);
    fixture_path(fixture, "vars/f.json", path);
    fixture_path(fixture, "aside", aside);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(storage_erase(fixture->storage, "f", &err), 0);
    storage_index_remove(fixture->storage, "f");
    assert_int_equal(rename(aside, path), 0);
    fixture_deploy(fixture->storage, "f", false, "two");
    assert_false(fixture_exists(fixture, "vars/f.json"));
    fixture_reopen(fixture);
    open_vars(fixture);
    assert_null(fixture_find(fixture->storage, "f")->vars);
}

static void all_functions_together_are_bounded(void **state) {
    struct fixture *fixture = *state;
    struct err err;
    static char value[VARS_VALUE_MAX + 1];
    enum { EACH = VARS_VALUE_MAX + 1, MOST = VARS_ALL_BYTES_MAX / EACH };
    open_vars(fixture);
    memset(value, 'x', VARS_VALUE_MAX);
    char name[32];
    int count = 0;
    for (int i = 0; i <= MOST / 3; i++) {
        snprintf(name, sizeof name, "f%d", i);
        fixture_deploy(fixture->storage, name, false, "one");
        for (char key[] = "A"; key[0] < 'D' && count < MOST; key[0]++, count++)
            assert_int_equal(put(fixture, name, key, value, false, &err), 0);
    }
    assert_int_equal(put(fixture, name, "MORE", value, true, &err), -ERR_STORAGE_FULL);
    /* Smaller, or in place of another one, is fine. */
    assert_int_equal(put(fixture, "f0", "A", value, false, &err), 0);
    /* What one function gives up another may have; also after a restart. */
    assert_int_equal(storage_erase(fixture->storage, "f1", &err), 0);
    storage_index_remove(fixture->storage, "f1");
    fixture_reopen(fixture);
    open_vars(fixture);
    for (char key[] = "X"; key[0] <= 'Z'; key[0]++)
        assert_int_equal(put(fixture, key[0] == 'X' ? "f2" : name, key, "1", false, &err), 0);
    fixture_deploy(fixture->storage, "late", false, "one");
    assert_int_equal(put(fixture, "late", "A", value, false, &err), 0);
    assert_int_equal(put(fixture, "late", "B", value, false, &err), 0);
    assert_int_equal(put(fixture, "late", "C", value, false, &err), 0);
    fixture_deploy(fixture->storage, "later", false, "one");
    assert_int_equal(put(fixture, "later", "A", value, false, &err), -ERR_STORAGE_FULL);
}

int main(void) {
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_in_memory, fixture_teardown)
        TEST(sealed_opens_again_and_shows_nothing),
        TEST(the_same_text_never_looks_the_same),
        TEST(any_changed_byte_and_any_cut_is_found),
        TEST(nobody_else_opens_it),
        TEST(key_file_is_private_kept_and_checked),
        TEST(they_are_sorted_replaced_and_removed),
        TEST(file_holds_the_largest_there_can_be),
        TEST(a_value_of_every_byte_is_checked),
        TEST(what_is_no_file_of_ours_is_refused),
        TEST(every_version_shares_them_and_one_that_is_gone_keeps_its),
        TEST(they_are_there_after_a_restart),
        TEST(a_new_function_does_not_inherit),
        TEST(all_functions_together_are_bounded),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
