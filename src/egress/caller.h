/* What the broker reads of a function's process that waits in a system call. Nothing of it is believed for
 * longer than the one look: what is decided about is the copy made here. */
#ifndef FAAS_EGRESS_CALLER_H
#define FAAS_EGRESS_CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The socket that a thread wants connected. Own copies; close with caller_close_socket. */
struct caller_socket {
    int fd; /* a descriptor of the same socket */
    int family, type, protocol;
    bool nonblocking, close_on_exec;
};

/* A copy of a socket address in the thread's memory. 0, or the errno that its system call shall give. */
int caller_read_address(pid_t thread, uint64_t at, uint64_t len, struct sockaddr_storage *ret_address,
                        socklen_t *ret_len);
/* The socket behind the thread's descriptor. 0, or the errno that its system call shall give. */
int caller_open_socket(pid_t thread, int fd, struct caller_socket *ret_socket);
void caller_close_socket(struct caller_socket *socket);
/* What it set before it connected. */
void caller_copy_options(const struct caller_socket *from, int to_fd);

#endif
