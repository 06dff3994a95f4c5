/* WASI without an engine: what a guest gets for what it asks, and that nothing it passes leaves its memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "wire/frame.h"
#include "worker/wasi.h"

enum { GUEST_BYTES = 4096 };

/* A guest: its memory is allocated to the byte, so that a sanitizer sees an access outside of it. */
struct guest {
    struct wasi_memory memory;
    struct wasi_call call;
    struct buf output, log, load_head, call_head;
    int pauses;
};
static struct guest guest;

static void guest_on_pause(void *context) {
    ((struct guest *)context)->pauses++;
}

static void guest_begin(const char *payload, uint64_t deadline_ns) {
    buf_clear(&guest.output);
    buf_clear(&guest.log);
    const struct wasi_input input = {
        .name = "greet",
        .load_head = guest.load_head.data,
        .load_head_len = guest.load_head.len,
        .call_head = guest.call_head.data,
        .call_head_len = guest.call_head.len,
        .payload = (const uint8_t *)payload,
        .payload_len = strlen(payload),
        .start_ns = clock_now_ns(),
        .deadline_ns = deadline_ns,
        .output_max = 100,
        .output = &guest.output,
        .log = &guest.log,
        .on_pause = guest_on_pause,
        .pause_context = &guest,
    };
    wasi_call_begin(&guest.call, &input);
}

static int guest_up(void **state) {
    (void)state;
    memset(&guest, 0, sizeof guest);
    guest.memory = (struct wasi_memory){calloc(1, GUEST_BYTES), GUEST_BYTES};
    assert_non_null(guest.memory.data);
    guest_begin("payload", UINT64_MAX);
    return 0;
}

static int guest_down(void **state) {
    (void)state;
    free(guest.memory.data);
    wasi_call_fini(&guest.call);
    buf_fini(&guest.output);
    buf_fini(&guest.log);
    buf_fini(&guest.load_head);
    buf_fini(&guest.call_head);
    return 0;
}

static uint32_t guest_call_args(const char *name, const uint64_t *args) {
    for (size_t i = 0; i < WASI_IMPORT_COUNT; i++)
        if (strcmp(wasi_imports[i].name, name) == 0)
            return wasi_imports[i].function(&guest.call, guest.memory, args);
    fail_msg("no %s", name);
    return 0;
}
/* guest_call("fd_close", 1) */
#define guest_call(name, ...) guest_call_args(name, (const uint64_t[WASI_PARAMS_MAX]){__VA_ARGS__})

static uint32_t guest_u32(uint32_t at) {
    uint32_t value;
    memcpy(&value, guest.memory.data + at, 4);
    return value;
}

static uint64_t guest_u64(uint32_t at) {
    uint64_t value;
    memcpy(&value, guest.memory.data + at, 8);
    return value;
}

static void guest_put(uint32_t at, const void *data, size_t len) {
    assert_true(at + len <= GUEST_BYTES);
    memcpy(guest.memory.data + at, data, len);
}

static void guest_iov(uint32_t at, uint32_t data, uint32_t len) {
    guest_put(at, &data, 4);
    guest_put(at + 4, &len, 4);
}

/* --- streams --- */

static void stdin_is_read_across_pieces_until_its_end(void **state) {
    (void)state;
    guest_iov(0, 100, 3);
    guest_iov(8, 200, 0);
    guest_iov(16, 300, 2);
    assert_int_equal(guest_call("fd_read", 0, 0, 3, 64), WASI_SUCCESS);
    assert_int_equal(guest_u32(64), 5);
    assert_memory_equal(guest.memory.data + 100, "pay", 3);
    assert_memory_equal(guest.memory.data + 300, "lo", 2);
    assert_int_equal(guest_call("fd_read", 0, 0, 3, 64), WASI_SUCCESS);
    assert_int_equal(guest_u32(64), 2);
    assert_memory_equal(guest.memory.data + 100, "ad", 2);
    assert_int_equal(guest_call("fd_read", 0, 0, 3, 64), WASI_SUCCESS);
    assert_int_equal(guest_u32(64), 0);
}

static void what_is_written_goes_to_output_and_log(void **state) {
    (void)state;
    guest_put(100, "hello", 5);
    guest_iov(0, 100, 3);
    guest_iov(8, 103, 2);
    assert_int_equal(guest_call("fd_write", 1, 0, 2, 64), WASI_SUCCESS);
    assert_int_equal(guest_u32(64), 5);
    assert_int_equal(guest_call("fd_write", 2, 0, 1, 64), WASI_SUCCESS);
    assert_int_equal(guest.output.len, 5);
    assert_memory_equal(guest.output.data, "hello", 5);
    assert_int_equal(guest.log.len, 3);
    assert_int_equal(guest_call("fd_write", 0, 0, 2, 64), WASI_EBADF);
    assert_int_equal(guest_call("fd_read", 1, 0, 2, 64), WASI_EBADF);
    assert_int_equal(guest_call("fd_write", 3, 0, 2, 64), WASI_EBADF);
}

static void output_over_the_limit_stops_the_call_and_keeps_what_fits(void **state) {
    (void)state;
    guest_iov(0, 1000, 60);
    assert_int_equal(guest_call("fd_write", 1, 0, 1, 64), WASI_SUCCESS);
    assert_int_equal(guest.call.end, WASI_RUNNING);
    guest_call("fd_write", 1, 0, 1, 64);
    assert_int_equal(guest.call.end, WASI_OUTPUT_FULL);
    assert_int_equal(guest.output.len, 100);
}

static void descriptors_close_and_move(void **state) {
    (void)state;
    guest_iov(0, 100, 1);
    assert_int_equal(guest_call("fd_renumber", 2, 1), WASI_SUCCESS);
    assert_int_equal(guest_call("fd_write", 1, 0, 1, 64), WASI_SUCCESS);
    assert_int_equal(guest.log.len, 1);
    assert_int_equal(guest_call("fd_write", 2, 0, 1, 64), WASI_EBADF);
    assert_int_equal(guest_call("fd_renumber", 2, 1), WASI_EBADF);
    assert_int_equal(guest_call("fd_renumber", 1, 3), WASI_EBADF);
    assert_int_equal(guest_call("fd_close", 1), WASI_SUCCESS);
    assert_int_equal(guest_call("fd_close", 1), WASI_EBADF);
    assert_int_equal(guest_call("fd_close", UINT32_MAX), WASI_EBADF);
    /* A new call has all three again. */
    guest_begin("", UINT64_MAX);
    assert_int_equal(guest_call("fd_write", 1, 0, 1, 64), WASI_SUCCESS);
}

static void streams_look_like_pipes(void **state) {
    (void)state;
    assert_int_equal(guest_call("fd_seek", 0, 0, 0, 64), WASI_ESPIPE);
    assert_int_equal(guest_call("fd_tell", 1, 64), WASI_ESPIPE);
    assert_int_equal(guest_call("fd_seek", 7, 0, 0, 64), WASI_EBADF);
    assert_int_equal(guest_call("fd_fdstat_set_flags", 0, 4), WASI_SUCCESS);
    assert_int_equal(guest_call("fd_fdstat_get", 0, 64), WASI_SUCCESS);
    assert_int_equal(guest.memory.data[64], 0);
    assert_int_equal(guest.memory.data[66], 4);
    assert_true(guest_u64(72) & 2);
    assert_false(guest_u64(72) & 64);
    assert_int_equal(guest_call("fd_filestat_get", 1, 64), WASI_SUCCESS);
    assert_int_equal(guest_call("fd_filestat_get", 3, 64), WASI_EBADF);
}

static void there_are_no_files_and_no_network(void **state) {
    (void)state;
    for (uint32_t fd = 3; fd < 10; fd++)
        assert_int_equal(guest_call("fd_prestat_get", fd, 64), WASI_EBADF);
    assert_int_equal(guest_call("path_open", 3, 0, 0, 4, 0, 0, 0, 0, 64), WASI_EBADF);
    assert_int_equal(guest_call("path_open", 0, 0, 0, 4, 0, 0, 0, 0, 64), WASI_ENOTDIR);
    assert_int_equal(guest_call("path_symlink", 0, 4, 3, 0, 4), WASI_EBADF);
    assert_int_equal(guest_call("path_symlink", 9, 4, 1, 0, 4), WASI_ENOTDIR);
    assert_int_equal(guest_call("fd_readdir", 3, 0, 0, 0, 64), WASI_EBADF);
    assert_int_equal(guest_call("sock_accept", 3, 0, 64), WASI_EBADF);
    assert_int_equal(guest_call("sock_recv", 0, 0, 0, 0, 64, 64), WASI_ENOTSOCK);
}

/* --- process, clocks, random --- */

static void a_process_has_its_name_and_ends_by_exit_or_signal(void **state) {
    (void)state;
    assert_int_equal(guest_call("args_sizes_get", 0, 4), WASI_SUCCESS);
    assert_int_equal(guest_u32(0), 1);
    assert_int_equal(guest_u32(4), 6);
    assert_int_equal(guest_call("args_get", 0, 100), WASI_SUCCESS);
    assert_int_equal(guest_u32(0), 100);
    assert_string_equal(guest.memory.data + 100, "greet");
    guest_call("proc_raise", 0);
    assert_int_equal(guest.call.end, WASI_RUNNING);
    guest_call("proc_raise", 6);
    assert_int_equal(guest.call.end, WASI_RAISED);
    assert_int_equal(guest.call.exit_code, 6);
    guest_begin("", UINT64_MAX);
    guest_call("proc_exit", 42);
    assert_int_equal(guest.call.end, WASI_EXITED);
    assert_int_equal(guest.call.exit_code, 42);
}

static void clocks_go_forward(void **state) {
    (void)state;
    for (uint32_t clock = 0; clock < 4; clock++) {
        uint64_t before = clock == 0 ? clock_real_ns() : clock == 1 ? clock_now_ns() : 0;
        assert_int_equal(guest_call("clock_time_get", clock, 0, 64), WASI_SUCCESS);
        assert_true(guest_u64(64) >= before && guest_u64(64) - before < 10 * CLOCK_NS_PER_S);
        assert_int_equal(guest_call("clock_res_get", clock, 64), WASI_SUCCESS);
        assert_true(guest_u64(64) > 0);
    }
    assert_int_equal(guest_call("clock_time_get", 4, 0, 64), WASI_EINVAL);
}

static void random_bytes_are_used_once(void **state) {
    (void)state;
    uint8_t seen[200][16];
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(guest_call("random_get", 64, 16), WASI_SUCCESS);
        memcpy(seen[i], guest.memory.data + 64, 16);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(seen[i], seen[j], 16);
        for (size_t k = guest.call.random_left; k < WASI_RANDOM_BYTES; k++)
            assert_int_equal(guest.call.random[k], 0);
    }
    assert_int_equal(guest_call("random_get", 0, GUEST_BYTES), WASI_SUCCESS);
    assert_int_equal(guest_call("random_get", 0, GUEST_BYTES + 1), WASI_EFAULT);
    assert_int_equal(guest_call("random_get", GUEST_BYTES, 0), WASI_SUCCESS);
}

/* --- poll --- */

static void guest_subscribe(uint32_t at, uint64_t userdata, uint8_t type, uint32_t fd_or_clock, uint64_t time,
                            uint16_t flags) {
    memset(guest.memory.data + at, 0, 48);
    guest_put(at, &userdata, 8);
    guest_put(at + 8, &type, 1);
    guest_put(at + 16, &fd_or_clock, 4);
    guest_put(at + 24, &time, 8);
    guest_put(at + 40, &flags, 2);
}

static void poll_tells_that_streams_are_ready(void **state) {
    (void)state;
    guest_subscribe(0, 11, 0, 1, 60 * CLOCK_NS_PER_S, 0);
    guest_subscribe(48, 12, 1, 0, 0, 0);
    guest_subscribe(96, 13, 2, 1, 0, 0);
    guest_subscribe(144, 14, 1, 1, 0, 0);
    guest_subscribe(192, 15, 9, 0, 0, 0);
    guest_subscribe(240, 16, 0, 77, 0, 0);
    assert_int_equal(guest_call("poll_oneoff", 0, 1024, 6, 2048), WASI_SUCCESS);
    assert_int_equal(guest_u32(2048), 5);
    static const struct {
        uint64_t userdata;
        uint32_t error;
        uint64_t bytes;
    } expected[] = {
        {12, 0, 7}, {13, 0, 65536}, {14, WASI_EBADF, 0}, {15, WASI_EINVAL, 0}, {16, WASI_EINVAL, 0}};
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(guest_u64(1024 + 32 * i), expected[i].userdata);
        assert_int_equal(guest_u32(1024 + 32 * i + 8) & 0xffff, expected[i].error);
        assert_int_equal(guest_u64(1024 + 32 * i + 16), expected[i].bytes);
    }
    assert_int_equal(guest.pauses, 0);
    guest_begin("", UINT64_MAX);
    assert_int_equal(guest_call("poll_oneoff", 48, 1024, 1, 2048), WASI_SUCCESS);
    assert_int_equal(guest_u64(1024 + 16), 0);
    assert_int_equal(guest_u32(1024 + 24), 1); /* hang-up: the end of stdin */
}

static void poll_sleeps_until_the_first_clock(void **state) {
    (void)state;
    guest_subscribe(0, 1, 0, 1, 60 * CLOCK_NS_PER_S, 0);
    guest_subscribe(48, 2, 0, 0, clock_real_ns() + 5 * CLOCK_NS_PER_MS, 1);
    uint64_t from = clock_now_ns();
    assert_int_equal(guest_call("poll_oneoff", 0, 1024, 2, 2048), WASI_SUCCESS);
    assert_in_range((clock_now_ns() - from) / CLOCK_NS_PER_MS, 4, 5000);
    assert_int_equal(guest_u32(2048), 1);
    assert_int_equal(guest_u64(1024), 2);
    assert_int_equal(guest.pauses, 1);
    guest_subscribe(0, 3, 0, 1, 1, 1); /* long past */
    assert_int_equal(guest_call("poll_oneoff", 0, 1024, 1, 2048), WASI_SUCCESS);
    assert_int_equal(guest.pauses, 1);
    assert_int_equal(guest_call("poll_oneoff", 0, 1024, 0, 2048), WASI_EINVAL);
}

static void a_sleep_ends_at_the_deadline(void **state) {
    (void)state;
    guest_begin("", clock_now_ns() + 5 * CLOCK_NS_PER_MS);
    guest_subscribe(0, 1, 0, 1, UINT64_MAX, 0);
    uint64_t from = clock_now_ns();
    guest_call("poll_oneoff", 0, 1024, 1, 2048);
    assert_int_equal(guest.call.end, WASI_DEADLINE);
    assert_in_range((clock_now_ns() - from) / CLOCK_NS_PER_MS, 4, 5000);
}

/* --- environment --- */

static const char *guest_environ(void) {
    static char text[GUEST_BYTES];
    assert_int_equal(guest_call("environ_sizes_get", 0, 4), WASI_SUCCESS);
    uint32_t count = guest_u32(0), bytes = guest_u32(4);
    assert_int_equal(guest_call("environ_get", 8, GUEST_BYTES - bytes), WASI_SUCCESS);
    text[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *entry = (const char *)guest.memory.data + guest_u32(8 + 4 * i);
        if (strncmp(entry, "FAAS_DEADLINE_MS=", 17) != 0) {
            strcat(text, entry);
            strcat(text, "\n");
        }
    }
    assert_int_equal(guest_call("environ_get", 8, GUEST_BYTES - bytes + 1), WASI_EFAULT);
    return text;
}

static void guest_head(struct buf *head, const char *name, const char *value) {
    frame_head_add(head, name, value, strlen(value));
}

static void a_functions_variables_cannot_stand_in_for_the_platforms(void **state) {
    (void)state;
    guest_head(&guest.load_head, "FAAS_FUNCTION", "greet");
    guest_head(&guest.load_head, "limit.memory_mb", "16");
    guest_head(&guest.load_head, "env.FAAS_CALL_ID", "forged");
    guest_head(&guest.load_head, "env.REQUEST_METHOD", "MINE");
    guest_head(&guest.load_head, "env.HTTP_HOST", "mine");
    guest_head(&guest.load_head, "env.EMPTY", "");
    guest_head(&guest.load_head, "env.", "nameless");
    guest_head(&guest.call_head, "FAAS_CALL_ID", "1");
    guest_head(&guest.call_head, "h:host", "example");
    guest_begin("", UINT64_MAX);
    assert_string_equal(guest_environ(), "FAAS_CALL_ID=1\nFAAS_FUNCTION=greet\nREQUEST_METHOD=MINE\n"
                                         "HTTP_HOST=mine\nEMPTY=\n");
    guest_head(&guest.call_head, "REQUEST_METHOD", "GET");
    guest_begin("", UINT64_MAX);
    assert_string_equal(guest_environ(), "FAAS_CALL_ID=1\nREQUEST_METHOD=GET\nGATEWAY_INTERFACE=CGI/1.1\n"
                                         "HTTP_HOST=example\nFAAS_FUNCTION=greet\nEMPTY=\n");
}

static void headers_that_could_be_mistaken_are_left_out(void **state) {
    (void)state;
    static const char *const headers[] = {"h:proxy", "h:x_y", "h:X-UP", "h:", "h:a.b", "h:x-y"};
    guest_head(&guest.call_head, "REQUEST_METHOD", "GET");
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        guest_head(&guest.call_head, headers[i], "1");
    guest_head(&guest.call_head, "h:content-type", "a");
    guest_head(&guest.call_head, "h:content-type", "b");
    guest_head(&guest.call_head, "h:content-length", "0");
    guest_begin("", UINT64_MAX);
    assert_string_equal(guest_environ(), "REQUEST_METHOD=GET\nGATEWAY_INTERFACE=CGI/1.1\nHTTP_X_Y=1\n"
                                         "CONTENT_TYPE=a\nCONTENT_LENGTH=0\n");
}

/* --- all of them --- */

static void nothing_that_a_guest_passes_leaves_its_memory(void **state) {
    (void)state;
    static const uint64_t edges[] = {0,           1,
                                     2,           3,
                                     4,           8,
                                     48,          GUEST_BYTES - 8,
                                     64,          GUEST_BYTES - 1,
                                     GUEST_BYTES, GUEST_BYTES + 1,
                                     INT32_MAX,   UINT32_MAX,
                                     1000};
    uint32_t seed = 1;
    guest_head(&guest.load_head, "env.NAME", "value");
    guest_head(&guest.call_head, "REQUEST_METHOD", "GET");
    for (int round = 0; round < 200000; round++) {
        if (round % 64 == 0) {
            guest_begin("payload", 0); /* past its deadline, so that nothing sleeps */
            for (uint32_t i = 0; i < GUEST_BYTES; i++) {
                seed = seed * 1664525 + 1013904223;
                guest.memory.data[i] = seed >> 30 ? 0 : (uint8_t)(seed >> 16);
            }
        }
        uint64_t args[WASI_PARAMS_MAX];
        for (size_t i = 0; i < WASI_PARAMS_MAX; i++) {
            seed = seed * 1664525 + 1013904223;
            /* The upper half of an i32 is whatever the engine left there. */
            args[i] = edges[(seed >> 16) % (sizeof edges / sizeof edges[0])] | (uint64_t)seed << 32;
        }
        const struct wasi_import *import = &wasi_imports[(seed >> 8) % WASI_IMPORT_COUNT];
        uint32_t result = import->function(&guest.call, guest.memory, args);
        assert_true(result <= 76);
        guest.call.end = WASI_RUNNING;
    }
}

#define GUEST_TEST(name) cmocka_unit_test_setup_teardown(name, guest_up, guest_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        GUEST_TEST(stdin_is_read_across_pieces_until_its_end),
        GUEST_TEST(what_is_written_goes_to_output_and_log),
        GUEST_TEST(output_over_the_limit_stops_the_call_and_keeps_what_fits),
        GUEST_TEST(descriptors_close_and_move),
        GUEST_TEST(streams_look_like_pipes),
        GUEST_TEST(there_are_no_files_and_no_network),
        GUEST_TEST(a_process_has_its_name_and_ends_by_exit_or_signal),
        GUEST_TEST(clocks_go_forward),
        GUEST_TEST(random_bytes_are_used_once),
        GUEST_TEST(poll_tells_that_streams_are_ready),
        GUEST_TEST(poll_sleeps_until_the_first_clock),
        GUEST_TEST(a_sleep_ends_at_the_deadline),
        GUEST_TEST(a_functions_variables_cannot_stand_in_for_the_platforms),
        GUEST_TEST(headers_that_could_be_mistaken_are_left_out),
        GUEST_TEST(nothing_that_a_guest_passes_leaves_its_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
