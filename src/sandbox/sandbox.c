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
#include "sandbox/program.h"
#include "sandbox/spec.h"

enum { SANDBOX_START_MS = 20000 };

/* How this process may make sandboxes, found out once. */
enum sandbox_mode {
    SANDBOX_MODE_UNKNOWN,
    SANDBOX_MODE_ROOT, /* namespaces with the rights that we have */
    SANDBOX_MODE_USER, /* in a user namespace */
    SANDBOX_MODE_NONE, /* no namespaces */
};
static enum sandbox_mode sandbox_mode;

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

static pid_t sandbox_clone(enum sandbox_mode mode, int into_cgroup_fd, int *ret_pidfd) {
    if (mode == SANDBOX_MODE_NONE)
        return (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, ret_pidfd, 0, 0);
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_PIDFD,
        .exit_signal = SIGCHLD,
        .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
    };
    if (mode == SANDBOX_MODE_USER)
        args.flags |= CLONE_NEWUSER;
    if (into_cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)(unsigned)into_cgroup_fd;
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

static int sandbox_start_child(enum sandbox_mode mode, struct init_plan *plan, struct sandbox_child *child,
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
    pid_t pid = sandbox_clone(mode, plan->groups.into_fd, &pidfd);
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

static int sandbox_start_mode(enum sandbox_mode mode, const struct sandbox_spec *spec,
                              struct sandbox_child *ret_child, struct err *err) {
    struct sandbox_spec *copy __attribute__((cleanup(mem_free_ptr))) =
        spec_copy(spec, mode == SANDBOX_MODE_NONE);
    if (!copy)
        return err_set(err, ERR_UNAVAILABLE, "out of memory");
    struct init_plan plan = {
        .spec = copy,
        .tier = mode == SANDBOX_MODE_NONE ? SANDBOX_RLIMITS : SANDBOX_NAMESPACES,
        .privileged = geteuid() == 0 && mode != SANDBOX_MODE_USER,
        .user = geteuid(),
        .group = getegid(),
    };
    struct sandbox_child child = {.pid = -1, .pidfd = -1};
    int failed =
        cgroup_make(spec->memory_mb, spec->processes, child.cgroup, sizeof child.cgroup, &plan.groups, err);
    if (failed)
        return failed;
    sandbox_find_texts(&plan);
    failed = sandbox_start_child(mode, &plan, &child, err);
    cgroup_entry_close(&plan.groups);
    if (failed && child.pid < 0)
        sandbox_finish(&child, &(bool){false}, &(bool){false});
    if (!failed)
        *ret_child = child;
    return failed;
}

static bool sandbox_try(enum sandbox_mode mode) {
    struct sandbox_spec spec = {.comm = "sandbox", .tmp_mb = 1, .page_fd = -1};
    struct sandbox_child child;
    struct err err;
    siginfo_t info = {0};
    if (sandbox_start_mode(mode, &spec, &child, &err) != 0)
        return false;
    while (waitid(P_PID, (id_t)child.pid, &info, WEXITED) != 0 && errno == EINTR)
        ;
    close(child.pidfd);
    sandbox_finish(&child, &(bool){false}, &(bool){false});
    return info.si_code == CLD_EXITED && info.si_status == 0;
}

enum sandbox_tier sandbox_probe(void) {
    if (sandbox_mode == SANDBOX_MODE_UNKNOWN) {
        if (geteuid() == 0 && sandbox_try(SANDBOX_MODE_ROOT))
            sandbox_mode = SANDBOX_MODE_ROOT;
        else
            sandbox_mode = sandbox_try(SANDBOX_MODE_USER) ? SANDBOX_MODE_USER : SANDBOX_MODE_NONE;
    }
    return sandbox_mode == SANDBOX_MODE_NONE ? SANDBOX_RLIMITS : SANDBOX_NAMESPACES;
}

int sandbox_start(const struct sandbox_spec *spec, struct sandbox_child *ret_child, struct err *err) {
    if (spec->bind_count > SANDBOX_BINDS_MAX || spec->fd_count > SANDBOX_FDS_MAX || !spec->program ||
        spec->inner_pid == 1)
        return err_set(err, ERR_INTERNAL, "a sandbox was asked for wrongly");
    if (sandbox_probe() != SANDBOX_NAMESPACES && spec->gate_fd > 0)
        return err_set(err, ERR_NOT_INSTALLED,
                       "this machine gives no network namespaces: no function may connect");
    return sandbox_start_mode(sandbox_mode, spec, ret_child, err);
}

void sandbox_finish(struct sandbox_child *child, bool *ret_oom, bool *ret_processes) {
    cgroup_remove(child->cgroup, ret_oom, ret_processes);
    child->cgroup[0] = 0;
}

const char *sandbox_tier_name(enum sandbox_tier tier) {
    return tier == SANDBOX_NAMESPACES ? "namespaces" : "rlimits";
}

void sandbox_fini(void) {
    cgroup_fini();
}
