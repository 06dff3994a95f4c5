#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "sandbox/cgroup.h"
#include "sandbox/init.h"
#include "sandbox/landlock.h"
#include "sandbox/network.h"
#include "sandbox/probe.h"
#include "sandbox/program.h"
#include "sandbox/scratch.h"
#include "sandbox/seccomp.h"
#include "sandbox/template.h"
#include "sandbox/spec.h"

enum { SANDBOX_START_MS = 20000 };
static bool sandbox_prepares;

/* Where the kernel shows our arguments and environment. Zeroes when it does not say. */
static void sandbox_find_texts(struct init_plan *plan) {
    char text[2048];
    MEM_CLOSE_FD int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (len <= 0)
        return;
    text[len] = 0;
    char *at = strrchr(text, ')');
    unsigned long addresses[4] = {0};
    /* Field 3 follows the name in parentheses; 48 to 51 are what we want. */
    for (int field = 3; at && field < 52; field++) {
        at = strchr(at + 1, ' ');
        if (at && field >= 48)
            addresses[field - 48] = strtoul(at + 1, NULL, 10);
    }
    if (!at || addresses[0] > addresses[1] || addresses[2] > addresses[3])
        return;
    plan->arguments = (char *)addresses[0];
    plan->arguments_end = (char *)addresses[1];
    plan->environment = (char *)addresses[2];
    plan->environment_end = (char *)addresses[3];
}

static pid_t sandbox_clone(enum probe_mode mode, const struct init_plan *plan, int *ret_pidfd) {
    if (mode == PROBE_NONE || mode == PROBE_OFF)
        return (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, ret_pidfd, 0, 0);
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD,
        .exit_signal = SIGCHLD,
        .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
    };
    if (mode == PROBE_USER)
        args.flags |= CLONE_NEWUSER;
    if (plan->template_fd <= 0)
        args.flags |= CLONE_NEWNS;
    if (plan->network_fd <= 0)
        args.flags |= CLONE_NEWNET;
    if (plan->groups.into_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)(unsigned)plan->groups.into_fd;
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* Waits until the program's exec has closed the report, or a step has failed. */
static int sandbox_await_exec(int report_fd, const struct sandbox_spec *spec, struct err *err) {
    struct init_report report;
    struct pollfd waiting = {.fd = report_fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&waiting, 1, SANDBOX_START_MS);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return err_set(err, ERR_UNAVAILABLE, "a sandbox was not ready in %d s", SANDBOX_START_MS / 1000);
    ssize_t len = read(report_fd, &report, sizeof report);
    if (len == 0)
        return 0;
    if (len != sizeof report)
        return err_set(err, ERR_INTERNAL, "a sandbox ended before its program started");
    report.step[sizeof report.step - 1] = 0;
    errno = report.sys_errno;
    err_sys(err, "sandbox: %s", report.step);
    if (spec->program && strcmp(report.step, spec->program) == 0 && report.sys_errno == ENOENT)
        err->code = ERR_NOT_INSTALLED;
    else if (report.sys_errno == EAGAIN || report.sys_errno == ENOMEM)
        err->code = ERR_UNAVAILABLE;
    return -err->code;
}

/* A clone that never got as far as its program. */
static void sandbox_discard(struct sandbox_child *child) {
    bool ignored;
    siginfo_t info;
    kill(child->pid, SIGKILL);
    while (waitid(P_PID, (id_t)child->pid, &info, WEXITED) != 0 && errno == EINTR)
        ;
    close(child->pidfd);
    sandbox_finish(child, &ignored, &ignored);
}

static int sandbox_start_child(enum probe_mode mode, struct init_plan *plan, struct sandbox_child *child,
                               struct err *err) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return err_sys(err, "pipe");
    MEM_CLOSE_FD int report_read = report[0];
    /* Above the descriptors that the program gets. */
    MEM_CLOSE_FD int report_write = fcntl(report[1], F_DUPFD_CLOEXEC, INIT_FD_BASE);
    close(report[1]);
    if (report_write < 0)
        return err_sys(err, "descriptors");
    plan->report_fd = report_write;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    int pidfd = -1;
    pid_t pid = sandbox_clone(mode, plan, &pidfd);
    if (pid == 0)
        init_run(plan);
    int saved = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    if (pid < 0) {
        err_sys(err, "clone");
        err->code = saved == EAGAIN || saved == ENOMEM ? ERR_UNAVAILABLE : err->code;
        return -err->code;
    }
    child->pid = pid;
    child->pidfd = pidfd;
    close(mem_steal_fd(&report_write));
    int failed = sandbox_await_exec(report_read, plan->spec, err);
    if (failed)
        sandbox_discard(child);
    return failed;
}

static void sandbox_plan(const struct probe *probe, const struct sandbox_spec *spec,
                         struct init_plan *ret_plan) {
    bool off = probe->mode == PROBE_OFF;
    *ret_plan = (struct init_plan){
        .spec = spec,
        .namespaces = probe->mode == PROBE_ROOT || probe->mode == PROBE_USER,
        .privileged = probe->privileged,
        .landlock = !off && landlock_version() > 0,
        .seccomp = !off && seccomp_is_there(),
        .user = geteuid(),
        .group = getegid(),
        .groups = {.tasks_fds = {-1, -1}, .into_fd = -1},
    };
}

int sandbox_start_as(const struct probe *probe, const struct sandbox_spec *spec,
                     struct sandbox_child *ret_child, struct err *err) {
    bool host_paths = probe->mode == PROBE_NONE || probe->mode == PROBE_OFF;
    struct sandbox_spec *copy __attribute__((cleanup(mem_free_ptr))) = spec_copy(spec, host_paths);
    if (!copy)
        return err_set(err, ERR_UNAVAILABLE, "out of memory");
    struct init_plan plan;
    sandbox_plan(probe, copy, &plan);
    struct sandbox_child child = {.pid = -1, .pidfd = -1};
    int failed = probe->mode == PROBE_OFF ? 0
                                          : cgroup_make(spec->memory_mb, spec->processes, child.cgroup,
                                                        sizeof child.cgroup, &plan.groups, err);
    if (failed)
        return failed;
    bool counted = plan.groups.into_fd >= 0 || plan.groups.tasks_fds[CGROUP_PIDS] >= 0;
    plan.uncounted = probe->mode != PROBE_OFF && spec->memory_mb && !cgroup_is_there(CGROUP_MEMORY);
    plan.forkless = probe->mode == PROBE_NONE && !plan.privileged && !counted && plan.seccomp &&
                    spec->kind != SANDBOX_BUILDER;
    sandbox_find_texts(&plan);
    plan.scratch = child.scratch;
    child.own_user = host_paths && plan.privileged;
    if (host_paths && !scratch_make(child.scratch, sizeof child.scratch))
        failed = err_sys(err, "a temporary directory");
    /* What a program is not waiting for is made ahead in a process that lives on, not by a builder. */
    MEM_CLOSE_FD int network_fd = sandbox_prepares && probe->mode == PROBE_ROOT ? network_take() : -1;
    plan.network_fd = network_fd;
    plan.template_fd = sandbox_prepares ? template_find(probe, copy) : 0;
    if (!failed)
        failed = sandbox_start_child(probe->mode, &plan, &child, err);
    if (sandbox_prepares && probe->mode == PROBE_ROOT)
        network_prepare();
    cgroup_entry_close(&plan.groups);
    if (failed && child.pid < 0)
        sandbox_finish(&child, &(bool){false}, &(bool){false});
    if (!failed)
        *ret_child = child;
    return failed;
}

int sandbox_start(const struct sandbox_spec *spec, struct sandbox_child *ret_child, struct err *err) {
    if (spec->bind_count > SANDBOX_BINDS_MAX || spec->fd_count > SANDBOX_FDS_MAX || !spec->program ||
        spec->inner_pid == 1)
        return err_set(err, ERR_INTERNAL, "a sandbox was asked for wrongly");
    if (!sandbox_has_root() && spec->gate_fd > 0)
        return err_set(err, ERR_NOT_INSTALLED,
                       "this machine gives no network namespaces: no function may connect");
    return sandbox_start_as(probe_get(), spec, ret_child, err);
}

/* What had fled from its process group, by the user id that nobody else has. Without a pid namespace nothing
 * else knows all of it. */
static void sandbox_kill_user(pid_t init) {
    unsigned user = INIT_USER_BASE + (unsigned)init;
    pid_t pid = fork();
    if (pid == 0) {
        if (setresuid(user, user, user) == 0)
            kill(-1, SIGKILL);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

void sandbox_finish(struct sandbox_child *child, bool *ret_oom, bool *ret_processes) {
    if (child->own_user && child->pid > 0)
        sandbox_kill_user(child->pid);
    child->own_user = false;
    cgroup_remove(child->cgroup, ret_oom, ret_processes);
    child->cgroup[0] = 0;
    if (child->scratch[0])
        scratch_remove(child->scratch);
    child->scratch[0] = 0;
}

void sandbox_prepare(void) {
    sandbox_prepares = true;
}

void sandbox_fini(void) {
    network_fini();
    template_fini();
    cgroup_fini();
}
