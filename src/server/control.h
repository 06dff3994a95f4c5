/* The supervisor's socket, <run dir>/faas_supervisor.sock: what `minifaas reload` says and hears. */
#ifndef FAAS_SERVER_CONTROL_H
#define FAAS_SERVER_CONTROL_H

#include "base/loop.h"
#include "wire/message.h"

struct control;

/* Somebody wants parts replaced: "load_balancer", "server", "api_gateway", or "" for all. control_answer
 * follows, now or later. */
typedef void control_on_reload(void *context, const char *parts);

int control_new(struct loop *loop, const char *run_dir, control_on_reload *on_reload, void *context,
                struct control **ret_control, struct err *err);
void control_free(struct control *control);
/* To all who wait. */
void control_answer(struct control *control, int code, const char *text);

/* The other end: asks, and waits until it is done. *ret_text is what the supervisor said, also when that is
 * an error. */
int control_ask_reload(const char *run_dir, const char *parts, char ret_text[MESSAGE_TEXT_BYTES],
                       struct err *err);

#endif
