#include "server/channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/page.h"

int channel_open_pipe(int ret_fds[2], enum channel_side nonblocking, int pipe_bytes, struct err *err) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return err_sys(err, "pipe2");
    int one = fds[nonblocking == CHANNEL_WRITE_NONBLOCK];
    if (fcntl(one, F_SETFL, fcntl(one, F_GETFL) | O_NONBLOCK) != 0) {
        err_sys(err, "O_NONBLOCK");
        close(fds[0]);
        close(fds[1]);
        return -err->code;
    }
    /* A user's pipes may have only so many pages in all: then it stays at its default. */
    if (pipe_bytes > 0)
        fcntl(fds[0], F_SETPIPE_SZ, pipe_bytes);
    ret_fds[0] = fds[0];
    ret_fds[1] = fds[1];
    return 0;
}

static int channel_open_page(int *ret_fd, struct err *err) {
    MEM_CLOSE_FD int fd = memfd_create("faas-page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_sys(err, "memfd_create");
    if (ftruncate(fd, PAGE_BYTES) != 0)
        return err_sys(err, "ftruncate");
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return err_sys(err, "F_ADD_SEALS");
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

int channel_open(struct channel *ret_channel, int pipe_bytes, struct err *err) {
    struct channel channel = CHANNEL_NONE;
    int calls[2] = {-1, -1}, answers[2] = {-1, -1};
    int rc = channel_open_pipe(calls, CHANNEL_WRITE_NONBLOCK, pipe_bytes, err);
    channel.calls_read = calls[0];
    channel.calls_write = calls[1];
    if (rc == 0)
        rc = channel_open_pipe(answers, CHANNEL_READ_NONBLOCK, pipe_bytes, err);
    channel.answers_read = answers[0];
    channel.answers_write = answers[1];
    if (rc == 0)
        rc = channel_open_page(&channel.page, err);
    if (rc < 0)
        channel_close(&channel);
    else
        *ret_channel = channel;
    return rc;
}

void channel_close(struct channel *channel) {
    mem_close_fd(&channel->calls_write);
    mem_close_fd(&channel->answers_read);
    mem_close_fd(&channel->calls_read);
    mem_close_fd(&channel->answers_write);
    mem_close_fd(&channel->page);
}
