#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *cause;
    int exit_status;
} err_rows[ERR_COUNT] = {
#define ERR_ROW(code, status, cause, exit_status, doc) [code] = {status, cause, exit_status},
    ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

static int err_row(int code) {
    return code >= 0 && code < ERR_COUNT ? code : ERR_INTERNAL;
}

int err_set(struct err *err, enum err_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err->msg, sizeof err->msg, format, args);
    va_end(args);
    err->code = (int)code;
    err->sys_errno = 0;
    return -(int)code;
}

int err_sys(struct err *err, const char *format, ...) {
    int saved = errno;
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->msg, sizeof err->msg, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->msg)
        snprintf(err->msg + used, sizeof err->msg - (size_t)used, ": %s", strerror(saved));
    err->code = saved == ENOSPC || saved == EDQUOT ? ERR_STORAGE_FULL : ERR_IO;
    err->sys_errno = saved;
    return -err->code;
}

int err_wrap(struct err *err, const char *format, ...) {
    char inner[sizeof err->msg];
    memcpy(inner, err->msg, sizeof inner);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->msg, sizeof err->msg, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->msg)
        snprintf(err->msg + used, sizeof err->msg - (size_t)used, ": %s", inner);
    return -err->code;
}

int err_http_status(int code) {
    return err_rows[err_row(code)].status;
}

const char *err_cause(int code) {
    return err_rows[err_row(code)].cause;
}

int err_exit_status(int code) {
    return err_rows[err_row(code)].exit_status;
}
