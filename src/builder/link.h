/* How clang's driver would link a WASI command, so that the linker can be run beside the compiler and not by
 * the driver after it: loading either takes longer than what it then does. */
#ifndef FAAS_BUILDER_LINK_H
#define FAAS_BUILDER_LINK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct link_plan {
    char linker[PATH_MAX];        /* wasm-ld; the same path on the host and inside the sandbox */
    char arguments[2 * PATH_MAX]; /* one a line */
};

/* `prefix`: of the real clang (…/lib/llvm-14); `sysroot`: what it is called inside; `libraries`: those before
 * the C library's, one a line, each ended by a newline. The result is code.wasm. False when the parts do not
 * lie where they are known to: then the driver has to link. */
bool link_find(const char *prefix, const char *sysroot, const char *object, const char *libraries,
               struct link_plan *ret_plan);
/* clang's run-time library for WASM on the host. */
bool link_find_builtins(const char *prefix, char *ret_path, size_t size);

#endif
