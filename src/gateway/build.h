/* Runs the builder: one process a build, a few at a time, the rest waits in order.
 *
 * The build is embedded in its owner and stays in place until on_done, which fires once, from the loop. */
#ifndef FAAS_GATEWAY_BUILD_H
#define FAAS_GATEWAY_BUILD_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/loop.h"
#include "dispatch/call.h"
#include "storage/storage.h"

struct gateway;
struct build;

/* err->code is ERR_OK when build->meta has what the builder found (entry, wasm, module, engine, native_hash).
 * build->error_text holds the whole message otherwise (it may be longer than err->msg). */
typedef void build_on_done(struct build *build, const struct err *err);

enum { BUILD_ARGS_MAX = 10, BUILD_TIMEOUT_MS = 45000, BUILD_WAITING_MAX = 256 };

struct build {
    /* Set by the owner. */
    const char *args[BUILD_ARGS_MAX]; /* behind the program's name, ended by NULL; borrowed until on_done */
    struct call_bytes source;         /* to the builder's stdin; borrowed until on_done */
    struct storage_meta *meta;        /* borrowed */
    build_on_done *on_done;

    /* build.c's. */
    struct gateway *gateway;
    struct build *next; /* of those that wait, or of those that run */
    pid_t pid;
    int pidfd, stdin_fd, stdout_fd;
    struct loop_watch pid_watch, stdin_watch, stdout_watch;
    struct loop_timer timer;
    size_t sent;
    struct buf output;
    char *error_text;
    bool exited, closed, timed_out, cancelled;
    bool cut; /* the source, or the result, did not come through whole */
};

/* ERR_UNAVAILABLE when too many wait already. */
int build_start(struct gateway *gateway, struct build *build, struct err *err);
/* Ends them all: on_done with ERR_DRAINING, now or when the builder has ended. */
void build_cancel_all(struct gateway *gateway);

#endif
