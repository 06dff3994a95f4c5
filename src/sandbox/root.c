#include "sandbox/root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/mount.h> and <sys/mount.h> exclude each other in older C libraries. */
enum {
    ROOT_MS_RDONLY = 1,
    ROOT_MS_NOSUID = 2,
    ROOT_MS_NODEV = 4,
    ROOT_MS_NOEXEC = 8,
    ROOT_MS_REC = 16384,
    ROOT_MS_PRIVATE = 1 << 18,
    ROOT_MNT_DETACH = 2,
};
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);

static const char *const root_devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                           "/dev/urandom"};
enum { ROOT_DEVICES = sizeof root_devices / sizeof root_devices[0] };

static int root_open_tree(const char *path, unsigned flags) {
    return (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

static bool root_restrict(int fd, const char *path, unsigned flags, uint64_t attributes) {
    struct mount_attr attr = {.attr_set = attributes};
    return syscall(SYS_mount_setattr, fd, path, flags, &attr, sizeof attr) == 0;
}

static bool root_move(int fd, const char *target) {
    return syscall(SYS_move_mount, fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) == 0;
}

/* A read-only copy of what is at the path on the host, not yet anywhere in the tree. */
static int root_clone(const char *path, uint64_t attributes) {
    int fd = root_open_tree(path, AT_RECURSIVE);
    if (fd >= 0 && !root_restrict(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, attributes)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* The same with owners as `map_fd` says. */
static int root_clone_mapped(const char *path, uint64_t attributes, int map_fd) {
    int fd = root_open_tree(path, 0);
    struct mount_attr attr = {.attr_set = attributes | MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)map_fd};
    if (fd >= 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* Makes the directories above the last part of a path below the current directory. */
static bool root_make_parents(const char *path) {
    char part[PATH_MAX];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t len = (size_t)(slash - path);
        if (len >= sizeof part) {
            errno = ENAMETOOLONG;
            return false;
        }
        memcpy(part, path, len);
        part[len] = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

/* Puts a cloned tree at a path below the current directory, which is the new root. */
static bool root_attach(int fd, const char *target) {
    struct stat status;
    target += strspn(target, "/");
    if (fstat(fd, &status) != 0 || !root_make_parents(target))
        return false;
    if (S_ISDIR(status.st_mode)) {
        if (mkdir(target, 0755) != 0 && errno != EEXIST)
            return false;
    } else {
        int file = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
        if (file < 0)
            return false;
        close(file);
    }
    return root_move(fd, target);
}

/* "/bin -> usr/bin" stays a link; links deeper in the tree are followed. */
static bool root_is_link(const struct sandbox_bind *bind, char *ret_link, size_t size) {
    if (bind->target || strrchr(bind->source, '/') != bind->source)
        return false;
    ssize_t len = readlink(bind->source, ret_link, size - 1);
    if (len <= 0 || ret_link[0] == '/')
        return false;
    ret_link[len] = 0;
    return true;
}

/* The clones are made before the new root covers anything of the host. */
static bool root_clone_all(const struct sandbox_spec *spec, int *ret_binds, int *ret_devices,
                           const char **ret_step) {
    char link[PATH_MAX];
    for (int i = 0; i < spec->bind_count; i++) {
        const struct sandbox_bind *bind = &spec->binds[i];
        ret_binds[i] = -1;
        *ret_step = bind->source;
        if (root_is_link(bind, link, sizeof link))
            continue;
        uint64_t read_only = bind->writable ? 0 : MOUNT_ATTR_RDONLY;
        uint64_t attributes = read_only | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
        ret_binds[i] = bind->map_fd > 0 ? root_clone_mapped(bind->source, attributes, bind->map_fd)
                                        : root_clone(bind->source, attributes);
        if (ret_binds[i] < 0 && !(bind->optional && (errno == ENOENT || errno == ENOTDIR)))
            return false;
    }
    for (int i = 0; i < ROOT_DEVICES; i++) {
        *ret_step = root_devices[i];
        ret_devices[i] =
            root_clone(root_devices[i], MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
        if (ret_devices[i] < 0)
            return false;
    }
    return true;
}

static bool root_attach_all(const struct sandbox_spec *spec, const int *binds, const int *devices,
                            const char **ret_step) {
    char link[PATH_MAX];
    for (int i = 0; i < spec->bind_count; i++) {
        const struct sandbox_bind *bind = &spec->binds[i];
        *ret_step = bind->source;
        if (root_is_link(bind, link, sizeof link)) {
            if (symlink(link, bind->source + 1) != 0 && errno != EEXIST)
                return false;
        } else if (binds[i] >= 0 && !root_attach(binds[i], bind->target ? bind->target : bind->source)) {
            return false;
        }
    }
    for (int i = 0; i < ROOT_DEVICES; i++) {
        *ret_step = root_devices[i];
        if (!root_attach(devices[i], root_devices[i]))
            return false;
    }
    *ret_step = "/dev";
    return symlink("/proc/self/fd", "dev/fd") == 0 && symlink("/proc/self/fd/0", "dev/stdin") == 0 &&
           symlink("/proc/self/fd/1", "dev/stdout") == 0 && symlink("/proc/self/fd/2", "dev/stderr") == 0 &&
           symlink("/tmp", "dev/shm") == 0;
}

/* Below the current directory. */
static bool root_mount_fresh(const struct sandbox_spec *spec, const char **ret_step) {
    char options[96];
    *ret_step = "/proc";
    if (mount("proc", "proc", "proc", ROOT_MS_NOSUID | ROOT_MS_NODEV | ROOT_MS_NOEXEC, NULL) != 0)
        return false;
    *ret_step = "/tmp";
    /* A tmpfs of size 0 has no limit: one that must hold nothing has no inode left instead. Files cost the
     * kernel memory even when they are empty. */
    if (spec->tmp_mb)
        snprintf(options, sizeof options, "mode=1777,size=%um,nr_inodes=%u", spec->tmp_mb,
                 1024 + spec->tmp_mb * 64);
    else
        snprintf(options, sizeof options, "mode=1777,size=4096,nr_inodes=1");
    return mount("tmpfs", "tmp", "tmpfs", ROOT_MS_NOSUID | ROOT_MS_NODEV, options) == 0;
}

static bool root_mount_own(const struct sandbox_spec *spec, const char **ret_step) {
    *ret_step = "/proc";
    if (mkdir("proc", 0555) != 0 || mkdir("tmp", 01777) != 0)
        return false;
    if (spec->proc_exe && (mkdir("proc/self", 0555) != 0 || symlink(spec->proc_exe, "proc/self/exe") != 0))
        return false;
    return root_mount_fresh(spec, ret_step);
}

/* In a chroot "/" is not a mount point, and pivot_root needs one: makes it one and steps on it. */
static bool root_make_mount_point(void) {
    int fd = root_open_tree("/", AT_RECURSIVE);
    return fd >= 0 && root_move(fd, "/") && fchdir(fd) == 0 && chroot(".") == 0 && close(fd) == 0;
}

static bool root_leave_host(void) {
    if (mount(NULL, "/", NULL, ROOT_MS_REC | ROOT_MS_PRIVATE, NULL) == 0)
        return true;
    return errno == EINVAL && root_make_mount_point() &&
           mount(NULL, "/", NULL, ROOT_MS_REC | ROOT_MS_PRIVATE, NULL) == 0;
}

bool root_build(const struct sandbox_spec *spec, const char **ret_step) {
    int binds[SANDBOX_BINDS_MAX], devices[ROOT_DEVICES];
    *ret_step = "private mounts";
    if (!root_leave_host() || !root_clone_all(spec, binds, devices, ret_step))
        return false;
    *ret_step = "new root";
    if (mount("tmpfs", "/tmp", "tmpfs", ROOT_MS_NOSUID | ROOT_MS_NODEV, "mode=755,size=1m,nr_inodes=1024") !=
            0 ||
        chdir("/tmp") != 0)
        return false;
    if (!root_attach_all(spec, binds, devices, ret_step) || !root_mount_own(spec, ret_step))
        return false;
    *ret_step = "pivot_root";
    if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", ROOT_MNT_DETACH) != 0 || chdir("/") != 0)
        return false;
    return root_restrict(AT_FDCWD, "/", 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

bool root_copy(int pidfd, const struct sandbox_spec *spec, const char **ret_step) {
    *ret_step = "template";
    /* What is covered by the new /proc and /tmp is the template's, and nobody inside can uncover it. */
    return setns(pidfd, CLONE_NEWNS) == 0 && unshare(CLONE_NEWNS) == 0 && chdir("/") == 0 &&
           root_mount_fresh(spec, ret_step);
}

bool root_hide_proc(void) {
    return umount2("/proc", ROOT_MNT_DETACH) == 0;
}
