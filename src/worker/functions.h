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
    FUNCTIONS_READY_MAX = 256,
    FUNCTIONS_READY_BYTES_MAX = 256 << 20, /* of native code */
    FUNCTIONS_BUCKETS = 1024,
};

struct function {
    uint32_t key;
    struct function *bucket_next;
    uint8_t *head; /* owned: the LOAD's */
    size_t head_len;
    char name[64];
    struct artefact_name artefact;
    struct limits limits;
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
    size_t ready, ready_bytes;
};

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

#endif
