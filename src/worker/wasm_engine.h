/* Wasmtime: runs native code that was compiled ahead (wasm_run.c, in the worker, which has no compiler), or
 * makes it (wasm_compile.c, in native_compiler, against the engine's other build). These two and
 * wasm_engine.c, which is built for both, are the only ones that see the engine's headers. */
#ifndef FAAS_WORKER_WASM_ENGINE_H
#define FAAS_WORKER_WASM_ENGINE_H

#include "base/buf.h"
#include "worker/runtime.h"

/* "wasmtime-<version>-<fingerprint of the build>-<fingerprint of the processor>": 16 to 63 bytes. The same in
 * both builds. */
const char *wasm_engine_key(void);

/* Only in native_compiler. One thread, no state kept. Appends the native code of a WASI
 * command: a module that exports `_start` and `memory` and imports only WASI preview 1. ERR_COMPILE with a
 * plain message when it is not one. */
int wasm_engine_compile(const uint8_t *wasm, size_t len, struct buf *ret_native, struct err *err);

/* Only in the worker. At most one open engine a process. The thread that calls needs
 * WASM_ENGINE_STACK_BYTES of stack. */
extern const struct runtime_ops wasm_engine_runtime;

enum { WASM_ENGINE_STACK_BYTES = 8 << 20 };

#endif
