/* Landlock: a process gives up the files, ports and processes that it has no use for, by itself and for ever.
 * It holds where namespaces are not to be had, and behind them where they are. */
#ifndef FAAS_SANDBOX_LANDLOCK_H
#define FAAS_SANDBOX_LANDLOCK_H

#include <stdbool.h>

/* Version of the kernel's interface; 0 = none. 4 has the wall around TCP, 6 the one around signals and
 * abstract sockets. Asks the kernel once. */
int landlock_version(void);

enum landlock_access {
    LANDLOCK_SEE,   /* read files and directories, and start programs */
    LANDLOCK_READ,  /* read files, not look at what there is */
    LANDLOCK_WRITE, /* write to files that are there */
    LANDLOCK_OWN,   /* all of it: read, write, make, remove, start; but not devices */
};

/* A set of rules under way: everything that no rule gives is refused. The descriptor is the caller's to
 * close; -1 with errno. Ports: nothing TCP may be bound or connected unless `network`. All of this is
 * async-signal-safe. */
int landlock_begin(bool network);
/* Below the path, links in it followed. A path that is not there is given nothing; true. */
bool landlock_allow(int rules_fd, const char *path, enum landlock_access access);
/* From here on, for this thread and all that it starts. Wants no_new_privs. */
bool landlock_enter(int rules_fd);

#endif
