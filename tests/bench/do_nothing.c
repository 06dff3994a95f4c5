/* The limit of the machine: an epoll server that looks for the end of a request and answers with a fixed
 * text. What a call costs beyond this is ours. usage: do_nothing [PORT]; prints "do_nothing listening on
 * 127.0.0.1:PORT". */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 256, INPUT_BYTES = 16384, DESCRIPTORS_MAX = 65536 };

/* As long as the answer of a call of hello: the same bytes go over the socket. */
static const char answer[] = "HTTP/1.1 200 OK\r\n"
                             "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                             "Content-Length: 42\r\n"
                             "Content-Type: application/json\r\n"
                             "\r\n"
                             "{\"ok\":true,\"output\":\"Hello from FAAS!\\n\"}\n";

struct input {
    size_t len;
    char data[INPUT_BYTES];
};

static struct input *inputs[DESCRIPTORS_MAX];

/* Length of the request at the front of the input, or 0: it is not whole. */
static size_t do_nothing_scan(const struct input *input) {
    const char *end = memmem(input->data, input->len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head_len = (size_t)(end - input->data) + 4, body_len = 0;
    for (const char *line = input->data; line < end;) {
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            body_len = strtoul(line + 15, NULL, 10);
        line = (const char *)memchr(line, '\n', (size_t)(end + 4 - line)) + 1;
    }
    return body_len > INPUT_BYTES || input->len < head_len + body_len ? 0 : head_len + body_len;
}

/* False: the connection is over. */
static int do_nothing_serve(int fd, struct input *input) {
    ssize_t got = recv(fd, input->data + input->len, INPUT_BYTES - 1 - input->len, 0);
    if (got < 0 && errno == EAGAIN)
        return 1;
    if (got <= 0)
        return 0;
    input->len += (size_t)got;
    input->data[input->len] = '\0';
    size_t used;
    while ((used = do_nothing_scan(input)) > 0) {
        if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) != (ssize_t)sizeof answer - 1)
            return 0;
        input->len -= used;
        memmove(input->data, input->data + used, input->len);
    }
    return input->len < INPUT_BYTES - 1;
}

static void do_nothing_accept(int epoll_fd, int listen_fd) {
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (fd >= DESCRIPTORS_MAX) {
        close(fd);
        return;
    }
    if (!inputs[fd])
        inputs[fd] = malloc(sizeof **inputs);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (!inputs[fd] || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        return;
    }
    inputs[fd]->len = 0;
}

static int do_nothing_listen(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof address;
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        close(fd);
        return -1;
    }
    printf("do_nothing listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    int listen_fd = do_nothing_listen((uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 0));
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listen_fd}, batch[BATCH];
    if (listen_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) != 0) {
        perror("do_nothing");
        return 1;
    }
    for (;;) {
        int count = epoll_wait(epoll_fd, batch, BATCH, -1);
        for (int i = 0; i < count; i++) {
            int fd = batch[i].data.fd;
            if (fd == listen_fd)
                do_nothing_accept(epoll_fd, fd);
            else if (!do_nothing_serve(fd, inputs[fd]))
                close(fd);
        }
    }
}
