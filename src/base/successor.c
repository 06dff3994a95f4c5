#include "base/successor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int successor_fd = -1;
static bool successor_wanted;

void successor_begin(void) {
    const char *given = getenv(READY_FD_VARIABLE);
    int fd = given ? atoi(given) : -1;
    if (fd > 2 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
        successor_fd = fd;
    successor_wanted = getenv(TAKEOVER_VARIABLE) != NULL;
    unsetenv(READY_FD_VARIABLE);
    unsetenv(TAKEOVER_VARIABLE);
}

bool successor_takes_over(void) {
    return successor_wanted;
}

void successor_ready(void) {
    if (successor_fd < 0)
        return;
    (void)!write(successor_fd, "", 1);
    close(successor_fd);
    successor_fd = -1;
}
