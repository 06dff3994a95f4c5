/* Frames from bytes of anybody: whatever comes, the views stay inside of the input. */
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(bool holds) {
    if (!holds)
        abort();
}

static void fuzz_inside(const uint8_t *part, size_t part_len, const uint8_t *whole, size_t whole_len) {
    fuzz_check(part >= whole && part_len <= whole_len && part - whole <= (ptrdiff_t)(whole_len - part_len));
}

static void fuzz_head(const uint8_t *head, size_t head_len) {
    size_t at = 0, before = 0, name_len, value_len;
    const char *name, *value;
    struct buf again = {0};
    while (frame_head_next(head, head_len, &at, &name, &name_len, &value, &value_len)) {
        fuzz_check(at > before && at <= head_len);
        fuzz_inside((const uint8_t *)name, name_len, head, head_len);
        fuzz_inside((const uint8_t *)value, value_len, head, head_len);
        char *text = strndup(name, name_len);
        frame_head_add(&again, text, value, value_len);
        free(text);
        fuzz_check(again.len == at && memcmp(again.data, head, at) == 0);
        before = at;
    }
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t used;
    struct frame frame;
    struct err err;
    for (size_t at = 0; at < size; at += used) {
        int got = frame_decode(data + at, size - at, 1u << 20, &frame, &used, &err);
        if (got < 0) {
            fuzz_check(got == -ERR_BAD_ANSWER && err.code == ERR_BAD_ANSWER && err.msg[0]);
            break;
        }
        if (got == 0) {
            fuzz_check(used > size - at && used <= FRAME_HEADER_BYTES + (1u << 20));
            break;
        }
        fuzz_check(used == FRAME_HEADER_BYTES + (size_t)frame.header.length && used <= size - at);
        fuzz_inside(frame.payload, frame.header.length, data, size);
        fuzz_head(frame.payload, frame.header.head_len);
        struct frame_answer_view view;
        if (frame_decode_answer(&frame, &view, &err) == 0) {
            fuzz_inside(view.head, view.fixed.head_len, frame.payload, frame.header.length);
            fuzz_inside(view.output, view.fixed.output_len, frame.payload, frame.header.length);
            fuzz_inside(view.log, view.fixed.log_len, frame.payload, frame.header.length);
            fuzz_head(view.head, view.fixed.head_len);
        }
    }
    return 0;
}
