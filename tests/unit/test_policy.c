/* The strategies: who takes the next call while workers come, go, fill up and differ in speed; and who counts
 * as stalled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "balancer/health.h"
#include "balancer/policy.h"

enum { COUNT = 4 };

static void fill_workers(struct policy_worker *workers, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        workers[i] = (struct policy_worker){.usable = true, .window = 16, .weight = 1};
}

/* A pick that the caller counts, as the gateway does. */
static int pick(struct policy *policy, struct policy_worker *workers, uint32_t count) {
    int at = policy_pick(policy, workers, count, UINT64_MAX);
    if (at >= 0)
        workers[at].in_flight++;
    return at;
}

static void rr_gives_each_call_to_the_next_worker_in_turn(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_RR};
    struct policy_worker workers[COUNT];
    fill_workers(workers, COUNT);
    for (int i = 0; i < 3 * COUNT; i++)
        assert_int_equal(pick(&policy, workers, COUNT), i % COUNT);
}

static void rr_skips_a_worker_that_goes_and_takes_it_back_in_its_place(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_RR};
    struct policy_worker workers[COUNT];
    fill_workers(workers, COUNT);
    assert_int_equal(pick(&policy, workers, COUNT), 0);
    workers[1].usable = false;
    assert_int_equal(pick(&policy, workers, COUNT), 2);
    assert_int_equal(pick(&policy, workers, COUNT), 3);
    assert_int_equal(pick(&policy, workers, COUNT), 0);
    workers[1].usable = true;
    assert_int_equal(pick(&policy, workers, COUNT), 1);
    assert_int_equal(pick(&policy, workers, COUNT), 2);
}

static void rr_keeps_its_turn_when_there_are_more_or_fewer_workers(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_RR};
    struct policy_worker workers[COUNT];
    fill_workers(workers, COUNT);
    assert_int_equal(pick(&policy, workers, 2), 0);
    assert_int_equal(pick(&policy, workers, 2), 1);
    assert_int_equal(pick(&policy, workers, COUNT), 2);
    assert_int_equal(pick(&policy, workers, COUNT), 3);
    assert_int_equal(pick(&policy, workers, 3), 1);
    assert_int_equal(pick(&policy, workers, 1), 0);
    policy.next = UINT32_MAX;
    assert_in_range(pick(&policy, workers, 3), 0, 2);
}

static void rr_passes_over_a_full_window_and_says_when_all_are_full(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_RR};
    struct policy_worker workers[COUNT];
    fill_workers(workers, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        workers[i].window = 2;
    workers[2].in_flight = 2;
    static const int expected[] = {0, 1, 3, 0, 1, 3, -1, -1};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(pick(&policy, workers, COUNT), expected[i]);
    workers[2].in_flight = 1;
    assert_int_equal(pick(&policy, workers, COUNT), 2);
    assert_int_equal(pick(&policy, workers, COUNT), -1);
}

static void no_strategy_picks_a_worker_that_is_not_there(void **state) {
    (void)state;
    struct policy_worker workers[COUNT];
    fill_workers(workers, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        workers[i].usable = false;
    for (int strategy = 0; strategy < POLICY_COUNT; strategy++) {
        struct policy policy = {.strategy = (enum policy_strategy)strategy};
        assert_int_equal(policy_pick(&policy, workers, COUNT, UINT64_MAX), -1);
        assert_int_equal(policy_pick(&policy, workers, 0, UINT64_MAX), -1);
    }
}

static void fifo_takes_the_free_worker_with_the_lowest_number(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_FIFO};
    struct policy_worker workers[COUNT];
    fill_workers(workers, COUNT);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pick(&policy, workers, COUNT), 0);
        workers[0].in_flight--;
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(pick(&policy, workers, COUNT), i);
    workers[2].in_flight--;
    assert_int_equal(pick(&policy, workers, COUNT), 2);
    workers[1].in_flight--;
    workers[1].usable = false;
    workers[3].in_flight--;
    assert_int_equal(pick(&policy, workers, COUNT), 3);
}

static void fifo_takes_the_fewest_in_flight_when_none_is_idle(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_FIFO};
    struct policy_worker workers[COUNT];
    fill_workers(workers, COUNT);
    static const uint32_t in_flight[COUNT] = {3, 2, 1, 1};
    for (uint32_t i = 0; i < COUNT; i++)
        workers[i].in_flight = in_flight[i];
    static const int expected[] = {2, 3, 1, 2, 3, 0, 1, 2, 3};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(pick(&policy, workers, COUNT), expected[i]);
    workers[0].window = 4;
    assert_int_equal(pick(&policy, workers, COUNT), 1);
}

static void assert_share(const uint32_t *had, uint32_t heavy, uint32_t light) {
    assert_true(labs((long)had[0] * light - (long)had[1] * heavy) <= (long)heavy * light);
}

static void weighted_shares_calls_one_after_the_other_by_weight(void **state) {
    (void)state;
    static const uint32_t weights[][2] = {{3, 1}, {1, 3}, {1, 1}, {5, 2}, {1000, 1}, {7, 7}};
    for (size_t w = 0; w < sizeof weights / sizeof weights[0]; w++) {
        struct policy policy = {.strategy = POLICY_WEIGHTED};
        struct policy_worker workers[2];
        fill_workers(workers, 2);
        workers[0].weight = weights[w][0];
        workers[1].weight = weights[w][1];
        uint32_t had[2] = {0, 0};
        for (int call = 0; call < 4004; call++) {
            had[policy_pick(&policy, workers, 2, UINT64_MAX)]++;
            assert_share(had, weights[w][0], weights[w][1]);
        }
    }
}

static void weighted_shares_concurrent_calls_by_weight(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_WEIGHTED};
    struct policy_worker workers[2];
    fill_workers(workers, 2);
    workers[0].weight = 3;
    workers[0].window = workers[1].window = 64;
    uint32_t in_flight[2];
    for (int call = 0; call < 80; call++) {
        assert_true(pick(&policy, workers, 2) >= 0);
        in_flight[0] = workers[0].in_flight;
        in_flight[1] = workers[1].in_flight;
        assert_share(in_flight, 3, 1);
    }
    assert_int_equal(workers[0].in_flight, 60);
    /* Whoever finishes, the next call puts the shares right again. */
    for (int call = 0; call < 1000; call++) {
        workers[(call / 7) % 2].in_flight--;
        assert_true(pick(&policy, workers, 2) >= 0);
        in_flight[0] = workers[0].in_flight;
        in_flight[1] = workers[1].in_flight;
        assert_share(in_flight, 3, 1);
    }
}

/* `at_once` callers, each of which calls again as soon as it is answered, and workers of the same speed that
 * take one call at a time. */
static void simulate(const uint32_t *weights, uint32_t count, uint32_t at_once, uint32_t *ret_had) {
    struct policy policy = {.strategy = POLICY_WEIGHTED};
    struct policy_worker workers[COUNT];
    fill_workers(workers, count);
    for (uint32_t i = 0; i < count; i++)
        workers[i].weight = weights[i];
    memset(ret_had, 0, COUNT * sizeof *ret_had);
    for (uint32_t i = 0; i < at_once; i++)
        ret_had[pick(&policy, workers, count)]++;
    for (int tick = 0; tick < 3000; tick++) {
        uint32_t answered = 0;
        for (uint32_t i = 0; i < count; i++)
            if (workers[i].in_flight > 0) {
                workers[i].in_flight--;
                answered++;
            }
        while (answered-- > 0)
            ret_had[pick(&policy, workers, count)]++;
    }
}

static void weighted_shares_calls_of_a_few_callers_by_weight(void **state) {
    (void)state;
    uint32_t had[COUNT];
    for (uint32_t at_once = 1; at_once <= 3; at_once++) {
        simulate((uint32_t[]){3, 1}, 2, at_once, had);
        assert_share(had, 3, 1);
    }
    simulate((uint32_t[]){8, 4, 2, 1}, 4, 8, had);
    assert_share(had, 8, 4);
    assert_share(had + 1, 4, 2);
    assert_share(had + 2, 2, 1);
    /* Only the relation counts. */
    simulate((uint32_t[]){800, 400, 200, 100}, 4, 8, had);
    assert_share(had, 8, 4);
    assert_share(had + 1, 4, 2);
    assert_share(had + 2, 2, 1);
}

static void weighted_keeps_all_busy_when_there_are_more_calls_than_that(void **state) {
    (void)state;
    uint32_t had[COUNT];
    simulate((uint32_t[]){3, 1}, 2, 16, had);
    assert_in_range(had[0], 2900, 3016);
    assert_in_range(had[1], 2900, 3016);
}

static void weighted_gives_a_slow_worker_less(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_WEIGHTED};
    struct policy_worker workers[2];
    fill_workers(workers, 2);
    uint32_t had[2] = {0, 0};
    assert_int_equal(pick(&policy, workers, 2), 0); /* and never answers */
    for (int call = 0; call < 100; call++) {
        uint32_t at = (uint32_t)pick(&policy, workers, 2);
        assert_in_range(at, 0, 1);
        had[at]++;
        if (at == 1)
            workers[1].in_flight--;
    }
    assert_int_equal(had[0], 0);
    assert_int_equal(had[1], 100);
    /* When it is quick again it does not get a hundred in a row to make up for that. */
    workers[0].in_flight = 0;
    had[0] = had[1] = 0;
    for (int call = 0; call < 10; call++)
        had[policy_pick(&policy, workers, 2, UINT64_MAX)]++;
    assert_in_range(had[0], 5, 6);
}

static void weighted_takes_a_worker_that_joins_as_level_with_the_others(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_WEIGHTED};
    struct policy_worker workers[3];
    fill_workers(workers, 3);
    workers[2].usable = false;
    for (int call = 0; call < 1000; call++)
        assert_in_range(policy_pick(&policy, workers, 3, UINT64_MAX), 0, 1);
    workers[2].usable = true;
    policy_join(workers, 3, 2);
    assert_int_equal(workers[2].pass, workers[0].pass < workers[1].pass ? workers[0].pass : workers[1].pass);
    uint32_t had[3] = {0, 0, 0};
    for (int call = 0; call < 30; call++)
        had[policy_pick(&policy, workers, 3, UINT64_MAX)]++;
    assert_int_equal(had[2], 10);
}

static void weighted_counts_no_weight_as_one(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_WEIGHTED};
    struct policy_worker workers[2];
    fill_workers(workers, 2);
    workers[0].weight = 0;
    uint32_t had[2] = {0, 0};
    for (int call = 0; call < 10; call++)
        had[policy_pick(&policy, workers, 2, UINT64_MAX)]++;
    assert_int_equal(had[0], 5);
}

static void the_strategy_may_change_between_two_calls(void **state) {
    (void)state;
    struct policy policy = {.strategy = POLICY_RR};
    struct policy_worker workers[COUNT];
    fill_workers(workers, COUNT);
    assert_int_equal(policy_pick(&policy, workers, COUNT, UINT64_MAX), 0);
    assert_int_equal(policy_pick(&policy, workers, COUNT, UINT64_MAX), 1);
    policy.strategy = POLICY_FIFO;
    assert_int_equal(policy_pick(&policy, workers, COUNT, UINT64_MAX), 0);
    policy.strategy = POLICY_WEIGHTED;
    assert_int_equal(policy_pick(&policy, workers, COUNT, UINT64_MAX), 0);
    assert_int_equal(policy_pick(&policy, workers, COUNT, UINT64_MAX), 1);
    policy.strategy = POLICY_RR;
    assert_int_equal(policy_pick(&policy, workers, COUNT, UINT64_MAX), 2);
}

static void strategy_names_are_known_in_any_case(void **state) {
    (void)state;
    struct err err;
    enum policy_strategy strategy;
    assert_int_equal(policy_strategy_parse("weighted", &strategy, &err), 0);
    assert_int_equal(strategy, POLICY_WEIGHTED);
    assert_int_equal(policy_strategy_parse("FIFO", &strategy, &err), 0);
    assert_int_equal(strategy, POLICY_FIFO);
    assert_int_equal(policy_strategy_parse("LIFO", &strategy, &err), -ERR_BAD_REQUEST);
    assert_non_null(strstr(err.msg, "WEIGHTED"));
    assert_string_equal(policy_strategy_name(POLICY_RR), "RR");
    assert_string_equal(policy_strategy_name(77), "unknown");
    assert_string_equal(table_state_name(TABLE_STALLED), "stalled");
    assert_string_equal(table_state_name(UINT32_MAX), "unknown");
}

static void a_table_is_mapped_by_others_and_nothing_else_is(void **state) {
    (void)state;
    struct err err;
    int fd = -1, pipe_fds[2];
    struct table *made = NULL, *mapped = NULL;
    assert_int_equal(table_create(&fd, &made, &err), 0);
    assert_int_equal(table_map(fd, &mapped, &err), 0);
    atomic_store(&made->rows[63].calls, 12345);
    assert_int_equal(atomic_load(&mapped->rows[63].calls), 12345);
    assert_int_not_equal(ftruncate(fd, 0), 0);
    made->format = TABLE_FORMAT + 1;
    struct table *none = NULL;
    assert_int_equal(table_map(fd, &none, &err), -ERR_BAD_REQUEST);
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(table_map(pipe_fds[0], &none, &err), -ERR_BAD_REQUEST);
    assert_null(none);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close(fd);
    table_unmap(made);
    table_unmap(mapped);
    table_unmap(NULL);
}

static void health_marks_who_finishes_nothing_and_takes_it_back(void **state) {
    (void)state;
    struct table *table = calloc(1, sizeof *table);
    struct health *health = calloc(1, sizeof *health);
    uint64_t now_ns = 5 * HEALTH_STALL_NS;
    struct table_row *rows = table->rows;
    for (int i = 0; i < 4; i++)
        rows[i].state = TABLE_READY;
    rows[4].state = TABLE_GONE;
    rows[1].in_flight = rows[2].in_flight = rows[4].in_flight = 3;
    for (uint32_t i = 0; i < 5; i++)
        health_reset(health, table, i, now_ns);
    for (uint64_t passed_ns = 0; passed_ns < HEALTH_STALL_NS; passed_ns += HEALTH_STALL_NS / 10) {
        rows[2].calls++;
        health_check(health, table, now_ns + passed_ns, NULL, NULL);
        for (int i = 0; i < 4; i++)
            assert_int_equal(rows[i].state, TABLE_READY);
    }
    now_ns += HEALTH_STALL_NS;
    health_check(health, table, now_ns, NULL, NULL);
    assert_int_equal(rows[0].state, TABLE_READY);   /* idle */
    assert_int_equal(rows[1].state, TABLE_STALLED); /* three in flight, none finished */
    assert_int_equal(rows[2].state, TABLE_READY);   /* busy, but finishes */
    assert_int_equal(rows[4].state, TABLE_GONE);
    assert_int_equal(rows[5].state, TABLE_EMPTY);
    health_check(health, table, now_ns + 9 * HEALTH_STALL_NS, NULL, NULL);
    assert_int_equal(rows[1].state, TABLE_STALLED);
    rows[1].calls++;
    health_check(health, table, now_ns + 10 * HEALTH_STALL_NS, NULL, NULL);
    assert_int_equal(rows[1].state, TABLE_READY);
    health_check(health, table, now_ns + 11 * HEALTH_STALL_NS, NULL, NULL);
    assert_int_equal(rows[1].state, TABLE_STALLED);
    rows[1].in_flight = 0;
    health_check(health, table, now_ns + 12 * HEALTH_STALL_NS, NULL, NULL);
    assert_int_equal(rows[1].state, TABLE_READY);
    free(health);
    free(table);
}

static void a_worker_whose_backlog_is_over_the_room_takes_no_call(void **state) {
    (void)state;
    for (int strategy = 0; strategy < POLICY_COUNT; strategy++) {
        struct policy policy = {.strategy = (enum policy_strategy)strategy};
        struct policy_worker workers[COUNT];
        fill_workers(workers, COUNT);
        for (int i = 0; i < COUNT; i++)
            workers[i].backlog_ns = 100;
        assert_int_equal(policy_pick(&policy, workers, COUNT, 99), -1);
        workers[2].backlog_ns = 99;
        assert_int_equal(policy_pick(&policy, workers, COUNT, 99), 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_whose_backlog_is_over_the_room_takes_no_call),
        cmocka_unit_test(rr_gives_each_call_to_the_next_worker_in_turn),
        cmocka_unit_test(rr_skips_a_worker_that_goes_and_takes_it_back_in_its_place),
        cmocka_unit_test(rr_keeps_its_turn_when_there_are_more_or_fewer_workers),
        cmocka_unit_test(rr_passes_over_a_full_window_and_says_when_all_are_full),
        cmocka_unit_test(no_strategy_picks_a_worker_that_is_not_there),
        cmocka_unit_test(fifo_takes_the_free_worker_with_the_lowest_number),
        cmocka_unit_test(fifo_takes_the_fewest_in_flight_when_none_is_idle),
        cmocka_unit_test(weighted_shares_calls_one_after_the_other_by_weight),
        cmocka_unit_test(weighted_shares_concurrent_calls_by_weight),
        cmocka_unit_test(weighted_shares_calls_of_a_few_callers_by_weight),
        cmocka_unit_test(weighted_keeps_all_busy_when_there_are_more_calls_than_that),
        cmocka_unit_test(weighted_gives_a_slow_worker_less),
        cmocka_unit_test(weighted_takes_a_worker_that_joins_as_level_with_the_others),
        cmocka_unit_test(weighted_counts_no_weight_as_one),
        cmocka_unit_test(the_strategy_may_change_between_two_calls),
        cmocka_unit_test(strategy_names_are_known_in_any_case),
        cmocka_unit_test(a_table_is_mapped_by_others_and_nothing_else_is),
        cmocka_unit_test(health_marks_who_finishes_nothing_and_takes_it_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
