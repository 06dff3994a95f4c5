/* Stops native code where it stands, at no cost while it runs: no check is compiled into it.
 *
 * A signal to the thread that runs a guest asks whether it may go on. If not, and if the thread is in the
 * guest's own instructions, it goes on at one that traps, and the engine unwinds it as it does any trap. In
 * the host's functions (imports, the engine) it is let be; `seen` says that it was asked meanwhile. */
#ifndef FAAS_WORKER_INTERRUPT_H
#define FAAS_WORKER_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Addresses of a module's instructions: of its own functions, from `begin` to before `end`, and of one that
 * traps. */
struct interrupt_code {
    uintptr_t begin, end, stop;
};

/* In the signal's handler, while the thread is in the guest's own instructions, so that it may do what an
 * import may. True: stop it. */
typedef bool interrupt_on_ask(void *context);

struct interrupt {
    const struct interrupt_code *code;
    interrupt_on_ask *on_ask;
    void *context;
    volatile bool seen; /* asked while the thread was not in the guest's instructions */
};

/* For the thread that calls it, which is the one that will run guests. Once a process. */
int interrupt_open(struct err *err);

/* Between the two the thread may run code of interrupt->code; borrowed until then. */
void interrupt_begin(struct interrupt *interrupt);
void interrupt_end(void);

/* Asks. From any thread; does nothing when no guest runs. */
void interrupt_ask(void);

#endif
