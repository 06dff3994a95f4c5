#include "egress/sockets.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

int sockets_open(struct sockets *sockets, int most, struct err *err) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return err_sys(err, "epoll_create1");
    *sockets = (struct sockets){.epoll_fd = fd, .most = most};
    pthread_mutex_init(&sockets->lock, NULL);
    return 0;
}

static int sockets_count(const struct sockets *sockets) {
    char path[64], line[256];
    int count = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", sockets->epoll_fd);
    FILE *file = fopen(path, "re");
    if (!file)
        return sockets->most;
    while (fgets(line, sizeof line, file))
        count += strncmp(line, "tfd:", 4) == 0;
    fclose(file);
    return count;
}

bool sockets_reserve(struct sockets *sockets) {
    pthread_mutex_lock(&sockets->lock);
    if (sockets->counted >= sockets->most)
        sockets->counted = sockets_count(sockets);
    bool room = sockets->counted < sockets->most;
    sockets->counted += room;
    pthread_mutex_unlock(&sockets->lock);
    return room;
}

void sockets_give_up(struct sockets *sockets) {
    pthread_mutex_lock(&sockets->lock);
    if (sockets->counted > 0)
        sockets->counted--;
    pthread_mutex_unlock(&sockets->lock);
}

bool sockets_add(struct sockets *sockets, int fd) {
    struct epoll_event event = {.events = 0};
    return epoll_ctl(sockets->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}
