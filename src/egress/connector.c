#include "egress/connector.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "egress/caller.h"
#include "egress/gate.h"
#include "egress/route.h"

enum {
    CONNECTOR_SYNS = 4, /* the kernel's own patience then is 31 s, for a connect that does not block */
    CONNECTOR_LOOK_MS = 500,
    CONNECTOR_WHERE_BYTES = ALLOW_NAME_BYTES + ADDRESS_TEXT_BYTES + 16,
    CONNECTOR_TCP_CLOSE = 7, /* TCP_CLOSE of the kernel */
    CONNECTOR_TCP_SYN_SENT = 2,
};

/* One connect of a function. */
struct connector_attempt {
    const struct seccomp_notif *question;
    struct address asked;   /* by the function */
    struct address address; /* what that is outside */
    uint16_t port;
    char name[ALLOW_NAME_BYTES]; /* that the address was looked up by, or "" */
    struct caller_socket socket;
};

static bool connector_is_asked(const struct connector *connector, uint64_t id) {
    return ioctl(connector->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

static void connector_respond(const struct connector *connector, uint64_t id, int error) {
    struct seccomp_notif_resp answer = {.id = id, .error = -error};
    ioctl(connector->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer); /* it may have been killed */
}

/* ---- where to ---- */

/* "api.example.com:443 (10.0.0.7)", "[::1]:80". */
static void connector_describe(const struct connector_attempt *attempt,
                               char ret_where[CONNECTOR_WHERE_BYTES]) {
    char text[ADDRESS_TEXT_BYTES];
    address_format(&attempt->address, text);
    if (attempt->name[0])
        snprintf(ret_where, CONNECTOR_WHERE_BYTES, "%s:%u (%s)", attempt->name, attempt->port, text);
    else
        snprintf(ret_where, CONNECTOR_WHERE_BYTES, address_is_v4(&attempt->address) ? "%s:%u" : "[%s]:%u",
                 text, attempt->port);
}

static void connector_find_name(const struct connector *connector, struct connector_attempt *attempt) {
    struct names_entry entry;
    struct err ignored;
    struct names *names = connector->names;
    if (!names_is_inside(&attempt->asked) || !names_find(names, &attempt->asked, &entry, &attempt->address))
        return;
    memcpy(attempt->name, entry.name, sizeof attempt->name);
    if (clock_now_ns() - entry.looked_up_ns > CONNECTOR_NAME_OLD_S * CLOCK_NS_PER_S &&
        names_look_up(names, attempt->name, &entry, &ignored) == 0)
        names_find(names, &attempt->asked, &entry, &attempt->address);
}

static bool connector_permits(const struct connector *connector, const struct connector_attempt *attempt,
                              char ret_why[RULE_WHY_BYTES]) {
    struct rule_target target = {.address = attempt->address,
                                 .port = attempt->port,
                                 .name = attempt->name[0] ? attempt->name : NULL,
                                 .own = route_is_own(&attempt->address)};
    return rule_permits(connector->rule, &target, ret_why);
}

static bool connector_is_resolver(const struct address *address, uint16_t port) {
    struct address resolver;
    return address_parse(GATE_DNS_ADDRESS, &resolver) && port == GATE_DNS_PORT &&
           memcmp(address, &resolver, sizeof resolver) == 0;
}

/* ---- connecting ---- */

static int connector_await(const struct connector *connector, uint64_t id, int fd) {
    uint64_t end_ns = clock_now_ns() + CONNECTOR_CONNECT_S * CLOCK_NS_PER_S;
    struct pollfd waiting = {.fd = fd, .events = POLLOUT};
    while (poll(&waiting, 1, CONNECTOR_LOOK_MS) <= 0)
        if (!connector_is_asked(connector, id) || clock_now_ns() > end_ns)
            return ETIMEDOUT;
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

/* A socket that is connected, or, when the function does not want to wait, about to be. 0 or EINPROGRESS with
 * the socket, any other errno without. */
static int connector_dial(const struct connector *connector, const struct connector_attempt *attempt,
                          int *ret_fd) {
    struct sockaddr_storage to;
    socklen_t len = address_to_socket(&attempt->address, attempt->port, attempt->socket.family, &to);
    if (len == 0)
        return EADDRNOTAVAIL;
    MEM_CLOSE_FD int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return errno;
    int syns = CONNECTOR_SYNS;
    setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &syns, sizeof syns);
    caller_copy_options(&attempt->socket, fd);
    int error = connect(fd, (const struct sockaddr *)&to, len) == 0 ? 0 : errno;
    if (error == EINPROGRESS && !attempt->socket.nonblocking)
        error = connector_await(connector, attempt->question->id, fd);
    if (error != 0 && error != EINPROGRESS)
        return error;
    if (!attempt->socket.nonblocking && fcntl(fd, F_SETFL, O_RDWR) != 0)
        return errno;
    *ret_fd = mem_steal_fd(&fd);
    return error;
}

/* Into the place of the function's own socket. */
static int connector_place(const struct connector *connector, const struct connector_attempt *attempt,
                           int fd) {
    struct seccomp_notif_addfd place = {
        .id = attempt->question->id,
        .flags = SECCOMP_ADDFD_FLAG_SETFD,
        .srcfd = (uint32_t)fd,
        .newfd = (uint32_t)attempt->question->data.args[0],
        .newfd_flags = attempt->socket.close_on_exec ? O_CLOEXEC : 0,
    };
    if (!sockets_add(connector->sockets, fd))
        return ENOBUFS;
    return ioctl(connector->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &place) >= 0 ? 0 : errno;
}

static int connector_decide(const struct connector *connector, const struct connector_attempt *attempt) {
    char where[CONNECTOR_WHERE_BYTES], why[RULE_WHY_BYTES];
    if (!connector_permits(connector, attempt, why)) {
        connector_describe(attempt, where);
        notice_write(connector->notice, "connect to %s refused: %s", where, why);
        return EACCES;
    }
    MEM_CLOSE_FD int fd = -1;
    int error = connector_dial(connector, attempt, &fd);
    int failed = fd < 0 ? error : connector_place(connector, attempt, fd);
    return failed ? failed : error;
}

/* What the kernel would say of a socket that is not new. */
static int connector_check_state(const struct caller_socket *socket) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(socket->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        info.tcpi_state == CONNECTOR_TCP_CLOSE)
        return 0;
    return info.tcpi_state == CONNECTOR_TCP_SYN_SENT ? EALREADY : EISCONN;
}

static int connector_connect_stream(const struct connector *connector, struct connector_attempt *attempt) {
    int error = connector_check_state(&attempt->socket);
    if (error)
        return error;
    if (!bucket_take(connector->attempts)) {
        notice_write(connector->notice, "connect refused: more than %d attempts a second", CONNECTOR_PER_S);
        return ENOBUFS;
    }
    if (!sockets_reserve(connector->sockets)) {
        notice_write(connector->notice, "connect refused: %d connections are open, which is the most",
                     CONNECTOR_OPEN_MAX);
        return ENOBUFS;
    }
    connector_find_name(connector, attempt);
    error = connector_decide(connector, attempt);
    if (error && error != EINPROGRESS)
        sockets_give_up(connector->sockets);
    return error;
}

/* UDP goes to the broker's own resolver and nowhere else. The function's socket stays in its empty network.
 */
static int connector_connect_datagram(const struct connector *connector,
                                      const struct connector_attempt *attempt) {
    char where[CONNECTOR_WHERE_BYTES];
    struct sockaddr_storage to;
    if (connector_is_resolver(&attempt->asked, attempt->port)) {
        socklen_t len = address_to_socket(&attempt->asked, attempt->port, AF_INET, &to);
        return connect(attempt->socket.fd, (const struct sockaddr *)&to, len) == 0 ? 0 : errno;
    }
    /* The C library does that to sort the addresses of a name. */
    if (names_is_inside(&attempt->asked))
        return EACCES;
    connector_describe(attempt, where);
    notice_write(connector->notice, "UDP to %s refused: only TCP", where);
    return EACCES;
}

static int connector_connect_socket(const struct connector *connector, struct connector_attempt *attempt) {
    bool tcp = attempt->socket.protocol == IPPROTO_TCP || attempt->socket.protocol == IPPROTO_MPTCP;
    if (attempt->socket.type == SOCK_STREAM && tcp)
        return connector_connect_stream(connector, attempt);
    if (attempt->socket.type == SOCK_DGRAM)
        return connector_connect_datagram(connector, attempt);
    notice_write(connector->notice, "connect refused: only TCP");
    return EACCES;
}

/* The C library asks for a cache of names on its way to every lookup; that is no news. */
static int connector_refuse_unix(const struct connector *connector, const struct sockaddr_storage *address) {
    struct sockaddr_un un;
    memcpy(&un, address, sizeof un);
    if (strncmp(un.sun_path, "/var/run/nscd/socket", sizeof un.sun_path) == 0)
        return ENOENT;
    notice_write(connector->notice, "connect to a UNIX socket refused: only TCP");
    return EACCES;
}

static int connector_connect_to(const struct connector *connector, struct connector_attempt *attempt,
                                const struct sockaddr_storage *wanted, socklen_t len) {
    if (wanted->ss_family == AF_UNIX)
        return connector_refuse_unix(connector, wanted);
    if (!address_from_socket((const struct sockaddr *)wanted, len, &attempt->asked, &attempt->port) ||
        attempt->socket.family != wanted->ss_family)
        return EAFNOSUPPORT;
    attempt->address = attempt->asked;
    return connector_connect_socket(connector, attempt);
}

/* Returns the errno that the function gets, 0 for success. */
static int connector_connect(const struct connector *connector, const struct seccomp_notif *question) {
    const struct seccomp_data *data = &question->data;
    struct connector_attempt attempt = {.question = question};
    struct sockaddr_storage wanted;
    socklen_t len;
    pid_t thread = (pid_t)question->pid;
    int error = caller_read_address(thread, data->args[1], (uint32_t)data->args[2], &wanted, &len);
    if (error == 0)
        error = caller_open_socket(thread, (int)data->args[0], &attempt.socket);
    /* Up to here another process could have been read that got the number of one that was killed. */
    if (error == 0 && !connector_is_asked(connector, question->id)) {
        caller_close_socket(&attempt.socket);
        return EINTR;
    }
    if (error == EPERM)
        notice_write(connector->notice, "connect refused: this machine does not let the broker look at the "
                                        "function's process");
    if (error)
        return error;
    error = connector_connect_to(connector, &attempt, &wanted, len);
    caller_close_socket(&attempt.socket);
    return error;
}

/* sendto with an address. Whatever it is, the empty network and the rest of the filter stand before it, so it
 * may go on: only what is worth a line in the log ends here. */
static bool connector_refuse_datagram(const struct connector *connector,
                                      const struct seccomp_notif *question) {
    const struct seccomp_data *data = &question->data;
    struct connector_attempt attempt = {.question = question};
    struct sockaddr_storage to;
    socklen_t len;
    char where[CONNECTOR_WHERE_BYTES];
    if (caller_read_address((pid_t)question->pid, data->args[4], (uint32_t)data->args[5], &to, &len) != 0 ||
        !address_from_socket((const struct sockaddr *)&to, len, &attempt.address, &attempt.port) ||
        connector_is_resolver(&attempt.address, attempt.port))
        return false;
    connector_describe(&attempt, where);
    notice_write(connector->notice, "UDP to %s refused: only TCP", where);
    return true;
}

void connector_answer(const struct connector *connector, const struct seccomp_notif *question) {
    if (question->data.nr == SYS_connect) {
        connector_respond(connector, question->id, connector_connect(connector, question));
    } else if (connector_refuse_datagram(connector, question)) {
        connector_respond(connector, question->id, EACCES);
    } else {
        struct seccomp_notif_resp go_on = {.id = question->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        ioctl(connector->listener, SECCOMP_IOCTL_NOTIF_SEND, &go_on);
    }
}
