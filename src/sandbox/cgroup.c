#include "sandbox/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sandbox/cgroup_find.h"

#define CGROUP_PREFIX "minifaas-"
/* Where everything that was in a group which was delegated to us went, so that the group can be divided. */
#define CGROUP_LEAF "/parts"

/* The instance's directory of one controller. Both controllers of version 2 share one. */
struct cgroup_place {
    int version; /* 0 = none */
    char dir[PATH_MAX];
    int lock_fd; /* holds the lock that says the instance lives; -1 when it shares the other's */
};

static struct {
    bool opened;
    struct cgroup_place places[CGROUP_CONTROLLERS];
    unsigned next;
} cgroup_instance;

static const char *const cgroup_names[CGROUP_CONTROLLERS] = {"memory", "pids"};

static bool cgroup_write(const char *dir, const char *file, const char *value) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    MEM_CLOSE_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(value);
    return fd >= 0 && write(fd, value, len) == (ssize_t)len;
}

/* The number behind `key` in a file of lines "key number"; 0 when it is not there. */
static unsigned long long cgroup_read_counter(const char *dir, const char *file, const char *key) {
    char path[PATH_MAX + 64], text[1024];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (len <= 0)
        return 0;
    text[len] = 0;
    size_t key_len = strlen(key);
    for (char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, key_len) == 0 && line[key_len] == ' ')
            return strtoull(line + key_len + 1, NULL, 10);
    }
    return 0;
}

/* Removes an instance's directory and the groups in it. Those that still hold processes stay. */
static void cgroup_remove_tree(const char *dir) {
    DIR *stream = opendir(dir);
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            unlinkat(dirfd(stream), entry->d_name, AT_REMOVEDIR);
    if (stream)
        closedir(stream);
    rmdir(dir);
}

/* Whoever can lock an instance's directory knows that the instance is gone. */
static void cgroup_sweep(const char *parent) {
    DIR *stream = opendir(parent);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        if (strncmp(entry->d_name, CGROUP_PREFIX, strlen(CGROUP_PREFIX)) != 0)
            continue;
        char path[PATH_MAX * 2];
        snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
        MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            cgroup_remove_tree(path);
    }
    if (stream)
        closedir(stream);
}

/* A locked directory of our own below parent. A sweeper may take it between mkdir and lock: then another. */
static bool cgroup_make_instance(const char *parent, struct cgroup_place *place) {
    for (int attempt = 0; attempt < 8; attempt++) {
        int used = snprintf(place->dir, sizeof place->dir, "%s/" CGROUP_PREFIX "%d-%llx", parent,
                            (int)getpid(), (unsigned long long)clock_now_ns());
        if (used < 0 || (size_t)used >= sizeof place->dir || mkdir(place->dir, 0755) != 0)
            return false;
        MEM_CLOSE_FD int fd = open(place->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat ours, there;
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &ours) == 0 &&
            stat(place->dir, &there) == 0 && ours.st_ino == there.st_ino) {
            place->lock_fd = mem_steal_fd(&fd);
            return true;
        }
    }
    return false;
}

/* Version 2 gives controllers only to the children of a group without processes of its own: where the service
 * manager delegated the group to us, everything in it moves to a leaf first. */
static bool cgroup_enable(const char *parent, const char *controllers) {
    if (cgroup_write(parent, "cgroup.subtree_control", controllers))
        return true;
    if (errno != EBUSY || !cgroup_is_delegated(parent))
        return false;
    char leaf[PATH_MAX + 16], path[PATH_MAX + 32], line[32];
    snprintf(leaf, sizeof leaf, "%s" CGROUP_LEAF, parent);
    if (mkdir(leaf, 0755) != 0 && errno != EEXIST)
        return false;
    snprintf(path, sizeof path, "%s/cgroup.procs", parent);
    FILE *procs = fopen(path, "re");
    while (procs && fgets(line, sizeof line, procs))
        cgroup_write(leaf, "cgroup.procs", line);
    if (procs)
        fclose(procs);
    return cgroup_write(parent, "cgroup.subtree_control", controllers);
}

/* Another part has moved us into the leaf already. */
static void cgroup_leave_leaf(char *dir) {
    size_t len = strlen(dir), leaf_len = strlen(CGROUP_LEAF);
    if (len <= leaf_len || strcmp(dir + len - leaf_len, CGROUP_LEAF) != 0)
        return;
    dir[len - leaf_len] = 0;
    if (!cgroup_is_delegated(dir))
        dir[len - leaf_len] = '/';
}

static void cgroup_open_v2(void) {
    struct cgroup_place *places = cgroup_instance.places;
    char parent[PATH_MAX], controllers[64] = "";
    int first = -1;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (!cgroup_find(cgroup_names[i], 2, parent, sizeof parent))
            continue;
        cgroup_leave_leaf(parent);
        first = first < 0 ? i : first;
        snprintf(controllers + strlen(controllers), sizeof controllers - strlen(controllers), "%s+%s",
                 controllers[0] ? " " : "", cgroup_names[i]);
    }
    if (first < 0 || access(parent, W_OK) != 0)
        return;
    cgroup_sweep(parent);
    if (!cgroup_enable(parent, controllers) || !cgroup_make_instance(parent, &places[first]))
        return;
    if (!cgroup_write(places[first].dir, "cgroup.subtree_control", controllers)) {
        rmdir(places[first].dir);
        mem_close_fd(&places[first].lock_fd);
        return;
    }
    for (int i = first; i < CGROUP_CONTROLLERS; i++) {
        if (!strstr(controllers, cgroup_names[i]))
            continue;
        places[i].version = 2;
        if (i != first)
            memcpy(places[i].dir, places[first].dir, sizeof places[i].dir);
    }
}

static void cgroup_open(void) {
    cgroup_instance.opened = true;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        cgroup_instance.places[i].lock_fd = -1;
    cgroup_open_v2();
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        struct cgroup_place *place = &cgroup_instance.places[i];
        char parent[PATH_MAX];
        if (place->version || !cgroup_find(cgroup_names[i], 1, parent, sizeof parent) ||
            access(parent, W_OK) != 0)
            continue;
        cgroup_sweep(parent);
        if (cgroup_make_instance(parent, place))
            place->version = 1;
    }
}

static bool cgroup_limit_memory(const struct cgroup_place *place, const char *dir, uint32_t memory_mb) {
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)memory_mb << 20);
    if (place->version == 1) {
        bool set = cgroup_write(dir, "memory.limit_in_bytes", bytes);
        cgroup_write(dir, "memory.memsw.limit_in_bytes", bytes); /* absent without swap accounting */
        return set;
    }
    cgroup_write(dir, "memory.swap.max", "0");
    cgroup_write(dir, "memory.oom.group", "1");
    return cgroup_write(dir, "memory.max", bytes);
}

static bool cgroup_make_one(int controller, const char *name, uint32_t limit, struct cgroup_entry *entry) {
    const struct cgroup_place *place = &cgroup_instance.places[controller];
    char dir[PATH_MAX + 32], path[PATH_MAX + 64], number[16];
    snprintf(dir, sizeof dir, "%s/%s", place->dir, name);
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return false;
    if (limit && controller == CGROUP_MEMORY && !cgroup_limit_memory(place, dir, limit))
        return false;
    snprintf(number, sizeof number, "%u", limit + 1); /* the init counts */
    if (limit && controller == CGROUP_PIDS && !cgroup_write(dir, "pids.max", number))
        return false;
    if (place->version == 2) {
        if (entry->into_fd < 0)
            entry->into_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return entry->into_fd >= 0;
    }
    /* A thread that moves itself needs no lock; a process waits for one for about 12 ms when the machine has
     * not moved any lately. The init has one thread. */
    snprintf(path, sizeof path, "%s/tasks", dir);
    entry->tasks_fds[controller] = open(path, O_WRONLY | O_CLOEXEC);
    return entry->tasks_fds[controller] >= 0;
}

bool cgroup_is_there(int controller) {
    if (!cgroup_instance.opened)
        cgroup_open();
    return cgroup_instance.places[controller].version != 0;
}

int cgroup_make(uint32_t memory_mb, uint32_t processes, char *ret_name, size_t size,
                struct cgroup_entry *ret_entry, struct err *err) {
    if (!cgroup_instance.opened)
        cgroup_open();
    struct cgroup_entry entry = {.tasks_fds = {-1, -1}, .into_fd = -1};
    char name[32] = "";
    uint32_t limits[CGROUP_CONTROLLERS] = {memory_mb, processes};
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (!cgroup_instance.places[i].version)
            continue;
        if (!name[0])
            snprintf(name, sizeof name, "%u", cgroup_instance.next++);
        if (!cgroup_make_one(i, name, limits[i], &entry)) {
            int failed = err_sys(err, "control group %s/%s", cgroup_instance.places[i].dir, name);
            err->code = ERR_UNAVAILABLE;
            cgroup_entry_close(&entry);
            cgroup_remove(name, &(bool){false}, &(bool){false});
            return failed < 0 ? -err->code : failed;
        }
    }
    snprintf(ret_name, size, "%s", name);
    *ret_entry = entry;
    return 0;
}

void cgroup_entry_close(struct cgroup_entry *entry) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        mem_close_fd(&entry->tasks_fds[i]);
    mem_close_fd(&entry->into_fd);
}

bool cgroup_enter(const struct cgroup_entry *entry) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (entry->tasks_fds[i] >= 0 && write(entry->tasks_fds[i], "0", 1) != 1)
            return false;
    return true;
}

void cgroup_remove(const char *name, bool *ret_oom, bool *ret_processes) {
    *ret_oom = *ret_processes = false;
    if (!name[0])
        return;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        const struct cgroup_place *place = &cgroup_instance.places[i];
        if (!place->version)
            continue;
        char dir[PATH_MAX + 32];
        snprintf(dir, sizeof dir, "%s/%s", place->dir, name);
        const char *memory_file = place->version == 1 ? "memory.oom_control" : "memory.events";
        if (i == CGROUP_MEMORY)
            *ret_oom = cgroup_read_counter(dir, memory_file, "oom_kill") > 0;
        else
            *ret_processes = cgroup_read_counter(dir, "pids.events", "max") > 0;
    }
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        char dir[PATH_MAX + 32];
        snprintf(dir, sizeof dir, "%s/%s", cgroup_instance.places[i].dir, name);
        /* A process that was reaped a moment ago may still be leaving. */
        for (int attempt = 0; cgroup_instance.places[i].version && attempt < 64; attempt++) {
            if (rmdir(dir) == 0 || errno != EBUSY)
                break;
            sched_yield();
        }
    }
}

void cgroup_fini(void) {
    for (int i = 0; cgroup_instance.opened && i < CGROUP_CONTROLLERS; i++) {
        struct cgroup_place *place = &cgroup_instance.places[i];
        if (place->lock_fd >= 0)
            cgroup_remove_tree(place->dir);
        mem_close_fd(&place->lock_fd);
        place->version = 0;
    }
    cgroup_instance.opened = false;
}
