/* Starts a program inside a sandbox: one code path for builders and for the processes of Node.js and Python.
 *
 * Inside: user (when not root), mount, pid, ipc, uts and network namespaces; a minimal read-only root of bind
 * mounts; a tmpfs /tmp of tmp_mb; /proc of its own pid namespace; /dev with null, zero, full, random,
 * urandom; no capabilities, no_new_privs; rlimits; a memory and pids cgroup where one can be made. Process 1
 * of the pid namespace is a tiny init that starts the program, reaps, notes the program's wait status, and
 * ends when the program ends: all it had started ends with it, and killing the init ends all. The program
 * never runs as process 1, and its pid inside is `inner_pid` (two processes never share one).
 *
 * As root the program runs under a user id that no other process of the machine has, in a user namespace in
 * which it has no capability and can make no further namespace; it sees itself as user 1000, and a writable
 * bind's directory is handed to that user id. As an ordinary user it keeps the id outside.
 *
 * The network is empty. A program with a gate has loopback in it, and a filter that asks a broker outside
 * about every connect.
 *
 * Then the program gives up what is left that it has no use for: files and ports by Landlock, system calls by
 * a seccomp filter (syscalls.h).
 *
 * What of this a machine gives is found out once in the life of the process. Without namespaces there are
 * Landlock, seccomp, rlimits and no_new_privs: the program sees the binds at their places on the host, its
 * /tmp is a directory of its own there, it may signal nobody but itself, and where nothing else can count its
 * processes it can make none. */
#ifndef FAAS_SANDBOX_SANDBOX_H
#define FAAS_SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { SANDBOX_BINDS_MAX = 32, SANDBOX_FDS_MAX = 16 };

/* What runs inside: chooses the system calls. */
enum sandbox_kind { SANDBOX_BUILDER, SANDBOX_PYTHON, SANDBOX_NODE, SANDBOX_WORKER };

/* How far the walls go. FAAS_SANDBOX says what is wanted: `auto` (what the machine gives), `require` (full,
 * or nothing starts), `off` (nothing but rlimits: for measurement). */
enum sandbox_tier {
    SANDBOX_OFF,
    SANDBOX_PROCESS,    /* no namespaces */
    SANDBOX_NAMESPACES, /* namespaces, but not all of the rest */
    SANDBOX_FULL,       /* every wall below */
};

#define SANDBOX_WALLS(X)                                                                                     \
    X(namespaces, "namespaces")                                                                              \
    X(own_users, "user ids of their own")                                                                    \
    X(memory_group, "control group for memory")                                                              \
    X(process_group, "control group for processes")                                                          \
    X(landlock, "Landlock")                                                                                  \
    X(seccomp, "seccomp")
struct sandbox_report {
    enum sandbox_tier tier;
#define SANDBOX_WALL(field, name) bool field;
    SANDBOX_WALLS(SANDBOX_WALL)
#undef SANDBOX_WALL
};

struct sandbox_bind {
    const char *source; /* on the host; skipped when it does not exist and `optional` */
    const char *target; /* inside; NULL = the same path */
    bool writable;
    bool optional;
    int map_fd; /* > 0: a user namespace through which the files' owners are seen; without mounts below it */
};

struct sandbox_spec {
    enum sandbox_kind kind;
    const char *comm;    /* name of the init process: "builder", "spare-node"… */
    const char *program; /* absolute path inside */
    char *const *argv;
    char *const *envp; /* the whole environment: nothing is inherited */
    const char *cwd;   /* inside; NULL = /tmp */
    struct sandbox_bind binds[SANDBOX_BINDS_MAX];
    int bind_count;
    int fds[SANDBOX_FDS_MAX]; /* fds[i] becomes descriptor i of the program; -1 = /dev/null; all others are
                                 closed */
    int fd_count;
    uint32_t memory_mb; /* 0 = no limit */
    uint32_t data_mb;   /* RLIMIT_DATA; 0 = none */
    uint32_t processes; /* 0 = no limit */
    uint32_t tmp_mb;
    uint32_t cpu_s;       /* RLIMIT_CPU; 0 = none */
    uint64_t file_bytes;  /* RLIMIT_FSIZE; 0 = none */
    uint32_t wall_s;      /* the init ends everything after so many seconds; 0 = never */
    uint32_t inner_pid;   /* 0 = any; must not be 1 */
    int page_fd;          /* memfd of a struct page that gets exit_status, or -1 */
    int gate_fd;          /* > 0: the program may connect to what the broker at the other end permits (see
                             egress/gate.h); 0 = it has no network */
    int lifeline_fd;      /* > 0: no program is run; the init holds the namespaces until this pipe ends */
    const char *proc_exe; /* not NULL: there is no /proc, which shows paths of the host, but this as the link
                             /proc/self/exe: for a compiler that a stranger's source can make show files */
};

struct sandbox_child {
    pid_t pid; /* of the init, as seen from here; its exit status is the program's, 128 + n for a signal */
    int pidfd; /* the caller's to close */
    char cgroup[128]; /* its name under the instance's cgroups, "" = none */
    bool own_user;    /* without namespaces: what has its user id and is still there ends with it */
    char scratch[64]; /* what stood in for its /tmp, "" = none */
};

/* Returns when the program has been exec'd (about 1 ms above what the process itself takes), or could not be:
 * then nothing is left, and err names the step that failed. ERR_NOT_INSTALLED when the program does not
 * exist, or a gate is wanted where there are no namespaces, ERR_UNAVAILABLE when processes or memory are
 * short. Copies what it needs of the spec. The caller reaps the child. */
int sandbox_start(const struct sandbox_spec *spec, struct sandbox_child *ret_child, struct err *err);
/* After the child was reaped: removes its cgroups and its scratch directory. *ret_oom: the memory limit
 * killed in it. *ret_processes: the process limit was hit. */
void sandbox_finish(struct sandbox_child *child, bool *ret_oom, bool *ret_processes);
/* Takes the setting (FAAS_SANDBOX, also for the processes started from here) and finds out what there is.
 * ERR_BAD_REQUEST when it is no mode, ERR_UNAVAILABLE with the walls that are missing when more is required
 * than the machine gives. Call it before the first sandbox; without it the environment's FAAS_SANDBOX counts.
 */
int sandbox_use(const char *mode, struct err *err);
/* Tries once in the life of the process. */
const struct sandbox_report *sandbox_probe(void);
/* The program has a root of its own: binds are at their targets. */
bool sandbox_has_root(void);
/* "full", "namespaces", "process", "off". */
const char *sandbox_tier_name(enum sandbox_tier tier);
/* One line for people: the tier, and what is missing for the full one. */
void sandbox_describe(char *ret_text, size_t size);
/* This process will start many: from the first on, part of the next is made ahead. */
void sandbox_prepare(void);
/* Before the process ends: removes the directory of its control groups. (One that did not get here is cleaned
 * up by the next process that starts a sandbox.) */
void sandbox_fini(void);

#endif
