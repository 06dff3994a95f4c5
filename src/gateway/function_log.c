#include "gateway/function_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

struct function_log {
    int dir_fd;
};

int function_log_open(const char *log_dir, struct function_log **ret_log, struct err *err) {
    char path[1200];
    snprintf(path, sizeof path, "%s/functions", log_dir);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_sys(err, "cannot create '%s'", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, "cannot open '%s'", path);
    struct function_log *log = mem_zalloc(sizeof *log);
    log->dir_fd = fd;
    *ret_log = log;
    return 0;
}

void function_log_free(struct function_log *log) {
    if (!log)
        return;
    close(log->dir_fd);
    free(log);
}

static void function_log_stamp(char *ret_stamp, size_t size, int stream) {
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(ret_stamp, size, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(ret_stamp + used, size - used, ".%03ldZ %s ", now.tv_nsec / 1000000,
             stream == 1 ? "stdout" : "stderr");
}

void function_log_write(struct function_log *log, const char *name, int stream, const void *text,
                        size_t len) {
    char stamp[64], file[96], older[96];
    function_log_stamp(stamp, sizeof stamp, stream);
    struct buf lines = {0};
    const char *at = text, *end = at + len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        buf_append_str(&lines, stamp);
        buf_append(&lines, at, (size_t)(stop - at));
        buf_append(&lines, "\n", 1);
        at = newline ? newline + 1 : end;
    }
    snprintf(file, sizeof file, "%s.log", name);
    snprintf(older, sizeof older, "%s.log.1", name);
    MEM_CLOSE_FD int fd =
        openat(log->dir_fd, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
    struct stat stat;
    if (fd >= 0 && fstat(fd, &stat) == 0) {
        ssize_t done = write(fd, lines.data, lines.len);
        (void)done;
        if ((uint64_t)stat.st_size + lines.len > FUNCTION_LOG_BYTES)
            renameat(log->dir_fd, file, log->dir_fd, older);
    }
    buf_fini(&lines);
}
