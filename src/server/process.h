/* One process of Node.js or Python in its sandbox: how it is started. */
#ifndef FAAS_SERVER_PROCESS_H
#define FAAS_SERVER_PROCESS_H

#include "sandbox/sandbox.h"
#include "wire/message.h"

/* The gateway's ends, in the order of SERVER_PROCESS; all owned, -1 = handed over. */
enum process_end {
    PROCESS_CALLS,
    PROCESS_ANSWERS,
    PROCESS_PAGE,
    PROCESS_PIDFD,
    PROCESS_STDIN,
    PROCESS_STDOUT,
    PROCESS_STDERR,
    PROCESS_ENDS
};

struct process_spec {
    enum runtime runtime;
    const char *interpreter; /* absolute path of the real binary */
    const char *parts_dir;   /* runtimes/ is below it */
    uint32_t memory_mb, processes, tmp_mb;
    uint32_t inner_pid;
    int gate_fd; /* see struct sandbox_spec */
    /* Descriptor of the write end of its standard error, for its broker; owned by the caller then. Wanted
     * with a gate only. */
    int *ret_error_fd;
};

/* "node", "python". */
const char *process_runtime_name(enum runtime runtime);
/* What a function with memory_mb may have with its interpreter, without its /tmp. */
uint32_t process_memory_mb(enum runtime runtime, uint32_t memory_mb);
int process_start(const struct process_spec *spec, struct sandbox_child *ret_child,
                  int ret_ends[PROCESS_ENDS], struct err *err);
void process_close_ends(int ends[PROCESS_ENDS]);

#endif
