#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "storage/disk.h"
#include "storage/files.h"
#include "storage/name.h"

enum { SCAN_LOG_LINES = 20 }; /* of a kind; a directory full of garbage must not flood the log */

struct scan_walk {
    const struct disk *disk;
    struct disk_scan *scan;
    size_t removed_links;
};

/* False when the text is no id. */
static bool scan_parse(const char *text, struct disk_entry *ret_entry) {
    size_t len = strlen(text), name_len;
    uint64_t number;
    if (!name_id_split(text, len, &name_len, &number))
        return false;
    memcpy(ret_entry->id, text, len + 1);
    ret_entry->name_len = (uint8_t)name_len;
    ret_entry->number = number;
    return true;
}

static int scan_append(struct disk_entry **entries, size_t *count, size_t *cap,
                       const struct disk_entry *entry, struct err *err) {
    if (*count == *cap) {
        size_t grown_cap = *cap ? *cap * 2 : 64;
        struct disk_entry *grown = reallocarray(*entries, grown_cap, sizeof *grown);
        if (!grown)
            return err_set(err, ERR_INTERNAL, "out of memory for %zu versions", grown_cap);
        *entries = grown;
        *cap = grown_cap;
    }
    (*entries)[(*count)++] = *entry;
    return 0;
}

static int scan_on_entry(void *context, int dir_fd, const struct dirent *entry, struct err *err) {
    struct scan_walk *walk = context;
    struct disk_scan *scan = walk->scan;
    if (strncmp(entry->d_name, DISK_STAGE_PREFIX, strlen(DISK_STAGE_PREFIX)) == 0) {
        struct err problem;
        if (files_remove(dir_fd, entry->d_name, &problem) != 0)
            log_event("storage: an unfinished deploy was not swept: %s", problem.msg);
        return 0;
    }
    struct disk_entry found;
    if (scan_parse(entry->d_name, &found) && files_entry_is_dir(dir_fd, entry))
        return scan_append(&scan->ids, &scan->id_count, &scan->id_cap, &found, err);
    if (entry->d_name[0] != '.' && strcmp(entry->d_name, DISK_NAMES_DIR) != 0 &&
        strcmp(entry->d_name, DISK_VARS_DIR) != 0)
        scan->strange++;
    return 0;
}

static void scan_drop_link(struct scan_walk *walk, const char *name, const char *why) {
    if (unlinkat(walk->disk->names_fd, name, 0) != 0)
        why = "it cannot be removed";
    if (walk->removed_links++ < SCAN_LOG_LINES)
        log_event("storage: dropped the link of the name '%s': %s", name, why);
}

static int scan_on_name(void *context, int names_fd, const struct dirent *entry, struct err *err) {
    struct scan_walk *walk = context;
    struct disk_scan *scan = walk->scan;
    const char *name = entry->d_name;
    if (strncmp(name, DISK_NEXT_PREFIX, strlen(DISK_NEXT_PREFIX)) == 0) {
        struct err problem;
        if (files_remove(names_fd, name, &problem) != 0)
            log_event("storage: an unfinished link was not swept: %s", problem.msg);
        return 0;
    }
    char target[DISK_TARGET_BYTES + 1];
    ssize_t len = readlinkat(names_fd, name, target, sizeof target - 1);
    if (len < 0) { /* a file, a directory */
        scan->strange++;
        return 0;
    }
    target[len] = 0;
    struct disk_entry found;
    if (strncmp(target, "../", 3) != 0 || !scan_parse(target + 3, &found) || found.name_len != strlen(name) ||
        memcmp(found.id, name, found.name_len) != 0) {
        scan_drop_link(walk, name, "it leads to no version of it");
        return 0;
    }
    return scan_append(&scan->links, &scan->link_count, &scan->link_cap, &found, err);
}

int disk_entry_compare_names(const struct disk_entry *a, const struct disk_entry *b) {
    size_t shorter = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order = memcmp(a->id, b->id, shorter);
    return order ? order : (int)a->name_len - (int)b->name_len;
}

static int scan_compare(const void *left, const void *right) {
    const struct disk_entry *a = left, *b = right;
    int order = disk_entry_compare_names(a, b);
    return order ? order : (a->number > b->number) - (a->number < b->number);
}

static void scan_drop_dangling(struct scan_walk *walk) {
    struct disk_scan *scan = walk->scan;
    size_t kept = 0;
    for (size_t i = 0; i < scan->link_count; i++) {
        const struct disk_entry *link = &scan->links[i];
        if (scan->id_count && bsearch(link, scan->ids, scan->id_count, sizeof *scan->ids, scan_compare)) {
            scan->links[kept++] = *link;
            continue;
        }
        char name[STORAGE_NAME_MAX + 1];
        snprintf(name, sizeof name, "%.*s", (int)link->name_len, link->id);
        scan_drop_link(walk, name, "its version is not there");
    }
    scan->link_count = kept;
}

int disk_scan(const struct disk *disk, struct disk_scan *ret_scan, struct err *err) {
    struct disk_scan scan = {0};
    struct scan_walk walk = {.disk = disk, .scan = &scan};
    int rc = files_each(disk->dir_fd, scan_on_entry, &walk, err);
    if (rc == 0)
        rc = files_each(disk->names_fd, scan_on_name, &walk, err);
    if (rc != 0) {
        disk_scan_fini(&scan);
        return rc;
    }
    if (scan.id_count)
        qsort(scan.ids, scan.id_count, sizeof *scan.ids, scan_compare);
    if (scan.link_count)
        qsort(scan.links, scan.link_count, sizeof *scan.links, scan_compare);
    scan_drop_dangling(&walk);
    if (walk.removed_links > SCAN_LOG_LINES)
        log_event("storage: dropped %zu links in all", walk.removed_links);
    *ret_scan = scan;
    return 0;
}

void disk_scan_fini(struct disk_scan *scan) {
    free(scan->ids);
    free(scan->links);
    *scan = (struct disk_scan){0};
}

void disk_sweep_version(const struct disk *disk, const char *id) {
    struct err err;
    if (files_remove(disk->dir_fd, id, &err) != 0)
        log_event("storage: '%s', which no name points to, was not swept: %s", id, err.msg);
}
