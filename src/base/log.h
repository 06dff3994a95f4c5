/* The log of a part: lines to stdout and, once opened, the same lines to <log dir>/<part>.log.
 *
 * A line is written with one write(2) each, so that several processes may share the file. `log_line` prints
 * the text as it is (the ready lines of the contract); `log_event` puts "<part>: " before it. Neither can
 * fail: a log that cannot be written is not worth dying for. Control bytes inside a line are replaced by '?'.
 */
#ifndef FAAS_BASE_LOG_H
#define FAAS_BASE_LOG_H

#include "base/err.h"

/* `part` is borrowed for the life of the process. dir NULL or "": stdout only. Creates the directory (one
 * level). */
int log_open(const char *part, const char *dir, struct err *err);
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_event(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
