#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

/* Of the sanitizer: an allocation that is too large fails, as it does without. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

/* ---- err ---- */

static void test_every_code_has_its_row(void **state) {
    (void)state;
#define ROW(code, status, cause, exit_status, doc)                                                           \
    assert_int_equal(err_http_status(code), status);                                                         \
    assert_string_equal(err_cause(code), cause);                                                             \
    assert_int_equal(err_exit_status(code), exit_status);                                                    \
    assert_in_range(err_http_status(code), 200, 599);
    ERR_TABLE(ROW)
#undef ROW
    static const int outside[] = {-1, ERR_COUNT, 1000000, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        assert_int_equal(err_http_status(outside[i]), 500);
        assert_string_equal(err_cause(outside[i]), "internal");
        assert_int_equal(err_exit_status(outside[i]), err_exit_status(ERR_INTERNAL));
    }
}

static void test_an_error_is_made_explained_and_returned(void **state) {
    (void)state;
    struct err err = {.sys_errno = 99};
    assert_int_equal(err_set(&err, ERR_NOT_FOUND, "function '%s' does not exist", "f"), -ERR_NOT_FOUND);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.msg, "function 'f' does not exist");
    assert_int_equal(err_wrap(&err, "deploy %d", 7), -ERR_NOT_FOUND);
    assert_string_equal(err.msg, "deploy 7: function 'f' does not exist");
}

static void test_a_failed_system_call_keeps_its_errno(void **state) {
    (void)state;
    struct err err;
    errno = EACCES;
    assert_int_equal(err_sys(&err, "cannot open '%s'", "x"), -ERR_IO);
    assert_int_equal(err.sys_errno, EACCES);
    assert_string_equal(err.msg, "cannot open 'x': Permission denied");
    assert_int_equal(err_wrap(&err, "start"), -ERR_IO);
    assert_int_equal(err.sys_errno, EACCES);
    errno = ENOSPC;
    assert_int_equal(err_sys(&err, "write"), -ERR_STORAGE_FULL);
    errno = EDQUOT;
    assert_int_equal(err_sys(&err, "write"), -ERR_STORAGE_FULL);
}

static void test_a_long_message_is_cut_and_terminated(void **state) {
    (void)state;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    struct err err;
    for (size_t len = 180; len < 210; len++) {
        memset(&err, 0x7f, sizeof err);
        err_set(&err, ERR_INTERNAL, "%.*s", (int)len, text);
        assert_int_equal(strlen(err.msg), len < sizeof err.msg ? len : sizeof err.msg - 1);
        errno = EIO;
        err_sys(&err, "%.*s", (int)len, text);
        assert_in_range(strlen(err.msg), len < sizeof err.msg ? len : sizeof err.msg - 1, sizeof err.msg - 1);
        err_wrap(&err, "%.*s", (int)len, text);
        assert_in_range(strlen(err.msg), 180, sizeof err.msg - 1);
    }
}

/* ---- buf ---- */

static void test_a_buffer_holds_what_was_appended(void **state) {
    (void)state;
    struct buf buf = {0};
    char want[5000];
    size_t len = 0;
    for (size_t i = 0; i < 1000; i++) {
        want[len++] = (char)i;
        buf_append(&buf, &want[len - 1], 1);
        len += (size_t)snprintf(want + len, sizeof want - len, "%zu", i);
        buf_append_u64(&buf, i);
        assert_int_equal(buf.len, len);
        assert_true(buf.cap >= buf.len);
    }
    assert_memory_equal(buf.data, want, len);
    assert_false(buf.failed);
    buf_append(&buf, NULL, 0);
    assert_int_equal(buf.len, len);
    buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_non_null(buf.data);
    buf_fini(&buf);
    assert_null(buf.data);
    buf_fini(&buf);
}

static void test_numbers_and_formats_at_their_ends(void **state) {
    (void)state;
    struct buf buf = {0};
    buf_append_u64(&buf, 0);
    buf_append_str(&buf, " ");
    buf_append_u64(&buf, UINT64_MAX);
    buf_append_format(&buf, " %s %d", "", -5);
    buf_append(&buf, "", 1);
    assert_string_equal((char *)buf.data, "0 18446744073709551615  -5");
    buf_clear(&buf);
    /* Longer than any room there is, and exactly as long as the room that is left. */
    char text[3000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (size_t cut = 0; cut < sizeof text; cut += 37) {
        buf_clear(&buf);
        buf_append_format(&buf, "%s", text + cut);
        assert_int_equal(buf.len, sizeof text - 1 - cut);
        assert_memory_equal(buf.data, text + cut, buf.len);
    }
    buf_fini(&buf);
}

static void test_consume_drops_from_the_front(void **state) {
    (void)state;
    struct buf buf = {0};
    buf_append_str(&buf, "0123456789");
    buf_consume(&buf, 0);
    buf_consume(&buf, 3);
    assert_int_equal(buf.len, 7);
    assert_memory_equal(buf.data, "3456789", 7);
    buf_consume(&buf, 6);
    assert_memory_equal(buf.data, "9", 1);
    buf_consume(&buf, 100);
    assert_int_equal(buf.len, 0);
    buf_fini(&buf);
}

static void test_trim_gives_back_only_what_is_not_used(void **state) {
    (void)state;
    struct buf buf = {0};
    assert_true(buf_reserve(&buf, 100000));
    buf_append_str(&buf, "x");
    buf_trim(&buf, 10);
    assert_true(buf.cap >= 100000);
    buf_clear(&buf);
    buf_trim(&buf, 1 << 20);
    assert_true(buf.cap >= 100000);
    buf_trim(&buf, 10);
    assert_int_equal(buf.cap, 0);
    buf_append_str(&buf, "again");
    assert_memory_equal(buf.data, "again", 5);
    buf_fini(&buf);
}

static void test_what_does_not_fit_fails_and_stays_failed(void **state) {
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, SIZE_MAX / 2 - 10, SIZE_MAX / 4};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct buf buf = {0};
        buf_append_str(&buf, "keep");
        assert_false(buf_reserve(&buf, sizes[i]));
        assert_true(buf.failed);
        buf_append_str(&buf, "lost");
        buf_append_u64(&buf, 1);
        buf_append_format(&buf, "%d", 1);
        assert_int_equal(buf.len, 4);
        assert_memory_equal(buf.data, "keep", 4);
        buf_clear(&buf);
        buf_append_str(&buf, "fresh");
        assert_false(buf.failed);
        assert_int_equal(buf.len, 5);
        buf_fini(&buf);
    }
}

/* ---- log ---- */

struct log_test {
    char dir[64], file[128];
    int stdout_fd, pipe_fd;
};

/* Standard output goes to a pipe meanwhile. */
static int log_setup(void **state) {
    struct log_test *test = calloc(1, sizeof *test);
    int ends[2];
    struct err err;
    assert_non_null(test);
    strcpy(test->dir, "/tmp/faas-log-XXXXXX");
    assert_non_null(mkdtemp(test->dir));
    snprintf(test->file, sizeof test->file, "%s/part.log", test->dir);
    assert_int_equal(log_open("part", test->dir, &err), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(stdout);
    test->stdout_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
    assert_int_equal(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
    close(ends[1]);
    test->pipe_fd = ends[0];
    *state = test;
    return 0;
}

static int log_teardown(void **state) {
    struct log_test *test = *state;
    close(test->pipe_fd);
    unlink(test->file);
    rmdir(test->dir);
    free(test);
    return 0;
}

/* What came out on stdout; the file has as much. */
static size_t log_take(struct log_test *test, char *ret_text, size_t size) {
    assert_int_equal(dup2(test->stdout_fd, STDOUT_FILENO), STDOUT_FILENO);
    close(test->stdout_fd);
    size_t len = 0;
    for (ssize_t got; (got = read(test->pipe_fd, ret_text + len, size - 1 - len)) > 0;)
        len += (size_t)got;
    ret_text[len] = 0;
    struct stat about;
    assert_int_equal(stat(test->file, &about), 0);
    assert_int_equal(about.st_size, len);
    return len;
}

static void test_lines_go_to_stdout_and_to_the_file(void **state) {
    char text[4096];
    log_line("ready on %s:%d", "127.0.0.1", 8080);
    log_event("lost %d", 3);
    log_take(*state, text, sizeof text);
    static const char want[] = "ready on 127.0.0.1:8080\npart: lost 3\n";
    assert_string_equal(text, want);
    FILE *file = fopen(((struct log_test *)*state)->file, "re");
    assert_non_null(file);
    assert_int_equal(fread(text, 1, sizeof text, file), sizeof want - 1);
    fclose(file);
    assert_memory_equal(text, want, sizeof want - 1);
}

static void test_a_line_stays_one_line_whatever_is_in_it(void **state) {
    char text[4096];
    log_event("a\nfake: line\r\x1b[2J\x7f\tend \xc3\xa4");
    log_take(*state, text, sizeof text);
    assert_string_equal(text, "part: a?fake: line??[2J??end \xc3\xa4\n");
}

static void test_a_line_of_any_length_is_bounded(void **state) {
    static char large[100000], text[20000];
    memset(large, 'z', sizeof large - 1);
    for (int len = 2030; len < 2052; len += 3)
        log_event("%.*s", len, large);
    log_line("%s", large);
    size_t len = log_take(*state, text, sizeof text);
    size_t lines = 0;
    for (const char *at = text, *end; (end = memchr(at, '\n', len - (size_t)(at - text)));
         at = end + 1, lines++)
        assert_in_range(end - at, 2030, 2047);
    assert_int_equal(lines, 9);
}

enum { LOG_THREADS = 4, LOG_LINES = 200 };
static void *log_many(void *context) {
    for (int i = 0; i < LOG_LINES; i++)
        log_event("%s", (const char *)context);
    return NULL;
}

static void test_lines_of_threads_do_not_mix(void **state) {
    static char words[LOG_THREADS][40], text[64000];
    pthread_t threads[LOG_THREADS];
    for (int i = 0; i < LOG_THREADS; i++) {
        memset(words[i], 'a' + i, sizeof words[i] - 1);
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, words[i]), 0);
    }
    for (int i = 0; i < LOG_THREADS; i++)
        pthread_join(threads[i], NULL);
    size_t len = log_take(*state, text, sizeof text), lines = 0;
    for (const char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        assert_int_equal(strlen(line), 6 + 39);
        assert_int_equal(strspn(line + 6, (char[]){line[6], 0}), 39);
    }
    assert_int_equal(lines, LOG_THREADS * LOG_LINES);
    assert_int_equal(len, lines * 46);
}

static void test_a_log_that_cannot_be_opened_says_which(void **state) {
    (void)state;
    struct err err;
    assert_int_equal(log_open("part", "/dev/null/logs", &err), -ERR_IO);
    assert_non_null(strstr(err.msg, "/dev/null/logs"));
    assert_int_equal(log_open("part", "", &err), 0);
    assert_int_equal(log_open("part", NULL, &err), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_its_row),
        cmocka_unit_test(test_an_error_is_made_explained_and_returned),
        cmocka_unit_test(test_a_failed_system_call_keeps_its_errno),
        cmocka_unit_test(test_a_long_message_is_cut_and_terminated),
        cmocka_unit_test(test_a_buffer_holds_what_was_appended),
        cmocka_unit_test(test_numbers_and_formats_at_their_ends),
        cmocka_unit_test(test_consume_drops_from_the_front),
        cmocka_unit_test(test_trim_gives_back_only_what_is_not_used),
        cmocka_unit_test(test_what_does_not_fit_fails_and_stays_failed),
        cmocka_unit_test_setup_teardown(test_lines_go_to_stdout_and_to_the_file, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(test_a_line_stays_one_line_whatever_is_in_it, log_setup,
                                        log_teardown),
        cmocka_unit_test_setup_teardown(test_a_line_of_any_length_is_bounded, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(test_lines_of_threads_do_not_mix, log_setup, log_teardown),
        cmocka_unit_test(test_a_log_that_cannot_be_opened_says_which),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
