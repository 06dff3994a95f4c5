/* The server: starts and watches the workers, hands their pipes to the gateway, registers them with the load
 * balancer. It stands in the path of no call. */
#ifndef FAAS_SERVER_SERVER_H
#define FAAS_SERVER_SERVER_H

#include "base/config.h"

/* Listens on <run dir>/faas_server.sock and runs until SIGTERM or SIGINT, then drains (a second signal ends
 * it at once). When it is to replace another it listens as soon as its workers are up; SIGHUP says that
 * another has replaced us. parts_dir is where the executable `worker` and runtimes/ are. ERR_CONFLICT:
 * another one listens in this run directory. */
int server_run(const struct config *config, const char *parts_dir, struct err *err);

#endif
