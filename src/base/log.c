#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_LINE_BYTES = 2048 };

/* The process's log; the only state in base that belongs to the process. */
static struct {
    const char *part;
    int file_fd;
} log_state = {"minifaas", -1};

int log_open(const char *part, const char *dir, struct err *err) {
    log_state.part = part;
    if (!dir || !*dir)
        return 0;
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return err_sys(err, "cannot create the log directory '%s'", dir);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.log", dir, part);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_sys(err, "cannot open the log '%s'", path);
    if (log_state.file_fd >= 0)
        close(log_state.file_fd);
    log_state.file_fd = fd;
    return 0;
}

static void log_write(char *line, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    ssize_t done = write(STDOUT_FILENO, line, len);
    if (log_state.file_fd >= 0)
        done = write(log_state.file_fd, line, len);
    (void)done;
}

static size_t log_format(char *line, size_t at, const char *format, va_list args) {
    int used = vsnprintf(line + at, LOG_LINE_BYTES - 1 - at, format, args);
    if (used < 0)
        return at;
    at += (size_t)used;
    return at < LOG_LINE_BYTES - 2 ? at : LOG_LINE_BYTES - 2;
}

void log_line(const char *format, ...) {
    char line[LOG_LINE_BYTES];
    va_list args;
    va_start(args, format);
    size_t len = log_format(line, 0, format, args);
    va_end(args);
    log_write(line, len);
}

void log_event(const char *format, ...) {
    char line[LOG_LINE_BYTES];
    int used = snprintf(line, sizeof line, "%s: ", log_state.part);
    va_list args;
    va_start(args, format);
    size_t len = log_format(line, used < 0 ? 0 : (size_t)used, format, args);
    va_end(args);
    log_write(line, len);
}
