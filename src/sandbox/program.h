/* The last steps of a sandboxed program before its exec, and what the init shares with them. */
#ifndef FAAS_SANDBOX_PROGRAM_H
#define FAAS_SANDBOX_PROGRAM_H

#include "sandbox/init.h"

enum {
    INIT_INNER_ID = 1000, /* user and group id that the program sees */
    INIT_FD_BASE = 64,    /* above the numbers that the program's descriptors get */
};

/* Reports errno and the step, and ends the process. */
void init_fail(int report_fd, const char *step) __attribute__((noreturn));
bool init_write_file(int dir_fd, const char *path, const char *text);
/* In a new user namespace: INIT_INNER_ID inside is this id outside. False with errno. */
bool init_map_user(int proc_fd, unsigned user, unsigned group);

/* In the child of the init. fds[i] becomes descriptor i. */
void program_run(const struct init_plan *plan, const int *fds) __attribute__((noreturn));
/* None are left, and none can be had again: no_new_privs. False with errno. */
bool program_drop_capabilities(void);
/* The init itself, once the program runs: no capability, and not root either. */
void program_drop_rights(const struct init_plan *plan);

#endif
