#include "server/usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum { USAGE_PROCESSES_MAX = 2048, USAGE_TEXT_BYTES = 32 << 10 };

/* Adds what one process has used to the sum; its directory in /proc is open. False when it is gone. */
struct usage_walk;
typedef bool usage_add(struct usage_walk *walk, int dir_fd);

/* Processes that are still to be looked at. */
struct usage_walk {
    pid_t left[USAGE_PROCESSES_MAX];
    size_t count, seen;
    usage_add *add;
    uint64_t sum;
};

static ssize_t usage_read(int dir_fd, const char *path, char *ret_text, size_t size) {
    MEM_CLOSE_FD int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t got = fd < 0 ? -1 : 1;
    while (fd >= 0 && len + 1 < size && (got = read(fd, ret_text + len, size - 1 - len)) > 0)
        len += (size_t)got;
    ret_text[len] = 0;
    return got < 0 ? -1 : (ssize_t)len;
}

/* utime, stime, and those of children that were waited for: fields 14 to 17; 3 follows the name. */
static bool usage_add_times(struct usage_walk *walk, int dir_fd) {
    char text[1024];
    if (usage_read(dir_fd, "stat", text, sizeof text) <= 0)
        return false;
    char *at = strrchr(text, ')');
    for (int field = 3; at && field < 14; field++)
        at = strchr(at + 1, ' ');
    for (int field = 14; at && field < 18; field++) {
        at = strchr(at, ' ');
        if (at)
            walk->sum += strtoull(at, &at, 10);
    }
    return at != NULL;
}

/* KiB, those of files and those shared with others included: never too few. */
static bool usage_add_resident(struct usage_walk *walk, int dir_fd) {
    char text[256];
    if (usage_read(dir_fd, "statm", text, sizeof text) <= 0)
        return false;
    char *at = strchr(text, ' ');
    walk->sum += at ? strtoull(at, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) >> 10 : 0;
    return at != NULL;
}

/* Its share, in KiB, of memory that is of no file: what several have is divided among them. Who does not let
 * us look is counted in full. */
static bool usage_add_share(struct usage_walk *walk, int dir_fd) {
    static const char *const names[] = {"Pss_Anon:", "Pss_Shmem:"};
    char text[2048];
    if (usage_read(dir_fd, "smaps_rollup", text, sizeof text) <= 0)
        return usage_add_resident(walk, dir_fd);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *at = strstr(text, names[i]);
        walk->sum += at ? strtoull(at + strlen(names[i]), NULL, 10) : 0;
    }
    return true;
}

static void usage_add_children(struct usage_walk *walk, int task_fd, const char *thread) {
    static char text[USAGE_TEXT_BYTES]; /* one thread looks */
    char path[64];
    snprintf(path, sizeof path, "%.32s/children", thread);
    if (usage_read(task_fd, path, text, sizeof text) <= 0)
        return;
    for (char *at = text; *at && walk->count < USAGE_PROCESSES_MAX; at += strspn(at, " ")) {
        pid_t pid = (pid_t)strtol(at, &at, 10);
        if (pid <= 0)
            break;
        walk->left[walk->count++] = pid;
    }
}

/* Each thread has children of its own. */
static bool usage_look(struct usage_walk *walk, pid_t pid) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    MEM_CLOSE_FD int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return false;
    /* One that ends just now has no memory any more, and its children are somebody else's. */
    if (!walk->add(walk, dir_fd))
        return false;
    int task_fd = openat(dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *tasks = task_fd < 0 ? NULL : fdopendir(task_fd);
    if (!tasks) {
        mem_close_fd(&task_fd);
        return false;
    }
    for (struct dirent *entry; (entry = readdir(tasks));)
        if (entry->d_name[0] != '.')
            usage_add_children(walk, task_fd, entry->d_name);
    closedir(tasks);
    return true;
}

static bool usage_sum(pid_t pid, usage_add *add, uint64_t *ret_sum) {
    struct usage_walk *walk = calloc(1, sizeof *walk);
    if (walk)
        walk->add = add;
    /* A parent is looked at before its children: one that ends meanwhile is missing once, never counted
     * twice. */
    bool found = walk && usage_look(walk, pid) && walk->count > 0;
    while (found && walk->count > 0 && walk->seen++ < USAGE_PROCESSES_MAX)
        usage_look(walk, walk->left[--walk->count]);
    if (found)
        *ret_sum = walk->sum;
    free(walk);
    return found;
}

bool usage_cpu_ms(pid_t pid, uint32_t *ret_ms) {
    uint64_t ticks;
    if (!usage_sum(pid, usage_add_times, &ticks))
        return false;
    *ret_ms = (uint32_t)(ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
    return true;
}

bool usage_memory_bytes(pid_t pid, uint64_t enough_bytes, uint64_t *ret_bytes) {
    uint64_t kib;
    if (!usage_sum(pid, usage_add_resident, &kib))
        return false;
    if (kib << 10 > enough_bytes && !usage_sum(pid, usage_add_share, &kib))
        return false;
    *ret_bytes = kib << 10;
    return true;
}
