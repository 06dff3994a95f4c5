#include "storage/storage.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/storage_private.h"

enum {
    OPEN_LOG_LINES = 20, /* of a kind */
    OPEN_BATCH = 2048,   /* versions read at a time: bounds the memory */
};

struct storage_opening {
    struct storage *storage;
    size_t swept, unreadable;
    uint32_t current_version; /* of the name at hand; the highest there is when it cannot be read */
};

static void storage_open_sweep(struct storage_opening *opening, const char *id) {
    disk_sweep_version(&opening->storage->disk, id);
    if (opening->swept++ < OPEN_LOG_LINES)
        log_event("storage: swept '%s': no name points to it", id);
}

/* Sweeps the versions that no name points to or that are newer than the one that it does, and marks the
 * current ones. What stays moves together. */
static void storage_open_plan(struct storage_opening *opening, struct disk_scan *scan) {
    size_t kept = 0, link = 0;
    for (size_t i = 0; i < scan->id_count; i++) {
        struct disk_entry *entry = &scan->ids[i];
        /* Both are sorted by name. */
        while (link < scan->link_count && disk_entry_compare_names(&scan->links[link], entry) < 0)
            link++;
        const struct disk_entry *current = link < scan->link_count ? &scan->links[link] : NULL;
        if (!current || disk_entry_compare_names(current, entry) != 0 || entry->number > current->number) {
            storage_open_sweep(opening, entry->id);
            continue;
        }
        entry->current = entry->number == current->number;
        scan->ids[kept++] = *entry;
    }
    scan->id_count = kept;
}

/* Within a name the current version comes first. */
static int storage_open_version(struct storage_opening *opening, const struct disk_entry *entry,
                                const struct disk_read *read, struct err *err) {
    if (entry->current)
        opening->current_version = read->rc == 0 ? read->meta.version : UINT32_MAX;
    if (read->rc != 0) {
        if (opening->unreadable++ < OPEN_LOG_LINES)
            log_event("storage: '%s' is not listed: %s", entry->id, read->err.msg);
        char name[STORAGE_NAME_MAX + 1];
        snprintf(name, sizeof name, "%.*s", (int)entry->name_len, entry->id);
        return entry->current ? index_load_damaged(opening->storage, name, entry->number, err) : 0;
    }
    if (read->meta.version > opening->current_version) {
        storage_open_sweep(opening, entry->id);
        return 0;
    }
    return index_load(opening->storage, &read->meta, entry->current, err);
}

/* From the end: names backwards, and within a name the newest first. */
static int storage_open_load(struct storage_opening *opening, const struct disk_scan *scan, struct err *err) {
    MEM_FREE struct disk_read *reads = calloc(OPEN_BATCH, sizeof *reads);
    if (!reads)
        return err_set(err, ERR_INTERNAL, "no memory to read metadata");
    for (size_t left = scan->id_count; left > 0;) {
        size_t count = left < OPEN_BATCH ? left : OPEN_BATCH;
        left -= count;
        disk_read_metas(&opening->storage->disk, &scan->ids[left], count, reads);
        for (size_t i = count; i-- > 0;) {
            int rc = storage_open_version(opening, &scan->ids[left + i], &reads[i], err);
            if (rc != 0)
                return rc;
        }
    }
    return index_load_done(opening->storage, err);
}

static int storage_open_scan(struct storage *storage, struct err *err) {
    struct disk_scan scan;
    int rc = disk_scan(&storage->disk, &scan, err);
    if (rc != 0)
        return rc;
    struct storage_opening opening = {.storage = storage};
    storage_open_plan(&opening, &scan);
    rc = storage_open_load(&opening, &scan, err);
    if (opening.swept > OPEN_LOG_LINES || opening.unreadable > OPEN_LOG_LINES)
        log_event("storage: swept %zu unfinished versions, %zu could not be read", opening.swept,
                  opening.unreadable);
    if (scan.strange)
        log_event("storage: left %zu entries of '%s' alone that are no functions", scan.strange,
                  storage->disk.dir);
    disk_scan_fini(&scan);
    return rc;
}

int storage_open(const char *data_dir, struct storage **ret_storage, struct err *err) {
    if (sodium_init() < 0)
        return err_set(err, ERR_INTERNAL, "libsodium does not start");
    struct storage *storage = mem_zalloc(sizeof *storage);
    int rc = disk_open(&storage->disk, data_dir, err);
    if (rc == 0)
        rc = index_init(storage, err);
    if (rc == 0)
        rc = storage_open_scan(storage, err);
    if (rc != 0) {
        storage_free(storage);
        return rc;
    }
    *ret_storage = storage;
    return 0;
}

void storage_free(struct storage *storage) {
    if (!storage)
        return;
    index_fini(storage);
    disk_close(&storage->disk);
    seal_free(atomic_load(&storage->seal));
    free(storage);
}

void storage_unlock(struct storage *storage) {
    disk_unlock(&storage->disk);
}

int storage_lock(struct storage *storage, struct err *err) {
    return disk_lock(&storage->disk, err);
}

const char *storage_dir(const struct storage *storage) {
    return storage->disk.dir;
}
