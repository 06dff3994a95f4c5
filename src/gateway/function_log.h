/* The functions' logs: <log dir>/functions/<name>.log, a line each with its time and stream, bounded by
 * rotation to one older file. What cannot be written is dropped: a full disk must not stop calls. */
#ifndef FAAS_GATEWAY_FUNCTION_LOG_H
#define FAAS_GATEWAY_FUNCTION_LOG_H

#include <stddef.h>

#include "base/err.h"

enum { FUNCTION_LOG_BYTES = 1 << 20 }; /* of one file */

struct function_log;

int function_log_open(const char *log_dir, struct function_log **ret_log, struct err *err);
void function_log_free(struct function_log *log);
/* stream: 1 stdout, 2 stderr. */
void function_log_write(struct function_log *log, const char *name, int stream, const void *text, size_t len);

#endif
