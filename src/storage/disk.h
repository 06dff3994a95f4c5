/* The data directory as descriptors: what disk work needs to know, and nothing of the index. Constant after
 * disk_open, so any thread may use it. */
#ifndef FAAS_STORAGE_DISK_H
#define FAAS_STORAGE_DISK_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/storage.h"

#define DISK_META_FILE "metadata.json"
#define DISK_META_NEXT ".metadata.next" /* beside it, until it is whole */
#define DISK_NAMES_DIR "names"
#define DISK_VARS_DIR "vars"
#define DISK_STAGE_PREFIX ".stage-"
#define DISK_NEXT_PREFIX ".next-" /* in names/: a link that is about to be renamed over another */
enum { DISK_META_MAX_BYTES = 64 * 1024, DISK_TARGET_BYTES = STORAGE_ID_MAX + 4 };

struct disk {
    char dir[PATH_MAX]; /* absolute */
    int dir_fd, names_fd;
    int lock_fd; /* holds the lock of the directory while it is open */
};

/* Creates what is missing, and locks. ERR_CONFLICT while another process has it open. */
int disk_open(struct disk *disk, const char *data_dir, struct err *err);
/* disk_open locks the directory. Unlocked, it is another's to write. */
void disk_unlock(struct disk *disk);
int disk_lock(struct disk *disk, struct err *err);
void disk_close(struct disk *disk);

/* One version's metadata.json, decoded, and found to be of that id. */
int disk_read_meta(const struct disk *disk, const char *id, struct storage_meta *ret_meta, struct err *err);

struct disk_read {
    int rc;
    struct err err; /* filled when rc is negative */
    struct storage_meta meta;
};
struct disk_entry;
/* The same of many, on several threads. */
void disk_read_metas(const struct disk *disk, const struct disk_entry *entries, size_t count,
                     struct disk_read *ret_reads);

/* What the data directory holds, swept of stages, of links that lead nowhere and of stray links. */
struct disk_entry {
    char id[STORAGE_ID_MAX + 1];
    uint8_t name_len;
    bool current; /* the opener's: its name points to it */
    uint64_t number;
};
struct disk_scan {
    struct disk_entry *ids;   /* owned; directories of versions, by name, then number */
    struct disk_entry *links; /* owned; what the names point to, by name */
    size_t id_count, id_cap, link_count, link_cap;
    size_t strange; /* entries that are none of ours, left alone */
};
int disk_scan(const struct disk *disk, struct disk_scan *ret_scan, struct err *err);
void disk_scan_fini(struct disk_scan *scan);
/* Negative, 0, positive: by name only. */
int disk_entry_compare_names(const struct disk_entry *a, const struct disk_entry *b);
/* A version nobody was told of. What cannot be removed is logged and stays, unlisted. */
void disk_sweep_version(const struct disk *disk, const char *id);

#endif
