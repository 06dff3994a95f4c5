#include "base/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

enum { LISTEN_BACKLOG = 4096 };

static int listen_split(const char *address, char *host, size_t host_size, const char **ret_port,
                        struct err *err) {
    const char *colon = strrchr(address, ':');
    size_t len = colon ? (size_t)(colon - address) : 0;
    const char *from = address;
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    } else if (colon && memchr(address, ':', len)) {
        colon = NULL;
    }
    if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strlen(colon + 1) > 5 || len >= host_size)
        return err_set(err, ERR_BAD_REQUEST, "listen: '%.80s' is no ADDRESS:PORT", address);
    memcpy(host, from, len);
    host[len] = 0;
    *ret_port = colon + 1;
    return 0;
}

static int listen_bind(const struct addrinfo *info, const char *address, int *ret_fd, struct err *err) {
    MEM_CLOSE_FD int fd =
        socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, info->ai_protocol);
    if (fd < 0)
        return err_sys(err, "socket");
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return err_sys(err, "SO_REUSEADDR");
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        if (errno == EADDRINUSE)
            return err_set(err, ERR_CONFLICT,
                           "%s is in use by another program; stop it or choose another FAAS_LISTEN", address);
        return err_sys(err, "cannot listen on %s", address);
    }
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

int listen_open(const char *address, int *ret_fd, struct err *err) {
    char host[256];
    const char *port = "";
    int rc = listen_split(address, host, sizeof host, &port, err);
    if (rc < 0)
        return rc;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    int failed = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
    if (failed || strtol(port, NULL, 10) > 65535) {
        if (!failed)
            freeaddrinfo(found);
        return err_set(err, ERR_BAD_REQUEST, "listen: '%.80s': %s", address,
                       failed ? gai_strerror(failed) : "no such port");
    }
    rc = listen_bind(found, address, ret_fd, err);
    freeaddrinfo(found);
    return rc;
}

union listen_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

bool listen_is_loopback(int fd) {
    union listen_address name;
    socklen_t len = sizeof name;
    if (getsockname(fd, &name.any, &len) != 0)
        return false;
    if (name.any.sa_family == AF_INET)
        return ntohl(name.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (name.any.sa_family != AF_INET6)
        return true;
    const struct in6_addr *address = &name.v6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(address) ||
           (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == IN_LOOPBACKNET);
}

int listen_name(int fd, char *ret_address, size_t size, struct err *err) {
    union listen_address name;
    socklen_t len = sizeof name;
    char host[INET6_ADDRSTRLEN];
    if (getsockname(fd, &name.any, &len) != 0)
        return err_sys(err, "getsockname");
    if (name.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &name.v6.sin6_addr, host, sizeof host);
        snprintf(ret_address, size, "[%s]:%u", host, ntohs(name.v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &name.v4.sin_addr, host, sizeof host);
        snprintf(ret_address, size, "%s:%u", host, ntohs(name.v4.sin_port));
    }
    return 0;
}

static int listen_take(const char *given, int *ret_fd, struct err *err) {
    char *end;
    long fd = strtol(given, &end, 10);
    if (end == given || *end || fd < 3 || fd > 65535 || fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl((int)fd, F_SETFL, O_NONBLOCK) != 0)
        return err_set(err, ERR_BAD_REQUEST, LISTEN_FD_VARIABLE "=%.16s is no open descriptor", given);
    unsetenv(LISTEN_FD_VARIABLE);
    *ret_fd = (int)fd;
    return 0;
}

int listen_take_or_open(const char *address, int *ret_fd, char *ret_address, size_t size, struct err *err) {
    const char *given = getenv(LISTEN_FD_VARIABLE);
    MEM_CLOSE_FD int fd = -1;
    int rc = given ? listen_take(given, &fd, err) : listen_open(address, &fd, err);
    if (rc == 0)
        rc = listen_name(fd, ret_address, size, err);
    if (rc == 0)
        *ret_fd = mem_steal_fd(&fd);
    return rc;
}
