/* The TCP socket that the gateway serves, from the text of FAAS_LISTEN. */
#ifndef FAAS_BASE_LISTEN_H
#define FAAS_BASE_LISTEN_H

#include "base/err.h"

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080", ":8080" (all addresses); port 0 = any. The socket is
 * close-on-exec, non-blocking, with SO_REUSEADDR. ERR_BAD_REQUEST: no such address; ERR_CONFLICT: in use. */
int listen_open(const char *address, int *ret_fd, struct err *err);

#endif
