/* Errors: one idiom for every function that can fail, one table for what an error means in five places.
 *
 * A function returns 0, or the negative of an enum err_code, and fills *err exactly on failure. The struct
 * lives on the caller's stack, so that making an error cannot fail. Who stops an error logs it, once; a
 * function that returns one does not. `err` is never NULL. */
#ifndef FAAS_BASE_ERR_H
#define FAAS_BASE_ERR_H

#include "base/err_table.h"

enum err_code {
#define ERR_ENUM(code, status, cause, exit_status, doc) code,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
        ERR_COUNT
};

struct err {
    int code;      /* enum err_code */
    int sys_errno; /* of the system call that failed, or 0 */
    char msg[192]; /* for people; cut at the end of the array, always terminated */
};

/* Fills *err and returns -code, so that `return err_set(err, ERR_NOT_FOUND, "…", …);` is a whole branch. */
int err_set(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a system call that has just failed: keeps errno, appends its text. Code is ERR_STORAGE_FULL
 * for ENOSPC and EDQUOT, else ERR_IO. */
int err_sys(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the message that is there; returns -err->code. */
int err_wrap(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A code outside the table counts as ERR_INTERNAL in all three. */
int err_http_status(int code);
const char *err_cause(int code);
int err_exit_status(int code);

#endif
