/* The file of keys on disk: DATA_DIR/.keys/keys, mode 0600, replaced as a whole by a rename.
 *
 * A file without keys is not the same as no file: where keys once were asked for, they are asked for until
 * somebody removes the file. To revoke a key never opens what was closed. */
#ifndef FAAS_KEYS_KEY_STORE_H
#define FAAS_KEYS_KEY_STORE_H

#include "keys/key_set.h"

#define KEY_STORE_DIR ".keys"
#define KEY_STORE_FILE "keys"

/* *ret_exists: whether there is a file (else the set is empty). ERR_BAD_REQUEST: it is damaged; ERR_IO. */
int key_store_load(const char *data_dir, struct key_set *ret_set, bool *ret_exists, struct err *err);
/* Makes a key as `wanted` says (scopes, rate, burst, name, functions; the rest is ignored, nothing is taken
 * over), on the disk when it returns. The token is shown this once: nobody can make it again. */
int key_store_create(const char *data_dir, const struct key *wanted, char ret_token[KEY_TOKEN_CHARS + 1],
                     struct err *err);
/* ERR_NOT_FOUND: no key has that id. */
int key_store_revoke(const char *data_dir, const char *id, struct err *err);
/* Makes the directory when it is missing, so that it can be watched. */
int key_store_make_dir(const char *data_dir, struct err *err);

#endif
