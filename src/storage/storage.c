#include "storage/storage.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/storage_private.h"

enum { OPEN_LOG_LINES = 20 };

struct storage_opening {
    struct storage *storage;
    size_t swept, unreadable;
};

static void storage_open_sweep(struct storage_opening *opening, const char *id) {
    disk_sweep_version(&opening->storage->disk, id);
    if (opening->swept++ < OPEN_LOG_LINES)
        log_event("storage: swept '%s': no name points to it", id);
}

static void storage_open_log_unreadable(struct storage_opening *opening, const char *id,
                                        const struct err *err) {
    if (opening->unreadable++ < OPEN_LOG_LINES)
        log_event("storage: '%s' is not listed: %s", id, err->msg);
}

/* The versions of one name, oldest first, up to the one that `link` leads to. */
static int storage_open_function(struct storage_opening *opening, const struct disk_entry *entries,
                                 size_t count, const struct disk_entry *link, struct err *err) {
    const struct disk *disk = &opening->storage->disk;
    struct storage_meta current, meta;
    struct err problem;
    bool readable = disk_read_meta(disk, link->id, &current, &problem) == 0;
    if (!readable)
        storage_open_log_unreadable(opening, link->id, &problem);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].number >= link->number) {
            if (entries[i].number > link->number)
                storage_open_sweep(opening, entries[i].id);
            continue;
        }
        if (disk_read_meta(disk, entries[i].id, &meta, &problem) != 0) {
            storage_open_log_unreadable(opening, entries[i].id, &problem);
            continue;
        }
        if (readable && meta.version > current.version) {
            storage_open_sweep(opening, entries[i].id);
            continue;
        }
        int rc = index_load(opening->storage, &meta, false, err);
        if (rc != 0)
            return rc;
    }
    if (readable)
        return index_load(opening->storage, &current, true, err);
    char name[STORAGE_NAME_MAX + 1];
    snprintf(name, sizeof name, "%.*s", (int)link->name_len, link->id);
    return index_load_damaged(opening->storage, name, link->number, err);
}

static int storage_open_all(struct storage_opening *opening, const struct disk_scan *scan, struct err *err) {
    size_t link = 0;
    for (size_t first = 0, end; first < scan->id_count; first = end) {
        const struct disk_entry *entries = &scan->ids[first];
        for (end = first + 1; end < scan->id_count; end++)
            if (disk_entry_compare_names(entries, &scan->ids[end]) != 0)
                break;
        /* Both are sorted, and every link has its version: the next link is this name's or a later one's. */
        if (link == scan->link_count || disk_entry_compare_names(entries, &scan->links[link]) != 0) {
            for (size_t i = first; i < end; i++)
                storage_open_sweep(opening, scan->ids[i].id);
            continue;
        }
        int rc = storage_open_function(opening, entries, end - first, &scan->links[link++], err);
        if (rc != 0)
            return rc;
    }
    return index_load_done(opening->storage, err);
}

static int storage_open_scan(struct storage *storage, struct err *err) {
    struct disk_scan scan;
    int rc = disk_scan(&storage->disk, &scan, err);
    if (rc != 0)
        return rc;
    struct storage_opening opening = {.storage = storage};
    rc = storage_open_all(&opening, &scan, err);
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
    free(storage);
}

const char *storage_dir(const struct storage *storage) {
    return storage->disk.dir;
}
