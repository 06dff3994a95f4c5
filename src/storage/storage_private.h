/* Inside of struct storage: the disk, which any thread may use, and the index, which is the loop's. */
#ifndef FAAS_STORAGE_PRIVATE_H
#define FAAS_STORAGE_PRIVATE_H

#include <stdatomic.h>

#include "storage/disk.h"
#include "storage/table.h"

struct storage {
    struct disk disk;

    struct table functions;          /* by name; the index holds a reference of each */
    struct table versions;           /* by id; those that are listed, with a reference of each */
    struct storage_function *newest; /* functions with a current version, newest deploy first */
    struct storage_function *erased; /* functions without, kept until the clock is past their last number */
    uint32_t newest_count;
    uint32_t last_key;
    void (*release)(struct storage_version *version);

    char key_path[PATH_MAX];     /* constant after storage_open_vars */
    _Atomic(struct seal *) seal; /* set once, when the key was read */
    bool key_seen;               /* the loop's: it has looked at all secrets with the key */
    atomic_size_t vars_bytes;    /* of all functions */
};

int index_init(struct storage *storage, struct err *err);
/* Drops the index's references. */
void index_fini(struct storage *storage);

/* While opening. Versions come newest first within a name, before all the one that the name points to. */
int index_load(struct storage *storage, const struct storage_meta *meta, bool current, struct err *err);
/* The name points to a version that cannot be read, of this number. */
int index_load_damaged(struct storage *storage, const char *name, uint64_t number, struct err *err);
/* Puts what was loaded in order. */
int index_load_done(struct storage *storage, struct err *err);

/* Takes a function's variables from the disk; none there is success. */
int vars_store_erase(struct storage *storage, const char *function, struct err *err);

#endif
