/* How a call ended, from what the engine and the guest's imports say; without the engine's types. */
#ifndef FAAS_WORKER_WASM_OUTCOME_H
#define FAAS_WORKER_WASM_OUTCOME_H

#include <stdbool.h>

#include "worker/runtime.h"

/* What the limiter refused last; 0 = nothing. */
struct wasm_refusal {
    uint64_t memory_bytes;
    uint64_t table_elements;
};

struct wasm_ending {
    struct wasi_call *call;
    const struct limits *limits;
    struct wasm_refusal refusal;
    bool at_start; /* while it was instantiated, before its entry */
};

/* An import or the clock ended it: call->end is not WASI_RUNNING. */
void wasm_outcome_end(struct runtime_outcome *outcome, const struct wasm_ending *ending);
/* It trapped. The message is the engine's, with the frames of the stack: it goes to the call's log, the
 * trap's own words into the outcome. */
void wasm_outcome_trap(struct runtime_outcome *outcome, const struct wasm_ending *ending, const char *message,
                       size_t len);
/* It could not be started. */
void wasm_outcome_error(struct runtime_outcome *outcome, const struct wasm_ending *ending,
                        const char *message);

/* An engine's message of several lines ("…\n\nCaused by:\n    0: …") as one: "…: …". Cut at size. */
void wasm_text_flatten(const char *data, size_t len, char *ret_text, size_t size);

#endif
