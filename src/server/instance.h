/* What has to be true before an instance starts: its directories can be written to, and nobody else runs in
 * its run directory. */
#ifndef FAAS_SERVER_INSTANCE_H
#define FAAS_SERVER_INSTANCE_H

#include "base/config.h"

/* Makes the data, log and run directories where they are missing (one level). */
int instance_check_dirs(const struct config *config, struct err *err);
/* The right to be the only `minifaas up` of this user in the run directory, held until the descriptor is
 * closed, which the end of the process does. ERR_CONFLICT: another one has it. */
int instance_lock(const char *run_dir, int *ret_fd, struct err *err);
/* ERR_CONFLICT when a part listens in the run directory. */
int instance_check_sockets(const char *run_dir, struct err *err);
/* Removes the sockets of parts that did not get to do it themselves. */
void instance_remove_sockets(const char *run_dir);
/* Sends SIGKILL to every child of this process. */
void instance_kill_children(void);

#endif
