#include "storage/table.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_BUCKETS_FIRST = 256 };

static const char *table_text(const struct table *table, const void *entry) {
    return (const char *)entry + table->text_offset;
}

static void **table_link(const struct table *table, void *entry) {
    return (void **)(void *)((char *)entry + table->next_offset);
}

static size_t table_bucket(const struct table *table, const char *text, size_t len) {
    unsigned char bytes[crypto_shorthash_BYTES];
    uint64_t hash;
    crypto_shorthash(bytes, (const unsigned char *)text, len, table->hash_key);
    memcpy(&hash, bytes, sizeof hash);
    return (size_t)hash & (table->bucket_count - 1);
}

bool table_init(struct table *table, size_t text_offset, size_t next_offset) {
    *table = (struct table){
        .bucket_count = TABLE_BUCKETS_FIRST, .text_offset = text_offset, .next_offset = next_offset};
    crypto_shorthash_keygen(table->hash_key);
    table->buckets = calloc(table->bucket_count, sizeof *table->buckets);
    return table->buckets != NULL;
}

void table_fini(struct table *table) {
    free(table->buckets);
    *table = (struct table){0};
}

void *table_get(const struct table *table, const char *text, size_t len) {
    void *entry = table->buckets[table_bucket(table, text, len)];
    while (entry &&
           (strlen(table_text(table, entry)) != len || memcmp(table_text(table, entry), text, len) != 0))
        entry = *table_link(table, entry);
    return entry;
}

static void table_put_in_bucket(struct table *table, void *entry) {
    const char *text = table_text(table, entry);
    void **bucket = &table->buckets[table_bucket(table, text, strlen(text))];
    *table_link(table, entry) = *bucket;
    *bucket = entry;
}

/* A table that cannot grow gets slower and stays right. */
static void table_grow(struct table *table) {
    void **grown = calloc(table->bucket_count * 2, sizeof *grown);
    if (!grown)
        return;
    void **old = table->buckets;
    size_t old_count = table->bucket_count;
    table->buckets = grown;
    table->bucket_count *= 2;
    for (size_t i = 0; i < old_count; i++) {
        for (void *entry = old[i], *next; entry; entry = next) {
            next = *table_link(table, entry);
            table_put_in_bucket(table, entry);
        }
    }
    free(old);
}

void table_put(struct table *table, void *entry) {
    if (table->count >= table->bucket_count)
        table_grow(table);
    table_put_in_bucket(table, entry);
    table->count++;
}

void table_remove(struct table *table, void *entry) {
    const char *text = table_text(table, entry);
    void **link = &table->buckets[table_bucket(table, text, strlen(text))];
    while (*link != entry)
        link = table_link(table, *link);
    *link = *table_link(table, entry);
    *table_link(table, entry) = NULL;
    table->count--;
}

void *table_next(const struct table *table, struct table_walk *walk) {
    while (!walk->next && walk->bucket < table->bucket_count)
        walk->next = table->buckets[walk->bucket++];
    void *entry = walk->next;
    if (entry)
        walk->next = *table_link(table, entry);
    return entry;
}
