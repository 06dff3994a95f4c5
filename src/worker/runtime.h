/* What a worker asks of a runtime, so that another engine can stand in its place: one vtable per runtime, at
 * the foot of its file. */
#ifndef FAAS_WORKER_RUNTIME_H
#define FAAS_WORKER_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/limits.h"
#include "worker/wasi.h"

struct runtime_engine; /* an engine: one a process */
struct runtime_module; /* a function version's native code, ready to run */

/* How a call ended. The function's output and log are where its wasi_input says. */
struct runtime_outcome {
    enum err_code
        code; /* ERR_OK, ERR_EXIT, ERR_TRAP, ERR_OUTPUT, ERR_TIMEOUT, ERR_CPU, ERR_OOM, ERR_INTERNAL */
    int exit_code;
    uint64_t started_ns; /* monotonic: the first instruction of the function */
    uint64_t ended_ns;
    char error[192]; /* for people, when code is not ERR_OK */
};

struct runtime_ops {
    const char *name;
    int (*open)(struct runtime_engine **ret_runtime, struct err *err);
    void (*close)(struct runtime_engine *runtime);
    /* Key of artefacts: name, version and what the native code depends on; a static string. */
    const char *(*engine_key)(void);
    /* Takes native code in, by copy. The bytes are trusted: the caller has checked their hash. ERR_ARTEFACT
     * when they are not for this engine. */
    int (*load)(struct runtime_engine *runtime, const uint8_t *bytes, size_t len,
                struct runtime_module **ret_module, struct err *err);
    void (*unload)(struct runtime_module *module);
    /* Makes an instance and throws it away, so that the next one finds all that it needs mapped. Nothing of
     * the function runs. Best effort. */
    void (*warm)(struct runtime_engine *runtime, struct runtime_module *module, const struct limits *limits);
    /* Runs one call in a fresh instance, which is thrown away by the next call or by `settle`: what that
     * costs comes after the answer. call was begun; limits->timeout_ms is call->input.deadline_ns already and
     * only named in messages. */
    void (*call)(struct runtime_engine *runtime, struct runtime_module *module, const struct limits *limits,
                 struct wasi_call *call, struct runtime_outcome *ret_outcome);
    void (*settle)(struct runtime_engine *runtime);
    /* Lets a running call look at its deadline, and call its on_pause. From any thread. At every tick of the
     * worker's clock. */
    void (*tick)(struct runtime_engine *runtime);
};

#endif
