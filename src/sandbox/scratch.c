#include "sandbox/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRATCH_DIR "/tmp"
#define SCRATCH_PREFIX "minifaas-tmp-"
enum { SCRATCH_ATTEMPTS = 64, SCRATCH_STEPS_MAX = 10000000 };

/* Those of processes that were killed, by the process id in the name. */
static void scratch_clean(void) {
    DIR *stream = opendir(SCRATCH_DIR);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        int owner;
        struct stat status;
        char path[sizeof SCRATCH_DIR + sizeof entry->d_name];
        if (sscanf(entry->d_name, SCRATCH_PREFIX "%d-", &owner) != 1 || owner <= 0 ||
            fstatat(dirfd(stream), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISDIR(status.st_mode) || (geteuid() != 0 && status.st_uid != geteuid()))
            continue;
        snprintf(path, sizeof path, SCRATCH_DIR "/%s", entry->d_name);
        if (kill(owner, 0) != 0 && errno == ESRCH)
            scratch_remove(path);
    }
    if (stream)
        closedir(stream);
}

bool scratch_make(char *ret_path, size_t size) {
    static unsigned next;
    if (!next)
        scratch_clean();
    for (int attempt = 0; attempt < SCRATCH_ATTEMPTS; attempt++) {
        snprintf(ret_path, size, SCRATCH_DIR "/" SCRATCH_PREFIX "%d-%u", (int)getpid(), ++next);
        if (mkdir(ret_path, 0700) == 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    ret_path[0] = 0;
    return false;
}

/* Removes the files of the current directory, and the directories that are empty. 1: nothing is left; 0: a
 * name of a directory that is not empty is in ret_name; -1: something cannot be removed. */
static int scratch_sweep(char *ret_name, size_t size) {
    struct entry {
        unsigned long long inode, offset;
        unsigned short length;
        unsigned char type;
        char name[];
    };
    char block[8192] __attribute__((aligned(8)));
    int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = fd < 0 ? -1 : 1;
    ret_name[0] = 0;
    for (long len; result >= 0 && (len = syscall(SYS_getdents64, fd, block, sizeof block)) != 0;) {
        if (len < 0)
            result = -1;
        for (long at = 0; at < len;) {
            const struct entry *entry = (const void *)(block + at);
            at += entry->length;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0 ||
                unlinkat(AT_FDCWD, entry->name, 0) == 0 || unlinkat(AT_FDCWD, entry->name, AT_REMOVEDIR) == 0)
                continue;
            snprintf(ret_name, size, "%s", entry->name);
            result = errno == ENOTEMPTY || errno == EEXIST ? 0 : -1;
        }
    }
    if (fd >= 0)
        close(fd);
    return result;
}

static void scratch_remove_here(const char *path) {
    char name[256];
    int depth = 0;
    if (chdir(path) != 0)
        return;
    for (int step = 0; step < SCRATCH_STEPS_MAX; step++) {
        int left = scratch_sweep(name, sizeof name);
        if (left < 0 || (left > 0 && depth == 0))
            break;
        if (left > 0) {
            if (chdir("..") != 0)
                break;
            depth--;
        } else {
            /* What the program may have taken from itself. */
            chmod(name, 0700);
            if (chdir(name) != 0)
                break;
            depth++;
        }
    }
    if (chdir("/") == 0)
        rmdir(path);
}

void scratch_remove(const char *path) {
    /* What a stranger has left may be much. The middle process ends at once, so that the other is nobody's
     * child. */
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() != 0)
            _exit(0);
        close_range(0, ~0u, 0);
        scratch_remove_here(path);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}
