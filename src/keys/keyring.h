/* The keys of a running instance: read from the disk, read again as soon as the file changes, asked for every
 * request. One thread; nothing here touches the disk but the reading again.
 *
 * What the file says holds at once: a revoked key is refused with the first request that comes after the
 * command. A file that cannot be read keeps what was known, and says so in the log. */
#ifndef FAAS_KEYS_KEYRING_H
#define FAAS_KEYS_KEYRING_H

#include "base/loop.h"
#include "keys/key_set.h"

struct keyring;

/* What a connection remembers of its last request, zeroed at first: the same token again costs a comparison.
 */
struct keyring_session {
    uint32_t generation; /* of the keys that `index` is in; 0 = none */
    uint32_t index;
    char token[KEY_TOKEN_CHARS];
};

struct keyring_config {
    struct loop *loop;    /* borrowed */
    const char *data_dir; /* borrowed */
    bool may_be_open;     /* while there is no file of keys: nobody needs one. Else everybody is refused */
};

/* Fails on a file that is there and cannot be read. */
int keyring_new(const struct keyring_config *config, struct keyring **ret_keyring, struct err *err);
void keyring_free(struct keyring *keyring);

/* True while nobody needs a key. */
bool keyring_is_open(const struct keyring *keyring);
size_t keyring_count(const struct keyring *keyring);
/* The key of a token, or NULL. Valid until control goes back to the loop. Constant time in the token's
 * secret. */
struct key *keyring_find(struct keyring *keyring, struct keyring_session *session, const char *token,
                         size_t len);
/* Counts one request at now_ns (monotonic): 0, or how many ns it comes too early, then it was not counted. */
uint64_t keyring_count_request(struct key *key, uint64_t now_ns);

#endif
