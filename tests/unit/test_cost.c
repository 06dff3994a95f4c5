/* What a function's next call is expected to take: steady against the odd one out, quick to follow a change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch/cost.h"

enum { QUICK_NS = 5000, LONG_NS = 100000000 };

static void observe(struct cost *cost, uint64_t run_ns, int times) {
    for (int i = 0; i < times; i++)
        cost_observe(cost, run_ns);
}

static void a_function_that_is_not_known_closes_the_pipe_and_is_not_long(void **state) {
    (void)state;
    struct cost cost = {0};
    assert_true(cost_expected_ns(&cost) > COST_PIPE_NS);
    assert_false(cost_is_long(&cost));
}

static void the_first_call_makes_it_known(void **state) {
    (void)state;
    struct cost cost = {0};
    observe(&cost, QUICK_NS, 1);
    assert_int_equal(cost_expected_ns(&cost), QUICK_NS);
    observe(&cost, 0, 100); /* a clock that stands still */
    assert_true(cost_expected_ns(&cost) >= 1);
}

static void one_slow_call_in_a_hundred_changes_next_to_nothing(void **state) {
    (void)state;
    struct cost cost = {0};
    for (int i = 0; i < 1000; i++)
        observe(&cost, i % 100 == 99 ? LONG_NS : QUICK_NS, 1);
    assert_true(cost_expected_ns(&cost) < 2 * QUICK_NS);
}

static void three_slow_calls_in_a_row_make_it_long_and_three_quick_ones_quick(void **state) {
    (void)state;
    struct cost cost = {0};
    observe(&cost, QUICK_NS, 50);
    observe(&cost, LONG_NS, 2);
    assert_false(cost_is_long(&cost));
    observe(&cost, LONG_NS, 1);
    assert_true(cost_is_long(&cost));
    observe(&cost, QUICK_NS, 2);
    assert_true(cost_is_long(&cost));
    observe(&cost, QUICK_NS, 1);
    assert_false(cost_is_long(&cost));
}

static void it_follows_a_slow_drift(void **state) {
    (void)state;
    struct cost cost = {0};
    observe(&cost, 10000, 50);
    observe(&cost, 30000, 200);
    assert_in_range(cost_expected_ns(&cost), 28000, 32000);
    observe(&cost, 8000, 200);
    assert_in_range(cost_expected_ns(&cost), 7000, 9000);
}

static void a_quick_call_may_fill_the_pipe_and_a_long_one_waits_for_half_of_it(void **state) {
    (void)state;
    struct cost cost = {0};
    observe(&cost, QUICK_NS, 1);
    assert_int_equal(cost_room_ns(&cost), COST_PIPE_NS - QUICK_NS);
    struct cost slow = {0};
    observe(&slow, LONG_NS, 1);
    assert_int_equal(cost_room_ns(&slow), COST_PIPE_NS / 2);
    observe(&slow, UINT64_MAX, 5); /* what a worker says is not believed, only bounded */
    assert_int_equal(cost_room_ns(&slow), COST_PIPE_NS / 2);
    assert_true(cost_expected_ns(&slow) < UINT64_MAX / 65536);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_function_that_is_not_known_closes_the_pipe_and_is_not_long),
        cmocka_unit_test(the_first_call_makes_it_known),
        cmocka_unit_test(one_slow_call_in_a_hundred_changes_next_to_nothing),
        cmocka_unit_test(three_slow_calls_in_a_row_make_it_long_and_three_quick_ones_quick),
        cmocka_unit_test(it_follows_a_slow_drift),
        cmocka_unit_test(a_quick_call_may_fill_the_pipe_and_a_long_one_waits_for_half_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
