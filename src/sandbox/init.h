/* What runs inside a sandbox before the program does: process 1 and the last steps up to exec. Between the
 * clone and the exec only system calls are made: nothing is allocated, no lock of the parent's is taken. */
#ifndef FAAS_SANDBOX_INIT_H
#define FAAS_SANDBOX_INIT_H

#include <stdbool.h>

#include "sandbox/cgroup.h"
#include "sandbox/sandbox.h"

/* User ids of programs: far above what systems and container tools hand out; a process id of the whole
 * machine, the init's, is added, so that no two sandboxes share one. */
#define INIT_USER_BASE 0x70000000u

/* Prepared by the parent. `spec`, with all its texts, is a copy that does not lie in the memory of the
 * parent's arguments or environment: the init overwrites those, so that the program cannot read them in
 * /proc/1. */
struct init_plan {
    const struct sandbox_spec *spec;
    bool namespaces; /* it is process 1 of a pid namespace, and makes a root of its own */
    bool landlock, seccomp;
    bool uncounted;      /* no control group counts its memory */
    bool forkless;       /* the program gets no limit of processes, but may not make any */
    const char *scratch; /* without namespaces: a directory of the host that is the program's /tmp */
    bool privileged; /* the parent is root: the program gets a user id of its own, which the init fills in */
    unsigned user, group;
    struct cgroup_entry groups;
    int report_fd; /* write end of a pipe: a struct init_report when a step fails; closed by the exec */
    char *arguments, *arguments_end; /* the parent's, to be overwritten */
    char *environment, *environment_end;
    int proc_fd;     /* the init's: /proc, also when the program will not see it */
    int template_fd; /* > 0: pidfd of a process whose root is to be copied */
    int network_fd;  /* > 0: a network namespace that was made ahead, to be entered */
    int gate_fd;     /* the spec's, above the descriptors that the program gets; 0 = no network */
    int dns_fd;      /* the broker's socket in the network of the sandbox */
};

struct init_report {
    int sys_errno;
    char step[124]; /* terminated */
};

/* Never returns. Called in the child that is process 1 of the sandbox. */
void init_run(const struct init_plan *prepared) __attribute__((noreturn));

#endif
