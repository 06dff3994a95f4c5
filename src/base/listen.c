#include "base/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
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
