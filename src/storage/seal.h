/* Secrets at rest: sealed with XChaCha20-Poly1305 under the key of a file, bound to the function and the name
 * that they belong to. docs/decisions/0013-variables-and-secrets.md has the formats. Any thread. */
#ifndef FAAS_STORAGE_SEAL_H
#define FAAS_STORAGE_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    SEAL_KEY_ID_BYTES = 8,
    SEAL_NONCE_BYTES = 24,
    SEAL_TAG_BYTES = 16,
    SEAL_OVERHEAD = SEAL_KEY_ID_BYTES + SEAL_NONCE_BYTES + SEAL_TAG_BYTES,
};

struct seal; /* a key, in memory that is never written to a core dump */

/* ERR_NOT_FOUND: there is no such file. ERR_SECRETS: it is no key file, or somebody else can read it; the
 * message says what to do. */
int seal_read_key(const char *path, struct seal **ret_seal, struct err *err);
/* Makes the file (0600) with a fresh key, wholly or not at all. One that is there already is read. */
int seal_make_key(const char *path, struct seal **ret_seal, struct err *err);
void seal_free(struct seal *seal);

/* To whom a secret belongs: it opens for nobody else. */
struct seal_owner {
    const char *function, *name;
};

/* ret_sealed has room for len + SEAL_OVERHEAD bytes. */
void seal_wrap(const struct seal *seal, const struct seal_owner *owner, const uint8_t *plain, size_t len,
               uint8_t *ret_sealed);
/* len is that of `sealed`; ret_plain has room for len - SEAL_OVERHEAD. ERR_SECRETS: sealed under another key,
 * damaged, or another owner's; then ret_plain holds nothing of it. */
int seal_unwrap(const struct seal *seal, const struct seal_owner *owner, const uint8_t *sealed, size_t len,
                uint8_t *ret_plain, struct err *err);

#endif
