/* code.wasm to code.cwasm, by the compiler build of the engine, in a sandbox; and the hash that binds it. */
#ifndef FAAS_BUILDER_NATIVE_H
#define FAAS_BUILDER_NATIVE_H

#include "builder/builder.h"

/* Fills engine and native_hash. */
int native_compile(struct builder *builder, const void *wasm, size_t len, struct err *err);

#endif
