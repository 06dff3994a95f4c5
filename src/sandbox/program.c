#include "sandbox/program.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "egress/gate.h"
#include "sandbox/confine.h"

enum { PROGRAM_NOFILE = 1024, PROGRAM_VARIABLES = 32, PROGRAM_BUILD_TASKS = 4096 };

static bool program_limit(int resource, uint64_t value) {
    struct rlimit limit = {value, value}, now;
    /* An ordinary user cannot raise a hard limit that is lower already. */
    if (getrlimit((__rlimit_resource_t)resource, &now) == 0 && now.rlim_max < value)
        limit.rlim_cur = limit.rlim_max = now.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit) == 0;
}

static bool program_set_limits(const struct init_plan *plan) {
    const struct sandbox_spec *spec = plan->spec;
    uint64_t file_bytes = spec->file_bytes;
    /* No tmpfs bounds what is written. */
    if (!plan->namespaces && !file_bytes && spec->tmp_mb)
        file_bytes = (uint64_t)spec->tmp_mb << 20;
    return program_limit(RLIMIT_CORE, 0) && program_limit(RLIMIT_NOFILE, PROGRAM_NOFILE) &&
           (!spec->data_mb || program_limit(RLIMIT_DATA, (uint64_t)spec->data_mb << 20)) &&
           (!file_bytes || program_limit(RLIMIT_FSIZE, file_bytes)) &&
           (!spec->cpu_s || program_limit(RLIMIT_CPU, spec->cpu_s));
}

/* The init counts as one of the user's processes. Where the pids group counts too, it is the one to be hit:
 * it remembers. Where the user is the one that everything else of his runs under, the number means nothing.
 */
static bool program_limit_processes(const struct init_plan *plan) {
    bool counted = plan->groups.into_fd >= 0 || plan->groups.tasks_fds[CGROUP_PIDS] >= 0;
    if (!plan->spec->processes || plan->forkless)
        return true;
    if (!plan->namespaces && !plan->privileged)
        return program_limit(RLIMIT_NPROC, PROGRAM_BUILD_TASKS);
    return program_limit(RLIMIT_NPROC, plan->spec->processes + (counted ? 64u : 1u));
}

/* Without a root of its own the program's /tmp is elsewhere. */
static void program_set_environment(const struct init_plan *plan, char **ret_environment) {
    static char home[80], tmp[80];
    int count = 0;
    snprintf(home, sizeof home, "HOME=%s", plan->scratch);
    snprintf(tmp, sizeof tmp, "TMPDIR=%s", plan->scratch);
    for (char *const *at = plan->spec->envp; *at && count < PROGRAM_VARIABLES - 1; at++) {
        bool moved = !plan->namespaces;
        ret_environment[count++] = moved && strcmp(*at, "HOME=/tmp") == 0     ? home
                                   : moved && strcmp(*at, "TMPDIR=/tmp") == 0 ? tmp
                                                                              : *at;
    }
    ret_environment[count] = NULL;
}

bool program_drop_capabilities(void) {
    for (unsigned long cap = 0; cap <= 63; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
            break;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capset, &header, none) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* Switching the user id keeps the capabilities, which the user namespace below still needs. */
static bool program_switch_user(const struct init_plan *plan) {
    return prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0 && setgroups(0, NULL) == 0 &&
           setresgid(plan->group, plan->group, plan->group) == 0 &&
           setresuid(plan->user, plan->user, plan->user) == 0;
}

/* No namespaces inside the sandbox: they would be a way to capabilities again. The limit is that of our user
 * namespace; as root the program gets one for that reason alone, and has no power over the mounts, which
 * belong to the outer one. */
static bool program_close_namespaces(const struct init_plan *plan) {
    if (plan->privileged) {
        /* Where we may not make one (in a chroot, or switched off), the program, with fewer rights, may not
         * either. */
        if (prctl(PR_SET_DUMPABLE, 1) != 0 || unshare(CLONE_NEWUSER) != 0)
            return true;
        if (!init_map_user(plan->proc_fd, plan->user, plan->group))
            return false;
    }
    return init_write_file(plan->proc_fd, "sys/user/max_user_namespaces", "0");
}

static bool program_set_rights(const struct init_plan *plan, const char **ret_step) {
    *ret_step = "user";
    if (plan->privileged && !program_switch_user(plan))
        return false;
    *ret_step = "process limit";
    if (!program_limit_processes(plan))
        return false;
    *ret_step = "user namespace";
    if (plan->namespaces && !program_close_namespaces(plan))
        return false;
    *ret_step = "capabilities";
    return program_drop_capabilities();
}

static void program_set_fds(const struct init_plan *plan, const int *fds) {
    for (int i = 0; i < plan->spec->fd_count; i++)
        if (dup2(fds[i], i) < 0)
            init_fail(plan->report_fd, "descriptors");
    /* The report must live until the exec. */
    if (close_range((unsigned)plan->spec->fd_count, ~0u, CLOSE_RANGE_CLOEXEC) != 0)
        init_fail(plan->report_fd, "descriptors");
}

void program_run(const struct init_plan *plan, const int *fds) {
    const struct sandbox_spec *spec = plan->spec;
    const char *step;
    setsid();
    umask(022);
    const char *cwd = spec->cwd ? spec->cwd : plan->namespaces ? "/tmp" : plan->scratch;
    if (!program_set_limits(plan))
        init_fail(plan->report_fd, "limits");
    if (!program_set_rights(plan, &step))
        init_fail(plan->report_fd, step);
    /* After the change of user, which clears it. The init has one thread. */
    if (!plan->namespaces)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(cwd) != 0)
        init_fail(plan->report_fd, cwd);
    if (plan->gate_fd > 0 && !gate_install(plan->gate_fd, plan->dns_fd))
        init_fail(plan->report_fd, "network filter");
    program_set_fds(plan, fds);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    char *environment[PROGRAM_VARIABLES];
    program_set_environment(plan, environment);
    if (!confine_enter(plan, &step))
        init_fail(plan->report_fd, step);
    if (!spec->program)
        _exit(0);
    execve(spec->program, spec->argv, environment);
    init_fail(plan->report_fd, spec->program);
}

void program_drop_rights(const struct init_plan *plan) {
    if (plan->privileged)
        program_switch_user(plan);
    program_drop_capabilities();
}
