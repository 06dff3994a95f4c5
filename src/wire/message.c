#include "wire/message.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/mem.h"

enum { MESSAGE_BACKLOG = 64, MESSAGE_LOCK_TRIES = 100, MESSAGE_LOCK_WAIT_MS = 10 };

_Static_assert(sizeof(struct message) == 44 + sizeof(struct limits) + MESSAGE_TEXT_BYTES, "no padding");

static const struct {
    bool known;
    int fds;
} message_rows[256] = {
#define MESSAGE_ROW(name, number, from, to, fds, doc) [number] = {true, fds},
    MESSAGE_TABLE(MESSAGE_ROW)
#undef MESSAGE_ROW
};

static int message_address(const char *path, struct sockaddr_un *ret_address, struct err *err) {
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof ret_address->sun_path)
        return err_set(err, ERR_BAD_REQUEST, "socket path '%.100s' is longer than %zu bytes", path,
                       sizeof ret_address->sun_path - 1);
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->sun_family = AF_UNIX;
    memcpy(ret_address->sun_path, path, len + 1);
    return 0;
}

static int message_socket(struct err *err) {
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 ? fd : err_sys(err, "socket");
}

/* Two that start at once must not both find the other's socket stale: the directory is locked while one
 * looks. A stranger who holds the lock of a shared directory only makes this slower. */
static int message_lock_dir(const char *path, struct err *err) {
    char dir[sizeof(struct sockaddr_un)];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir ? 1 : 0] = 0;
    else
        snprintf(dir, sizeof dir, ".");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_sys(err, "cannot create the run directory '%s'", dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, "cannot open the run directory '%s'", dir);
    for (int i = 0; i < MESSAGE_LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = MESSAGE_LOCK_WAIT_MS * 1000000L}, NULL);
    return fd;
}

static int message_remove_stale(const struct sockaddr_un *address, struct err *err) {
    const char *path = address->sun_path;
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : err_sys(err, "%s", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_CONFLICT, "%s exists and is no socket; remove it", path);
    int fd = message_socket(err);
    if (fd < 0)
        return fd;
    int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int saved = errno;
    close(fd);
    if (rc != 0 && (saved == EACCES || saved == EPERM))
        return err_set(err, ERR_CONFLICT, "%s belongs to another user; choose another FAAS_RUN_DIR", path);
    if (rc == 0 || saved != ECONNREFUSED)
        return err_set(err, ERR_CONFLICT,
                       "%s is in use by a running instance; stop it or choose another FAAS_RUN_DIR", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_sys(err, "cannot remove the stale socket %s", path);
    return 0;
}

static int message_bind(const struct sockaddr_un *address, int *ret_fd, struct err *err) {
    MEM_CLOSE_FD int fd = message_socket(err);
    if (fd < 0)
        return fd;
    /* Before bind: the file is then made with this mode, there is no moment at which others may connect. */
    if (fchmod(fd, 0600) != 0)
        return err_sys(err, "fchmod");
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 || listen(fd, MESSAGE_BACKLOG) != 0)
        return err_sys(err, "cannot listen on %s", address->sun_path);
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

int message_listen(const char *path, int *ret_fd, struct err *err) {
    struct sockaddr_un address;
    int rc = message_address(path, &address, err);
    if (rc < 0)
        return rc;
    MEM_CLOSE_FD int lock_fd = message_lock_dir(path, err);
    if (lock_fd < 0)
        return lock_fd;
    rc = message_remove_stale(&address, err);
    return rc < 0 ? rc : message_bind(&address, ret_fd, err);
}

int message_listen_instead(const char *path, int *ret_fd, struct err *err) {
    char own_path[sizeof(struct sockaddr_un)];
    struct sockaddr_un address;
    snprintf(own_path, sizeof own_path, "%s.%d", path, (int)getpid());
    int rc = message_address(own_path, &address, err);
    if (rc < 0)
        return rc;
    MEM_CLOSE_FD int lock_fd = message_lock_dir(path, err);
    if (lock_fd < 0)
        return lock_fd;
    MEM_CLOSE_FD int fd = -1;
    unlink(own_path);
    rc = message_bind(&address, &fd, err);
    if (rc < 0)
        return rc;
    /* A rename: there is no moment at which nobody listens. */
    if (rename(own_path, path) != 0) {
        rc = err_sys(err, "cannot listen on %s", path);
        unlink(own_path);
        return rc;
    }
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

void message_unlisten(const char *path) {
    struct sockaddr_un address;
    struct err err;
    struct ucred listener;
    socklen_t len = sizeof listener;
    if (message_address(path, &address, &err) < 0)
        return;
    MEM_CLOSE_FD int lock_fd = message_lock_dir(path, &err);
    MEM_CLOSE_FD int fd = message_socket(&err);
    if (lock_fd >= 0 && fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &len) == 0 && listener.pid != getpid())
        return;
    unlink(path);
}

static int message_check_peer(int fd, struct err *err) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return err_sys(err, "SO_PEERCRED");
    if (peer.uid != geteuid() && peer.uid != 0)
        return err_set(err, ERR_FORBIDDEN, "the peer's user id is %u", peer.uid);
    return 0;
}

int message_connect(const char *path, int *ret_fd, struct err *err) {
    struct sockaddr_un address;
    int rc = message_address(path, &address, err);
    if (rc < 0)
        return rc;
    MEM_CLOSE_FD int fd = message_socket(err);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return err_sys(err, "cannot connect to %s", path);
    rc = message_check_peer(fd, err);
    if (rc < 0)
        return err_wrap(err, "%s", path);
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

int message_accept(int listen_fd, int *ret_fd, struct err *err) {
    MEM_CLOSE_FD int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : err_sys(err, "accept");
    int rc = message_check_peer(fd, err);
    if (rc < 0)
        return rc;
    *ret_fd = mem_steal_fd(&fd);
    return 1;
}

int message_send(int fd, const struct message *message, const int *fds, int fd_count, struct err *err) {
    struct message wire = *message;
    wire.format = MESSAGE_FORMAT;
    wire.text[MESSAGE_TEXT_BYTES - 1] = 0;
    if (!message_rows[wire.type].known || message_rows[wire.type].fds != fd_count)
        return err_set(err, ERR_INTERNAL, "message %u with %d descriptors", wire.type, fd_count);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
    } control = {0};
    struct iovec part = {&wire, sizeof wire};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * (size_t)fd_count);
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)sizeof wire)
        return 0;
    /* ETOOMANYREFS: too many descriptors are under way; that passes, as a full socket does. */
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS))
        return err_set(err, ERR_UNAVAILABLE, "the socket is full");
    return err_sys(err, "sendmsg");
}

/* Takes over the descriptors of a packet; also those that came with one that is refused. */
static int message_take_fds(struct msghdr *header, int ret_fds[MESSAGE_FDS_MAX]) {
    int count = 0;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        size_t got = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < got; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof fd, sizeof fd);
            if (count < MESSAGE_FDS_MAX)
                ret_fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

static int message_check(const struct message *message, size_t len, int flags, int fd_count,
                         struct err *err) {
    if (len != sizeof *message || (flags & (MSG_TRUNC | MSG_CTRUNC)))
        return err_set(err, ERR_BAD_REQUEST, "a packet of %zu bytes%s", len,
                       flags & MSG_CTRUNC ? " whose descriptors were cut" : "");
    if (message->format != MESSAGE_FORMAT)
        return err_set(err, ERR_BAD_REQUEST, "message format %u instead of %d", message->format,
                       MESSAGE_FORMAT);
    if (!message_rows[message->type].known || message_rows[message->type].fds != fd_count)
        return err_set(err, ERR_BAD_REQUEST, "message %u with %d descriptors", message->type, fd_count);
    if (message->runtime >= RUNTIME_COUNT || message->code < 0 || message->code >= ERR_COUNT ||
        !memchr(message->text, 0, sizeof message->text))
        return err_set(err, ERR_BAD_REQUEST, "message %u with a field out of range", message->type);
    return 0;
}

int message_receive(int fd, struct message *ret_message, int ret_fds[MESSAGE_FDS_MAX], int *ret_fd_count,
                    struct err *err) {
    struct message wire;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
    } control;
    struct iovec part = {&wire, sizeof wire};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t got;
    do
        got = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? 0 : err_sys(err, "recvmsg");
    if (got == 0 && header.msg_controllen == 0)
        return err_set(err, ERR_IO, "the peer is gone");
    int fds[MESSAGE_FDS_MAX];
    int count = message_take_fds(&header, fds);
    int rc = message_check(&wire, (size_t)got, header.msg_flags, count, err);
    if (rc < 0) {
        for (int i = 0; i < count; i++)
            close(fds[i]);
        return rc;
    }
    *ret_message = wire;
    memcpy(ret_fds, fds, sizeof(int) * (size_t)count);
    *ret_fd_count = count;
    return 1;
}
