#include "egress/notice.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define NOTICE_EACH_NS (CLOCK_NS_PER_S / NOTICE_PER_S)

void notice_init(struct notice *notice, int fd) {
    *notice = (struct notice){.fd = fd};
    pthread_mutex_init(&notice->lock, NULL);
}

static bool notice_may(struct notice *notice, uint64_t *ret_left_out) {
    uint64_t now_ns = clock_now_ns();
    pthread_mutex_lock(&notice->lock);
    if (notice->full_ns < now_ns)
        notice->full_ns = now_ns;
    bool may = notice->full_ns + NOTICE_EACH_NS <= now_ns + NOTICE_BURST * NOTICE_EACH_NS;
    if (may) {
        notice->full_ns += NOTICE_EACH_NS;
        *ret_left_out = notice->left_out;
        notice->left_out = 0;
    } else {
        notice->left_out++;
    }
    pthread_mutex_unlock(&notice->lock);
    return may;
}

void notice_write(struct notice *notice, const char *format, ...) {
    char line[PIPE_BUF], text[1024];
    uint64_t left_out;
    struct pollfd pipe = {.fd = notice->fd, .events = POLLOUT};
    if (!notice_may(notice, &left_out) || poll(&pipe, 1, 0) != 1)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int len = left_out ? snprintf(line, sizeof line, "network: %s (%llu more were not written)\n", text,
                                  (unsigned long long)left_out)
                       : snprintf(line, sizeof line, "network: %s\n", text);
    ssize_t done = write(notice->fd, line, (size_t)len);
    (void)done;
}
