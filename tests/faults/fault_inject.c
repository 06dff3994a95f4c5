/* Preloaded into every part of an instance: makes chosen calls of the C library fail, jumps the clock, and
 * tells of what is done to a directory. What is to happen stands in a file that all processes map and that
 * the test writes (struct control; faults.py has the same layout), so that it begins and ends when the test
 * says.
 *
 * FAULT_CONTROL names the file; with FAULT_TRACE each failure says where it is. Without FAULT_CONTROL, and in
 * programs that are not meant, every call goes through. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic uint32_t armed; /* 1: count; the nth call from here on fails */
    _Atomic uint32_t nth;
    _Atomic uint32_t times; /* how many from there on */
    _Atomic uint32_t sys_errno;
    _Atomic uint32_t count, hits;
    char program[32], function[32];
    _Atomic int64_t realtime_ns, monotonic_ns; /* added to the clocks */
    char watched[256];                         /* changes below this directory are told to … */
    char socket[104]; /* … this socket, which answers when the process may go on; "" = nobody */
};

static struct control *fault_control;

/* Not in a constructor alone: the first malloc comes before it. */
static void fault_map(void) {
    static atomic_bool tried;
    if (atomic_exchange(&tried, true))
        return;
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? (int)syscall(SYS_open, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        fault_control = mapped;
}

static __attribute__((constructor)) void fault_init(void) {
    fault_map();
}

static bool fault_is_meant(const struct control *control) {
    return strcmp(control->program, program_invocation_short_name) == 0;
}

/* True: the call is to fail, and errno is set. */
static bool fault_hits(const char *function) {
    struct control *control = fault_control;
    if (!control || !atomic_load(&control->armed) || strcmp(control->function, function) != 0 ||
        !fault_is_meant(control))
        return false;
    uint32_t count = atomic_fetch_add(&control->count, 1) + 1;
    if (count < control->nth || count >= control->nth + control->times)
        return false;
    atomic_fetch_add(&control->hits, 1);
    if (getenv("FAULT_TRACE")) {
        void *frames[12];
        int frame_count;
        atomic_store(&control->armed, 0); /* backtrace allocates */
        frame_count = backtrace(frames, 12);
        backtrace_symbols_fd(frames, frame_count, STDERR_FILENO);
        atomic_store(&control->armed, 1);
    }
    errno = (int)control->sys_errno;
    return true;
}

#define REAL(name) ((__typeof__(&name))fault_real(#name))
static void *fault_real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

/* ---- what is done to the watched directory ---- */

static bool fault_is_below(const char *path) {
    size_t len = strlen(fault_control->watched);
    return len > 0 && strncmp(path, fault_control->watched, len) == 0 && (path[len] == '/' || path[len] == 0);
}

static bool fault_path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, PATH_MAX - 1);
    path[len > 0 ? len : 0] = 0;
    return len > 0;
}

/* "WHAT PATH", after it was done; returns when the test has looked. */
static void fault_tell(const char *what, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[PATH_MAX + 64], answer;
    int saved = errno;
    memcpy(address.sun_path, fault_control->socket, sizeof fault_control->socket);
    int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int len = snprintf(text, sizeof text, "%s %s", what, path);
    if (fd >= 0 && syscall(SYS_connect, fd, &address, sizeof address) == 0 &&
        syscall(SYS_sendto, fd, text, len, MSG_NOSIGNAL, NULL, 0) == len)
        while (syscall(SYS_recvfrom, fd, &answer, 1, 0, NULL, NULL) < 0 && errno == EINTR)
            ;
    if (fd >= 0)
        syscall(SYS_close, fd);
    errno = saved;
}

static void fault_done(const char *what, int fd) {
    char path[PATH_MAX];
    if (fault_control && fault_control->socket[0] && fault_path_of(fd, path) && fault_is_below(path))
        fault_tell(what, path);
}

static void fault_done_at(const char *what, int at_fd, const char *name) {
    char path[PATH_MAX];
    if (!fault_control || !fault_control->socket[0])
        return;
    if (name[0] == '/') {
        snprintf(path, sizeof path, "%s", name);
    } else {
        if (at_fd == AT_FDCWD || !fault_path_of(at_fd, path))
            return;
        size_t len = strlen(path);
        snprintf(path + len, sizeof path - len, "/%s", name);
    }
    if (fault_is_below(path))
        fault_tell(what, path);
}

/* ---- memory ---- */

extern void *__libc_malloc(size_t size), *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);

void *malloc(size_t size) {
    return fault_hits("malloc") ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    return fault_hits("malloc") ? NULL : __libc_calloc(count, size);
}
void *realloc(void *ptr, size_t size) {
    return fault_hits("malloc") ? NULL : __libc_realloc(ptr, size);
}
void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    return fault_hits("mmap") ? MAP_FAILED
                              : (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    return mmap(at, len, protection, flags, fd, offset);
}

/* ---- calls that only may fail ---- */

#define FAIL(name, function, failure, ...)                                                                   \
    if (fault_hits(function))                                                                                \
        return failure;                                                                                      \
    return REAL(name)(__VA_ARGS__)

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags) {
    FAIL(accept4, "accept", -1, fd, address, len, flags);
}
int socket(int domain, int type, int protocol) {
    FAIL(socket, "socket", -1, domain, type, protocol);
}
int socketpair(int domain, int type, int protocol, int pair[2]) {
    FAIL(socketpair, "socketpair", -1, domain, type, protocol, pair);
}
int pipe2(int ends[2], int flags) {
    FAIL(pipe2, "pipe", -1, ends, flags);
}
pid_t fork(void) {
    return fault_hits("fork") ? -1 : REAL(fork)();
}
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const environment[]) {
    if (fault_hits("fork"))
        return errno;
    return REAL(posix_spawn)(pid, path, actions, attributes, argv, environment);
}
int epoll_ctl(int fd, int op, int watched, struct epoll_event *event) {
    FAIL(epoll_ctl, "epoll_ctl", -1, fd, op, watched, event);
}
int epoll_wait(int fd, struct epoll_event *events, int most, int wait_ms) {
    FAIL(epoll_wait, "epoll_wait", -1, fd, events, most, wait_ms);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    FAIL(sendmsg, "sendmsg", -1, fd, message, flags);
}
ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    FAIL(recvmsg, "recvmsg", -1, fd, message, flags);
}
ssize_t read(int fd, void *data, size_t len) {
    FAIL(read, "read", -1, fd, data, len);
}
int memfd_create(const char *name, unsigned flags) {
    FAIL(memfd_create, "memfd_create", -1, name, flags);
}
long syscall(long number, ...) {
    static long (*real)(long, ...);
    va_list args;
    va_start(args, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if ((number == SYS_clone3 || number == SYS_clone) && fault_hits("fork"))
        return -1;
    if (number == SYS_pidfd_open && fault_hits("pidfd_open"))
        return -1;
    if (!real)
        *(void **)&real = fault_real("syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- calls that change files ---- */

static int fault_open(const char *name, int at_fd, const char *path, int flags, mode_t mode) {
    if (fault_hits("open"))
        return -1;
    int fd = ((int (*)(int, const char *, int, ...))fault_real(name))(at_fd, path, flags, mode);
    if (fd >= 0 && (flags & (O_CREAT | O_TRUNC)))
        fault_done("open", fd);
    return fd;
}
#define MODE_OF(flags)                                                                                       \
    mode_t mode = 0;                                                                                         \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                     \
        va_list args;                                                                                        \
        va_start(args, flags);                                                                               \
        mode = va_arg(args, mode_t);                                                                         \
        va_end(args);                                                                                        \
    }
int open(const char *path, int flags, ...) {
    MODE_OF(flags)
    return fault_open("openat", AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE_OF(flags)
    return fault_open("openat", AT_FDCWD, path, flags, mode);
}
int openat(int at_fd, const char *path, int flags, ...) {
    MODE_OF(flags)
    return fault_open("openat", at_fd, path, flags, mode);
}
int openat64(int at_fd, const char *path, int flags, ...) {
    MODE_OF(flags)
    return fault_open("openat", at_fd, path, flags, mode);
}
ssize_t write(int fd, const void *data, size_t len) {
    if (fault_hits("write"))
        return -1;
    ssize_t put = REAL(write)(fd, data, len);
    fault_done("write", fd);
    return put;
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (fault_hits("write"))
        return -1;
    ssize_t put = REAL(writev)(fd, parts, count);
    fault_done("write", fd);
    return put;
}
int ftruncate(int fd, off_t len) {
    if (fault_hits("ftruncate"))
        return -1;
    int rc = REAL(ftruncate)(fd, len);
    fault_done("ftruncate", fd);
    return rc;
}
int fsync(int fd) {
    if (fault_hits("fsync"))
        return -1;
    int rc = REAL(fsync)(fd);
    fault_done("fsync", fd);
    return rc;
}
int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    if (fault_hits("rename"))
        return -1;
    int rc = REAL(renameat)(from_fd, from, to_fd, to);
    fault_done_at("rename", to_fd, to);
    return rc;
}
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    if (fault_hits("rename"))
        return -1;
    int rc = REAL(renameat2)(from_fd, from, to_fd, to, flags);
    fault_done_at("rename", to_fd, to);
    return rc;
}
int rename(const char *from, const char *to) {
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}
int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    if (fault_hits("link"))
        return -1;
    int rc = REAL(linkat)(from_fd, from, to_fd, to, flags);
    fault_done_at("link", to_fd, to);
    return rc;
}
int symlinkat(const char *target, int at_fd, const char *path) {
    if (fault_hits("symlink"))
        return -1;
    int rc = REAL(symlinkat)(target, at_fd, path);
    fault_done_at("symlink", at_fd, path);
    return rc;
}
int unlinkat(int at_fd, const char *path, int flags) {
    if (fault_hits("unlink"))
        return -1;
    int rc = REAL(unlinkat)(at_fd, path, flags);
    fault_done_at("unlink", at_fd, path);
    return rc;
}
int mkdirat(int at_fd, const char *path, mode_t mode) {
    if (fault_hits("mkdir"))
        return -1;
    int rc = REAL(mkdirat)(at_fd, path, mode);
    fault_done_at("mkdir", at_fd, path);
    return rc;
}

/* ---- clocks ---- */

int clock_gettime(clockid_t clock, struct timespec *ret_now) {
    int rc = (int)syscall(SYS_clock_gettime, clock, ret_now);
    if (rc != 0 || !fault_control)
        return rc;
    int64_t add_ns = clock == CLOCK_REALTIME    ? atomic_load(&fault_control->realtime_ns)
                     : clock == CLOCK_MONOTONIC ? atomic_load(&fault_control->monotonic_ns)
                                                : 0;
    int64_t ns = ret_now->tv_nsec + add_ns % 1000000000;
    ret_now->tv_sec += add_ns / 1000000000 + (ns >= 1000000000) - (ns < 0);
    ret_now->tv_nsec = ns >= 1000000000 ? ns - 1000000000 : ns < 0 ? ns + 1000000000 : ns;
    return 0;
}
time_t time(time_t *ret_now) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_now)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}
