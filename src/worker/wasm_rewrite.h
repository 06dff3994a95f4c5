/* A WASM module with what the worker needs in it (WebAssembly core specification 2.0, "Binary Format"):
 * - one function more, the last, of type () -> (), whose body is `unreachable`: there a call that is to be
 *   stopped goes on (interrupt.h);
 * - instead of a start function an export of it, so that making an instance runs nothing of the module. */
#ifndef FAAS_WORKER_WASM_REWRITE_H
#define FAAS_WORKER_WASM_REWRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define WASM_REWRITE_INITIALIZE "faas:start" /* the export's name */

/* Appends the new module. The old one was found valid by the engine; one that has no function or no export of
 * its own, and so is no command, is appended as it is. ERR_COMPILE when it is cut short. */
int wasm_rewrite(const uint8_t *wasm, size_t len, struct buf *ret_wasm, struct err *err);

#endif
