/* The listening socket: opened from an address, or taken over from the supervisor. */
#ifndef FAAS_BASE_LISTEN_H
#define FAAS_BASE_LISTEN_H

#include <stddef.h>

#include "base/err.h"

/* Descriptor that a supervisor passed on, by number, in the environment. */
#define LISTEN_FD_VARIABLE "FAAS_LISTEN_FD"

/* address: "127.0.0.1:8080", "[::1]:8080"; port 0 = any. *ret_fd is non-blocking and close-on-exec.
 * ERR_BAD_REQUEST for what is no address, ERR_CONFLICT when it is in use, ERR_IO otherwise. */
int listen_open(const char *address, int *ret_fd, struct err *err);
/* The address that the socket really has, as text. */
int listen_name(int fd, char *ret_address, size_t size, struct err *err);
/* The socket named by LISTEN_FD_VARIABLE when it is set (the variable is taken out of the environment), else
 * listen_open. */
int listen_take_or_open(const char *address, int *ret_fd, char *ret_address, size_t size, struct err *err);

#endif
