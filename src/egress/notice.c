#include "egress/notice.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void notice_init(struct notice *notice, int fd) {
    *notice = (struct notice){.fd = fd};
    bucket_init(&notice->bucket, NOTICE_PER_S, NOTICE_BURST);
}

void notice_write(struct notice *notice, const char *format, ...) {
    char line[PIPE_BUF], text[1024];
    struct pollfd pipe = {.fd = notice->fd, .events = POLLOUT};
    if (!bucket_take(&notice->bucket) || poll(&pipe, 1, 0) != 1) {
        atomic_fetch_add(&notice->left_out, 1);
        return;
    }
    unsigned left_out = atomic_exchange(&notice->left_out, 0);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int len = left_out
                  ? snprintf(line, sizeof line, "network: %s (%u more were not written)\n", text, left_out)
                  : snprintf(line, sizeof line, "network: %s\n", text);
    ssize_t done = write(notice->fd, line, (size_t)len);
    (void)done;
}
