#include "cmd/load_injector.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { PLAN_PROBE_MS = 5000 };

/* Splits "host:port", "[v6]:port", ":port", "*:port" or "host" (port 80). */
static int plan_split(const char *text, size_t len, char *ret_host, size_t host_size, char *ret_port,
                      size_t port_size, struct err *err) {
    const char *end = text + len, *host = text, *host_end = end, *port = NULL;
    const char *bracket = len > 0 && *text == '[' ? memchr(text, ']', len) : NULL;
    if (bracket) {
        host = text + 1;
        host_end = bracket;
        port = bracket + 1 < end && bracket[1] == ':' ? bracket + 2 : NULL;
    } else if ((port = memrchr(text, ':', len))) {
        host_end = port++;
    }
    size_t host_len = (size_t)(host_end - host), port_len = port ? (size_t)(end - port) : 2;
    if (host_len >= host_size || port_len == 0 || port_len >= port_size || memchr(text, '@', len))
        return err_set(err, ERR_BAD_REQUEST, "'%.*s' is not host:port", (int)len, text);
    memcpy(ret_host, host, host_len);
    ret_host[host_len] = '\0';
    memcpy(ret_port, port ? port : "80", port_len);
    ret_port[port_len] = '\0';
    if (host_len == 0 || strcmp(ret_host, "*") == 0)
        snprintf(ret_host, host_size, "127.0.0.1");
    return 0;
}

static int plan_resolve(struct injector_plan *plan, const char *text, size_t len, struct err *err) {
    char host[256] = "", port[8] = "";
    int rc = plan_split(text, len, host, sizeof host, port, sizeof port, err);
    if (rc < 0)
        return rc;
    char *end;
    unsigned long number = strtoul(port, &end, 10);
    if (*end || port[0] < '0' || port[0] > '9' || number == 0 || number > 65535)
        return err_set(err, ERR_BAD_REQUEST, "'%s' is not a port (1 to 65535)", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    int failure = getaddrinfo(host, port, &hints, &found);
    if (failure != 0)
        return err_set(err, ERR_NOT_FOUND, "host '%s': %s", host, gai_strerror(failure));
    memcpy(&plan->address, found->ai_addr, found->ai_addrlen);
    plan->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    snprintf(plan->target, sizeof plan->target, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return 0;
}

static int plan_read_payload(const char *path, struct buf *ret_payload, struct err *err) {
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_NOT_FOUND, "payload '%s': %s", path, strerror(errno));
    for (;;) {
        if (!buf_reserve(ret_payload, 65536))
            return err_set(err, ERR_INTERNAL, "no memory for the payload");
        ssize_t got = read(fd, ret_payload->data + ret_payload->len, 65536);
        if (got < 0)
            return err_sys(err, "payload '%s'", path);
        if (got == 0)
            return 0;
        ret_payload->len += (size_t)got;
        if (ret_payload->len > INJECTOR_PAYLOAD_MAX)
            return err_set(err, ERR_TOO_LARGE, "payload '%s' is over %d bytes", path, INJECTOR_PAYLOAD_MAX);
    }
}

static void plan_append_escaped(struct buf *buf, const char *text) {
    for (; *text; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                     (*text >= '0' && *text <= '9') || strchr("-_.~", *text);
        if (plain)
            buf_append(buf, text, 1);
        else
            buf_append_format(buf, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

static int plan_render(struct injector_plan *plan, const char *prefix, size_t prefix_len, struct err *err) {
    struct buf payload = {0}, *request = &plan->request;
    int rc = plan->payload_file ? plan_read_payload(plan->payload_file, &payload, err) : 0;
    if (rc == 0) {
        buf_append_str(request, "POST ");
        buf_append(request, prefix, prefix_len);
        buf_append_str(request, "/invoke?fn=");
        plan_append_escaped(request, plan->function);
        buf_append_format(request, " HTTP/1.1\r\nHost: %s\r\nUser-Agent: load_injector\r\n", plan->target);
        if (plan->token)
            buf_append_format(request, "Authorization: Bearer %s\r\n", plan->token);
        buf_append_format(request, "Content-Length: %zu\r\n\r\n", payload.len);
        buf_append(request, payload.data, payload.len);
        if (request->failed)
            rc = err_set(err, ERR_INTERNAL, "no memory for the payload");
    }
    buf_fini(&payload);
    return rc;
}

int injector_plan_prepare(struct injector_plan *plan, const char *url, const char *listen, struct err *err) {
    const char *authority = listen && *listen ? listen : "127.0.0.1:8080", *path = "";
    size_t len = strlen(authority);
    if (url && *url) {
        if (strncasecmp(url, "http://", 7) != 0)
            return err_set(err, ERR_BAD_REQUEST, "FAAS_URL '%s' does not start with http://", url);
        authority = url + 7;
        len = strcspn(authority, "/?#");
        path = authority + len;
    }
    int rc = plan_resolve(plan, authority, len, err);
    if (rc < 0)
        return err_wrap(err, url && *url ? "FAAS_URL" : "FAAS_LISTEN");
    size_t path_len = strlen(path);
    if (strpbrk(path, "?# \t\r\n"))
        return err_set(err, ERR_BAD_REQUEST, "FAAS_URL '%s' has more than a path behind the port", url);
    while (path_len > 0 && path[path_len - 1] == '/')
        path_len--;
    return plan_render(plan, path, path_len, err);
}

int injector_plan_probe(const struct injector_plan *plan, struct err *err) {
    MEM_CLOSE_FD int fd = socket(plan->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(err, "socket");
    if (connect(fd, (const struct sockaddr *)&plan->address, plan->address_len) == 0)
        return 0;
    if (errno == EINPROGRESS) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        int sys_errno = ETIMEDOUT;
        socklen_t len = sizeof sys_errno;
        if (poll(&wait, 1, PLAN_PROBE_MS) == 1)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys_errno, &len);
        if (sys_errno == 0)
            return 0;
        errno = sys_errno;
    }
    return err_sys(err, "cannot connect to %s", plan->target);
}
