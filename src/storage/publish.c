#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/files.h"
#include "storage/name.h"
#include "storage/storage_private.h"

/* The stage's name in the data directory; NULL when the path is no stage of this one. */
static const char *publish_stage_name(const struct disk *disk, const char *path) {
    size_t len = strlen(disk->dir);
    if (strncmp(path, disk->dir, len) != 0 || path[len] != '/')
        return NULL;
    const char *name = path + len + 1;
    return strncmp(name, DISK_STAGE_PREFIX, strlen(DISK_STAGE_PREFIX)) == 0 && !strchr(name, '/') ? name
                                                                                                  : NULL;
}

static void publish_drop(const struct disk *disk, const char *name) {
    struct err err;
    if (files_remove(disk->dir_fd, name, &err) != 0)
        log_event("storage: '%s' was not removed, it is swept at the next start: %s", name, err.msg);
}

/* What a version's directory may hold, of which the builder made all but the metadata. */
static bool publish_file_belongs(const struct storage_meta *meta, const char *file) {
    const struct storage_lang *lang = storage_lang_find(meta->lang);
    if (lang && strncmp(file, "code.", 5) == 0 && strcmp(file + 5, lang->extension) == 0)
        return true;
    return meta->wasm && (strcmp(file, "code.wasm") == 0 || strcmp(file, "code.cwasm") == 0);
}

static int publish_on_stage_entry(void *context, int stage_fd, const struct dirent *entry, struct err *err) {
    const struct storage_meta *meta = context;
    return publish_file_belongs(meta, entry->d_name) ? 0 : files_remove(stage_fd, entry->d_name, err);
}

/* A file the builder left: ours, private, on the disk. */
static int publish_settle_file(int stage_fd, const char *file, size_t *ret_size, struct err *err) {
    MEM_CLOSE_FD int fd = -1;
    size_t size = 0;
    int rc = files_open(stage_fd, file, &fd, &size, err);
    if (rc != 0)
        return err_set(err, ERR_INTERNAL, "the build left no '%s'", file);
    struct stat about;
    if (fstat(fd, &about) != 0)
        return err_sys(err, "cannot look at '%s'", file);
    if (about.st_uid != geteuid() && fchown(fd, geteuid(), getegid()) != 0)
        return err_sys(err, "cannot take over '%s'", file);
    if ((about.st_mode & 07777) != 0600 && fchmod(fd, 0600) != 0)
        return err_sys(err, "cannot make '%s' private", file);
    rc = files_sync(fd, file, err);
    if (rc == 0)
        *ret_size = size;
    return rc;
}

static int publish_write_meta(int stage_fd, const struct storage_meta *meta, struct err *err) {
    struct buf json = {0};
    int rc = storage_meta_encode(meta, &json, err);
    if (rc == 0)
        rc = files_write(stage_fd, DISK_META_FILE, json.data, json.len, err);
    buf_fini(&json);
    return rc;
}

/* Makes the stage what the version's directory will be, down to the disk. */
static int publish_settle(const struct disk *disk, const char *stage, const struct storage_meta *meta,
                          struct err *err) {
    MEM_CLOSE_FD int fd = -1;
    int rc = files_open_dir(disk->dir_fd, stage, &fd, err);
    if (rc != 0)
        return rc;
    struct storage_meta mutable_meta = *meta;
    rc = files_each(fd, publish_on_stage_entry, &mutable_meta, err);
    if (rc == 0)
        rc = publish_write_meta(fd, meta, err);
    if (rc != 0)
        return rc;
    char source[32];
    snprintf(source, sizeof source, "code.%s", storage_lang_find(meta->lang)->extension);
    size_t size = 0, ignored;
    rc = publish_settle_file(fd, source, &size, err);
    if (rc == 0 && size != meta->size)
        rc = err_set(err, ERR_INTERNAL, "'%s' has %zu bytes, not the %llu of the source", source, size,
                     (unsigned long long)meta->size);
    if (rc == 0 && meta->wasm && strcmp(source, "code.wasm") != 0)
        rc = publish_settle_file(fd, "code.wasm", &ignored, err);
    if (rc == 0 && meta->wasm)
        rc = publish_settle_file(fd, "code.cwasm", &ignored, err);
    if (rc == 0 && fchmod(fd, 0700) != 0)
        rc = err_sys(err, "cannot make a stage private");
    return rc == 0 ? files_sync(fd, "a stage", err) : rc;
}

/* Renames a new link over what is there. */
static int publish_swap_link(const struct disk *disk, const char *name, const char *target, struct err *err) {
    char next[sizeof DISK_NEXT_PREFIX + FILES_RANDOM_BYTES];
    memcpy(next, DISK_NEXT_PREFIX, sizeof DISK_NEXT_PREFIX);
    files_random_name(next + strlen(DISK_NEXT_PREFIX));
    if (symlinkat(target, disk->names_fd, next) != 0)
        return err_sys(err, "cannot make the link of '%s'", name);
    if (renameat(disk->names_fd, next, disk->names_fd, name) == 0)
        return 0;
    int rc = err_sys(err, "cannot change the link of '%s'", name);
    unlinkat(disk->names_fd, next, 0);
    return rc;
}

/* What the name pointed to before; "" when nothing. */
static void publish_read_link(const struct disk *disk, const char *name, char ret_target[DISK_TARGET_BYTES]) {
    ssize_t len = readlinkat(disk->names_fd, name, ret_target, DISK_TARGET_BYTES - 1);
    ret_target[len > 0 ? len : 0] = 0;
}

/* False when it cannot be said that the disk has the old state: then the link may lead to the new version
 * after a power loss, and that must stay. */
static bool publish_restore_link(const struct disk *disk, const char *name, const char *target) {
    struct err err;
    int rc = 0;
    if (*target)
        rc = publish_swap_link(disk, name, target, &err);
    else if (unlinkat(disk->names_fd, name, 0) != 0)
        rc = err_sys(&err, "cannot remove the link");
    if (rc == 0)
        rc = files_sync(disk->names_fd, DISK_NAMES_DIR, &err);
    if (rc != 0)
        log_event("storage: the link of '%s' was not put back: %s", name, err.msg);
    return rc == 0;
}

/* The step that makes the version visible. ret_pointed: it failed, and yet the name may point to it. */
static int publish_point(const struct disk *disk, const struct storage_meta *meta, bool *ret_pointed,
                         struct err *err) {
    char before[DISK_TARGET_BYTES] = "", target[DISK_TARGET_BYTES];
    snprintf(target, sizeof target, "../%s", meta->id);
    int rc = 0;
    if (meta->version > 1) {
        publish_read_link(disk, meta->name, before);
        rc = publish_swap_link(disk, meta->name, target, err);
    } else if (symlinkat(target, disk->names_fd, meta->name) != 0) {
        rc = errno == EEXIST ? err_set(err, ERR_CONFLICT, "function '%s' already exists", meta->name)
                             : err_sys(err, "cannot make the link of '%s'", meta->name);
    }
    if (rc != 0)
        return rc;
    rc = files_sync(disk->names_fd, DISK_NAMES_DIR, err);
    if (rc != 0)
        *ret_pointed = !publish_restore_link(disk, meta->name, before);
    return rc;
}

static int publish_commit(const struct disk *disk, const char *stage, const struct storage_meta *meta,
                          struct err *err) {
    /* Fails when a version of that id is there: its directory is not empty. */
    if (renameat(disk->dir_fd, stage, disk->dir_fd, meta->id) != 0)
        return errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR
                   ? err_set(err, ERR_CONFLICT, "there is a version '%s' already", meta->id)
                   : err_sys(err, "cannot put '%s' into place", meta->id);
    bool pointed = false;
    int rc = files_sync(disk->dir_fd, disk->dir, err);
    if (rc == 0)
        rc = publish_point(disk, meta, &pointed, err);
    if (rc != 0 && !pointed)
        publish_drop(disk, meta->id);
    return rc;
}

int storage_publish(struct storage *storage, const char *stage, const struct storage_meta *meta,
                    struct err *err) {
    const struct disk *disk = &storage->disk;
    const char *stage_name = publish_stage_name(disk, stage);
    if (!stage_name)
        return err_set(err, ERR_INTERNAL, "'%.120s' is no stage", stage);
    int rc = publish_settle(disk, stage_name, meta, err);
    /* A new function does not inherit from one of its name that was erased. */
    struct stat about;
    if (rc == 0 && fstatat(disk->names_fd, meta->name, &about, AT_SYMLINK_NOFOLLOW) != 0)
        rc = vars_store_erase(storage, meta->name, err);
    if (rc == 0)
        rc = publish_commit(disk, stage_name, meta, err);
    if (rc != 0)
        publish_drop(disk, stage_name);
    return rc;
}

/* The name's link, from the disk: nothing of the function is visible after. 1: there was none. */
static int publish_unpoint(const struct disk *disk, const char *name, struct err *err) {
    char before[DISK_TARGET_BYTES];
    publish_read_link(disk, name, before);
    if (unlinkat(disk->names_fd, name, 0) != 0)
        return errno == ENOENT ? 1 : err_sys(err, "cannot remove the link of '%s'", name);
    int rc = files_sync(disk->names_fd, DISK_NAMES_DIR, err);
    if (rc != 0)
        publish_restore_link(disk, name, before);
    return rc;
}

struct publish_erasure {
    const struct disk *disk;
    const char *name;
    bool found;
};

static int publish_on_erase_entry(void *context, int dir_fd, const struct dirent *entry, struct err *err) {
    (void)err;
    struct publish_erasure *erasure = context;
    size_t name_len;
    uint64_t number;
    if (!name_id_split(entry->d_name, strlen(entry->d_name), &name_len, &number) ||
        name_len != strlen(erasure->name) || memcmp(entry->d_name, erasure->name, name_len) != 0 ||
        !files_entry_is_dir(dir_fd, entry))
        return 0;
    erasure->found = true;
    publish_drop(erasure->disk, entry->d_name);
    return 0;
}

int storage_erase(struct storage *storage, const char *name, struct err *err) {
    const struct disk *disk = &storage->disk;
    int rc = storage_name_check(name, err);
    if (rc == 0)
        rc = publish_unpoint(disk, name, err);
    if (rc < 0)
        return rc;
    struct publish_erasure erasure = {.disk = disk, .name = name, .found = rc == 0};
    struct err problem;
    if (vars_store_erase(storage, name, &problem) != 0)
        log_event("storage: the variables of '%s' were not removed: %s", name, problem.msg);
    /* The function is gone with its link; what stays of its versions is swept at the next start. */
    if (files_each(disk->dir_fd, publish_on_erase_entry, &erasure, &problem) != 0)
        log_event("storage: the versions of '%s' were not removed: %s", name, problem.msg);
    return erasure.found ? 0 : err_set(err, ERR_NOT_FOUND, "function '%s' does not exist", name);
}

static int publish_replace(const struct disk *disk, const char *stage, const struct storage_meta *meta,
                           struct err *err) {
    MEM_CLOSE_FD int stage_fd = -1;
    MEM_CLOSE_FD int version_fd = -1;
    size_t ignored;
    struct storage_meta there, next = *meta;
    struct err unreadable;
    if (disk_read_meta(disk, meta->id, &there, &unreadable) == 0)
        next.limits = there.limits;
    int rc = files_open_dir(disk->dir_fd, stage, &stage_fd, err);
    if (rc == 0)
        rc = publish_write_meta(stage_fd, &next, err);
    if (rc == 0)
        rc = publish_settle_file(stage_fd, "code.cwasm", &ignored, err);
    if (rc == 0)
        rc = files_open_dir(disk->dir_fd, meta->id, &version_fd, err);
    if (rc != 0)
        return rc;
    /* Between the two the hash does not match, and the native code is made again rather than run. */
    if (renameat(stage_fd, "code.cwasm", version_fd, "code.cwasm") != 0 ||
        renameat(stage_fd, DISK_META_FILE, version_fd, DISK_META_FILE) != 0)
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "there is no version '%s'", meta->id)
                               : err_sys(err, "cannot replace the native code of '%s'", meta->id);
    return files_sync(version_fd, meta->id, err);
}

int storage_replace_native(struct storage *storage, const char *stage, const struct storage_meta *meta,
                           struct err *err) {
    const struct disk *disk = &storage->disk;
    const char *stage_name = publish_stage_name(disk, stage);
    if (!stage_name)
        return err_set(err, ERR_INTERNAL, "'%.120s' is no stage", stage);
    int rc = meta->wasm ? publish_replace(disk, stage_name, meta, err)
                        : err_set(err, ERR_INTERNAL, "'%s' has no native code", meta->id);
    publish_drop(disk, stage_name);
    return rc;
}

int storage_read_meta(const struct storage *storage, const char *id, struct storage_meta *ret_meta,
                      struct err *err) {
    return disk_read_meta(&storage->disk, id, ret_meta, err);
}

int storage_write_meta(struct storage *storage, const struct storage_meta *meta, struct err *err) {
    MEM_CLOSE_FD int fd = -1;
    struct buf json = {0};
    int rc = storage_meta_encode(meta, &json, err);
    if (rc == 0)
        rc = files_open_dir(storage->disk.dir_fd, meta->id, &fd, err);
    if (rc == 0)
        rc = files_replace(fd, DISK_META_FILE, DISK_META_NEXT, json.data, json.len, err);
    buf_fini(&json);
    return rc;
}
