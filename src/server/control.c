#include "server/control.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "wire/peer.h"

enum { CONTROL_CLIENTS = 16 };

struct control_client {
    struct control *control; /* borrowed: outlives its clients */
    struct peer peer;
    bool waits;
    struct control_client *next;
};

struct control {
    struct loop *loop; /* borrowed */
    char path[4096];
    struct loop_watch listen_watch;
    control_on_reload *on_reload;
    void *context;
    struct control_client *clients;
    int client_count;
};

static void control_path(char *ret_path, size_t size, const char *run_dir) {
    snprintf(ret_path, size, "%s/faas_supervisor.sock", run_dir);
}

static void control_drop(struct control_client *client) {
    struct control *control = client->control;
    struct control_client **at = &control->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    control->client_count--;
    peer_close(&client->peer);
    loop_defer(control->loop, free, client);
}

static void control_on_close(struct peer *peer, const struct err *why) {
    (void)why;
    control_drop(peer->context);
}

static void control_on_message(struct peer *peer, const struct message *message, int *fds, int fd_count) {
    (void)fds;
    (void)fd_count;
    struct control_client *client = peer->context;
    if (message->type != MESSAGE_RELOAD) {
        log_event("message %u makes no sense here; closing the connection", message->type);
        control_drop(client);
        return;
    }
    client->waits = true;
    client->control->on_reload(client->control->context, message->text);
}

static void control_on_connect(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct control *control = watch->context;
    struct err err;
    int fd = peer_accept(watch->fd, control->client_count, CONTROL_CLIENTS);
    if (fd < 0)
        return;
    struct control_client *client = mem_zalloc(sizeof *client);
    client->control = control;
    client->peer = (struct peer){.loop = control->loop,
                                 .on_message = control_on_message,
                                 .on_close = control_on_close,
                                 .context = client};
    if (peer_open(&client->peer, fd, &err) < 0) {
        log_event("%s", err.msg);
        free(client);
        return;
    }
    client->next = control->clients;
    control->clients = client;
    control->client_count++;
}

int control_new(struct loop *loop, const char *run_dir, control_on_reload *on_reload, void *context,
                struct control **ret_control, struct err *err) {
    struct control *control = mem_zalloc(sizeof *control);
    control->loop = loop;
    control->on_reload = on_reload;
    control->context = context;
    control_path(control->path, sizeof control->path, run_dir);
    int fd = -1;
    int rc = message_listen(control->path, &fd, err);
    control->listen_watch = (struct loop_watch){.fd = fd, .on_event = control_on_connect, .context = control};
    if (rc == 0)
        rc = loop_watch(loop, &control->listen_watch, EPOLLIN, err);
    if (rc < 0)
        control_free(control);
    else
        *ret_control = control;
    return rc;
}

void control_free(struct control *control) {
    if (!control)
        return;
    while (control->clients)
        control_drop(control->clients);
    if (control->listen_watch.fd >= 0) {
        message_unlisten(control->path);
        loop_unwatch(control->loop, &control->listen_watch);
        close(control->listen_watch.fd);
    }
    free(control);
}

void control_answer(struct control *control, int code, const char *text) {
    struct message answer = {.type = MESSAGE_RELOADED, .code = code};
    snprintf(answer.text, sizeof answer.text, "%s", text);
    for (struct control_client *client = control->clients; client; client = client->next) {
        if (client->waits)
            peer_send(&client->peer, &answer, NULL, 0);
        client->waits = false;
    }
}

int control_ask_reload(const char *run_dir, const char *parts, char ret_text[MESSAGE_TEXT_BYTES],
                       struct err *err) {
    char path[4096];
    control_path(path, sizeof path, run_dir);
    MEM_CLOSE_FD int fd = -1;
    int rc = message_connect(path, &fd, err);
    if (rc < 0)
        return err_wrap(err, "no minifaas runs in '%s'", run_dir);
    struct message message = {.type = MESSAGE_RELOAD};
    snprintf(message.text, sizeof message.text, "%s", parts);
    rc = message_send(fd, &message, NULL, 0, err);
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    int fds[MESSAGE_FDS_MAX], fd_count;
    while (rc == 0) {
        if (poll(&answer, 1, -1) < 0)
            continue;
        rc = message_receive(fd, &message, fds, &fd_count, err);
        if (rc < 0)
            return err_wrap(err, "minifaas up");
    }
    if (rc < 0)
        return rc;
    snprintf(ret_text, MESSAGE_TEXT_BYTES, "%s", message.text);
    return message.code == ERR_OK ? 0 : err_set(err, (enum err_code)message.code, "%s", message.text);
}
