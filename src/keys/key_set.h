/* API keys as data: what a key allows, and the text of the file that lists them. Pure: knows neither disks
 * nor clocks.
 *
 * A token is "mf_", eight hex digits that name the key (its id, no secret), "_", and 43 characters of 256
 * random bits. Kept is a BLAKE2b-256 of the token: nothing slower is needed where nothing can be guessed.
 *
 * The file: "minifaas-keys 1", then a line for each key of name=value fields with a blank between:
 *   id=0a1b2c3d hash=<64 hex> scopes=invoke,read created=<s since the epoch> rate=100 burst=200 name=ci
 * functions=a,b rate, burst, name and functions may be absent; an unknown field is refused, since it may be a
 * restriction. */
#ifndef FAAS_KEYS_KEY_SET_H
#define FAAS_KEYS_KEY_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* X(name, bit, text, what it allows) */
#define KEY_SCOPES(X)                                                                                        \
    X(DEPLOY, 1, "deploy", "deploy, update and delete functions")                                            \
    X(INVOKE, 2, "invoke", "call functions")                                                                 \
    X(READ, 4, "read", "describe functions, workers and strategy; metrics")                                  \
    X(ADMIN, 8, "admin", "everything, and what changes the instance")
enum key_scope {
#define KEY_SCOPE_ENUM(name, bit, text, doc) KEY_SCOPE_##name = (bit),
    KEY_SCOPES(KEY_SCOPE_ENUM)
#undef KEY_SCOPE_ENUM
};

enum {
    KEY_ID_CHARS = 8,
    KEY_TOKEN_CHARS = 3 + KEY_ID_CHARS + 1 + 43,
    KEY_HASH_BYTES = 32,
    KEY_NAME_MAX = 64,
    KEY_FUNCTIONS_MAX = 2048, /* bytes of the list of names */
    KEY_RATE_MAX = 1000000,
    KEY_SET_MAX = 4096, /* keys */
    KEY_FILE_MAX = KEY_SET_MAX * 4096,
};

struct key {
    char id[KEY_ID_CHARS + 1];
    uint8_t hash[KEY_HASH_BYTES];
    uint32_t scopes;             /* bits of enum key_scope */
    uint32_t rate, burst;        /* requests a second, and at once; 0 = no limit, both or none */
    uint64_t created_s;          /* since the epoch */
    uint64_t due_ns;             /* the keyring's: when the next request is due by the rate */
    char name[KEY_NAME_MAX + 1]; /* for people; may be empty */
    char *functions;             /* owned: "a,b", the only ones that it is for; NULL = all */
};

struct key_set {
    struct key *keys; /* owned; in the order of their ids */
    size_t count;
};

void key_set_fini(struct key_set *set); /* safe on a zeroed struct */
/* ERR_BAD_REQUEST: no such file, damaged, or a field that nobody knows; the message names the line. */
int key_set_parse(const char *text, size_t len, struct key_set *ret_set, struct err *err);
void key_set_format(const struct key_set *set, struct buf *out);
/* Takes over key->functions when it returns 0. ERR_CONFLICT: there is that id; ERR_LIMITED: too many keys. */
int key_set_add(struct key_set *set, const struct key *key, struct err *err);
/* `id` need not be terminated. NULL: there is none. */
struct key *key_set_find(const struct key_set *set, const char id[KEY_ID_CHARS]);
void key_set_remove(struct key_set *set, struct key *key);

/* Whether name is one that the key is for; true for a key of all functions. */
bool key_is_for(const struct key *key, const char *name, size_t len);
/* "invoke,read" to bits: ERR_BAD_REQUEST names a scope that nobody knows. */
int key_scopes_parse(const char *text, size_t len, uint32_t *ret_scopes, struct err *err);
void key_scopes_append(uint32_t scopes, struct buf *out);
/* Names of functions with commas between (checked as those of a deploy), "" is none. */
int key_functions_check(const char *text, size_t len, struct err *err);
/* Letters, digits and ._- up to KEY_NAME_MAX. */
int key_name_check(const char *text, size_t len, struct err *err);
/* True when `token` has the form of one; *ret_id points into it. */
bool key_token_split(const char *token, size_t len, const char **ret_id);
void key_token_hash(const char *token, size_t len, uint8_t ret_hash[KEY_HASH_BYTES]);

#endif
