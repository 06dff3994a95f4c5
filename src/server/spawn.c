#include "server/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

/* From here to exec the child does nothing but system calls. */
static bool spawn_place_fds(const struct spawn *spawn, int *report_fd) {
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int high[SPAWN_FDS_MAX];
    int count = spawn->fd_count;
    if (null_fd < 0)
        return false;
    /* First out of the way of the numbers that are to be taken, then into place. */
    for (int i = 0; i < count; i++)
        if ((high[i] = fcntl(spawn->fds[i] < 0 ? null_fd : spawn->fds[i], F_DUPFD_CLOEXEC, count + 1)) < 0)
            return false;
    int report = fcntl(*report_fd, F_DUPFD_CLOEXEC, count + 1);
    if (report < 0)
        return false;
    for (int i = 0; i < count; i++)
        if (dup2(high[i], i) < 0)
            return false;
    if (dup2(report, count) < 0 || fcntl(count, F_SETFD, FD_CLOEXEC) != 0)
        return false;
    *report_fd = count;
    if (syscall(SYS_close_range, (unsigned)count + 1, ~0u, 0) != 0)
        for (int fd = count + 1, end = (int)sysconf(_SC_OPEN_MAX); fd < end; fd++)
            close(fd);
    return true;
}

static void spawn_child(const struct spawn *spawn, int report_fd, pid_t parent) {
    setpgid(0, 0);
    /* The caller ignores SIGPIPE and blocks what its loop reads; what was ignored by its own parent (nohup)
     * stays so. */
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    if (spawn_place_fds(spawn, &report_fd) &&
        (!spawn->death_signal || prctl(PR_SET_PDEATHSIG, spawn->death_signal) == 0)) {
        if (spawn->death_signal && getppid() != parent)
            _exit(1);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execv(spawn->program, spawn->argv);
    }
    int saved = errno;
    ssize_t written = write(report_fd, &saved, sizeof saved);
    (void)written;
    _exit(127);
}

int spawn_start(const struct spawn *spawn, pid_t *ret_pid, struct err *err) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return err_sys(err, "pipe2");
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        spawn_child(spawn, report[1], parent);
    int saved = errno;
    close(report[1]);
    MEM_CLOSE_FD int report_fd = report[0];
    errno = saved;
    if (pid < 0)
        return err_sys(err, "fork");
    ssize_t got;
    do
        got = read(report_fd, &saved, sizeof saved);
    while (got < 0 && errno == EINTR);
    if (got == 0) {
        *ret_pid = pid;
        return 0;
    }
    waitpid(pid, NULL, 0);
    errno = got == (ssize_t)sizeof saved ? saved : EIO;
    return err_sys(err, "cannot start %s", spawn->program);
}

int spawn_open_pidfd(pid_t pid, int *ret_pidfd, struct err *err) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return err_sys(err, "pidfd_open");
    *ret_pidfd = fd;
    return 0;
}

int spawn_kill(int pidfd, int signal_number) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0);
}
