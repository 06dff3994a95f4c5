/* Frames on the pipes between gateway and workers. docs/protocol.md describes every one; this header is what
 * both sides share.
 *
 * A frame is a 32-byte header, little-endian, and `length` bytes behind it. Several calls are under way on a
 * pipe: the call id tells them apart, the slot is the call's place in the worker's shared page (wire/page.h).
 * Decoding is pure: bytes in, a view of the frame out. */
#ifndef FAAS_WIRE_FRAME_H
#define FAAS_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { FRAME_FORMAT = 1, FRAME_HEADER_BYTES = 32 };
/* Largest payload: a body of 1 GiB and its head would be over it; the gateway's limits are far lower. */
#define FRAME_LENGTH_MAX (1200u << 20)

/* X(NAME, number, direction, payload) */
#define FRAME_TABLE(X)                                                                                       \
    X(LOAD, 1, "gateway to worker", "head: what a function version is; body: its source (js, python)")       \
    X(UNLOAD, 2, "gateway to worker", "nothing: forget `key`")                                               \
    X(CALL, 3, "gateway to worker", "head: the call's variables; body: the payload")                         \
    X(ANSWER, 4, "worker to gateway", "struct frame_answer, then head, output, log")                         \
    X(LOADED, 5, "worker to gateway",                                                                        \
      "nothing: a LOAD of a process, or a WASM worker's with `warm`, is done")                               \
    X(SKIPPED, 6, "worker to gateway", "u64: number of a withdrawn CALL, which a process has not run")

enum frame_type {
#define FRAME_ENUM(name, number, direction, doc) FRAME_##name = number,
    FRAME_TABLE(FRAME_ENUM)
#undef FRAME_ENUM
};

/* The layout on the wire: no padding, little-endian machines only (checked at build). */
struct frame_header {
    uint32_t length;   /* bytes behind the header */
    uint8_t type;      /* enum frame_type */
    uint8_t format;    /* FRAME_FORMAT */
    uint16_t slot;     /* CALL, ANSWER: place in the worker's page */
    uint64_t call_id;  /* CALL, ANSWER: never 0 */
    uint32_t key;      /* the gateway's number for a function version */
    uint32_t head_len; /* LOAD, CALL: bytes of head at the front of the payload; the rest is the body */
    uint64_t spare;    /* 0 */
};

/* Front of an ANSWER's payload. Then follow head_len bytes of head, output_len of output and log_len of log;
 * together they are the frame's length. */
struct frame_answer {
    uint32_t code;     /* enum err_code; ERR_OK = the function succeeded */
    int32_t exit_code; /* of a command or script; 0 otherwise */
    uint32_t head_len; /* status=…, h:name=value, error=… */
    uint32_t output_len;
    uint32_t log_len;  /* what went to stderr, cut at FRAME_LOG_MAX */
    uint32_t flags;    /* FRAME_ANSWER_* */
    uint64_t start_ns; /* from the worker's claim of the call to the first instruction of the function */
    uint64_t run_ns;   /* from there to its end */
};
enum {
    FRAME_ANSWER_COLD = 1, /* this call loaded the function into the worker */
    FRAME_ANSWER_LAST = 2, /* the worker takes no further call and ends after this answer */
};
enum { FRAME_LOG_MAX = 256 << 10 };

/* A head is a sequence of `name=value` strings, each ended by a NUL byte; names have no '='. */

struct frame {
    struct frame_header header;
    const uint8_t *payload; /* borrowed from the input */
};

/* Takes one frame off the front of data. 1: *ret_frame is filled, *ret_used says how many bytes it took. 0:
 * not yet whole; *ret_used is then the number of bytes wanted in all (at least FRAME_HEADER_BYTES). Negative:
 * the bytes are no frame of ours (ERR_BAD_ANSWER): wrong format, unknown type, length over `length_max`, head
 * longer than the payload. */
int frame_decode(const uint8_t *data, size_t len, uint32_t length_max, struct frame *ret_frame,
                 size_t *ret_used, struct err *err);

/* Splits an ANSWER's payload; the parts are borrowed from it. ERR_BAD_ANSWER when the lengths do not add up.
 */
struct frame_answer_view {
    struct frame_answer fixed;
    const uint8_t *head, *output, *log;
};
int frame_decode_answer(const struct frame *frame, struct frame_answer_view *ret_view, struct err *err);

/* Walks a head: *at starts at 0. True while there is one more entry; an entry without '=' or NUL ends the
 * walk. */
bool frame_head_next(const uint8_t *head, size_t head_len, size_t *at, const char **ret_name,
                     size_t *ret_name_len, const char **ret_value, size_t *ret_value_len);
/* Appends one entry. A value with a NUL byte is cut there. */
void frame_head_add(struct buf *buf, const char *name, const void *value, size_t value_len);

#endif
