/* What the files of WASI share: the imports by name, and checked access to the guest's memory. */
#ifndef FAAS_WORKER_WASI_INTERNAL_H
#define FAAS_WORKER_WASI_INTERNAL_H

#include <string.h>

#include "worker/wasi.h"

#define WASI_DECLARE(name, params, results) wasi_function wasi_##name;
WASI_TABLE(WASI_DECLARE)
#undef WASI_DECLARE

static inline bool wasi_inside(struct wasi_memory memory, uint64_t at, uint64_t len) {
    return at <= memory.size && len <= memory.size - at;
}

/* The four below: the caller has checked that the place is inside. */
static inline uint32_t wasi_load_u32(struct wasi_memory memory, uint64_t at) {
    uint32_t value;
    memcpy(&value, memory.data + at, sizeof value);
    return value;
}

static inline void wasi_store_u16(struct wasi_memory memory, uint64_t at, uint16_t value) {
    memcpy(memory.data + at, &value, sizeof value);
}

static inline void wasi_store_u32(struct wasi_memory memory, uint64_t at, uint32_t value) {
    memcpy(memory.data + at, &value, sizeof value);
}

static inline void wasi_store_u64(struct wasi_memory memory, uint64_t at, uint64_t value) {
    memcpy(memory.data + at, &value, sizeof value);
}

/* The stream behind a descriptor of the guest; WASI_CLOSED when there is none. */
static inline enum wasi_stream wasi_stream_of(const struct wasi_call *call, uint32_t fd) {
    return fd < WASI_STREAMS ? (enum wasi_stream)call->streams[fd] : WASI_CLOSED;
}

/* Ends the call; the value is what the import then returns (the guest never sees it). */
static inline uint32_t wasi_stop(struct wasi_call *call, enum wasi_end end) {
    call->end = end;
    return WASI_EIO;
}

/* One of WASI's clocks: 0 real time, 1 monotonic, 2 and 3 the time since the call's start. */
bool wasi_clock_now(const struct wasi_call *call, uint32_t clock, uint64_t *ret_ns);

#endif
