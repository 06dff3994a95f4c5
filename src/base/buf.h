/* A growable byte buffer with a bound. The owner embeds it; `data` is owned by the buffer and moves when it
 * grows. */
#ifndef FAAS_BASE_BUF_H
#define FAAS_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
    uint8_t *data;
    size_t len;  /* bytes in use */
    size_t cap;  /* bytes allocated */
    bool failed; /* an append did not fit into memory; everything since is missing. Sticky until buf_clear. */
};

void buf_fini(struct buf *buf); /* safe on a zeroed struct */

bool buf_grow(struct buf *buf, size_t more); /* of buf_reserve: the case that allocates */

/* Makes room for `more` bytes behind len; false (and failed set) when memory is out. */
static inline bool buf_reserve(struct buf *buf, size_t more) {
    return (!buf->failed && more <= buf->cap - buf->len) || buf_grow(buf, more);
}
static inline void buf_append(struct buf *buf, const void *data, size_t len) {
    if (len == 0 || !buf_reserve(buf, len))
        return;
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
}
static inline void buf_append_str(struct buf *buf, const char *text) {
    buf_append(buf, text, strlen(text));
}
void buf_append_format(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_append_u64(struct buf *buf, uint64_t value); /* decimal */
/* Drops `len` bytes from the front (moves the rest). */
void buf_consume(struct buf *buf, size_t len);
static inline void buf_clear(struct buf *buf) {
    buf->len = 0;
    buf->failed = false;
}
/* Gives memory back when more than `keep` bytes are allocated and none is in use. */
void buf_trim(struct buf *buf, size_t keep);

#endif
