/* Keys as data: the file's text, tokens, scopes; the rate of a key on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "keys/key_set.h"
#include "keys/key_store.h"
#include "keys/keyring.h"

#define HEADER "minifaas-keys 1\n"
#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define LINE "id=0a1b2c3d hash=" HASH " scopes=invoke,read created=1795599361"

static int parse(const char *text, struct key_set *set) {
    struct err err = {0};
    int rc = key_set_parse(text, strlen(text), set, &err);
    assert_int_equal(rc, -err.code);
    return rc;
}

static void test_a_file_reads_as_it_was_written(void **state) {
    static const char text[] =
        HEADER "id=00000000 hash=" HASH " scopes=deploy,invoke,read,admin created=0\n" LINE
               " rate=100 burst=200 name=ci.Main_1 functions=a,b-c,d_e\n";
    struct key_set set;
    struct buf out = {0};
    (void)state;
    assert_int_equal(parse(text, &set), 0);
    assert_int_equal(set.count, 2);
    const struct key *key = key_set_find(&set, "0a1b2c3d");
    assert_non_null(key);
    assert_int_equal(key->scopes, KEY_SCOPE_INVOKE | KEY_SCOPE_READ);
    assert_int_equal(key->rate, 100);
    assert_int_equal(key->burst, 200);
    assert_int_equal(key->hash[1], 0x11);
    assert_string_equal(key->name, "ci.Main_1");
    assert_true(key_is_for(key, "a", 1) && key_is_for(key, "b-c", 3) && key_is_for(key, "d_e", 3));
    assert_false(key_is_for(key, "b", 1) || key_is_for(key, "a,b-c", 5) || key_is_for(key, "", 0));
    assert_true(key_is_for(key_set_find(&set, "00000000"), "anything", 8));
    assert_null(key_set_find(&set, "0a1b2c3e"));
    key_set_format(&set, &out);
    assert_int_equal(out.len, sizeof text - 1);
    assert_memory_equal(out.data, text, out.len);
    buf_fini(&out);
    key_set_fini(&set);
}

static void test_what_is_damaged_is_refused(void **state) {
    static const char *const texts[] = {
        "",
        "minifaas-keys 2\n",
        "minifaas-keys 1",
        HEADER "\n",
        HEADER LINE,                     /* cut off */
        HEADER LINE "\n" LINE "\n",      /* twice the same id */
        HEADER LINE " rate=5\n",         /* a rate without its burst */
        HEADER LINE " rate=0 burst=5\n", /* would be none */
        HEADER LINE " rate=5 burst=1000001\n",
        HEADER LINE " rate=-5 burst=1\n",
        HEADER LINE " expires=5\n",    /* a restriction of a later version */
        HEADER LINE " scopes=admin\n", /* twice */
        HEADER LINE " functions=\n",
        HEADER LINE " functions=a,\n",
        HEADER LINE " functions=A\n",
        HEADER LINE " functions=../x\n",
        HEADER LINE " name=a/b\n",
        HEADER LINE "  name=a\n",
        HEADER "id=0a1b2c3d hash=" HASH " created=1\n",
        HEADER "id=0a1b2c3d hash=" HASH " scopes= created=1\n",
        HEADER "id=0a1b2c3d hash=" HASH " scopes=invoke created=\n",
        HEADER "id=0A1B2C3D hash=" HASH " scopes=invoke created=1\n",
        HEADER "id=0a1b2c3 hash=" HASH " scopes=invoke created=1\n",
        HEADER "id=0a1b2c3d hash=00 scopes=invoke created=1\n",
        HEADER "hash=" HASH " scopes=invoke created=1\n",
    };
    struct key_set set;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (parse(texts[i], &set) != -ERR_BAD_REQUEST && parse(texts[i], &set) != -ERR_CONFLICT)
            fail_msg("accepted: %s", texts[i]);
    assert_int_equal(parse(HEADER, &set), 0);
    assert_int_equal(set.count, 0);
}

static void test_ids_are_found_in_any_order_of_adding_and_removing(void **state) {
    struct key_set set = {0};
    struct err err;
    char id[16];
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        struct key key = {.scopes = KEY_SCOPE_READ};
        snprintf(id, sizeof id, "%08x", i * 2654435761u);
        memcpy(key.id, id, sizeof key.id);
        assert_int_equal(key_set_add(&set, &key, &err), 0);
        assert_int_equal(key_set_add(&set, &key, &err), -ERR_CONFLICT);
    }
    for (unsigned i = 0; i < 1000; i += 2) {
        snprintf(id, sizeof id, "%08x", i * 2654435761u);
        key_set_remove(&set, key_set_find(&set, id));
    }
    assert_int_equal(set.count, 500);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(id, sizeof id, "%08x", i * 2654435761u);
        const struct key *key = key_set_find(&set, id);
        assert_int_equal(key != NULL, i % 2);
        if (key)
            assert_memory_equal(key->id, id, KEY_ID_CHARS);
    }
    key_set_fini(&set);
}

static void test_there_is_a_most_of_keys(void **state) {
    struct key_set set = {0};
    struct err err;
    (void)state;
    for (unsigned i = 0; i <= KEY_SET_MAX; i++) {
        struct key key = {.scopes = KEY_SCOPE_READ};
        char id[16];
        snprintf(id, sizeof id, "%08x", i);
        memcpy(key.id, id, sizeof key.id);
        assert_int_equal(key_set_add(&set, &key, &err), i == KEY_SET_MAX ? -ERR_LIMITED : 0);
    }
    key_set_fini(&set);
}

/* Requests that pass in `ns`, tried every `step_ns`. */
static unsigned count_passed(struct key *key, uint64_t *now_ns, uint64_t ns, uint64_t step_ns) {
    unsigned passed = 0;
    for (uint64_t end_ns = *now_ns + ns; *now_ns < end_ns; *now_ns += step_ns)
        passed += keyring_count_request(key, *now_ns) == 0;
    return passed;
}

static void test_rate_holds_over_time_and_burst_at_once(void **state) {
    struct key key = {.rate = 10, .burst = 5};
    uint64_t now_ns = 1000 * CLOCK_NS_PER_S;
    (void)state;
    assert_int_equal(count_passed(&key, &now_ns, 100, 1), 5); /* 100 tries within 100 ns */
    assert_in_range(count_passed(&key, &now_ns, 10 * CLOCK_NS_PER_S, CLOCK_NS_PER_MS), 99, 101);
    now_ns += 3600 * CLOCK_NS_PER_S; /* a pause saves up the burst, no more */
    assert_int_equal(count_passed(&key, &now_ns, 100, 1), 5);
    uint64_t early_ns = keyring_count_request(&key, now_ns);
    assert_in_range(early_ns, 1, CLOCK_NS_PER_S / 10);
    assert_int_equal(keyring_count_request(&key, now_ns + early_ns), 0);
}

static void test_no_rate_no_limit(void **state) {
    struct key key = {0};
    uint64_t now_ns = 1;
    (void)state;
    assert_int_equal(count_passed(&key, &now_ns, 10000, 1), 10000);
}

static void test_highest_rate(void **state) {
    struct key key = {.rate = KEY_RATE_MAX, .burst = KEY_RATE_MAX};
    uint64_t now_ns = 1;
    (void)state;
    assert_in_range(count_passed(&key, &now_ns, 2 * KEY_RATE_MAX, 1), KEY_RATE_MAX + 1998,
                    KEY_RATE_MAX + 2000);
}

struct ring {
    char dir[32];
    struct loop *loop;
    struct keyring *keyring;
};

static void ring_make(struct ring *ring) {
    strcpy(ring->dir, "/tmp/test_keys.XXXXXX");
    assert_non_null(mkdtemp(ring->dir));
}

static void ring_open(struct ring *ring, bool may_be_open) {
    struct err err;
    assert_int_equal(loop_new(&ring->loop, &err), 0);
    struct keyring_config config = {.loop = ring->loop, .data_dir = ring->dir, .may_be_open = may_be_open};
    assert_int_equal(keyring_new(&config, &ring->keyring, &err), 0);
}

static void ring_close(struct ring *ring) {
    char command[64];
    keyring_free(ring->keyring);
    loop_free(ring->loop);
    snprintf(command, sizeof command, "rm -rf %s", ring->dir);
    assert_int_equal(system(command), 0);
}

static void ring_on_stop(struct loop_timer *timer) {
    loop_stop(timer->context);
}

/* Once a ring: what has changed on the disk by now is seen. */
static void ring_turn(struct ring *ring) {
    struct loop_timer timer = {.on_timer = ring_on_stop, .context = ring->loop};
    struct err err;
    loop_arm(ring->loop, &timer, CLOCK_NS_PER_MS);
    assert_int_equal(loop_run(ring->loop, &err), 0);
}

static struct key *ring_find(struct ring *ring, struct keyring_session *session, const char *token) {
    return keyring_find(ring->keyring, session, token, strlen(token));
}

static void test_session_remembers_no_more_than_is_true(void **state) {
    struct ring ring;
    struct keyring_session session = {0};
    struct key wanted = {.scopes = KEY_SCOPE_READ};
    char first[KEY_TOKEN_CHARS + 1], second[KEY_TOKEN_CHARS + 1];
    struct err err;
    (void)state;
    ring_make(&ring);
    assert_int_equal(key_store_create(ring.dir, &wanted, first, &err), 0);
    assert_int_equal(key_store_create(ring.dir, &wanted, second, &err), 0);
    ring_open(&ring, true);
    assert_false(keyring_is_open(ring.keyring));
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(ring_find(&ring, &session, first)->id, first + 3, KEY_ID_CHARS);
        assert_memory_equal(ring_find(&ring, &session, second)->id, second + 3, KEY_ID_CHARS);
        assert_memory_equal(ring_find(&ring, &session, second)->id, second + 3, KEY_ID_CHARS);
    }
    for (int i = 0; i < KEY_TOKEN_CHARS;
         i++) { /* every byte counts, also when the right one was just there */
        char wrong[KEY_TOKEN_CHARS + 1];
        memcpy(wrong, second, sizeof wrong);
        wrong[i] = wrong[i] == '0' ? '1' : '0';
        assert_null(ring_find(&ring, &session, wrong));
        assert_non_null(ring_find(&ring, &session, second));
    }
    assert_null(keyring_find(ring.keyring, &session, second, KEY_TOKEN_CHARS - 1));
    assert_null(keyring_find(ring.keyring, &session, "", 0));
    char id[KEY_ID_CHARS + 1] = "";
    memcpy(id, second + 3, KEY_ID_CHARS);
    assert_int_equal(key_store_revoke(ring.dir, id, &err), 0);
    ring_turn(&ring);
    assert_null(ring_find(&ring, &session, second));
    assert_non_null(ring_find(&ring, &session, first));
    ring_close(&ring);
}

static void test_nobody_passes_where_it_may_not_be_open(void **state) {
    struct ring ring;
    struct keyring_session session = {0};
    (void)state;
    ring_make(&ring);
    ring_open(&ring, false);
    assert_false(keyring_is_open(ring.keyring));
    assert_null(ring_find(&ring, &session, "mf_00000000_0000000000000000000000000000000000000000000"));
    ring_close(&ring);
}

/* A hash of zeros, as an unknown id is compared with, opens nothing. */
static void test_unknown_id_is_nobodys(void **state) {
    struct ring ring;
    struct keyring_session session = {0};
    struct key wanted = {.scopes = KEY_SCOPE_READ};
    char token[KEY_TOKEN_CHARS + 1], other[KEY_TOKEN_CHARS + 1];
    struct err err;
    (void)state;
    ring_make(&ring);
    ring_open(&ring, true);
    assert_true(keyring_is_open(ring.keyring));
    assert_int_equal(key_store_create(ring.dir, &wanted, token, &err), 0);
    ring_turn(&ring);
    memcpy(other, token, sizeof other);
    memcpy(other + 3, "ffffffff", 8);
    assert_null(ring_find(&ring, &session, other));
    assert_non_null(ring_find(&ring, &session, token));
    ring_close(&ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_reads_as_it_was_written),
        cmocka_unit_test(test_what_is_damaged_is_refused),
        cmocka_unit_test(test_ids_are_found_in_any_order_of_adding_and_removing),
        cmocka_unit_test(test_there_is_a_most_of_keys),
        cmocka_unit_test(test_rate_holds_over_time_and_burst_at_once),
        cmocka_unit_test(test_no_rate_no_limit),
        cmocka_unit_test(test_highest_rate),
        cmocka_unit_test(test_session_remembers_no_more_than_is_true),
        cmocka_unit_test(test_nobody_passes_where_it_may_not_be_open),
        cmocka_unit_test(test_unknown_id_is_nobodys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
