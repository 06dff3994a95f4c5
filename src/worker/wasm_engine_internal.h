/* What the two builds of the engine have in common: its settings. Only the wasm_*.c files that know the
 * engine's headers include this. */
#ifndef FAAS_WORKER_WASM_ENGINE_INTERNAL_H
#define FAAS_WORKER_WASM_ENGINE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include <wasm.h>
#include <wasmtime.h>

#include "worker/wasm_engine.h"

enum { WASM_TABLE_ELEMENTS = 200000 /* the largest table */ };

/* An engine that can hold so many instances at a time; NULL: it cannot be started. */
wasm_engine_t *wasm_engine_make(uint32_t slots);
/* The engine's words as one line. Takes the error. */
void wasm_engine_error_text(wasmtime_error_t *error, char *ret_text, size_t size);

#endif
