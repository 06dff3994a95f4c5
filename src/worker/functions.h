/* The function versions that a gateway has told this worker of, by the gateway's key. A LOAD is only noted;
 * the native code is loaded at the first call, and the ones used longest ago are dropped when there are too
 * many (a later call loads them again). */
#ifndef FAAS_WORKER_FUNCTIONS_H
#define FAAS_WORKER_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "worker/artefact.h"
#include "worker/runtime.h"

enum {
    FUNCTIONS_MAX = 65536,              /* noted */
    FUNCTIONS_HEAD_BYTES_MAX = 1 << 20, /* of one LOAD */
    FUNCTIONS_NOTED_BYTES_MAX = 256 << 20,
    FUNCTIONS_READY_MAX = 1024, /* each may hold a descriptor (of its memory at the start) */
    FUNCTIONS_OTHER_FDS_MAX = 64,
    FUNCTIONS_READY_BYTES_MAX = 256 << 20, /* of native code */
    FUNCTIONS_BUCKETS = 1024,
    FUNCTIONS_WARM_MAX = 64,              /* that wait to be made ready ahead of need */
    FUNCTIONS_WARM_BYTES_MAX = 512 << 10, /* of native code of one: a call may come while it is read */
};

struct function {
    uint32_t key;
    struct function *bucket_next;
    uint8_t *head; /* owned: the LOAD's */
    size_t head_len;
    char name[64];
    struct artefact_name artefact;
    struct limits limits;
    bool warm;          /* the LOAD asked for it to be made ready ahead of need */
    struct err invalid; /* code != ERR_OK: the LOAD made no sense; every call is answered with this */
    /* While ready: */
    struct runtime_module *module;
    size_t module_bytes;
    struct function *newer, *older; /* by last use */
    uint8_t slow_runs;              /* its last eight calls, the latest in bit 0: 1 = slow, or none yet */
};

struct functions {
    const char *data_dir;           /* borrowed */
    const struct runtime_ops *ops;  /* borrowed */
    struct runtime_engine *runtime; /* borrowed */
    uint32_t memory_max_mb;
    struct function *buckets[FUNCTIONS_BUCKETS];
    size_t count, noted_bytes;
    struct function *newest, *oldest; /* ready ones */
    size_t ready, ready_bytes, ready_max;
    uint32_t warm[FUNCTIONS_WARM_MAX]; /* keys, a ring */
    size_t warm_first, warm_count;
};

/* Before the process has a second thread. */
void functions_init(struct functions *functions, const struct runtime_ops *ops,
                    struct runtime_engine *runtime);
/* Forgets all of them. */
void functions_clear(struct functions *functions);

/* A LOAD or UNLOAD frame. A LOAD of a known key replaces it. */
void functions_load(struct functions *functions, const struct frame *frame);
void functions_unload(struct functions *functions, uint32_t key);

/* NULL: never loaded. */
struct function *functions_find(const struct functions *functions, uint32_t key);
/* Makes the function ready if it is not; *ret_cold says whether it was not. */
int functions_prepare(struct functions *functions, struct function *function, bool *ret_cold,
                      struct err *err);

/* Functions wait to be made ready ahead of need. */
static inline bool functions_warm_waits(const struct functions *functions) {
    return functions->warm_count > 0;
}
/* Takes one of them: for a worker that has nothing else to do. What fails will fail at the first call, too.
 */
uint32_t functions_warm_next(struct functions *functions);

#endif
