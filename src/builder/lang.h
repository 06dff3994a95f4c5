/* Languages: how each is built, and whether this machine can. */
#ifndef FAAS_BUILDER_LANG_H
#define FAAS_BUILDER_LANG_H

#include "builder/builder.h"

struct lang_row {
    const char *name;
    /* Fills entry, module, wasm of the builder; writes code.wasm when wasm. */
    int (*build)(struct builder *builder, struct err *err);
    /* 0, or ERR_NOT_INSTALLED with what to install. */
    int (*check)(struct err *err);
};

/* NULL when nothing here builds that language. */
const struct lang_row *lang_find(const char *name);
/* 0, or ERR_NOT_INSTALLED, for any language of the storage's table. */
int lang_check(const char *name, struct err *err);

/* C, C++ and Rust: code.wasm from the source, by a compiler. */
int lang_wasm_build_c(struct builder *builder, struct err *err);
int lang_wasm_build_cpp(struct builder *builder, struct err *err);
int lang_wasm_build_rust(struct builder *builder, struct err *err);
int lang_wasm_check_c(struct err *err);
int lang_wasm_check_cpp(struct err *err);
int lang_wasm_check_rust(struct err *err);

#endif
