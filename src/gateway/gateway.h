/* The API gateway: HTTP routes over storage and dispatch.
 *
 * Owns everything below it (storage, jobs, dispatcher, HTTP server); one loop, one thread, and a thread for
 * the disk. */
#ifndef FAAS_GATEWAY_GATEWAY_H
#define FAAS_GATEWAY_GATEWAY_H

#include "base/config.h"
#include "base/loop.h"

struct gateway;

/* listen_fd is borrowed. Nothing is served before this returns. */
int gateway_new(struct loop *loop, const struct config *config, int listen_fd, struct gateway **ret_gateway,
                struct err *err);
/* Takes no more calls and connections; the loop is stopped when the last answer is written, or after 10 s. */
void gateway_drain(struct gateway *gateway);
/* The supervisor has another gateway now; ends when that has all it is to have and calls that run have ended.
 */
void gateway_was_replaced(struct gateway *gateway);
void gateway_free(struct gateway *gateway);

#endif
