/* WASI preview 1 of our own: what a call's guest sees of the world, in memory, without an engine.
 *
 * stdin is the call's payload, stdout goes into a buffer up to a limit, stderr into the log; arguments and
 * environment are made when the guest asks for them. No files and no network: such functions answer what they
 * would for a process that has none (EBADF, ENOTDIR…). A hello makes no system call.
 *
 * An engine hands every import of the table the guest's memory as it is at that moment, and the raw
 * arguments. It stops the guest when `end` is no longer WASI_RUNNING after an import has returned. One call,
 * one thread. */
#ifndef FAAS_WORKER_WASI_H
#define FAAS_WORKER_WASI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "worker/wasi_table.h"

/* What an import returns (the numbers are WASI's). */
enum wasi_errno {
    WASI_SUCCESS = 0,
    WASI_EBADF = 8,
    WASI_EFAULT = 21,
    WASI_EINVAL = 28,
    WASI_EIO = 29,
    WASI_ENOTDIR = 54,
    WASI_ENOTSOCK = 57,
    WASI_ENOTSUP = 58,
    WASI_EOVERFLOW = 61,
    WASI_ESPIPE = 70,
};

enum wasi_end {
    WASI_RUNNING,     /* also when the guest returned from its entry */
    WASI_EXITED,      /* by proc_exit; see exit_code */
    WASI_RAISED,      /* by proc_raise; see exit_code for the signal's number */
    WASI_OUTPUT_FULL, /* stdout is over its limit; the output holds what fits */
    WASI_DEADLINE,    /* it is past the deadline */
    WASI_CPU,         /* it has used up its CPU time */
    WASI_NO_MEMORY,   /* the worker itself has no memory left for the output */
};

struct wasi_memory {
    uint8_t *data;
    uint64_t size;
};

/* Called when the call pauses: before the guest sleeps, and by the engine's clock while it runs for long. */
typedef void wasi_on_pause(void *context);

/* Of one call; everything is borrowed until the call's end. */
struct wasi_input {
    const char *name;         /* argv[0] */
    const uint8_t *load_head; /* the function version's (docs/protocol.md) */
    size_t load_head_len;
    const uint8_t *call_head;
    size_t call_head_len;
    const uint8_t *payload;
    size_t payload_len;
    uint64_t start_ns, deadline_ns; /* monotonic */
    uint64_t cpu_max_ns;            /* CPU time; 0 = no limit */
    size_t output_max;              /* bytes */
    struct buf *output;             /* what the guest prints is appended */
    struct buf *log;                /* the same for stderr; at most FRAME_LOG_MAX bytes */
    wasi_on_pause *on_pause;        /* or NULL */
    void *pause_context;
};

enum wasi_stream { WASI_STDIN, WASI_STDOUT, WASI_STDERR, WASI_CLOSED };
enum { WASI_STREAMS = 3, WASI_RANDOM_BYTES = 512 };

/* Zero it once, then wasi_call_begin for each call. */
struct wasi_call {
    struct wasi_input input;
    enum wasi_end end;
    uint32_t exit_code;
    size_t payload_at;  /* bytes of stdin that were read */
    size_t output_from; /* where this call's output starts in input.output */
    size_t log_from;
    bool log_cut;
    uint8_t streams[WASI_STREAMS]; /* enum wasi_stream behind each descriptor */
    uint16_t flags[WASI_STREAMS];
    uint64_t cpu_from_ns; /* the thread's CPU clock when it was first looked at; 0 = not yet */
    bool environ_made;
    struct buf environ_text; /* owned: NUL-ended strings */
    uint32_t environ_count;
    uint8_t random[WASI_RANDOM_BYTES]; /* bytes from the kernel, ahead of need; each is used once */
    size_t random_left;
};

void wasi_call_begin(struct wasi_call *call, const struct wasi_input *input);
void wasi_call_fini(struct wasi_call *call);

/* To be asked now and then while the guest runs, on its thread: true, and the call's end is WASI_CPU, when it
 * has used up its CPU time. Costs a system call, and only a call that has such a limit. What it used before
 * the first look is not counted. */
bool wasi_cpu_is_over(struct wasi_call *call);

/* Appends to the call's log, as if the guest had. */
void wasi_log(struct wasi_call *call, const void *data, size_t len);

typedef uint32_t wasi_function(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args);

struct wasi_import {
    const char *name;
    const char *params, *results; /* as in the table */
    wasi_function *function;
};

enum {
#define WASI_INDEX(name, params, results) WASI_INDEX_##name,
    WASI_TABLE(WASI_INDEX)
#undef WASI_INDEX
        WASI_IMPORT_COUNT
};
extern const struct wasi_import wasi_imports[WASI_IMPORT_COUNT];

#endif
