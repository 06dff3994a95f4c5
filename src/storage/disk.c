#include "storage/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/files.h"
#include "storage/name.h"
#include "storage/storage_private.h"

#define DISK_LOCK_FILE ".lock"

/* mkdir, and the entry in the parent brought to the disk: a deploy is of no use below a directory that a
 * power loss takes away. */
static int disk_make_level(char *path, mode_t mode, struct err *err) {
    if (mkdir(path, mode) != 0)
        return errno == EEXIST ? 0 : err_sys(err, "cannot make the directory '%s'", path);
    char *slash = strrchr(path, '/');
    char first_of_name = 0;
    if (slash) {
        first_of_name = slash[1];
        slash[1] = 0;
    }
    MEM_CLOSE_FD int parent_fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = parent_fd < 0 ? err_sys(err, "cannot open the directory above the data directory")
                           : files_sync(parent_fd, "the directory above the data directory", err);
    if (slash)
        slash[1] = first_of_name;
    return rc;
}

static int disk_make_path(const char *data_dir, struct err *err) {
    char path[PATH_MAX];
    size_t len = strlen(data_dir);
    if (len == 0 || len >= sizeof path)
        return err_set(err, ERR_BAD_REQUEST, "the data directory's path is empty or too long");
    memcpy(path, data_dir, len + 1);
    while (len > 1 && path[len - 1] == '/')
        path[--len] = 0;
    for (char *at = path + 1; *at; at++) {
        if (*at != '/' || at[-1] == '/')
            continue;
        *at = 0;
        int rc = disk_make_level(path, 0755, err);
        *at = '/';
        if (rc != 0)
            return rc;
    }
    return disk_make_level(path, 0700, err);
}

/* The lock is on the open file, so it goes with the process, however that ends. */
int disk_lock(struct disk *disk, struct err *err) {
    MEM_CLOSE_FD int fd = openat(disk->dir_fd, DISK_LOCK_FILE,
                                 O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, "cannot open '%s/%s'", disk->dir, DISK_LOCK_FILE);
    char holder[24] = "";
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return err_sys(err, "cannot lock '%s/%s'", disk->dir, DISK_LOCK_FILE);
        ssize_t got = pread(fd, holder, sizeof holder - 1, 0);
        long pid = got > 0 ? strtol(holder, NULL, 10) : 0;
        return err_set(err, ERR_CONFLICT,
                       "the data directory '%.100s' is in use by another instance (pid %ld)", disk->dir, pid);
    }
    /* Only for the message above: a full disk is no reason to refuse. */
    int len = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) == 0 && pwrite(fd, holder, (size_t)len, 0) != len)
        (void)!ftruncate(fd, 0);
    disk->lock_fd = mem_steal_fd(&fd);
    return 0;
}

static int disk_on_orphan(void *context, int dir_fd, const struct dirent *entry, struct err *err) {
    size_t name_len;
    uint64_t number;
    if (!name_id_split(entry->d_name, strlen(entry->d_name), &name_len, &number) ||
        !files_entry_is_dir(dir_fd, entry))
        return 0;
    const struct disk *disk = context;
    return err_set(err, ERR_INTERNAL,
                   "'%.100s' holds functions but no '%s' directory: restore that, with its symbolic links",
                   disk->dir, DISK_NAMES_DIR);
}

/* Versions without a name are swept, so a data directory that lost its names (a copy without symbolic links)
 * is refused. No crash does that: names/ is on the disk before the first version is. */
static int disk_open_names(struct disk *disk, struct err *err) {
    int rc = files_open_dir(disk->dir_fd, DISK_NAMES_DIR, &disk->names_fd, err);
    if (rc != -ERR_NOT_FOUND)
        return rc;
    rc = files_each(disk->dir_fd, disk_on_orphan, disk, err);
    if (rc == 0)
        rc = files_make_dir(disk->dir_fd, DISK_NAMES_DIR, &disk->names_fd, err);
    return rc != 0 ? rc : files_sync(disk->dir_fd, disk->dir, err);
}

static int disk_open_dir(struct disk *disk, const char *data_dir, struct err *err) {
    int rc = disk_make_path(data_dir, err);
    if (rc != 0)
        return rc;
    if (!realpath(data_dir, disk->dir))
        return err_sys(err, "cannot resolve '%s'", data_dir);
    disk->dir_fd = open(disk->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk->dir_fd < 0)
        return err_sys(err, "cannot open the data directory '%s'", disk->dir);
    rc = disk_lock(disk, err);
    return rc != 0 ? rc : disk_open_names(disk, err);
}

int disk_open(struct disk *disk, const char *data_dir, struct err *err) {
    disk->dir_fd = disk->names_fd = disk->lock_fd = -1;
    int rc = disk_open_dir(disk, data_dir, err);
    if (rc != 0)
        disk_close(disk);
    return rc;
}

void disk_unlock(struct disk *disk) {
    mem_close_fd(&disk->lock_fd);
}

void disk_close(struct disk *disk) {
    mem_close_fd(&disk->names_fd);
    mem_close_fd(&disk->dir_fd);
    mem_close_fd(&disk->lock_fd);
}

/* In three system calls: opening ten thousand functions consists of this. False when anything is unusual,
 * too; the other way then says what it is. */
static bool disk_read_meta_quickly(const struct disk *disk, const char *id, struct storage_meta *ret_meta) {
    char path[STORAGE_ID_MAX + sizeof "/" DISK_META_FILE], json[4096];
    struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    snprintf(path, sizeof path, "%s/" DISK_META_FILE, id);
    MEM_CLOSE_FD int fd = (int)syscall(SYS_openat2, disk->dir_fd, path, &how, sizeof how);
    ssize_t got = fd < 0 ? -1 : read(fd, json, sizeof json);
    struct storage_meta meta;
    struct err ignored;
    if (got <= 0 || got == sizeof json || storage_meta_decode(json, (size_t)got, &meta, &ignored) != 0 ||
        strcmp(meta.id, id) != 0)
        return false;
    *ret_meta = meta;
    return true;
}

int disk_read_meta(const struct disk *disk, const char *id, struct storage_meta *ret_meta, struct err *err) {
    if (disk_read_meta_quickly(disk, id, ret_meta))
        return 0;
    MEM_CLOSE_FD int fd = -1;
    int rc = files_open_dir(disk->dir_fd, id, &fd, err);
    if (rc != 0)
        return rc;
    struct buf json = {0};
    struct storage_meta meta;
    rc = files_read(fd, DISK_META_FILE, DISK_META_MAX_BYTES, &json, err);
    if (rc == 0)
        rc = storage_meta_decode((const char *)json.data, json.len, &meta, err);
    buf_fini(&json);
    if (rc != 0)
        return rc;
    if (strcmp(meta.id, id) != 0)
        return err_set(err, ERR_BAD_REQUEST, "metadata: it is of '%s'", meta.id);
    *ret_meta = meta;
    return 0;
}

int storage_stage(struct storage *storage, char *ret_path, size_t size, struct err *err) {
    const struct disk *disk = &storage->disk;
    char name[sizeof DISK_STAGE_PREFIX + FILES_RANDOM_BYTES];
    memcpy(name, DISK_STAGE_PREFIX, sizeof DISK_STAGE_PREFIX);
    if (strlen(disk->dir) + 1 + sizeof name > size)
        return err_set(err, ERR_INTERNAL, "the data directory's path is too long");
    int rc;
    do {
        files_random_name(name + strlen(DISK_STAGE_PREFIX));
        rc = mkdirat(disk->dir_fd, name, 0700);
    } while (rc != 0 && errno == EEXIST);
    if (rc != 0)
        return err_sys(err, "cannot make a stage for a deploy");
    snprintf(ret_path, size, "%s/%s", disk->dir, name);
    return 0;
}

void storage_unstage(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path || strncmp(slash + 1, DISK_STAGE_PREFIX, strlen(DISK_STAGE_PREFIX)) != 0)
        return;
    char parent[PATH_MAX];
    size_t len = (size_t)(slash - path);
    if (len >= sizeof parent)
        return;
    memcpy(parent, path, len);
    parent[len] = 0;
    MEM_CLOSE_FD int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err err;
    /* What stays is swept at the next start. */
    if (fd >= 0 && files_remove(fd, slash + 1, &err) != 0)
        log_event("storage: a stage was not removed: %s", err.msg);
}

/* The files of a version, and no path. */
static bool disk_file_is_known(const char *file) {
    if (strcmp(file, DISK_META_FILE) == 0 || strcmp(file, "code.wasm") == 0 ||
        strcmp(file, "code.cwasm") == 0)
        return true;
    for (const struct storage_lang *lang = storage_lang_all(); lang->name; lang++)
        if (strncmp(file, "code.", 5) == 0 && strcmp(file + 5, lang->extension) == 0)
            return true;
    return false;
}

int storage_read(const struct storage *storage, const char *id, const char *file, size_t max,
                 struct buf *ret_bytes, struct err *err) {
    size_t name_len;
    uint64_t number;
    if (!name_id_split(id, strnlen(id, STORAGE_ID_MAX + 1), &name_len, &number) || !disk_file_is_known(file))
        return err_set(err, ERR_NOT_FOUND, "no version has such a file");
    MEM_CLOSE_FD int fd = -1;
    int rc = files_open_dir(storage->disk.dir_fd, id, &fd, err);
    if (rc == 0)
        rc = files_read(fd, file, max, ret_bytes, err);
    return rc;
}
