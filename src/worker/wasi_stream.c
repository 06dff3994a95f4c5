/* Descriptors: stdin, stdout and stderr, which behave like pipes. There are no others, so paths and sockets
 * answer what they would on a pipe or on no descriptor at all. */
#include "worker/wasi_internal.h"

#include "wire/frame.h"

enum {
    WASI_IOVS_MAX = 1024, /* as on Linux */
    WASI_FLAG_APPEND = 1,
    WASI_FLAG_NONBLOCK = 4,
    WASI_RIGHT_FD_READ = 1 << 1,
    WASI_RIGHT_FD_WRITE = 1 << 6,
    WASI_RIGHT_FD_FILESTAT_GET = 1 << 21,
    WASI_RIGHT_POLL = 1 << 27,
};

static const char wasi_log_notice[] = "\n[the log was cut here: a call may write 256 KiB]\n";

void wasi_log(struct wasi_call *call, const void *data, size_t len) {
    struct buf *log = call->input.log;
    if (call->log_cut)
        return;
    size_t room = FRAME_LOG_MAX - (sizeof wasi_log_notice - 1) - (log->len - call->log_from);
    if (len <= room) {
        buf_append(log, data, len);
    } else {
        buf_append(log, data, room);
        buf_append(log, wasi_log_notice, sizeof wasi_log_notice - 1);
        call->log_cut = true;
    }
    if (log->failed)
        wasi_stop(call, WASI_NO_MEMORY);
}

static void wasi_print(struct wasi_call *call, const void *data, size_t len) {
    struct buf *output = call->input.output;
    size_t room = call->input.output_max - (output->len - call->output_from);
    buf_append(output, data, len < room ? len : room);
    if (output->failed)
        wasi_stop(call, WASI_NO_MEMORY);
    else if (len > room)
        wasi_stop(call, WASI_OUTPUT_FULL);
}

uint32_t wasi_fd_write(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t iovs = (uint32_t)args[1], count = (uint32_t)args[2], ret_written = (uint32_t)args[3];
    enum wasi_stream stream = wasi_stream_of(call, (uint32_t)args[0]);
    if (stream != WASI_STDOUT && stream != WASI_STDERR)
        return WASI_EBADF;
    if (count > WASI_IOVS_MAX)
        return WASI_EINVAL;
    if (!wasi_inside(memory, iovs, (uint64_t)count * 8) || !wasi_inside(memory, ret_written, 4))
        return WASI_EFAULT;
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = wasi_load_u32(memory, iovs + 8 * (uint64_t)i);
        uint32_t len = wasi_load_u32(memory, iovs + 8 * (uint64_t)i + 4);
        if (!wasi_inside(memory, at, len))
            return WASI_EFAULT;
        total += len;
        if (total > INT32_MAX)
            return WASI_EINVAL;
        if (stream == WASI_STDOUT)
            wasi_print(call, memory.data + at, len);
        else
            wasi_log(call, memory.data + at, len);
        if (call->end != WASI_RUNNING)
            return WASI_EIO;
    }
    wasi_store_u32(memory, ret_written, (uint32_t)total);
    return WASI_SUCCESS;
}

uint32_t wasi_fd_read(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t iovs = (uint32_t)args[1], count = (uint32_t)args[2], ret_read = (uint32_t)args[3];
    if (wasi_stream_of(call, (uint32_t)args[0]) != WASI_STDIN)
        return WASI_EBADF;
    if (count > WASI_IOVS_MAX)
        return WASI_EINVAL;
    if (!wasi_inside(memory, iovs, (uint64_t)count * 8) || !wasi_inside(memory, ret_read, 4))
        return WASI_EFAULT;
    size_t from = call->payload_at;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = wasi_load_u32(memory, iovs + 8 * (uint64_t)i);
        uint32_t len = wasi_load_u32(memory, iovs + 8 * (uint64_t)i + 4);
        size_t left = call->input.payload_len - call->payload_at;
        if (!wasi_inside(memory, at, len))
            return WASI_EFAULT;
        if (len > left)
            len = (uint32_t)left;
        if (len > 0)
            memcpy(memory.data + at, call->input.payload + call->payload_at, len);
        call->payload_at += len;
    }
    wasi_store_u32(memory, ret_read, (uint32_t)(call->payload_at - from));
    return WASI_SUCCESS;
}

uint32_t wasi_fd_close(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    (void)memory;
    uint32_t fd = (uint32_t)args[0];
    if (wasi_stream_of(call, fd) == WASI_CLOSED)
        return WASI_EBADF;
    call->streams[fd] = WASI_CLOSED;
    return WASI_SUCCESS;
}

uint32_t wasi_fd_renumber(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    (void)memory;
    uint32_t from = (uint32_t)args[0], to = (uint32_t)args[1];
    if (wasi_stream_of(call, from) == WASI_CLOSED || wasi_stream_of(call, to) == WASI_CLOSED)
        return WASI_EBADF;
    if (from != to) {
        call->streams[to] = call->streams[from];
        call->flags[to] = call->flags[from];
        call->streams[from] = WASI_CLOSED;
    }
    return WASI_SUCCESS;
}

uint32_t wasi_fd_fdstat_get(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t fd = (uint32_t)args[0], ret_stat = (uint32_t)args[1];
    enum wasi_stream stream = wasi_stream_of(call, fd);
    if (stream == WASI_CLOSED)
        return WASI_EBADF;
    if (!wasi_inside(memory, ret_stat, 24))
        return WASI_EFAULT;
    uint64_t rights = WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_POLL |
                      (stream == WASI_STDIN ? WASI_RIGHT_FD_READ : WASI_RIGHT_FD_WRITE);
    /* File type 0 (unknown): a character device would make the C library flush after every line. */
    memset(memory.data + ret_stat, 0, 24);
    wasi_store_u16(memory, (uint64_t)ret_stat + 2, call->flags[fd]);
    wasi_store_u64(memory, (uint64_t)ret_stat + 8, rights);
    return WASI_SUCCESS;
}

uint32_t wasi_fd_fdstat_set_flags(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    (void)memory;
    uint32_t fd = (uint32_t)args[0], flags = (uint32_t)args[1];
    if (wasi_stream_of(call, fd) == WASI_CLOSED)
        return WASI_EBADF;
    if (flags & ~(uint32_t)(WASI_FLAG_APPEND | WASI_FLAG_NONBLOCK))
        return WASI_EINVAL;
    call->flags[fd] = (uint16_t)flags;
    return WASI_SUCCESS;
}

uint32_t wasi_fd_filestat_get(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t ret_stat = (uint32_t)args[1];
    if (wasi_stream_of(call, (uint32_t)args[0]) == WASI_CLOSED)
        return WASI_EBADF;
    if (!wasi_inside(memory, ret_stat, 64))
        return WASI_EFAULT;
    memset(memory.data + ret_stat, 0, 64);
    wasi_store_u64(memory, (uint64_t)ret_stat + 24, 1); /* links */
    return WASI_SUCCESS;
}

/* An answer for an open descriptor, EBADF for any other. */
#define WASI_ANSWER(name, answer)                                                                            \
    uint32_t wasi_##name(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {          \
        (void)memory;                                                                                        \
        return wasi_stream_of(call, (uint32_t)args[0]) == WASI_CLOSED ? WASI_EBADF : (answer);               \
    }

WASI_ANSWER(fd_advise, WASI_ESPIPE)
WASI_ANSWER(fd_allocate, WASI_ESPIPE)
WASI_ANSWER(fd_pread, WASI_ESPIPE)
WASI_ANSWER(fd_pwrite, WASI_ESPIPE)
WASI_ANSWER(fd_seek, WASI_ESPIPE)
WASI_ANSWER(fd_tell, WASI_ESPIPE)
WASI_ANSWER(fd_sync, WASI_EINVAL)
WASI_ANSWER(fd_datasync, WASI_EINVAL)
WASI_ANSWER(fd_filestat_set_size, WASI_EINVAL)
WASI_ANSWER(fd_filestat_set_times, WASI_ENOTSUP)
WASI_ANSWER(fd_fdstat_set_rights, WASI_SUCCESS)
/* EBADF ends a C library's search for directories that were granted. */
WASI_ANSWER(fd_prestat_get, WASI_EBADF)
WASI_ANSWER(fd_prestat_dir_name, WASI_EBADF)
WASI_ANSWER(fd_readdir, WASI_ENOTDIR)
WASI_ANSWER(path_create_directory, WASI_ENOTDIR)
WASI_ANSWER(path_filestat_get, WASI_ENOTDIR)
WASI_ANSWER(path_filestat_set_times, WASI_ENOTDIR)
WASI_ANSWER(path_link, WASI_ENOTDIR)
WASI_ANSWER(path_open, WASI_ENOTDIR)
WASI_ANSWER(path_readlink, WASI_ENOTDIR)
WASI_ANSWER(path_remove_directory, WASI_ENOTDIR)
WASI_ANSWER(path_rename, WASI_ENOTDIR)
WASI_ANSWER(path_unlink_file, WASI_ENOTDIR)
WASI_ANSWER(sock_accept, WASI_ENOTSOCK)
WASI_ANSWER(sock_recv, WASI_ENOTSOCK)
WASI_ANSWER(sock_send, WASI_ENOTSOCK)
WASI_ANSWER(sock_shutdown, WASI_ENOTSOCK)

/* The directory is its third argument. */
uint32_t wasi_path_symlink(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    (void)memory;
    return wasi_stream_of(call, (uint32_t)args[2]) == WASI_CLOSED ? WASI_EBADF : WASI_ENOTDIR;
}
