/* Deployed functions: on disk, and an index of them in memory.
 *
 * On disk (the data directory):
 *     <id>/code.<ext> code.wasm code.cwasm metadata.json     one version; never changed once it is there
 *     names/<name> -> ../<id>                                 symbolic link to the current version
 *     vars/<name>.json                                        the name's environment and sealed secrets
 *     .stage-<random>/                                        a deploy under way; swept at open
 * A deploy is built in a stage, fsynced, renamed to <id>, and then its name's link is made: with the file
 * system's exclusive create for a new name, renamed over the old link for a next version. So it is there
 * wholly or not at all. A directory <id> that is newer than its name's link, or that no name points to, was
 * not finished (or its removal was not) and is swept at open.
 *
 * Threads: the index belongs to the loop's thread. storage_publish and storage_erase touch only the disk and
 * may run on another thread; their results are put into the index by storage_index_add / storage_index_remove
 * on the loop's thread. */
#ifndef FAAS_STORAGE_STORAGE_H
#define FAAS_STORAGE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "egress/allow.h"
#include "storage/vars.h"
#include "wire/limits.h"
#include "wire/message.h"

enum {
    STORAGE_FORMAT = 1, /* of metadata.json */
    STORAGE_NAME_MAX = 63,
    STORAGE_ID_MAX = 96,     /* name, '_', number */
    STORAGE_HASH_BYTES = 32, /* BLAKE2b-256 */
    STORAGE_ENGINE_MAX = 64,
};

/* Languages: X(lang, extension of its source, runtime it runs in) */
#define STORAGE_LANGS(X)                                                                                     \
    X("c", "c", RUNTIME_WASM)                                                                                \
    X("cpp", "cpp", RUNTIME_WASM)                                                                            \
    X("rust", "rs", RUNTIME_WASM)                                                                            \
    X("go", "go", RUNTIME_WASM)                                                                              \
    X("wasm", "wasm", RUNTIME_WASM)                                                                          \
    X("js", "js", RUNTIME_NODE)                                                                              \
    X("python", "py", RUNTIME_PYTHON)                                                                        \
    X("php", "php", RUNTIME_WASM)                                                                            \
    X("html", "html", RUNTIME_WASM)

struct storage_lang {
    const char *name, *extension;
    enum runtime runtime;
};
/* NULL when unknown. */
const struct storage_lang *storage_lang_find(const char *name);
/* All of them, ended by a row whose name is NULL. */
const struct storage_lang *storage_lang_all(void);

/* What metadata.json says of a version. */
struct storage_meta {
    char id[STORAGE_ID_MAX + 1];
    char name[STORAGE_NAME_MAX + 1];
    char lang[16];
    char entry[16];     /* "wasi", "fetch", "handler", "wsgi", "asgi", "script" */
    bool module;        /* js: an ES module */
    bool cgi;           /* http=cgi */
    bool isolated;      /* js, python: isolation=call */
    uint32_t version;   /* 1.. */
    uint64_t size;      /* bytes of source */
    uint64_t created_s; /* since the epoch */
    struct limits limits;
    char allow[ALLOW_TEXT_BYTES];            /* js, python: what it may connect to; "" = nothing */
    bool wasm;                               /* code.wasm and code.cwasm exist */
    char engine[STORAGE_ENGINE_MAX];         /* engine and version that code.cwasm is for */
    uint8_t native_hash[STORAGE_HASH_BYTES]; /* of code.cwasm, keyed by the engine's name */
};

/* metadata.json; pure. Decoding refuses (ERR_BAD_REQUEST) what is not JSON, lacks a field, is of a newer
 * format, or holds a value outside its range. */
int storage_meta_encode(const struct storage_meta *meta, struct buf *ret_json, struct err *err);
int storage_meta_decode(const char *json, size_t len, struct storage_meta *ret_meta, struct err *err);

/* ^[a-z0-9][a-z0-9_-]{0,62}$ and not ending like an id ('_' and nine or more digits). ERR_BAD_REQUEST says
 * what is wrong. */
int storage_name_check(const char *name, struct err *err);

struct storage;

/* One version in the index. Refcounted: the index holds one reference while it is listed; every call on it
 * holds one, so that a call in flight on a deleted version finishes. */
struct storage_version {
    struct storage_meta meta;
    uint32_t key; /* unique while this process lives: the number in frames; never 0 */
    uint32_t references;
    bool listed;                       /* in the index */
    bool current;                      /* its name points here */
    struct storage_function *function; /* borrowed: lives at least as long as this */
    uint8_t series;                    /* the gateway's: where it is in /metrics */
    void *runtime_data;                /* the dispatcher's, see storage_set_release */
    struct vars *vars;                 /* its name's, as they were when it was listed last; NULL = none */
    struct storage_version *older;     /* the index's: the same name's versions, newest first */
    void *hash_next;                   /* the index's */
};

struct storage_function {
    char name[STORAGE_NAME_MAX + 1];
    struct storage_version *current; /* NULL while only reserved or once removed */
    uint32_t references;             /* versions that point here, and the index */
    uint64_t last_number;            /* highest number an id of this name has had */
    uint32_t last_version;
    bool reserved; /* a deploy of this name is under way */
    bool damaged;  /* the name's version is on the disk and its metadata cannot be read: current is NULL */
    struct vars *vars;                /* a reference; NULL = none */
    struct storage_version *versions; /* the index's: all that are listed, newest first */
    struct storage_function *newer, *older_in_list;
    void *hash_next;
};

/* Opens (creates) the data directory, sweeps what was not finished, reads every metadata.json. A version
 * whose metadata cannot be read is left alone on disk, logged, and not listed. ERR_CONFLICT while another
 * process has the directory open; ERR_INTERNAL when it has versions but lost its names/. */
int storage_open(const char *data_dir, struct storage **ret_storage, struct err *err);
/* Then reads every function's variables, and the key when there are secrets. key_path "": the data directory
 * with ".key" behind it. Secrets that cannot be opened, and files that cannot be read, are logged, and their
 * functions' vars have a `problem`. */
int storage_open_vars(struct storage *storage, const char *key_path, struct err *err);
void storage_free(struct storage *storage);
/* Another process may open the directory now, and nothing but reading is allowed here, until storage_lock
 * succeeds (ERR_CONFLICT while another has it). The index stays as it is. */
void storage_unlock(struct storage *storage);
int storage_lock(struct storage *storage, struct err *err);
/* Absolute path of the data directory. */
const char *storage_dir(const struct storage *storage);
/* Called with a version whose last reference goes. */
void storage_set_release(struct storage *storage, void (*release)(struct storage_version *version));

/* Name = its current version; id = that very version. NULL when there is none. No reference is taken. No
 * disk. */
struct storage_version *storage_find(struct storage *storage, const char *name_or_id, size_t len);
struct storage_function *storage_find_function(struct storage *storage, const char *name);
void storage_ref(struct storage_version *version);
void storage_unref(struct storage *storage, struct storage_version *version);
/* Current versions, newest deploy first: *at NULL to start, NULL at the end. */
struct storage_version *storage_next(struct storage *storage, struct storage_version *at);
uint32_t storage_count(const struct storage *storage);

/* Reserves a name for a deploy and fills id, name, version, created_s of *ret_meta. `update` false:
 * ERR_CONFLICT when the name is taken; either way ERR_CONFLICT while another deploy of the name is under way.
 * storage_index_add or storage_release ends it. */
int storage_reserve(struct storage *storage, const char *name, bool update, struct storage_meta *ret_meta,
                    struct err *err);
void storage_unreserve(struct storage *storage, const char *name);

/* A fresh stage directory, absolute path in ret_path. */
int storage_stage(struct storage *storage, char *ret_path, size_t size, struct err *err);
/* Removes a stage that will not be published. Any thread. */
void storage_unstage(const char *path);
/* Writes metadata.json into the stage, fsyncs all, renames it to <id> and points the name at it. The stage
 * must hold code.<ext> of meta->size bytes, and code.wasm and code.cwasm when meta->wasm; what else is in it
 * is removed. Any thread, one at a time. ERR_CONFLICT when the name's link exists and meta->version is 1.
 * ERR_STORAGE_FULL when the disk is. On failure the stage is removed and nothing is visible. */
int storage_publish(struct storage *storage, const char *stage, const struct storage_meta *meta,
                    struct err *err);
/* Unlinks the name, then removes all its versions from the disk. Any thread, one at a time with
 * storage_publish. ERR_NOT_FOUND when there was neither. */
int storage_erase(struct storage *storage, const char *name, struct err *err);
/* Replaces code.cwasm and metadata.json of a version that is there (native code rebuilt): from a stage, by
 * rename; the stage is gone after. Limits stay as they are on the disk. Any thread. The loop's thread puts
 * what has changed into the version's meta then. */
int storage_replace_native(struct storage *storage, const char *stage, const struct storage_meta *meta,
                           struct err *err);

/* What metadata.json of a version says now. Any thread. */
int storage_read_meta(const struct storage *storage, const char *id, struct storage_meta *ret_meta,
                      struct err *err);
/* Replaces it, wholly or not at all. Any thread, one at a time with storage_replace_native. The loop's thread
 * puts what has changed into the version's meta then. */
int storage_write_meta(struct storage *storage, const struct storage_meta *meta, struct err *err);

struct storage_vars_change {
    enum {
        STORAGE_VARS_SET,     /* one; what it is was checked (vars_name_check, vars_value_check) */
        STORAGE_VARS_SET_ALL, /* the environment: value is a JSON object */
        STORAGE_VARS_REMOVE,  /* one, or with name NULL all of the kind */
    } kind;
    bool secret;
    const char *name;
    const uint8_t *value; /* of a secret: its text */
    size_t len;
};
/* Changes a function's variables on the disk, wholly or not at all. Any thread, one at a time with
 * storage_publish and storage_erase. ERR_NOT_FOUND: no such function, or nothing to remove. ERR_SECRETS: the
 * key file is missing or unsafe. The caller hands *ret_vars to storage_install_vars. */
int storage_change_vars(struct storage *storage, const char *function,
                        const struct storage_vars_change *change, struct vars **ret_vars, struct err *err);
/* Puts them into the index, for all listed versions of the name; takes the reference over. */
void storage_install_vars(struct storage *storage, const char *name, struct vars *vars);
/* The text of a secret, entry->len - SEAL_OVERHEAD bytes, which the caller wipes. */
int storage_open_secret(const struct storage *storage, const char *function, const struct vars_entry *entry,
                        uint8_t *ret_plain, struct err *err);

/* Lists what was published and makes it the name's current version. Ends the reservation. */
struct storage_version *storage_index_add(struct storage *storage, const struct storage_meta *meta,
                                          struct err *err);
/* Takes the name and all its versions out of the index; they live on while referenced. */
void storage_index_remove(struct storage *storage, const char *name);

/* Reads <id>/<file> whole, at most `max` bytes, into ret_bytes. Any thread. */
int storage_read(const struct storage *storage, const char *id, const char *file, size_t max,
                 struct buf *ret_bytes, struct err *err);

/* Keyed BLAKE2b-256 of a file's bytes with the engine's name as key: what native_hash holds. The key is the
 * first 64 bytes of the name, padded with zero bytes to 16 when it is shorter (BLAKE2b's bounds of a key in
 * libsodium). */
void storage_hash(const void *data, size_t len, const char *engine, uint8_t ret_hash[STORAGE_HASH_BYTES]);

#endif
