/* Frames: what is written is read again, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/frame.h"

static void frame_put(struct buf *buf, struct frame_header header, const void *payload) {
    header.format = FRAME_FORMAT;
    buf_append(buf, &header, sizeof header);
    buf_append(buf, payload, header.length);
}

static void a_frame_is_read_only_when_whole(void **state) {
    (void)state;
    struct buf buf = {0};
    frame_put(&buf,
              (struct frame_header){.length = 5, .type = FRAME_CALL, .slot = 7, .call_id = 99, .key = 3},
              "hello");
    frame_put(&buf, (struct frame_header){.type = FRAME_UNLOAD, .key = 4}, "");
    struct frame frame;
    struct err err;
    size_t used = 0;
    for (size_t len = 0; len < FRAME_HEADER_BYTES + 5; len++) {
        /* A copy of exactly that length, so that a sanitizer sees a read behind it. */
        uint8_t *part = malloc(len ? len : 1);
        memcpy(part, buf.data, len);
        assert_int_equal(frame_decode(part, len, 100, &frame, &used, &err), 0);
        assert_int_equal(used, len < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + 5);
        free(part);
    }
    assert_int_equal(frame_decode(buf.data, buf.len, 100, &frame, &used, &err), 1);
    assert_int_equal(used, FRAME_HEADER_BYTES + 5);
    assert_int_equal(frame.header.slot, 7);
    assert_int_equal(frame.header.call_id, 99);
    assert_memory_equal(frame.payload, "hello", 5);
    assert_int_equal(frame_decode(buf.data + used, buf.len - used, 100, &frame, &used, &err), 1);
    assert_int_equal(frame.header.type, FRAME_UNLOAD);
    assert_int_equal(frame.header.key, 4);
    buf_fini(&buf);
}

static void the_layout_is_that_of_the_protocol(void **state) {
    (void)state;
    static const uint8_t bytes[] = {3, 0, 0, 0, 4, 1, 0x34, 0x12, 8, 7, 6, 5, 4, 3, 2,   1,   9,  0,
                                    0, 0, 2, 0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 'a', '=', 'b'};
    struct frame frame;
    struct err err;
    size_t used;
    assert_int_equal(frame_decode(bytes, sizeof bytes, FRAME_LENGTH_MAX, &frame, &used, &err), 1);
    assert_int_equal(frame.header.length, 3);
    assert_int_equal(frame.header.type, FRAME_ANSWER);
    assert_int_equal(frame.header.slot, 0x1234);
    assert_true(frame.header.call_id == 0x0102030405060708ull);
    assert_int_equal(frame.header.key, 9);
    assert_int_equal(frame.header.head_len, 2);
}

static void a_damaged_header_is_refused(void **state) {
    (void)state;
    const struct frame_header good = {
        .length = 8, .type = FRAME_CALL, .format = FRAME_FORMAT, .call_id = 1, .head_len = 8};
    struct frame_header bad[] = {good, good, good, good, good, good};
    bad[0].format = 2;
    bad[1].type = 0;
    bad[2].type = FRAME_SKIPPED + 1;
    bad[3].length = 101;
    bad[4].head_len = 9;
    bad[5].length = UINT32_MAX;
    struct frame frame;
    struct err err;
    size_t used;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (struct err){0};
        assert_int_equal(frame_decode((const uint8_t *)&bad[i], sizeof bad[i], 100, &frame, &used, &err),
                         -ERR_BAD_ANSWER);
        assert_int_equal(err.code, ERR_BAD_ANSWER);
        assert_true(err.msg[0] != 0);
    }
    assert_int_equal(frame_decode((const uint8_t *)&good, sizeof good, 100, &frame, &used, &err), 0);
}

static void an_answer_is_split_only_when_its_parts_add_up(void **state) {
    (void)state;
    struct {
        struct frame_answer fixed;
        char text[12];
    } __attribute__((packed)) payload = {
        {.code = ERR_EXIT, .exit_code = -3, .head_len = 8, .output_len = 3, .log_len = 1}, "error=x\0outl"};
    struct frame frame = {{.length = sizeof payload, .type = FRAME_ANSWER}, (const uint8_t *)&payload};
    struct frame_answer_view view;
    struct err err;
    assert_int_equal(frame_decode_answer(&frame, &view, &err), 0);
    assert_int_equal(view.fixed.exit_code, -3);
    assert_memory_equal(view.head, "error=x", 8);
    assert_memory_equal(view.output, "out", 3);
    assert_memory_equal(view.log, "l", 1);
    for (uint32_t wrong = 0; wrong < 4; wrong++) {
        struct frame_answer saved = payload.fixed;
        if (wrong == 0)
            payload.fixed.output_len++;
        if (wrong == 1)
            payload.fixed.log_len--;
        if (wrong == 2) /* adds up only when the sum wraps around at 32 bits */
            payload.fixed.head_len = UINT32_MAX, payload.fixed.output_len = 12, payload.fixed.log_len = 1;
        if (wrong == 3)
            frame.header.length = sizeof payload.fixed - 1;
        assert_int_equal(frame_decode_answer(&frame, &view, &err), -ERR_BAD_ANSWER);
        payload.fixed = saved;
        frame.header.length = sizeof payload;
    }
    frame.header.type = FRAME_CALL;
    assert_int_equal(frame_decode_answer(&frame, &view, &err), -ERR_BAD_ANSWER);
}

static void a_head_is_walked_as_it_was_written(void **state) {
    (void)state;
    struct buf head = {0};
    frame_head_add(&head, "FAAS_CALL_ID", "abc", 3);
    frame_head_add(&head, "h:x", "a=b", 3);
    frame_head_add(&head, "empty", NULL, 0);
    frame_head_add(&head, "cut", "one\0two", 7);
    static const char *expected[][2] = {
        {"FAAS_CALL_ID", "abc"}, {"h:x", "a=b"}, {"empty", ""}, {"cut", "one"}};
    size_t at = 0, name_len, value_len;
    const char *name, *value;
    for (size_t i = 0; i < 4; i++) {
        assert_true(frame_head_next(head.data, head.len, &at, &name, &name_len, &value, &value_len));
        assert_int_equal(name_len, strlen(expected[i][0]));
        assert_memory_equal(name, expected[i][0], name_len);
        assert_int_equal(value_len, strlen(expected[i][1]));
        assert_string_equal(value, expected[i][1]);
    }
    assert_false(frame_head_next(head.data, head.len, &at, &name, &name_len, &value, &value_len));
    buf_fini(&head);
}

static void a_damaged_head_ends_the_walk(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        int entries;
    } heads[] = {{"", 0, 0},    {"a=b", 3, 0},      {"ab\0", 3, 0},
                 {"\0", 1, 0},  {"a=b\0c=d", 7, 1}, {"a=b\0cd\0e=f\0", 11, 1},
                 {"=x\0", 3, 1}};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        uint8_t *copy = malloc(heads[i].len ? heads[i].len : 1);
        memcpy(copy, heads[i].bytes, heads[i].len);
        size_t at = 0, name_len, value_len;
        const char *name, *value;
        int entries = 0;
        while (frame_head_next(copy, heads[i].len, &at, &name, &name_len, &value, &value_len))
            entries++;
        assert_int_equal(entries, heads[i].entries);
        free(copy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_read_only_when_whole),
        cmocka_unit_test(the_layout_is_that_of_the_protocol),
        cmocka_unit_test(a_damaged_header_is_refused),
        cmocka_unit_test(an_answer_is_split_only_when_its_parts_add_up),
        cmocka_unit_test(a_head_is_walked_as_it_was_written),
        cmocka_unit_test(a_damaged_head_ends_the_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
