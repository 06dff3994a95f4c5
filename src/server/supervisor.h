/* `minifaas up`: the process that starts the three parts, starts one again that died, and ends them all.
 *
 * It owns the listening socket, so that a gateway that is started again keeps its port and no connection is
 * refused. What a part leaves behind becomes its child and is reaped. */
#ifndef FAAS_SERVER_SUPERVISOR_H
#define FAAS_SERVER_SUPERVISOR_H

#include "base/config.h"

/* Exports the configuration to the parts and runs until SIGTERM or SIGINT, then stops the gateway, the server
 * and the balancer, in this order (a second signal ends all at once). SIGHUP, and `minifaas reload`, replace
 * the parts while they serve, by what the executables are then; a SIGHUP since our terminal is gone stops. An
 * error before anything was started: ERR_CONFLICT when the address or the run directory is in use, ERR_IO
 * when a directory cannot be written to, ERR_NOT_INSTALLED when an executable is missing. */
int supervisor_run(const struct config *config, const char *parts_dir, struct err *err);

#endif
