/* Many publish one name at once, and one wins. */
#include "storage_fixture.h"

#include <pthread.h>
#include <sys/wait.h>

enum { RACERS = 50 };
struct racer {
    struct storage *storage;
    uint64_t number;
    int rc;
    pthread_barrier_t *start;
};

static void *race(void *context) {
    struct racer *racer = context;
    struct storage_meta meta = fixture_meta("f", racer->number, 1);
    char stage[PATH_MAX], text[32];
    struct err err;
    fixture_format(text, sizeof text, "%llu", (unsigned long long)racer->number);
    fixture_stage(racer->storage, text, &meta, stage);
    pthread_barrier_wait(racer->start);
    racer->rc = storage_publish(racer->storage, stage, &meta, &err);
    return NULL;
}

static void assert_one_winner(struct fixture *fixture, const int *rcs) {
    int winners = 0;
    for (int i = 0; i < RACERS; i++) {
        winners += rcs[i] == 0;
        if (rcs[i] != 0)
            assert_int_equal(rcs[i], -ERR_CONFLICT);
    }
    assert_int_equal(winners, 1);
    assert_int_equal(fixture_count(fixture, "."), 2);
    assert_int_equal(fixture_count(fixture, "names"), 1);
    fixture_reopen(fixture);
    struct storage_version *version = fixture_find(fixture->storage, "f");
    assert_non_null(version);
    assert_true(
        fixture_holds(fixture->storage, version->meta.id, "code.c", strrchr(version->meta.id, '_') + 1));
}

/* step 0: all have the same id, 1: each its own. */
static void race_threads(struct fixture *fixture, uint64_t step) {
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    pthread_barrier_t start;
    int rcs[RACERS];
    pthread_barrier_init(&start, NULL, RACERS);
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] =
            (struct racer){.storage = fixture->storage, .number = 1700000000 + i * step, .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        rcs[i] = racers[i].rc;
    }
    pthread_barrier_destroy(&start);
    assert_one_winner(fixture, rcs);
}

static void test_fifty_threads_publish_one_name_and_one_wins(void **state) {
    race_threads(*state, 1);
}

static void test_fifty_threads_publish_one_id_and_one_wins(void **state) {
    race_threads(*state, 0);
}

static void test_fifty_processes_publish_one_name_and_one_wins(void **state) {
    struct fixture *fixture = *state;
    pid_t children[RACERS];
    int rcs[RACERS], start[2];
    assert_int_equal(pipe2(start, O_CLOEXEC), 0);
    for (size_t i = 0; i < RACERS; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] != 0)
            continue;
        struct storage_meta meta = fixture_meta("f", 1700000000 + i, 1);
        char stage[PATH_MAX], text[32], byte;
        struct err err;
        fixture_format(text, sizeof text, "%zu", 1700000000 + i);
        fixture_stage(fixture->storage, text, &meta, stage);
        close(start[1]);
        _exit(read(start[0], &byte, 1) != 0 ? 255 : -storage_publish(fixture->storage, stage, &meta, &err));
    }
    close(start[0]);
    close(start[1]); /* all at once */
    for (int i = 0; i < RACERS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        rcs[i] = -WEXITSTATUS(status);
    }
    assert_one_winner(fixture, rcs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        TEST(test_fifty_threads_publish_one_name_and_one_wins),
        TEST(test_fifty_threads_publish_one_id_and_one_wins),
        TEST(test_fifty_processes_publish_one_name_and_one_wins),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
