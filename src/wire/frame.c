#include "wire/frame.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are little-endian");
_Static_assert(sizeof(struct frame_header) == FRAME_HEADER_BYTES, "no padding on the wire");
_Static_assert(sizeof(struct frame_answer) == 40, "no padding on the wire");

static bool frame_type_known(uint8_t type) {
    switch (type) {
#define FRAME_CASE(name, number, direction, doc) case FRAME_##name:
        FRAME_TABLE(FRAME_CASE)
#undef FRAME_CASE
        return true;
    default:
        return false;
    }
}

int frame_decode(const uint8_t *data, size_t len, uint32_t length_max, struct frame *ret_frame,
                 size_t *ret_used, struct err *err) {
    if (len < FRAME_HEADER_BYTES) {
        *ret_used = FRAME_HEADER_BYTES;
        return 0;
    }
    struct frame_header header;
    memcpy(&header, data, sizeof header);
    if (header.format != FRAME_FORMAT)
        return err_set(err, ERR_BAD_ANSWER, "a frame of format %u, not %u", header.format, FRAME_FORMAT);
    if (!frame_type_known(header.type))
        return err_set(err, ERR_BAD_ANSWER, "a frame of the unknown type %u", header.type);
    if (header.length > length_max)
        return err_set(err, ERR_BAD_ANSWER, "a frame of %u bytes, over the limit of %u", header.length,
                       length_max);
    if (header.head_len > header.length)
        return err_set(err, ERR_BAD_ANSWER, "a frame of %u bytes with a head of %u", header.length,
                       header.head_len);
    size_t whole = FRAME_HEADER_BYTES + (size_t)header.length;
    *ret_used = whole;
    if (len < whole)
        return 0;
    *ret_frame = (struct frame){.header = header, .payload = data + FRAME_HEADER_BYTES};
    return 1;
}

int frame_decode_answer(const struct frame *frame, struct frame_answer_view *ret_view, struct err *err) {
    struct frame_answer fixed;
    if (frame->header.type != FRAME_ANSWER || frame->header.length < sizeof fixed)
        return err_set(err, ERR_BAD_ANSWER, "an answer of %u bytes", frame->header.length);
    memcpy(&fixed, frame->payload, sizeof fixed);
    uint64_t parts = (uint64_t)fixed.head_len + fixed.output_len + fixed.log_len;
    if (parts != frame->header.length - sizeof fixed)
        return err_set(err, ERR_BAD_ANSWER, "an answer of %u bytes whose parts are %llu",
                       frame->header.length, (unsigned long long)parts);
    const uint8_t *head = frame->payload + sizeof fixed;
    *ret_view = (struct frame_answer_view){
        .fixed = fixed,
        .head = head,
        .output = head + fixed.head_len,
        .log = head + fixed.head_len + fixed.output_len,
    };
    return 0;
}

bool frame_head_next(const uint8_t *head, size_t head_len, size_t *at, const char **ret_name,
                     size_t *ret_name_len, const char **ret_value, size_t *ret_value_len) {
    if (*at >= head_len)
        return false;
    const uint8_t *entry = head + *at;
    const uint8_t *end = memchr(entry, 0, head_len - *at);
    if (!end)
        return false;
    const uint8_t *equals = memchr(entry, '=', (size_t)(end - entry));
    if (!equals)
        return false;
    *ret_name = (const char *)entry;
    *ret_name_len = (size_t)(equals - entry);
    *ret_value = (const char *)equals + 1;
    *ret_value_len = (size_t)(end - equals - 1);
    *at = (size_t)(end - head) + 1;
    return true;
}

void frame_head_add(struct buf *buf, const char *name, const void *value, size_t value_len) {
    const void *nul = value_len > 0 ? memchr(value, 0, value_len) : NULL;
    if (nul)
        value_len = (size_t)((const uint8_t *)nul - (const uint8_t *)value);
    size_t name_len = strlen(name);
    if (name_len + value_len < value_len || !buf_reserve(buf, name_len + value_len + 2))
        return;
    buf_append(buf, name, name_len);
    buf_append(buf, "=", 1);
    buf_append(buf, value, value_len);
    buf_append(buf, "", 1);
}
