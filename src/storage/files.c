#include "storage/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

void files_random_name(char ret_name[FILES_RANDOM_BYTES]) {
    uint64_t random;
    /* Early in a boot there may be no entropy: the name then only has to be new, not secret. */
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        random = clock_real_ns() ^ (uint64_t)getpid() << 40 ^ (uint64_t)(uintptr_t)&random;
    snprintf(ret_name, FILES_RANDOM_BYTES, "%016llx", (unsigned long long)random);
}

int files_open_dir(int at_fd, const char *name, int *ret_fd, struct err *err) {
    int fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "there is no directory '%s'", name);
    if (fd < 0)
        return err_sys(err, "cannot open the directory '%s'", name);
    *ret_fd = fd;
    return 0;
}

int files_make_dir(int at_fd, const char *name, int *ret_fd, struct err *err) {
    if (mkdirat(at_fd, name, 0700) != 0 && errno != EEXIST)
        return err_sys(err, "cannot make the directory '%s'", name);
    return files_open_dir(at_fd, name, ret_fd, err);
}

int files_open(int at_fd, const char *name, int *ret_fd, size_t *ret_size, struct err *err) {
    /* O_NONBLOCK: a FIFO of that name must not hold us up. */
    MEM_CLOSE_FD int fd = openat(at_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "there is no file '%s'", name);
    if (fd < 0)
        return err_sys(err, "cannot open '%s'", name);
    struct stat about;
    if (fstat(fd, &about) != 0)
        return err_sys(err, "cannot look at '%s'", name);
    if (!S_ISREG(about.st_mode))
        return err_set(err, ERR_IO, "'%s' is no regular file", name);
    *ret_fd = mem_steal_fd(&fd);
    *ret_size = (size_t)about.st_size;
    return 0;
}

/* As many bytes as the file had when it was opened; fewer when it was cut since. */
static int files_read_all(int fd, const char *name, size_t size, struct buf *bytes, struct err *err) {
    while (bytes->len < size) {
        ssize_t got = read(fd, bytes->data + bytes->len, size - bytes->len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, "cannot read '%s'", name);
        if (got == 0)
            break;
        bytes->len += (size_t)got;
    }
    return 0;
}

int files_read(int at_fd, const char *name, size_t max, struct buf *ret_bytes, struct err *err) {
    MEM_CLOSE_FD int fd = -1;
    size_t size = 0;
    int rc = files_open(at_fd, name, &fd, &size, err);
    if (rc != 0)
        return rc;
    if (size > max)
        return err_set(err, ERR_TOO_LARGE, "'%s' is larger than %zu bytes", name, max);
    struct buf bytes = {0};
    if (!buf_reserve(&bytes, size))
        rc = err_set(err, ERR_INTERNAL, "out of memory for '%s' (%zu bytes)", name, size);
    else
        rc = files_read_all(fd, name, size, &bytes, err);
    if (rc != 0) {
        buf_fini(&bytes);
        return rc;
    }
    buf_fini(ret_bytes);
    *ret_bytes = bytes;
    return 0;
}

int files_write(int at_fd, const char *name, const void *data, size_t len, struct err *err) {
    int rc = files_remove(at_fd, name, err);
    if (rc != 0)
        return rc;
    MEM_CLOSE_FD int fd = openat(at_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, "cannot create '%s'", name);
    for (size_t done = 0; done < len;) {
        ssize_t put = write(fd, (const char *)data + done, len - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_sys(err, "cannot write '%s'", name);
        done += (size_t)put;
    }
    return files_sync(fd, name, err);
}

int files_replace(int at_fd, const char *name, const char *next, const void *data, size_t len,
                  struct err *err) {
    int rc = files_write(at_fd, next, data, len, err);
    if (rc == 0 && renameat(at_fd, next, at_fd, name) != 0)
        rc = err_sys(err, "cannot replace '%s'", name);
    if (rc != 0) {
        unlinkat(at_fd, next, 0);
        return rc;
    }
    return files_sync(at_fd, "a directory", err);
}

int files_sync(int fd, const char *what, struct err *err) {
    return fsync(fd) == 0 ? 0 : err_sys(err, "cannot bring '%s' to the disk", what);
}

int files_each(int dir_fd, files_on_entry *on_entry, void *context, struct err *err) {
    /* A descriptor of its own: the position in a directory belongs to the open file, and threads share it. */
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        int rc = err_sys(err, "cannot list a directory");
        if (fd >= 0)
            close(fd);
        return rc;
    }
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry && errno != 0)
            rc = err_sys(err, "cannot list a directory");
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = on_entry(context, dir_fd, entry, err);
    }
    closedir(dir);
    return rc;
}

bool files_entry_is_dir(int dir_fd, const struct dirent *entry) {
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    struct stat about;
    return fstatat(dir_fd, entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(about.st_mode);
}

/* 1: a directory that is not empty. */
static int files_remove_one(int at_fd, const char *name, struct err *err) {
    if (unlinkat(at_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if ((errno == EISDIR || errno == EPERM) && (unlinkat(at_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT))
        return 0;
    return errno == ENOTEMPTY || errno == EEXIST ? 1 : err_sys(err, "cannot remove '%s'", name);
}

struct files_removal {
    int top_fd;
    bool moved; /* this pass removed or lifted something */
};

static int files_on_deep_entry(void *context, int dir_fd, const struct dirent *entry, struct err *err) {
    struct files_removal *removal = context;
    int rc = files_remove_one(dir_fd, entry->d_name, err);
    if (rc == 1) {
        char name[FILES_RANDOM_BYTES];
        files_random_name(name);
        if (renameat(dir_fd, entry->d_name, removal->top_fd, name) != 0)
            return err_sys(err, "cannot move '%s'", entry->d_name);
    }
    removal->moved = removal->moved || rc >= 0;
    return rc < 0 ? rc : 0;
}

static int files_on_top_entry(void *context, int dir_fd, const struct dirent *entry, struct err *err) {
    struct files_removal *removal = context;
    int rc = files_remove_one(dir_fd, entry->d_name, err);
    if (rc == 1) {
        MEM_CLOSE_FD int fd = -1;
        rc = files_open_dir(dir_fd, entry->d_name, &fd, err);
        if (rc == 0)
            rc = files_each(fd, files_on_deep_entry, removal, err);
    } else if (rc == 0) {
        removal->moved = true;
    }
    return rc < 0 ? rc : 0;
}

int files_remove(int at_fd, const char *name, struct err *err) {
    int rc = files_remove_one(at_fd, name, err);
    if (rc != 1)
        return rc;
    MEM_CLOSE_FD int fd = -1;
    rc = files_open_dir(at_fd, name, &fd, err);
    if (rc != 0)
        return rc;
    /* Two levels are open at a time: what is deeper is lifted to the top and taken in the next pass, so that
     * no depth exhausts the descriptors or the stack. */
    for (struct files_removal removal = {.top_fd = fd, .moved = true}; removal.moved;) {
        removal.moved = false;
        rc = files_each(fd, files_on_top_entry, &removal, err);
        if (rc != 0)
            return rc;
        rc = files_remove_one(at_fd, name, err);
        if (rc != 1)
            return rc;
    }
    return err_set(err, ERR_IO, "cannot remove '%s': it does not get empty", name);
}
