#include "sandbox/init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "egress/gate.h"
#include "sandbox/program.h"
#include "sandbox/root.h"
#include "wire/page.h"

bool init_write_file(int dir_fd, const char *path, const char *text) {
    int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(text);
    bool written = fd >= 0 && write(fd, text, len) == (ssize_t)len;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return written;
}

void init_fail(int report_fd, const char *step) {
    struct init_report report = {.sys_errno = errno};
    strncpy(report.step, step, sizeof report.step - 1);
    if (write(report_fd, &report, sizeof report) != sizeof report)
        _exit(126);
    _exit(125);
}

bool init_map_user(int proc_fd, unsigned user, unsigned group) {
    char map[64];
    if (!init_write_file(proc_fd, "self/setgroups", "deny"))
        return false;
    snprintf(map, sizeof map, "%d %u 1", INIT_INNER_ID, user);
    if (!init_write_file(proc_fd, "self/uid_map", map))
        return false;
    snprintf(map, sizeof map, "%d %u 1", INIT_INNER_ID, group);
    return init_write_file(proc_fd, "self/gid_map", map);
}

/* The parent may have handlers and a signalfd. */
static void init_reset_signals(void) {
    /* The kernel's own structure, all zero: the C library's sigaction refuses its internal signals, which a
     * parent that was started by posix_spawn has ignored. */
    static const struct { uint64_t handler, flags, restorer, mask; } act;
    for (int i = 1; i < NSIG; i++)
        syscall(SYS_rt_sigaction, i, &act, NULL, sizeof act.mask);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

/* We are a copy of the parent: its arguments and environment would show in /proc/1. */
static void init_forget_parent(const struct init_plan *plan) {
    if (plan->environment)
        memset(plan->environment, 0, (size_t)(plan->environment_end - plan->environment));
    if (plan->arguments) {
        size_t size = (size_t)(plan->arguments_end - plan->arguments);
        memset(plan->arguments, 0, size);
        if (size)
            strncpy(plan->arguments, plan->spec->comm, size - 1);
    }
}

/* The program's descriptors go out of the way of the numbers that they will get. */
static void init_lift_fds(const struct init_plan *plan, int *ret_fds) {
    for (int i = 0; i < plan->spec->fd_count; i++) {
        ret_fds[i] = plan->spec->fds[i] < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC)
                                            : fcntl(plan->spec->fds[i], F_DUPFD_CLOEXEC, INIT_FD_BASE);
        if (ret_fds[i] >= 0 && ret_fds[i] < INIT_FD_BASE)
            ret_fds[i] = fcntl(ret_fds[i], F_DUPFD_CLOEXEC, INIT_FD_BASE);
        if (ret_fds[i] < 0)
            init_fail(plan->report_fd, "descriptors");
    }
}

static void init_open_network(struct init_plan *plan) {
    if (plan->spec->gate_fd <= 0)
        return;
    plan->gate_fd = fcntl(plan->spec->gate_fd, F_DUPFD_CLOEXEC, INIT_FD_BASE);
    int dns_fd;
    if (plan->gate_fd < 0 || !gate_open_loopback(&dns_fd))
        init_fail(plan->report_fd, "network");
    plan->dns_fd = fcntl(dns_fd, F_DUPFD_CLOEXEC, INIT_FD_BASE);
    close(dns_fd);
    if (plan->dns_fd < 0)
        init_fail(plan->report_fd, "network");
}

static pid_t init_clone(uint32_t inner_pid) {
    pid_t wanted = (pid_t)inner_pid;
    struct clone_args args = {
        .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&wanted, .set_tid_size = 1};
    if (inner_pid) {
        long pid = syscall(SYS_clone3, &args, sizeof args);
        if (pid >= 0)
            return (pid_t)pid;
    }
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* The program's children get the numbers behind its own, where the kernel can be told so. */
static void init_count_from(const struct init_plan *plan) {
    char text[16];
    if (!plan->namespaces || !plan->spec->inner_pid)
        return;
    snprintf(text, sizeof text, "%u", plan->spec->inner_pid);
    init_write_file(plan->proc_fd, "sys/kernel/ns_last_pid", text);
}

/* Waits until the program ended, or until its time is over; returns its wait status. Reaps orphans. */
static int init_wait(pid_t program, uint32_t wall_s) {
    uint64_t end_ns = clock_now_ns() + wall_s * CLOCK_NS_PER_S;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    for (;;) {
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == program)
                return status;
        uint64_t now_ns = clock_now_ns();
        if (wall_s && now_ns >= end_ns)
            return SIGKILL;
        uint64_t left_ns = wall_s ? end_ns - now_ns : 3600 * CLOCK_NS_PER_S;
        struct timespec left = {(time_t)(left_ns / CLOCK_NS_PER_S), (long)(left_ns % CLOCK_NS_PER_S)};
        sigtimedwait(&child, NULL, &left);
    }
}

/* What the kernel does for a pid namespace, as well as it goes without one: what the program left behind
 * became our child. */
static void init_kill_rest(pid_t program) {
    kill(-program, SIGKILL);
    for (;;) {
        char text[4096];
        int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
        ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        if (len <= 0)
            return;
        text[len] = 0;
        for (char *at = text; *at; at += strspn(at, " ")) {
            pid_t child = (pid_t)strtol(at, &at, 10);
            if (child > 1)
                kill(child, SIGKILL);
        }
        waitpid(-1, NULL, 0);
    }
}

static struct page *init_map_page(int fd) {
    if (fd < 0)
        return NULL;
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return page == MAP_FAILED ? NULL : page;
}

/* Our process id outside: /proc is still the host's here. */
static void init_choose_user(struct init_plan *plan) {
    char link[16] = "";
    if (readlinkat(plan->proc_fd, "self", link, sizeof link - 1) <= 0)
        init_fail(plan->report_fd, "/proc/self");
    plan->user = plan->group = INIT_USER_BASE + (unsigned)strtoul(link, NULL, 10);
    for (int i = 0; i < plan->spec->bind_count; i++) {
        const struct sandbox_bind *bind = &plan->spec->binds[i];
        if (bind->writable && chown(bind->source, plan->user, plan->group) != 0 &&
            !(bind->optional && errno == ENOENT))
            init_fail(plan->report_fd, bind->source);
    }
}

static void init_open_proc(struct init_plan *plan) {
    plan->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (plan->proc_fd < 0)
        init_fail(plan->report_fd, "/proc");
}

static void init_set_up(struct init_plan *plan) {
    const char *step = "control group";
    if (!cgroup_enter(&plan->groups))
        init_fail(plan->report_fd, step);
    init_open_proc(plan);
    /* When the machine runs out of memory, functions go before the parts that run them. */
    if (!init_write_file(plan->proc_fd, "self/oom_score_adj", "800"))
        init_fail(plan->report_fd, "oom_score_adj");
    if (plan->privileged)
        init_choose_user(plan);
    if (!plan->namespaces) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (plan->privileged && chown(plan->scratch, plan->user, plan->group) != 0)
            init_fail(plan->report_fd, plan->scratch);
        return;
    }
    if (!plan->privileged && !init_map_user(plan->proc_fd, plan->user, plan->group))
        init_fail(plan->report_fd, "user namespace");
    if (plan->template_fd > 0 ? !root_copy(plan->template_fd, plan->spec, &step)
                              : !root_build(plan->spec, &step))
        init_fail(plan->report_fd, step);
    close(plan->proc_fd);
    init_open_proc(plan);
    if (plan->spec->proc_exe && !root_hide_proc())
        init_fail(plan->report_fd, "/proc");
    init_open_network(plan);
    if (sethostname("faas", 4) != 0)
        init_fail(plan->report_fd, "host name");
}

/* Others are put into our namespaces from outside, and are not our children. */
static void init_hold(const struct init_plan *plan) {
    char ignored;
    int fd = plan->spec->lifeline_fd;
    if (dup2(fd, 0) != 0)
        init_fail(plan->report_fd, "descriptors");
    if (!program_drop_capabilities())
        init_fail(plan->report_fd, "capabilities");
    close_range(1, ~0u, 0);
    while (read(0, &ignored, 1) < 0 && errno == EINTR)
        ;
    _exit(0);
}

void init_run(const struct init_plan *prepared) {
    struct init_plan own = *prepared, *plan = &own;
    init_reset_signals();
    prctl(PR_SET_NAME, plan->spec->comm);
    setsid();
    init_forget_parent(plan);
    if (plan->network_fd > 0 && setns(plan->network_fd, CLONE_NEWNET) != 0)
        init_fail(plan->report_fd, "network");
    struct page *page = init_map_page(plan->spec->page_fd);
    int fds[SANDBOX_FDS_MAX];
    init_lift_fds(plan, fds);
    init_set_up(plan);
    if (plan->spec->lifeline_fd > 0)
        init_hold(plan);
    /* Nobody inside may look into us, also not in the moment before we have dropped our rights. */
    prctl(PR_SET_DUMPABLE, 0);
    init_count_from(plan);
    pid_t program = init_clone(plan->namespaces ? plan->spec->inner_pid : 0);
    if (program < 0)
        init_fail(plan->report_fd, "fork");
    if (program == 0)
        program_run(plan, fds);
    /* Peers wait for the end of the program's descriptors, the parent for that of the report. */
    close_range(0, ~0u, 0);
    program_drop_rights(plan);
    int status = init_wait(program, plan->spec->wall_s);
    if (page)
        atomic_store(&page->exit_status, 1ull << 32 | (uint32_t)status);
    if (!plan->namespaces)
        init_kill_rest(program);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
