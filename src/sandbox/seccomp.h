/* System calls that a sandboxed process may make: one filter for each kind of process, from the table in
 * syscalls.h. Putting one together takes some microseconds and no memory but the stack's: it is done where it
 * is entered. */
#ifndef FAAS_SANDBOX_SECCOMP_H
#define FAAS_SANDBOX_SECCOMP_H

#include <stdbool.h>
#include <stddef.h>

#include "sandbox/sandbox.h"

struct sock_filter;

enum { SECCOMP_PROGRAM_MAX = 1024 };

/* What a filter depends on, besides the kind of process. */
struct seccomp_options {
    bool confined;  /* in a pid namespace of its own, or behind Landlock's wall around signals: it may send
                       signals to what it sees. If not, to itself only */
    bool forkless;  /* nothing else limits its processes: it may not make any; threads it may */
    bool on_host;   /* it has no root of its own: UNIX sockets would lead to those of the host, which Landlock
                       does not guard */
    bool network;   /* it may make IPv4 and IPv6 sockets */
    bool uncounted; /* no control group counts its memory: it gets none that RLIMIT_DATA does not see */
};

/* The kernel has filters. */
bool seccomp_is_there(void);
/* For this thread, or for all of the process's; and for what it starts. Wants no_new_privs. `self` is the
 * process id that the process sees as its own. Async-signal-safe. False with errno. */
bool seccomp_enter(enum sandbox_kind kind, const struct seccomp_options *options, int self, bool all_threads);

/* For tests: the program, as seccomp_enter gives it to the kernel. Its length; 0 when it does not fit. */
size_t seccomp_program(enum sandbox_kind kind, const struct seccomp_options *options, int self,
                       struct sock_filter *ret_program, size_t size);

#endif
