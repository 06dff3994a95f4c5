/* Limits of a function, as data: X(field, default, min, max, unit, what happens at the limit). The field is
 * the query parameter of a deploy, the key in metadata.json and describe, and `limit.<field>` in a LOAD
 * frame. The maximum is that of the format; a server's own cap is a setting (gateway/limits.c). */
#ifndef FAAS_WIRE_LIMITS_H
#define FAAS_WIRE_LIMITS_H

#include <stdint.h>

#define LIMITS_TABLE(X)                                                                                      \
    X(timeout_ms, 10000, 1, 86400000, "ms", "a call is stopped: 504 timeout")                                \
    X(memory_mb, 128, 1, 4096, "MiB", "a refused growth or a kill: 507 oom")                                 \
    X(concurrency, 0, 0, 10000, "calls", "more calls queue; 0 = no limit of its own")                        \
    X(output_mb, 16, 1, 256, "MiB", "the call is stopped: 500 output")                                       \
    X(processes, 64, 1, 1024, "processes", "fork fails: 500 processes")                                      \
    X(tmp_mb, 64, 0, 4096, "MiB", "/tmp is full: ENOSPC")                                                    \
    X(cpu_ms, 0, 0, 86400000, "ms", "a call is stopped: 504 cpu; 0 = none beside the deadline")              \
    X(payload_kb, 0, 0, 1048576, "KiB", "a larger body is refused: 413; 0 = what the server takes")          \
    X(queue, 1024, 1, 65536, "calls", "how many may wait; more are refused: 429")

struct limits {
#define LIMITS_FIELD(field, fallback, min, max, unit, doc) uint32_t field;
    LIMITS_TABLE(LIMITS_FIELD)
#undef LIMITS_FIELD
};

#define LIMITS_DEFAULTS                                                                                      \
    (struct limits) {                                                                                        \
        .timeout_ms = 10000, .memory_mb = 128, .concurrency = 0, .output_mb = 16, .processes = 64,           \
        .tmp_mb = 64, .queue = 1024                                                                          \
    }

#endif
