/* What a WASM worker gives up before it runs the code of strangers, for itself and for ever: the engine keeps
 * that code inside, and this keeps inside whoever breaks the engine. */
#ifndef FAAS_SANDBOX_SEAL_H
#define FAAS_SANDBOX_SEAL_H

#include "base/err.h"

/* Before there is a second thread: no capabilities, no new privileges, and of all files only those below
 * data_dir, to be read; no ports, no signals to others. */
int seal_files(const char *data_dir, struct err *err);
/* Last: of all system calls those that running a function takes, for every thread. No process, program,
 * thread, socket or file for writing can be had any more; trying is the end of the process (SIGSYS). */
int seal_calls(struct err *err);

#endif
