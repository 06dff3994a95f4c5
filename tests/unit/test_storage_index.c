#include "storage_fixture.h"

#include <time.h>

static uint64_t number_of(const char *id) {
    return strtoull(strrchr(id, '_') + 1, NULL, 10);
}

/* Index only: as if the disk work had gone well. */
static struct storage_version *add(struct storage *storage, const char *name, bool update) {
    struct storage_meta meta = fixture_meta(name, 100000000, 1);
    struct err err = {0};
    if (storage_reserve(storage, name, update, &meta, &err) != 0)
        fail_msg("storage_reserve: %s", err.msg);
    struct storage_version *version = storage_index_add(storage, &meta, &err);
    if (!version)
        fail_msg("storage_index_add: %s", err.msg);
    return version;
}

static void test_find_by_name_and_by_id(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    assert_null(fixture_find(storage, "f"));
    struct storage_version *first = add(storage, "f", false);
    char first_id[STORAGE_ID_MAX + 1];
    fixture_format(first_id, sizeof first_id, "%s", first->meta.id);
    assert_ptr_equal(fixture_find(storage, "f"), first);
    assert_ptr_equal(fixture_find(storage, first_id), first);
    assert_true(first->listed && first->current);
    struct storage_version *second = add(storage, "f", true);
    assert_ptr_equal(fixture_find(storage, "f"), second);
    assert_ptr_equal(fixture_find(storage, first_id), first);
    assert_ptr_equal(fixture_find(storage, second->meta.id), second);
    assert_true(first->listed && !first->current && second->current);
    assert_int_equal(second->meta.version, 2);
    assert_ptr_equal(second->older, first);
    assert_ptr_equal(second->function, first->function);
    assert_int_not_equal(first->key, second->key);
    assert_true(first->key != 0 && second->key != 0);
    assert_int_equal(storage_count(storage), 1);
}

static void test_find_takes_any_bytes(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    add(storage, "f", false);
    char text[4096];
    memset(text, 'f', sizeof text);
    for (size_t len = 0; len <= sizeof text; len = len * 2 + 1)
        assert_true((storage_find(storage, text, len) != NULL) == (len == 1));
    memset(text, 0, sizeof text);
    for (size_t len = 0; len < 200; len++)
        assert_null(storage_find(storage, text, len));
    assert_null(storage_find(storage, "f\0g", 3));
    assert_null(storage_find(storage, "f_", 2));
    assert_null(storage_find(storage, "_123456789", 10));
    assert_non_null(storage_find(storage, "fg", 1)); /* not terminated after len */
}

static void test_a_reserved_name_is_a_conflict_until_released(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    struct storage_meta meta = fixture_meta("f", 100000000, 1), other, untouched;
    memset(&other, 0x5a, sizeof other);
    memset(&untouched, 0x5a, sizeof untouched);
    struct err err = {0};
    assert_int_equal(storage_reserve(storage, "f", false, &meta, &err), 0);
    assert_int_equal(storage_reserve(storage, "f", false, &other, &err), -ERR_CONFLICT);
    assert_int_equal(storage_reserve(storage, "f", true, &other, &err), -ERR_CONFLICT);
    assert_memory_equal(&other, &untouched, sizeof other);
    assert_null(fixture_find(storage, "f"));
    assert_int_equal(storage_count(storage), 0);
    storage_unreserve(storage, "f");
    storage_unreserve(storage, "f");
    storage_unreserve(storage, "never-heard-of");
    /* A deploy that failed has used nothing: the same id may come again. */
    assert_int_equal(storage_reserve(storage, "f", true, &other, &err), 0);
    assert_int_equal(other.version, 1);
    assert_true(number_of(other.id) - number_of(meta.id) <= 1);
    assert_non_null(storage_index_add(storage, &other, &err));
    assert_int_equal(storage_reserve(storage, "f", false, &meta, &err), -ERR_CONFLICT);
    assert_string_equal(err.msg, "function 'f' already exists");
    assert_int_equal(storage_reserve(storage, "f", true, &meta, &err), 0);
    assert_int_equal(meta.version, 2);
    storage_unreserve(storage, "f");
    assert_int_equal(storage_reserve(storage, "F", false, &meta, &err), -ERR_BAD_REQUEST);
    assert_int_equal(storage_reserve(storage, "f_123456789", false, &meta, &err), -ERR_BAD_REQUEST);
}

static void test_ids_are_unique_within_a_second(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    uint64_t start_s = (uint64_t)time(NULL), last = 0;
    for (uint32_t i = 1; i <= 100; i++) {
        struct storage_version *version = add(storage, "f", true);
        assert_int_equal(version->meta.version, i);
        assert_true(number_of(version->meta.id) > last);
        assert_true(version->meta.created_s >= start_s);
        last = number_of(version->meta.id);
    }
    assert_in_range(last, start_s + 99, (uint64_t)time(NULL) + 99);
    size_t chained = 0;
    for (struct storage_version *version = fixture_find(storage, "f"); version; version = version->older)
        chained++;
    assert_int_equal(chained, 100);
}

static void test_an_erased_functions_numbers_are_not_used_again(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    uint64_t last = 0;
    for (int i = 0; i < 50; i++) {
        struct storage_version *version = add(storage, "f", false);
        assert_int_equal(version->meta.version, 1);
        assert_true(number_of(version->meta.id) > last);
        version = add(storage, "f", true);
        assert_int_equal(version->meta.version, 2);
        last = number_of(version->meta.id);
        storage_index_remove(storage, "f");
        assert_null(fixture_find(storage, "f"));
        assert_int_equal(storage_count(storage), 0);
    }
}

static void test_an_erased_function_is_forgotten_when_the_clock_has_passed(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    struct err err;
    struct storage_meta past = fixture_meta("past", 200000000, 1),
                        ahead = fixture_meta("ahead", 900000000000, 1);
    assert_non_null(storage_index_add(storage, &past, &err));
    assert_non_null(storage_index_add(storage, &ahead, &err));
    storage_index_remove(storage, "past");
    storage_index_remove(storage, "ahead");
    assert_null(storage_find_function(storage, "past"));
    assert_non_null(storage_find_function(storage, "ahead"));
    assert_string_equal(add(storage, "ahead", false)->meta.id, "ahead_900000000001");
    storage_index_remove(storage, "never-heard-of");
}

static const struct storage_version *released;
static int releases;
static void on_release(struct storage_version *version) {
    released = version;
    releases++;
    assert_int_equal(version->references, 0);
    assert_non_null(version->function->name[0] ? version->function : NULL);
}

static void test_a_version_lives_while_it_is_referenced(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    storage_set_release(storage, on_release);
    releases = 0;
    struct storage_version *first = add(storage, "f", false), *second = add(storage, "f", true);
    char id[STORAGE_ID_MAX + 1];
    fixture_format(id, sizeof id, "%s", first->meta.id);
    storage_ref(first);
    storage_ref(first);
    storage_index_remove(storage, "f");
    assert_int_equal(releases, 1);
    assert_ptr_equal(released, second);
    assert_null(fixture_find(storage, id));
    assert_false(first->listed || first->current);
    assert_string_equal(first->meta.id, id);
    assert_string_equal(first->function->name, "f");
    /* The name is free again while the old version still answers. */
    struct storage_version *next = add(storage, "f", false);
    assert_ptr_equal(fixture_find(storage, "f"), next);
    storage_unref(storage, first);
    assert_int_equal(releases, 1);
    storage_unref(storage, first);
    assert_int_equal(releases, 2);
    assert_ptr_equal(released, first);
    assert_ptr_equal(fixture_find(storage, "f"), next);
}

static void test_removing_during_an_update_leaves_the_update(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    struct storage_meta meta = fixture_meta("f", 100000000, 1);
    struct err err;
    add(storage, "f", false);
    assert_int_equal(storage_reserve(storage, "f", true, &meta, &err), 0);
    storage_index_remove(storage, "f");
    assert_int_equal(storage_reserve(storage, "f", false, &meta, &err), -ERR_CONFLICT);
    struct storage_version *version = storage_index_add(storage, &meta, &err);
    assert_non_null(version);
    assert_null(version->older);
    assert_ptr_equal(fixture_find(storage, "f"), version);
    assert_int_equal(storage_count(storage), 1);
}

static void test_an_id_is_listed_once(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    struct storage_meta meta = fixture_meta("f", 1700000000, 1);
    struct err err;
    assert_non_null(storage_index_add(storage, &meta, &err));
    assert_null(storage_index_add(storage, &meta, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    meta = fixture_meta("g", 1700000000, 1);
    fixture_format(meta.id, sizeof meta.id, "%s", "f_1700000001");
    assert_null(storage_index_add(storage, &meta, &err));
    assert_null(storage_find_function(storage, "g"));
    assert_int_equal(storage_count(storage), 1);
}

static void test_the_list_is_newest_deploy_first(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    assert_null(storage_next(storage, NULL));
    add(storage, "a", false);
    add(storage, "b", false);
    add(storage, "c", false);
    add(storage, "a", true);
    add(storage, "d", false);
    storage_index_remove(storage, "b");
    static const char *const want[] = {"d", "a", "c"};
    size_t count = 0;
    for (struct storage_version *at = NULL; (at = storage_next(storage, at)); count++) {
        assert_true(count < 3);
        assert_string_equal(at->meta.name, want[count]);
        assert_true(at->current);
    }
    assert_int_equal(count, 3);
}

static void test_ten_thousand_functions_come_and_go(void **state) {
    struct fixture *fixture = *state;
    struct storage *storage = fixture->storage;
    enum { MANY = 10000 };
    char name[32];
    for (int i = 0; i < MANY; i++) {
        fixture_format(name, sizeof name, "fn-%d", i);
        add(storage, name, false);
    }
    assert_int_equal(storage_count(storage), MANY);
    for (int i = 0; i < MANY; i++) {
        fixture_format(name, sizeof name, "fn-%d", i);
        struct storage_version *version = fixture_find(storage, name);
        assert_non_null(version);
        assert_string_equal(version->meta.name, name);
        assert_ptr_equal(fixture_find(storage, version->meta.id), version);
        if (i % 2)
            storage_index_remove(storage, name);
    }
    assert_int_equal(storage_count(storage), MANY / 2);
    size_t listed = 0;
    for (struct storage_version *at = NULL; (at = storage_next(storage, at));)
        listed++;
    assert_int_equal(listed, MANY / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        TEST(test_find_by_name_and_by_id),
        TEST(test_find_takes_any_bytes),
        TEST(test_a_reserved_name_is_a_conflict_until_released),
        TEST(test_ids_are_unique_within_a_second),
        TEST(test_an_erased_functions_numbers_are_not_used_again),
        TEST(test_an_erased_function_is_forgotten_when_the_clock_has_passed),
        TEST(test_a_version_lives_while_it_is_referenced),
        TEST(test_removing_during_an_update_leaves_the_update),
        TEST(test_an_id_is_listed_once),
        TEST(test_the_list_is_newest_deploy_first),
        TEST(test_ten_thousand_functions_come_and_go),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
