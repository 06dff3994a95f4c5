/* One deploy's build: source to WASM to native code, or the check of a script, each step in a sandbox of its
 * own. Runs in the builder's process, which lives as long as its deploy. docs/protocol.md describes what it
 * writes and prints. */
#ifndef FAAS_BUILDER_BUILDER_H
#define FAAS_BUILDER_BUILDER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    BUILDER_SECONDS = 30,
    BUILDER_MEMORY_MB = 1024,
    BUILDER_MESSAGES_MAX = 64 << 10,
    BUILDER_SOURCE_MAX = 1 << 30,
};

/* What is built, and what came out. The texts are borrowed for the life of the build. */
struct builder {
    const char *lang, *name;
    const char *stage;    /* directory that gets the files */
    uint64_t deadline_ns; /* monotonic */
    int signal_fd;        /* readable: end now; or -1 */
    int answer_fd;        /* nobody reads it any more: end now */

    struct buf source;
    struct buf messages; /* of the compiler or checker, for people */
    char entry[16];
    bool module, wasm;
    char engine[64];
    char native_hash[65]; /* hex */
};

/* Reads the source, builds, and fills the struct. On failure err->code is ERR_COMPILE, ERR_BUILD_*,
 * ERR_NOT_INSTALLED, ERR_BAD_REQUEST or ERR_INTERNAL; messages, when not empty, say more than err.
 * ERR_DRAINING: told to stop. */
int builder_build(struct builder *builder, int source_fd, struct err *err);
/* From the bytes of an existing code.wasm: native code only. */
int builder_rebuild(struct builder *builder, int source_fd, struct err *err);
void builder_fini(struct builder *builder);

/* The answer as one line of JSON. `failed`: what builder_build returned. */
void builder_answer(const struct builder *builder, int failed, const struct err *err, struct buf *ret_json);
/* Which languages this machine has. */
void builder_probe(struct buf *ret_json);

#endif
