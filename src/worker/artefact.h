/* A deployed version's native code on disk: <data dir>/<id>/code.cwasm. It is code that the worker will run
 * with its own rights, so its bytes are checked against the hash that the deploy recorded before anything
 * else looks at them. */
#ifndef FAAS_WORKER_ARTEFACT_H
#define FAAS_WORKER_ARTEFACT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    ARTEFACT_HASH_BYTES = 32,
    ARTEFACT_ID_MAX = 96,
    ARTEFACT_ENGINE_MAX = 63,
    ARTEFACT_BYTES_MAX = 512 << 20
};

struct artefact_name {
    char id[ARTEFACT_ID_MAX + 1];
    char engine[ARTEFACT_ENGINE_MAX + 1]; /* key of the hash: 16 to 63 bytes */
    uint8_t hash[ARTEFACT_HASH_BYTES];    /* BLAKE2b-256 of the file, keyed */
};

/* [a-z0-9_-]{1,96}: a name that cannot leave the data directory. */
int artefact_id_check(const char *id, struct err *err);
/* 64 hex digits. */
int artefact_hash_parse(const char *hex, size_t len, uint8_t ret_hash[ARTEFACT_HASH_BYTES], struct err *err);

/* Appends the file's bytes, checked: at most bytes_max, which is ARTEFACT_BYTES_MAX or less. A copy, so that
 * what was checked is what runs, whatever happens to the file later. ERR_ARTEFACT: it is missing, damaged,
 * empty or too large; ERR_IO otherwise. */
int artefact_read(const char *data_dir, const struct artefact_name *name, size_t bytes_max,
                  struct buf *ret_bytes, struct err *err);

#endif
