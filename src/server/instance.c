#include "server/instance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/mem.h"
#include "wire/message.h"

static int instance_check_dir(const char *what, const char *path, mode_t mode, struct err *err) {
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return err_sys(err, "cannot create the %s directory '%s'", what, path);
    struct stat st;
    if (stat(path, &st) != 0)
        return err_sys(err, "the %s directory '%s'", what, path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_IO, "the %s directory '%s' is no directory", what, path);
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) != 0)
        return err_sys(err, "cannot write to the %s directory '%s'", what, path);
    return 0;
}

int instance_check_dirs(const struct config *config, struct err *err) {
    int rc = instance_check_dir("data", config->data_dir, 0755, err);
    if (rc == 0)
        rc = instance_check_dir("log", config->log_dir, 0755, err);
    if (rc == 0)
        rc = instance_check_dir("run", config->run_dir, 0700, err);
    return rc;
}

int instance_lock(const char *run_dir, int *ret_fd, struct err *err) {
    struct stat st;
    if (stat(run_dir, &st) != 0)
        return err_sys(err, "%s", run_dir);
    MEM_CLOSE_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(err, "socket");
    /* An abstract name leaves no file behind, however the process ends. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "minifaas/%u/%llu:%llu", geteuid(),
                       (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    if (bind(fd, (struct sockaddr *)&address, size) != 0) {
        if (errno == EADDRINUSE)
            return err_set(err, ERR_CONFLICT,
                           "another minifaas runs in '%s'; stop it or choose another FAAS_RUN_DIR", run_dir);
        return err_sys(err, "bind");
    }
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

static const char *const instance_sockets[] = {"faas_lb.sock", "faas_server.sock", "faas_gateway.sock"};
enum { INSTANCE_SOCKETS = sizeof instance_sockets / sizeof *instance_sockets };

void instance_remove_sockets(const char *run_dir) {
    for (size_t i = 0; i < INSTANCE_SOCKETS; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", run_dir, instance_sockets[i]);
        message_unlisten(path);
    }
}

int instance_check_sockets(const char *run_dir, struct err *err) {
    for (size_t i = 0; i < INSTANCE_SOCKETS; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", run_dir, instance_sockets[i]);
        MEM_CLOSE_FD int fd = -1;
        int rc = message_connect(path, &fd, err);
        if (rc == -ERR_BAD_REQUEST)
            return rc;
        if (rc < 0 && (err->sys_errno == ENOENT || err->sys_errno == ECONNREFUSED))
            continue;
        if (rc < 0 && err->sys_errno == EACCES)
            return err_set(err, ERR_CONFLICT, "%s belongs to another user; choose another FAAS_RUN_DIR",
                           path);
        return err_set(err, ERR_CONFLICT,
                       "%s is in use by a running instance; stop it or choose another FAAS_RUN_DIR", path);
    }
    return 0;
}

static pid_t instance_parent_of(const char *pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (len <= 0)
        return 0;
    text[len] = 0;
    const char *name_end = strrchr(text, ')');
    int parent = 0;
    return name_end && sscanf(name_end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

void instance_kill_children(void) {
    DIR *proc = opendir("/proc");
    if (!proc)
        return;
    for (struct dirent *entry; (entry = readdir(proc));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            instance_parent_of(entry->d_name) == getpid())
            kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
    closedir(proc);
}
