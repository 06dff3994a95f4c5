/* How many workers: against a model of clients, workers and cores in simulated time. Quick up, slow down, and
 * a bounded number of changes under a step, a sawtooth, a spike and noise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "balancer/scaler.h"

#define SECOND_NS 1000000000ull
enum { PERIOD_S = 10, TICKS_PER_S = 10 };

/* Clients that send their next call when they have the answer, and what their calls do. */
struct model {
    struct scaling scaling;
    uint64_t now_ns;
    double cores;
    double clients;
    double run_s;     /* of a call that has a CPU whenever it wants */
    double cpu_share; /* of that, computing; the rest it sleeps */
    double reserved;  /* a worker that is kept from these calls */
    uint32_t missing; /* workers that were ordered and do not come */
    double jitter;    /* share by which the clients' number is off, at most */
    uint64_t seed;
    uint32_t ups, downs, highest;
    uint64_t last_change_ns, shortest_ns; /* between two steps down */
    enum scaling_reason reason;
};

static void model_start(struct model *model, uint32_t target, uint32_t least, uint32_t most) {
    *model = (struct model){.now_ns = SECOND_NS, .cores = 2, .run_s = 0.05, .cpu_share = 0.02, .seed = 1};
    model->shortest_ns = UINT64_MAX;
    model->highest = target;
    scaling_start(&model->scaling, target, least, most, PERIOD_S * SECOND_NS);
}

/* -1..1 */
static double model_noise(struct model *model) {
    model->seed = model->seed * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(model->seed >> 40) / (double)(1 << 23) - 1;
}

static struct scaling_input model_look(struct model *model) {
    struct scaling_input input = {.now_ns = model->now_ns, .tick_ns = SCALING_TICK_NS};
    double clients = model->clients * (1 + model->jitter * model_noise(model));
    input.ready = model->scaling.target - model->missing;
    input.reserved = input.ready > 1 ? model->reserved : 0;
    input.busy = clients < input.ready - input.reserved ? clients : input.ready - input.reserved;
    input.in_long = model->run_s >= 0.04 ? input.busy * (model->run_s - 0.02) / model->run_s : 0;
    double rate = input.busy / model->run_s;
    if (rate * model->run_s * model->cpu_share > model->cores)
        rate = model->cores / (model->run_s * model->cpu_share);
    input.cpu = rate * model->run_s * model->cpu_share;
    input.idle_cores = model->cores - input.cpu;
    input.delayed = input.busy - rate * model->run_s;
    input.waiting = clients - input.busy;
    input.answered = (uint64_t)(rate / TICKS_PER_S);
    if (input.waiting >= 1)
        input.oldest_wait_ns = (uint64_t)(input.waiting / rate * (double)SECOND_NS);
    return input;
}

static void model_tick(struct model *model) {
    model->now_ns += SCALING_TICK_NS;
    struct scaling_input input = model_look(model);
    uint32_t before = model->scaling.target;
    enum scaling_reason reason = scaling_decide(&model->scaling, &input);
    uint32_t target = model->scaling.target;
    assert_in_range(target, model->scaling.least, model->scaling.most);
    assert_int_equal(reason == SCALING_KEEP, target == before);
    if (reason == SCALING_KEEP)
        return;
    assert_int_equal(reason == SCALING_DOWN, target < before);
    model->reason = reason;
    if (reason == SCALING_DOWN && model->downs++ &&
        model->now_ns - model->last_change_ns < model->shortest_ns)
        model->shortest_ns = model->now_ns - model->last_change_ns;
    model->ups += reason != SCALING_DOWN;
    model->last_change_ns = model->now_ns;
    model->highest = target > model->highest ? target : model->highest;
}

static void model_run(struct model *model, double seconds) {
    for (int i = 0; i < (int)(seconds * TICKS_PER_S + 0.5); i++)
        model_tick(model);
}

/* --- up and down --- */

static void a_step_is_followed_within_a_second_and_given_up_slowly(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 16);
    model.clients = 16;
    model_run(&model, 1);
    assert_int_equal(model.scaling.target, 16);
    assert_int_equal(model.ups, 2);
    assert_int_equal(model.reason, SCALING_UP_BLOCKED);
    model_run(&model, 60);
    assert_int_equal(model.ups + model.downs, 2);
    model.clients = 0;
    model_run(&model, PERIOD_S - 1);
    assert_int_equal(model.scaling.target, 16);
    model_run(&model, 6);
    assert_in_range(model.scaling.target, 13, 15); /* a quarter of the twelve that are too many, at most */
    model_run(&model, 120);
    assert_int_equal(model.scaling.target, 4);
    assert_true(model.shortest_ns >= PERIOD_S * SECOND_NS);
}

static void it_takes_what_is_needed_and_not_all_that_there_may_be(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 64);
    model.clients = 11;
    model_run(&model, 30);
    assert_in_range(model.scaling.target, 11, 13);
}

static void fewer_clients_are_followed_down_with_a_margin(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 16);
    model.clients = 16;
    model_run(&model, 10);
    model.clients = 8;
    model_run(&model, 300);
    assert_in_range(model.scaling.target, 9, 11);
    assert_int_equal(model.ups, 2);
}

static void equal_bounds_never_change(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 4);
    model.clients = 64;
    model_run(&model, 60);
    model.clients = 0;
    model_run(&model, 60);
    assert_int_equal(model.ups + model.downs, 0);
}

static void nothing_happens_without_workers_or_load(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 16);
    model_run(&model, 60);
    model.clients = 32;
    model.missing = 4;
    for (int i = 0; i < 100; i++) {
        struct scaling_input input = {
            .now_ns = model.now_ns += SCALING_TICK_NS, .tick_ns = SCALING_TICK_NS, .waiting = 32};
        assert_int_equal(scaling_decide(&model.scaling, &input), SCALING_KEEP);
    }
    assert_int_equal(model.scaling.target, 4);
}

/* --- what more workers are good for --- */

static void a_flood_of_short_calls_on_busy_cores_gets_no_more_workers(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 2, 2, 8);
    model.clients = 64;
    model.cpu_share = 1;
    for (model.run_s = 0.000005; model.run_s < 0.003; model.run_s *= 2)
        model_run(&model, 20);
    assert_int_equal(model.ups + model.downs, 0);
}

static void computing_calls_get_workers_up_to_the_cores(void **state) {
    (void)state;
    for (int cores = 1; cores <= 16; cores *= 2) {
        struct model model;
        model_start(&model, 1, 1, 64);
        model.cores = cores;
        model.clients = 64;
        model.cpu_share = 1;
        model.run_s = 0.001;
        model_run(&model, 5);
        assert_int_equal(model.scaling.target, cores);
        model_run(&model, 60);
        assert_int_equal(model.downs, 0);
    }
}

static void calls_that_compute_half_their_time_get_twice_the_cores(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 1, 1, 64);
    model.cores = 4;
    model.clients = 64;
    model.cpu_share = 0.5;
    model.run_s = 0.002;
    model_run(&model, 60);
    assert_in_range(model.scaling.target, 7, 9);
    assert_int_equal(model.downs, 0);
}

static void sleepers_get_workers_while_others_have_all_cores(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 16);
    model.clients = 16;
    for (int i = 0; i < 50; i++) {
        model.now_ns += SCALING_TICK_NS;
        struct scaling_input input = model_look(&model);
        input.idle_cores = 0;
        scaling_decide(&model.scaling, &input);
    }
    assert_int_equal(model.scaling.target, 16);
}

static void an_idle_cpu_that_workers_do_not_get_is_none(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 2, 2, 16);
    model.cores = 0.5; /* a quota */
    model.clients = 64;
    model.cpu_share = 1;
    model.run_s = 0.005;
    for (int i = 0; i < 100; i++) {
        model.now_ns += SCALING_TICK_NS;
        struct scaling_input input = model_look(&model);
        input.idle_cores = 15;
        assert_int_equal(scaling_decide(&model.scaling, &input), SCALING_KEEP);
    }
}

static void what_is_idle_in_the_first_tick_is_not_believed_alone(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 2, 2, 16);
    model.clients = 64;
    model.cpu_share = 1;
    model.run_s = 0.001;
    for (int i = 0; i < 100; i++) {
        model.now_ns += SCALING_TICK_NS;
        struct scaling_input input = model_look(&model);
        if (i % 10 == 0)
            input.busy = 0;
        if (i % 10 <= 1)
            input.idle_cores = 2;
        assert_int_equal(scaling_decide(&model.scaling, &input), SCALING_KEEP);
    }
}

static void workers_of_sleepers_are_given_up_for_a_flood_that_computes(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 2, 2, 16);
    model.clients = 16;
    model_run(&model, 10);
    assert_int_equal(model.scaling.target, 16);
    model.clients = 64;
    model.cpu_share = 1;
    model.run_s = 0.00001;
    model_run(&model, 400);
    assert_in_range(model.scaling.target, 2, 4);
}

static void calls_that_wait_long_behind_long_ones_get_a_worker_at_a_time(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 16);
    model.clients = 9;
    model.cpu_share = 1;
    model.run_s = 1;
    model_run(&model, 10);
    assert_int_equal(model.reason, SCALING_UP_LONG);
    assert_in_range(model.scaling.target, 8, 9);
    uint32_t ups = model.ups;
    assert_in_range(ups, 4, 5);
}

static void a_worker_that_is_kept_for_others_does_not_count(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 2, 2, 16);
    model.reserved = 1;
    model.clients = 8;
    model_run(&model, 5);
    assert_in_range(model.scaling.target, 9, 11);
    assert_int_equal(model.downs, 0);
}

static void workers_that_do_not_come_are_waited_for(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 64);
    model.clients = 64;
    model_run(&model, 0.2);
    assert_int_equal(model.scaling.target, 8);
    model.missing = 1;
    model_run(&model, 30);
    assert_int_equal(model.scaling.target, 8);
    model.missing = 0;
    model_run(&model, 2);
    assert_int_equal(model.scaling.target, 64);
}

/* --- no flapping --- */

static void a_blip_of_one_tick_changes_nothing(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 16);
    for (int i = 0; i < 100; i++) {
        model.clients = 16;
        model_tick(&model);
        model.clients = 1;
        model_run(&model, 1);
    }
    assert_int_equal(model.ups + model.downs, 0);
}

static void a_spike_is_followed_once_and_left_slowly(void **state) {
    (void)state;
    struct model model;
    model_start(&model, 4, 4, 8);
    model.clients = 1;
    model_run(&model, 30);
    model.clients = 40;
    model_run(&model, 0.5);
    assert_int_equal(model.scaling.target, 8);
    model.clients = 1;
    model_run(&model, 300);
    assert_int_equal(model.scaling.target, 4);
    assert_int_equal(model.ups, 1);
    assert_int_equal(model.downs, 4);
    assert_true(model.shortest_ns >= PERIOD_S * SECOND_NS);
}

/* From nothing to `highest` clients and back, for so long. */
static void model_saw(struct model *model, double highest, int period_s, int seconds) {
    int half = period_s * TICKS_PER_S / 2;
    for (int i = 0; i < seconds * TICKS_PER_S; i++) {
        int at = i % (2 * half);
        model->clients = highest * (at < half ? at : 2 * half - at) / half;
        model_tick(model);
    }
}

static void a_sawtooth_shorter_than_the_period_is_followed_up_only(void **state) {
    (void)state;
    for (int period_s = 1; period_s <= 12; period_s++) {
        struct model model;
        model_start(&model, 4, 4, 16);
        model_saw(&model, 16, period_s, 300);
        assert_in_range(model.ups, 2, 10);
        assert_in_range(model.downs, 0, 2);
        uint32_t before = model.ups + model.downs;
        model_saw(&model, 16, period_s, 3600);
        assert_in_range(model.ups + model.downs - before, 0, 2);
    }
}

/* One that is not much longer would cost a step down and one up a tooth: it is found out. A long one is
 * followed. */
static void a_sawtooth_is_not_followed_for_ever_by_steps_that_are_taken_back(void **state) {
    (void)state;
    for (int period_s = 14; period_s <= 120; period_s += 2) {
        struct model model;
        model_start(&model, 4, 4, 16);
        model_saw(&model, 16, period_s, 3600);
        uint32_t before = model.ups + model.downs;
        model_saw(&model, 16, period_s, 3600);
        uint32_t changes = model.ups + model.downs - before, teeth = 3600 / (uint32_t)period_s;
        assert_in_range(changes, 0, period_s <= 8 * PERIOD_S ? teeth / 4 : 9 * teeth);
    }
}

static void noise_changes_little(void **state) {
    (void)state;
    for (double clients = 2; clients < 16; clients += 0.5) {
        struct model model;
        model_start(&model, 4, 4, 16);
        model.clients = clients;
        model.jitter = 0.3;
        model_run(&model, 60);
        uint32_t before = model.ups + model.downs;
        model_run(&model, 1800);
        assert_in_range(model.ups + model.downs - before, 0, 12);
        assert_true(model.scaling.target + 1 >= clients || model.scaling.target == 16);
    }
}

/* --- details --- */

static void bounds_and_target_are_put_right(void **state) {
    (void)state;
    static const struct {
        uint32_t target, least, most, expected;
    } rows[] = {{0, 4, 8, 4}, {9, 4, 8, 8}, {6, 4, 8, 6}, {3, 0, 0, 1}, {5, 4, 2, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scaling scaling;
        scaling_start(&scaling, rows[i].target, rows[i].least, rows[i].most, SECOND_NS);
        assert_int_equal(scaling.target, rows[i].expected);
        assert_true(scaling.least >= 1 && scaling.least <= scaling.most);
    }
}

static void the_wait_is_that_of_the_queue_and_of_the_pipes(void **state) {
    (void)state;
    struct scaling_input input = {.tick_ns = SCALING_TICK_NS};
    assert_int_equal(scaling_wait_ns(&input), 0);
    input.waiting = 60;
    assert_int_equal(scaling_wait_ns(&input), SCALING_TICK_NS);
    input.answered = 10000;
    assert_int_equal(scaling_wait_ns(&input), 600000);
    input.oldest_wait_ns = 5000000;
    assert_int_equal(scaling_wait_ns(&input), 5000000);
}

/* --- from the table --- */

struct rig {
    struct table *table;
    struct scaler scaler;
    uint64_t now_ns;
};

static void rig_start(struct rig *rig, uint32_t workers) {
    struct err err;
    int fd;
    *rig = (struct rig){.now_ns = 1000 * SECOND_NS};
    assert_int_equal(table_create(&fd, &rig->table, &err), 0);
    close(fd);
    rig->scaler.table = rig->table;
    rig->scaler.period_ns = PERIOD_S * SECOND_NS;
    for (uint32_t i = 0; i < workers; i++) {
        rig->table->rows[i].state = TABLE_READY;
        rig->table->rows[i].pid = getpid();
    }
    scaler_start(&rig->scaler, workers, workers, 64);
}

/* A tick in which every worker slept in calls, `waiting` others waited, and so many were answered. */
static bool rig_tick(struct rig *rig, uint64_t waiting, uint64_t answered) {
    rig->now_ns += SCALING_TICK_NS;
    for (int i = 0; i < TABLE_WORKERS; i++)
        rig->table->rows[i].busy_ns += SCALING_TICK_NS;
    rig->table->load.waiting_ns += waiting * SCALING_TICK_NS;
    rig->table->load.answered += answered;
    rig->table->load.oldest_wait_ns = waiting ? SCALING_TICK_NS : 0;
    rig->table->load.stamp_ns = rig->now_ns;
    return scaler_tick(&rig->scaler, rig->now_ns);
}

static void the_table_shows_what_was_decided(void **state) {
    (void)state;
    struct rig rig;
    rig_start(&rig, 4);
    assert_int_equal(rig.table->scaling.target, 4);
    assert_int_equal(rig.table->scaling.most, 64);
    int ticks = 0;
    while (!rig_tick(&rig, 20, 8))
        assert_true(++ticks < 5);
    assert_int_equal(rig.scaler.scaling.target, 8);
    assert_int_equal(rig.table->scaling.target, 8);
    assert_int_equal(rig.table->scaling.ups, 1);
    assert_int_equal(rig.table->scaling.downs, 0);
    assert_int_equal(rig.table->scaling.ready, 4);
    assert_int_equal(rig.table->scaling.busy_milli, 4000);
    assert_int_equal(rig.table->scaling.wait_ns, 250000000);
    table_unmap(rig.table);
}

static void words_of_a_gateway_that_is_gone_are_no_load(void **state) {
    (void)state;
    struct rig rig;
    rig_start(&rig, 4);
    rig_tick(&rig, 20, 8);
    for (int i = 0; i < 100; i++) {
        rig.now_ns += SCALING_TICK_NS;
        assert_false(scaler_tick(&rig.scaler, rig.now_ns));
    }
    assert_int_equal(rig.table->scaling.target, 4);
    assert_int_equal(rig.table->scaling.wait_ns, 0);
    assert_int_equal(rig.table->scaling.busy_milli, 0);
    table_unmap(rig.table);
}

static void totals_that_start_again_are_no_load(void **state) {
    (void)state;
    struct rig rig;
    rig_start(&rig, 4);
    rig_tick(&rig, 20, 8);
    rig.table->load.waiting_ns = rig.table->load.answered = 0;
    for (int i = 0; i < TABLE_WORKERS; i++)
        rig.table->rows[i].busy_ns = 0;
    rig.now_ns += SCALING_TICK_NS;
    rig.table->load.stamp_ns = rig.now_ns;
    rig.table->load.oldest_wait_ns = 0;
    assert_false(scaler_tick(&rig.scaler, rig.now_ns));
    assert_int_equal(rig.table->scaling.busy_milli, 0);
    assert_int_equal(rig.table->scaling.wait_ns, 0);
    /* Nor do those of another worker with the same number. */
    rig.table->rows[0].pid = getppid();
    rig_tick(&rig, 0, 8);
    assert_int_equal(rig.table->scaling.busy_milli, 3000);
    table_unmap(rig.table);
}

static void before_a_server_has_come_nothing_is_decided(void **state) {
    (void)state;
    struct rig rig;
    rig_start(&rig, 4);
    rig.scaler.started = false;
    for (int i = 0; i < 20; i++)
        assert_false(rig_tick(&rig, 20, 8));
    scaler_start(&rig.scaler, 9, 4, 1000);
    assert_int_equal(rig.table->scaling.target, 9);
    assert_int_equal(rig.table->scaling.most, TABLE_WORKERS);
    table_unmap(rig.table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_followed_within_a_second_and_given_up_slowly),
        cmocka_unit_test(it_takes_what_is_needed_and_not_all_that_there_may_be),
        cmocka_unit_test(fewer_clients_are_followed_down_with_a_margin),
        cmocka_unit_test(equal_bounds_never_change),
        cmocka_unit_test(nothing_happens_without_workers_or_load),
        cmocka_unit_test(a_flood_of_short_calls_on_busy_cores_gets_no_more_workers),
        cmocka_unit_test(computing_calls_get_workers_up_to_the_cores),
        cmocka_unit_test(calls_that_compute_half_their_time_get_twice_the_cores),
        cmocka_unit_test(sleepers_get_workers_while_others_have_all_cores),
        cmocka_unit_test(an_idle_cpu_that_workers_do_not_get_is_none),
        cmocka_unit_test(what_is_idle_in_the_first_tick_is_not_believed_alone),
        cmocka_unit_test(workers_of_sleepers_are_given_up_for_a_flood_that_computes),
        cmocka_unit_test(calls_that_wait_long_behind_long_ones_get_a_worker_at_a_time),
        cmocka_unit_test(a_worker_that_is_kept_for_others_does_not_count),
        cmocka_unit_test(workers_that_do_not_come_are_waited_for),
        cmocka_unit_test(a_blip_of_one_tick_changes_nothing),
        cmocka_unit_test(a_spike_is_followed_once_and_left_slowly),
        cmocka_unit_test(a_sawtooth_shorter_than_the_period_is_followed_up_only),
        cmocka_unit_test(a_sawtooth_is_not_followed_for_ever_by_steps_that_are_taken_back),
        cmocka_unit_test(noise_changes_little),
        cmocka_unit_test(bounds_and_target_are_put_right),
        cmocka_unit_test(the_wait_is_that_of_the_queue_and_of_the_pipes),
        cmocka_unit_test(the_table_shows_what_was_decided),
        cmocka_unit_test(words_of_a_gateway_that_is_gone_are_no_load),
        cmocka_unit_test(totals_that_start_again_are_no_load),
        cmocka_unit_test(before_a_server_has_come_nothing_is_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
