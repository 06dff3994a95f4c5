/* Settings: flag over environment over file over default, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/config.h"

static char file_path[] = "/tmp/test_config.XXXXXX";

static void write_file(const char *text) {
    FILE *file = fopen(file_path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void clear_environment(void) {
    static const char *const names[] = {
#define NAME(field, variable, ...) variable,
        CONFIG_TEXTS(NAME) CONFIG_NUMBERS(NAME)
#undef NAME
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    setenv("FAAS_CONFIG", file_path, 1);
}

static int set_up(void **state) {
    (void)state;
    clear_environment();
    write_file("");
    return 0;
}

struct loaded {
    struct config config;
    struct err err;
    int argc, rc;
    char *argv[16];
};

static struct loaded load(char **arguments) {
    struct loaded loaded = {.argc = 1};
    loaded.argv[0] = "test";
    for (; *arguments; arguments++)
        loaded.argv[loaded.argc++] = *arguments;
    loaded.rc = config_load(&loaded.config, &loaded.argc, loaded.argv, &loaded.err);
    return loaded;
}
#define LOAD(...) load((char *[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void assert_refused(struct loaded loaded, const char *word) {
    assert_int_equal(loaded.rc, -ERR_BAD_REQUEST);
    if (!strstr(loaded.err.msg, word))
        fail_msg("'%s' does not say '%s'", loaded.err.msg, word);
}

static void defaults_are_those_of_the_contract(void **state) {
    (void)state;
    struct loaded loaded = LOAD();
    assert_int_equal(loaded.rc, 0);
    assert_string_equal(loaded.config.listen, "127.0.0.1:8080");
    assert_string_equal(loaded.config.data_dir, "./functions");
    assert_string_equal(loaded.config.run_dir, "/tmp");
    assert_string_equal(loaded.config.log_dir, "./logs");
    assert_string_equal(loaded.config.strategy, "RR");
    assert_int_equal(loaded.config.workers, 4);
    assert_in_range(loaded.config.workers_max, 4, 64);
    assert_int_equal(loaded.config.queue_ms, 5000);
    assert_int_equal(loaded.config.builds, 2);
}

static void a_flag_beats_the_environment_which_beats_the_file(void **state) {
    (void)state;
    write_file(
        "# an instance\n\n  queue_ms = 1 \nbuilds=11\nworkers = 21\ndata_dir = /from/file with space\n");
    setenv("FAAS_BUILDS", "12", 1);
    setenv("FAAS_WORKERS", "22", 1);
    struct loaded loaded = LOAD("--workers", "23", "--log-dir=/flag=x");
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.queue_ms, 1);
    assert_int_equal(loaded.config.builds, 12);
    assert_int_equal(loaded.config.workers, 23);
    assert_string_equal(loaded.config.data_dir, "/from/file with space");
    assert_string_equal(loaded.config.log_dir, "/flag=x");
}

static void known_flags_are_taken_out_of_the_arguments(void **state) {
    (void)state;
    struct loaded loaded =
        LOAD("one", "--workers=2", "--other", "two", "--run-dir", "/x", "-v", "--", "--workers=3");
    assert_int_equal(loaded.rc, 0);
    static const char *const left[] = {"test", "one", "--other", "two", "-v", "--", "--workers=3"};
    assert_int_equal(loaded.argc, 7);
    for (int i = 0; i < 7; i++)
        assert_string_equal(loaded.argv[i], left[i]);
    assert_null(loaded.argv[7]);
    assert_int_equal(loaded.config.workers, 2);
    assert_string_equal(loaded.config.run_dir, "/x");
}

static void a_switch_needs_no_value(void **state) {
    (void)state;
    struct loaded loaded = LOAD("--allow-open", "RR", "--workers", "2");
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.allow_open, 1);
    assert_int_equal(loaded.config.workers, 2);
    assert_int_equal(loaded.argc, 2);
    assert_string_equal(loaded.argv[1], "RR");
    assert_int_equal(LOAD("--allow-open", "0", "--workers", "2").config.allow_open, 0);
    assert_int_equal(LOAD("--allow-open=1").config.allow_open, 1);
    assert_int_equal(LOAD("--allow-open").config.allow_open, 1);
    assert_int_equal(LOAD().config.allow_open, 0);
    setenv("FAAS_ALLOW_OPEN", "yes", 1);
    assert_refused(LOAD(), "FAAS_ALLOW_OPEN");
}

static void a_wrong_value_is_refused_by_its_name(void **state) {
    (void)state;
    assert_refused(LOAD("--workers", "0"), "--workers");
    assert_refused(LOAD("--workers", "65"), "1..64");
    assert_refused(LOAD("--workers", "two"), "'two' is no number");
    assert_refused(LOAD("--workers", "4x"), "no number");
    assert_refused(LOAD("--workers", " 4"), "no number");
    assert_refused(LOAD("--workers", "99999999999999999999"), "no number");
    assert_refused(LOAD("--workers"), "--workers wants a value");
    assert_refused(LOAD("--workers=8", "--workers-max=4"), "workers_max");
    assert_refused(LOAD("--strategy", "LIFO"), "LIFO");
    assert_refused(LOAD("--weights", "3,0"), "weights");
    assert_refused(LOAD("--weights", "3,"), "weights");
    assert_refused(LOAD("--weights", "3;1"), "weights");
    assert_refused(LOAD("--egress-hosts", "/nonexistent"), "egress_hosts");
    char longest[1200];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_refused(LOAD("--data-dir", longest), "1023");
    setenv("FAAS_QUEUE_MS", "soon", 1);
    assert_refused(LOAD(), "FAAS_QUEUE_MS");
    assert_int_equal(LOAD("--queue-ms=5").rc, -ERR_BAD_REQUEST);
}

static void a_wrong_file_is_refused_with_its_line(void **state) {
    (void)state;
    write_file("workers = 2\nworker = 3\n");
    assert_refused(LOAD(), ":2: unknown key 'worker'");
    write_file("workers\n");
    assert_refused(LOAD(), ":1: 'workers'");
    write_file("\n\nworkers = many");
    assert_refused(LOAD(), ":3: workers: 'many'");
    setenv("FAAS_CONFIG", "/nonexistent/minifaas.conf", 1);
    assert_refused(LOAD(), "/nonexistent/minifaas.conf");
    assert_int_equal(LOAD("--config", "/dev/null").rc, 0);
    assert_refused(LOAD("--config=/tmp"), "/tmp");
}

static void names_of_strategies_are_put_into_upper_case(void **state) {
    (void)state;
    assert_string_equal(LOAD("--strategy=weighted").config.strategy, "WEIGHTED");
}

static void an_empty_value_counts_as_not_given(void **state) {
    (void)state;
    setenv("FAAS_WORKERS", "", 1);
    setenv("FAAS_DATA_DIR", "", 1);
    write_file("workers = 7\nrun_dir =\n");
    struct loaded loaded = LOAD();
    assert_int_equal(loaded.config.workers, 7);
    assert_string_equal(loaded.config.data_dir, "./functions");
    assert_string_equal(loaded.config.run_dir, "/tmp");
}

static void more_workers_than_the_computed_most_raise_it(void **state) {
    (void)state;
    struct loaded loaded = LOAD("--workers=64");
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.workers_max, 64);
}

static void what_is_exported_is_what_a_part_loads(void **state) {
    (void)state;
    write_file("weights = 9,8\nqueue_ms = 77\n");
    struct loaded loaded = LOAD("--workers=3", "--strategy=fifo", "--listen=127.0.0.1:0", "--data-dir=/d");
    struct err err;
    assert_int_equal(config_export(&loaded.config, &err), 0);
    /* Neither the file nor what is written to it later is seen again. */
    write_file("nonsense\n");
    struct loaded again = LOAD();
    assert_int_equal(again.rc, 0);
    assert_memory_equal(&again.config, &loaded.config, sizeof again.config);
}

int main(void) {
    int fd = mkstemp(file_path);
    if (fd < 0)
        return 1;
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_those_of_the_contract, set_up),
        cmocka_unit_test_setup(a_flag_beats_the_environment_which_beats_the_file, set_up),
        cmocka_unit_test_setup(known_flags_are_taken_out_of_the_arguments, set_up),
        cmocka_unit_test_setup(a_switch_needs_no_value, set_up),
        cmocka_unit_test_setup(a_wrong_value_is_refused_by_its_name, set_up),
        cmocka_unit_test_setup(a_wrong_file_is_refused_with_its_line, set_up),
        cmocka_unit_test_setup(names_of_strategies_are_put_into_upper_case, set_up),
        cmocka_unit_test_setup(an_empty_value_counts_as_not_given, set_up),
        cmocka_unit_test_setup(more_workers_than_the_computed_most_raise_it, set_up),
        cmocka_unit_test_setup(what_is_exported_is_what_a_part_loads, set_up),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file_path);
    return failed;
}
