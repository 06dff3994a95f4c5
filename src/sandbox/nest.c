#include "sandbox/nest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "sandbox/probe.h"
#include "sandbox/program.h"
#include "sandbox/programs.h"

/* Below those of functions' processes (init.c), which are a process id above 0x70000000. */
#define NEST_USER 0x6fffff00u

/* What stage one, and after it the worker, tells the server: the worker's process id, or what failed. */
struct nest_report {
    int32_t pid, sys_errno;
};

static bool nest_reap(pid_t pid, int *ret_status) {
    pid_t reaped;
    do
        reaped = waitpid(pid, ret_status, 0);
    while (reaped < 0 && errno == EINTR);
    return reaped == pid;
}

/* --- the namespaces --- */

/* A user namespace in which our files' owner is the workers' user: what the data directory is mapped through.
 * Its only process has ended when this returns. */
static int nest_open_map(int *ret_fd, struct err *err) {
    int ready[2], status;
    if (pipe2(ready, O_CLOEXEC) != 0)
        return err_sys(err, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        char made = unshare(CLONE_NEWUSER) == 0;
        if (write(ready[1], &made, 1) == 1)
            pause();
        _exit(0);
    }
    close(ready[1]);
    MEM_CLOSE_FD int ready_fd = ready[0];
    char path[64], map[64], made = 0;
    MEM_CLOSE_FD int dir = -1;
    MEM_CLOSE_FD int fd = -1;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    snprintf(map, sizeof map, "0 %u 1", NEST_USER);
    if (pid > 0 && read(ready_fd, &made, 1) == 1 && made)
        dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0 && init_write_file(dir, "uid_map", map) && init_write_file(dir, "gid_map", map))
        fd = openat(dir, "ns/user", O_RDONLY | O_CLOEXEC);
    int saved = errno;
    if (pid > 0) {
        kill(pid, SIGKILL);
        nest_reap(pid, &status);
    }
    errno = saved;
    if (fd < 0)
        return err_sys(err, "user namespace");
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

static int nest_hold(const char *parts_dir, const char *data_dir, int map_fd, struct nest *nest,
                     struct err *err) {
    int lifeline[2];
    if (pipe2(lifeline, O_CLOEXEC) != 0)
        return err_sys(err, "pipe");
    MEM_CLOSE_FD int held_fd = lifeline[0];
    MEM_CLOSE_FD int lifeline_fd = lifeline[1];
    struct sandbox_spec spec = {.comm = "spare-nest", .page_fd = -1, .lifeline_fd = held_fd};
    programs_bind_system(&spec);
    spec.binds[spec.bind_count++] = (struct sandbox_bind){.source = parts_dir, .target = NEST_PARTS};
    spec.binds[spec.bind_count++] =
        (struct sandbox_bind){.source = data_dir, .target = NEST_DATA_DIR, .map_fd = map_fd};
    struct sandbox_child child;
    int failed = sandbox_start_as(probe_get(), &spec, &child, err);
    if (failed)
        return failed;
    *nest = (struct nest){.holder = child,
                          .lifeline_fd = mem_steal_fd(&lifeline_fd),
                          .own_user = map_fd > 0,
                          .user_spaces = probe_get()->mode == PROBE_USER};
    return 0;
}

/* All functions in it were deployed by this user: only his files are mapped. */
static bool nest_owns(const char *data_dir) {
    struct stat status;
    DIR *stream = opendir(data_dir);
    bool owns = stream && fstat(dirfd(stream), &status) == 0 && status.st_uid == geteuid();
    for (struct dirent *entry; owns && (entry = readdir(stream));)
        owns = strcmp(entry->d_name, "..") == 0 ||
               fstatat(dirfd(stream), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
               status.st_uid == geteuid();
    if (stream)
        closedir(stream);
    return owns;
}

int nest_open(const char *parts_dir, const char *data_dir, struct nest *ret_nest, struct err *err) {
    if (!sandbox_has_root())
        return err_set(err, ERR_UNAVAILABLE, "no namespaces");
    MEM_CLOSE_FD int map_fd = -1;
    if (probe_get()->privileged && nest_owns(data_dir) && nest_open_map(&map_fd, err) == 0 &&
        nest_hold(parts_dir, data_dir, map_fd, ret_nest, err) == 0)
        return 0;
    return nest_hold(parts_dir, data_dir, 0, ret_nest, err);
}

bool nest_is_open(struct nest *nest) {
    int status;
    if (nest->holder.pid > 0 && waitpid(nest->holder.pid, &status, WNOHANG) == nest->holder.pid) {
        nest->holder.pid = 0;
        nest_close(nest, false);
    }
    return nest->holder.pid > 0;
}

void nest_close(struct nest *nest, bool kill_all) {
    int status;
    bool ignored;
    if (kill_all && nest->holder.pid > 0) {
        kill(nest->holder.pid, SIGKILL);
        nest_reap(nest->holder.pid, &status);
    }
    sandbox_finish(&nest->holder, &ignored, &ignored);
    mem_close_fd(&nest->holder.pidfd);
    mem_close_fd(&nest->lifeline_fd);
    nest->holder.pid = 0;
}

/* --- a worker --- */

static void __attribute__((noreturn)) nest_fail(int report_fd) {
    struct nest_report report = {.sys_errno = errno};
    if (write(report_fd, &report, sizeof report) != sizeof report)
        _exit(126);
    _exit(125);
}

static bool nest_switch_user(void) {
    /* The capabilities are still needed, to be given up for good. */
    return prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0 && setgroups(0, NULL) == 0 &&
           setresgid(NEST_USER, NEST_USER, NEST_USER) == 0 && setresuid(NEST_USER, NEST_USER, NEST_USER) == 0;
}

/* fds are above all the numbers that are taken. */
static void __attribute__((noreturn))
nest_run(const struct nest *nest, const struct nest_start *start, const int *fds, int report_fd) {
    int count = start->fd_count + 1;
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < count; i++)
        if (dup2(fds[i], i) < 0)
            nest_fail(report_fd);
    if (close_range((unsigned)count, ~0u, CLOSE_RANGE_CLOEXEC) != 0 ||
        (nest->own_user && !nest_switch_user()) || !program_drop_capabilities())
        nest_fail(report_fd);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(NEST_PROGRAM, start->argv, start->envp);
    nest_fail(report_fd);
}

/* In a child of the server: enters the nest, and clones a sibling into it, which is the server's child. */
static void __attribute__((noreturn))
nest_enter(const struct nest *nest, const struct nest_start *start, int report_fd) {
    int spaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
    int fds[NEST_FDS_MAX + 1];
    for (int i = 0; i <= start->fd_count; i++) {
        int given = i < start->fd_count ? start->fds[i] : nest->lifeline_fd;
        fds[i] = given < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : given;
        fds[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, INIT_FD_BASE);
        if (fds[i] < 0)
            nest_fail(report_fd);
    }
    report_fd = fcntl(report_fd, F_DUPFD_CLOEXEC, INIT_FD_BASE);
    if (report_fd < 0)
        _exit(126);
    if (setns(nest->holder.pidfd, spaces | (nest->user_spaces ? CLONE_NEWUSER : 0)) != 0)
        nest_fail(report_fd);
    struct nest_report report = {.pid = (int32_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0)};
    if (report.pid == 0)
        nest_run(nest, start, fds, report_fd);
    report.sys_errno = report.pid < 0 ? errno : 0;
    if (write(report_fd, &report, sizeof report) != sizeof report)
        _exit(126);
    _exit(0);
}

/* Until both have let go of the pipe: stage one by its end, the worker by its exec. Their order is any. */
static int nest_await(int report_fd, pid_t *ret_pid, struct err *err) {
    struct nest_report report;
    pid_t pid = 0;
    int failed = 0;
    for (;;) {
        ssize_t len = read(report_fd, &report, sizeof report);
        if (len < 0 && errno == EINTR)
            continue;
        if (len != sizeof report)
            break;
        pid = report.pid > 0 ? report.pid : pid;
        failed = report.sys_errno ? report.sys_errno : failed;
    }
    *ret_pid = pid;
    if (pid > 0 && !failed)
        return 0;
    errno = failed ? failed : ECHILD;
    return err_sys(err, "cannot start a worker in its namespaces");
}

int nest_start(const struct nest *nest, const struct nest_start *start, pid_t *ret_pid, struct err *err) {
    int report[2], status;
    if (start->fd_count > NEST_FDS_MAX || pipe2(report, O_CLOEXEC) != 0)
        return err_sys(err, "pipe");
    MEM_CLOSE_FD int report_read = report[0];
    pid_t stage = fork();
    if (stage == 0)
        nest_enter(nest, start, report[1]);
    int saved = errno;
    close(report[1]);
    errno = saved;
    if (stage < 0)
        return err_sys(err, "fork");
    pid_t pid = 0;
    int failed = nest_await(report_read, &pid, err);
    nest_reap(stage, &status);
    if (failed && pid > 0)
        nest_reap(pid, &status);
    if (!failed)
        *ret_pid = pid;
    return failed;
}
