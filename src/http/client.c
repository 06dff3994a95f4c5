#include "http/client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

static int client_on_message_begin(llhttp_t *llhttp) {
    struct http_client *client = llhttp->data;
    client->whole = false;
    return 0;
}

static int client_on_message_complete(llhttp_t *llhttp) {
    struct http_client *client = llhttp->data;
    if (llhttp->status_code < 200) /* 100 Continue: the answer comes behind it */
        return 0;
    client->whole = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t client_settings = {
    .on_message_begin = client_on_message_begin,
    .on_message_complete = client_on_message_complete,
};

void http_client_cancel(struct http_client *client) {
    if (client->watch.fd >= 0) {
        loop_unwatch(client->loop, &client->watch);
        close(client->watch.fd);
    }
    client->watch.fd = -1;
    client->connected = client->waiting = false;
}

static void client_finish(struct http_client *client, enum http_outcome outcome) {
    int status = outcome == HTTP_OUTCOME_ANSWERED ? client->llhttp.status_code : 0;
    bool reusable = outcome == HTTP_OUTCOME_ANSWERED && client->sent == client->request.len &&
                    llhttp_should_keep_alive(&client->llhttp);
    client->waiting = false;
    if (!reusable)
        http_client_cancel(client);
    client->on_outcome(client, outcome, status);
}

/* Sends what the socket takes; false when the connection is broken. */
static bool client_write(struct http_client *client) {
    struct err err;
    while (client->sent < client->request.len) {
        ssize_t sent = send(client->watch.fd, client->request.data + client->sent,
                            client->request.len - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return loop_rewatch(client->loop, &client->watch, EPOLLIN | EPOLLOUT, &err) == 0;
        if (sent < 0)
            return false;
        client->sent += (size_t)sent;
    }
    return loop_rewatch(client->loop, &client->watch, EPOLLIN, &err) == 0;
}

static void client_on_eof(struct http_client *client) {
    if (client->received == 0)
        client_finish(client, HTTP_OUTCOME_BROKEN);
    /* An answer without a length ends with its connection. */
    else if (llhttp_finish(&client->llhttp) == HPE_OK && client->whole)
        client_finish(client, HTTP_OUTCOME_ANSWERED);
    else
        client_finish(client, client->whole ? HTTP_OUTCOME_ANSWERED : HTTP_OUTCOME_SHORT);
}

static void client_read(struct http_client *client) {
    ssize_t got = recv(client->watch.fd, client->scratch->data, client->scratch->cap, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (!client->waiting) { /* nothing was asked: the server closes, or talks nonsense */
        http_client_cancel(client);
        return;
    }
    if (got == 0) {
        client_on_eof(client);
        return;
    }
    if (got < 0) {
        client_finish(client, client->received ? HTTP_OUTCOME_SHORT : HTTP_OUTCOME_BROKEN);
        return;
    }
    client->received += (uint64_t)got;
    const char *data = (const char *)client->scratch->data;
    llhttp_errno_t result = llhttp_execute(&client->llhttp, data, (size_t)got);
    if (result == HPE_OK)
        return;
    bool exact = result == HPE_PAUSED && llhttp_get_error_pos(&client->llhttp) == data + got;
    client_finish(client, exact && client->whole ? HTTP_OUTCOME_ANSWERED : HTTP_OUTCOME_MALFORMED);
}

static void client_on_event(struct loop_watch *watch, uint32_t events) {
    struct http_client *client = watch->context;
    if (!client->connected) {
        int sys_errno = 0;
        socklen_t len = sizeof sys_errno;
        getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &sys_errno, &len);
        if (sys_errno != 0) {
            client_finish(client, HTTP_OUTCOME_NOT_CONNECTED);
            return;
        }
        client->connected = true;
    }
    if (events & EPOLLIN)
        client_read(client);
    else if (events & (EPOLLERR | EPOLLHUP)) {
        if (client->waiting)
            client_finish(client, client->received ? HTTP_OUTCOME_SHORT : HTTP_OUTCOME_BROKEN);
        else
            http_client_cancel(client);
    } else if (!client_write(client)) {
        client_finish(client, HTTP_OUTCOME_BROKEN);
    }
}

static int client_connect(struct http_client *client, struct err *err) {
    int fd = socket(client->address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(err, "socket");
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    client->watch.fd = fd;
    int rc = 0;
    if (connect(fd, client->address, client->address_len) == 0)
        client->connected = true;
    else if (errno != EINPROGRESS)
        rc = err_sys(err, "connect");
    if (rc == 0)
        rc = loop_watch(client->loop, &client->watch, EPOLLOUT, err);
    if (rc < 0)
        http_client_cancel(client);
    return rc;
}

void http_client_init(struct http_client *client) {
    client->watch = (struct loop_watch){.fd = -1, .on_event = client_on_event, .context = client};
}

int http_client_send(struct http_client *client, struct http_slice request, struct err *err) {
    client->request = request;
    client->sent = 0;
    client->received = 0;
    client->whole = false;
    llhttp_init(&client->llhttp, HTTP_RESPONSE, &client_settings);
    client->llhttp.data = client;
    if (client->watch.fd < 0) {
        int rc = client_connect(client, err);
        client->waiting = rc == 0;
        return rc; /* sends when the socket is writable */
    }
    if (!client_write(client)) {
        int rc = err_sys(err, "send");
        http_client_cancel(client);
        return rc;
    }
    client->waiting = true;
    return 0;
}

const char *http_outcome_text(enum http_outcome outcome) {
    static const char *const texts[] = {
#define HTTP_OUTCOME_TEXT(name, text) text,
        HTTP_OUTCOMES(HTTP_OUTCOME_TEXT)
#undef HTTP_OUTCOME_TEXT
    };
    return outcome < HTTP_OUTCOME_COUNT ? texts[outcome] : "unknown";
}
