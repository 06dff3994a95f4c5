#include "base/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <stdbool.h>

#include "base/mem.h"

enum { LISTEN_BACKLOG = 4096 };

struct listen_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } socket;
    socklen_t len;
};

static int listen_parse(const char *address, struct listen_address *ret_address, struct err *err) {
    char host[64];
    const char *colon = strrchr(address, ':');
    size_t host_len = colon ? (size_t)(colon - address) : 0;
    bool bracketed = host_len >= 2 && address[0] == '[' && address[host_len - 1] == ']';
    if (bracketed)
        snprintf(host, sizeof host, "%.*s", (int)(host_len - 2), address + 1);
    else
        snprintf(host, sizeof host, "%.*s", (int)host_len, address);
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    if (!colon || end == colon + 1 || *end || port < 0 || port > 65535)
        return err_set(err, ERR_BAD_REQUEST, "'%s' is no address and port such as 127.0.0.1:8080", address);
    *ret_address = (struct listen_address){.len = sizeof ret_address->socket.v4};
    if (strcmp(host, "localhost") == 0 || !*host)
        snprintf(host, sizeof host, "%s", *host ? "127.0.0.1" : "0.0.0.0");
    if (!bracketed && inet_pton(AF_INET, host, &ret_address->socket.v4.sin_addr) == 1) {
        ret_address->socket.v4.sin_family = AF_INET;
        ret_address->socket.v4.sin_port = htons((uint16_t)port);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &ret_address->socket.v6.sin6_addr) == 1) {
        ret_address->socket.v6.sin6_family = AF_INET6;
        ret_address->socket.v6.sin6_port = htons((uint16_t)port);
        ret_address->len = sizeof ret_address->socket.v6;
        return 0;
    }
    return err_set(err, ERR_BAD_REQUEST, "'%s' is no IP address", host);
}

int listen_open(const char *address, int *ret_fd, struct err *err) {
    struct listen_address parsed;
    int rc = listen_parse(address, &parsed, err);
    if (rc != 0)
        return rc;
    MEM_CLOSE_FD int fd = socket(parsed.socket.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(err, "socket");
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &parsed.socket.any, parsed.len) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        if (errno == EADDRINUSE)
            return err_set(err, ERR_CONFLICT,
                           "%s is in use by another program: stop it, or choose another with FAAS_LISTEN",
                           address);
        return err_sys(err, "cannot listen on %s", address);
    }
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

int listen_name(int fd, char *ret_address, size_t size, struct err *err) {
    struct listen_address name = {.len = sizeof name.socket};
    char host[INET6_ADDRSTRLEN];
    if (getsockname(fd, &name.socket.any, &name.len) != 0)
        return err_sys(err, "getsockname");
    if (name.socket.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &name.socket.v6.sin6_addr, host, sizeof host);
        snprintf(ret_address, size, "[%s]:%u", host, ntohs(name.socket.v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &name.socket.v4.sin_addr, host, sizeof host);
        snprintf(ret_address, size, "%s:%u", host, ntohs(name.socket.v4.sin_port));
    }
    return 0;
}

int listen_take_or_open(const char *address, int *ret_fd, char *ret_address, size_t size, struct err *err) {
    const char *given = getenv(LISTEN_FD_VARIABLE);
    MEM_CLOSE_FD int fd = given ? atoi(given) : -1;
    int rc = 0;
    if (given) {
        unsetenv(LISTEN_FD_VARIABLE);
        if (fd < 3 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
            return err_set(err, ERR_BAD_REQUEST, "%s=%d is no descriptor", LISTEN_FD_VARIABLE, fd);
        fcntl(fd, F_SETFL, O_NONBLOCK);
    } else {
        rc = listen_open(address, &fd, err);
    }
    if (rc == 0)
        rc = listen_name(fd, ret_address, size, err);
    if (rc == 0)
        *ret_fd = mem_steal_fd(&fd);
    return rc;
}
