/* The TCP socket that the gateway serves, from the text of FAAS_LISTEN. */
#ifndef FAAS_BASE_LISTEN_H
#define FAAS_BASE_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The variable by which the supervisor names the descriptor that it passes on. */
#define LISTEN_FD_VARIABLE "FAAS_LISTEN_FD"

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080", ":8080" (all addresses); port 0 = any. The socket is
 * close-on-exec, non-blocking, with SO_REUSEADDR. ERR_BAD_REQUEST: no such address; ERR_CONFLICT: in use. */
int listen_open(const char *address, int *ret_fd, struct err *err);
/* The address that a socket really has, as text. */
int listen_name(int fd, char *ret_address, size_t size, struct err *err);
/* Whether only this machine reaches the socket: bound to 127.0.0.0/8 or ::1, or not one of IP. */
bool listen_is_loopback(int fd);
/* The socket that LISTEN_FD_VARIABLE names when it is set (it is taken out of the environment), else
 * listen_open. */
int listen_take_or_open(const char *address, int *ret_fd, char *ret_address, size_t size, struct err *err);

#endif
