#include "storage/vars_disk.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/files.h"

#define VARS_DISK_EXTENSION ".json"
#define VARS_DISK_NEXT ".next" /* one thread writes */
enum { VARS_DISK_NAME_BYTES = STORAGE_NAME_MAX + sizeof VARS_DISK_EXTENSION };

static void vars_disk_name(const char *function, char ret_name[VARS_DISK_NAME_BYTES]) {
    snprintf(ret_name, VARS_DISK_NAME_BYTES, "%s" VARS_DISK_EXTENSION, function);
}

int vars_disk_read(const struct disk *disk, const char *function, struct vars **ret_vars, struct err *err) {
    char name[VARS_DISK_NAME_BYTES];
    MEM_CLOSE_FD int fd = -1;
    struct buf json = {0};
    vars_disk_name(function, name);
    int rc = files_open_dir(disk->dir_fd, DISK_VARS_DIR, &fd, err);
    if (rc == 0)
        rc = files_read(fd, name, VARS_JSON_MAX_BYTES, &json, err);
    if (rc == -ERR_NOT_FOUND) {
        *ret_vars = NULL;
        return 0;
    }
    if (rc == 0)
        rc = vars_decode((const char *)json.data, json.len, function, ret_vars, err);
    buf_fini(&json);
    return rc == 0 ? 0 : err_wrap(err, "the variables of '%s'", function);
}

static int vars_disk_remove(const struct disk *disk, const char *name, struct err *err) {
    MEM_CLOSE_FD int fd = -1;
    int rc = files_open_dir(disk->dir_fd, DISK_VARS_DIR, &fd, err);
    if (rc == -ERR_NOT_FOUND)
        return 0;
    if (rc == 0)
        rc = files_remove(fd, name, err);
    return rc == 0 ? files_sync(fd, DISK_VARS_DIR, err) : rc;
}

int vars_disk_write(const struct disk *disk, const char *function, const struct vars *vars, struct err *err) {
    char name[VARS_DISK_NAME_BYTES];
    vars_disk_name(function, name);
    if (!vars || vars->count == 0)
        return vars_disk_remove(disk, name, err);
    MEM_CLOSE_FD int fd = -1;
    struct buf json = {0};
    int rc = files_open_dir(disk->dir_fd, DISK_VARS_DIR, &fd, err);
    if (rc == -ERR_NOT_FOUND) {
        rc = files_make_dir(disk->dir_fd, DISK_VARS_DIR, &fd, err);
        if (rc == 0)
            rc = files_sync(disk->dir_fd, disk->dir, err);
    }
    if (rc == 0)
        rc = vars_encode(vars, function, &json, err);
    if (rc == 0)
        rc = files_replace(fd, name, VARS_DISK_NEXT, json.data, json.len, err);
    buf_fini(&json);
    return rc;
}

struct vars_disk_walk {
    vars_disk_on_file *on_file;
    void *context;
};

static int vars_disk_on_entry(void *context, int dir_fd, const struct dirent *entry, struct err *err) {
    const struct vars_disk_walk *walk = context;
    size_t len = strlen(entry->d_name), extension_len = strlen(VARS_DISK_EXTENSION);
    if (strcmp(entry->d_name, VARS_DISK_NEXT) == 0) {
        unlinkat(dir_fd, entry->d_name, 0);
        return 0;
    }
    char function[STORAGE_NAME_MAX + 1];
    struct err ignored;
    if (len <= extension_len || len - extension_len > STORAGE_NAME_MAX ||
        strcmp(entry->d_name + len - extension_len, VARS_DISK_EXTENSION) != 0)
        return 0;
    snprintf(function, sizeof function, "%.*s", (int)(len - extension_len), entry->d_name);
    return storage_name_check(function, &ignored) == 0 ? walk->on_file(walk->context, function, err) : 0;
}

int vars_disk_each(const struct disk *disk, vars_disk_on_file *on_file, void *context, struct err *err) {
    struct vars_disk_walk walk = {on_file, context};
    MEM_CLOSE_FD int fd = -1;
    int rc = files_open_dir(disk->dir_fd, DISK_VARS_DIR, &fd, err);
    if (rc == -ERR_NOT_FOUND)
        return 0;
    return rc == 0 ? files_each(fd, vars_disk_on_entry, &walk, err) : rc;
}
