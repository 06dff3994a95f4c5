/* A hash table of entries that carry their key (a text) and the link of their chain. It does not own them. */
#ifndef FAAS_STORAGE_TABLE_H
#define FAAS_STORAGE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_HASH_KEY_BYTES = 16 };

struct table {
    void **buckets; /* owned; a power of two of them */
    size_t bucket_count, count;
    size_t text_offset, next_offset;        /* in an entry: its key (an array), the pointer to the next */
    uint8_t hash_key[TABLE_HASH_KEY_BYTES]; /* random: the keys are strangers' */
};

/* False when memory is out. */
bool table_init(struct table *table, size_t text_offset, size_t next_offset);
void table_fini(struct table *table); /* safe on a zeroed struct */
void *table_get(const struct table *table, const char *text, size_t len);
/* The key is not in the table. */
void table_put(struct table *table, void *entry);
/* The entry is in the table. */
void table_remove(struct table *table, void *entry);
/* Every entry: NULL to start, NULL at the end. The entry that was returned may be removed. */
struct table_walk {
    size_t bucket;
    void *next;
};
void *table_next(const struct table *table, struct table_walk *walk);

#endif
