#include "builder/builder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "builder/lang.h"
#include "builder/native.h"
#include "builder/step.h"
#include "storage/storage.h"

/* The gateway may be slow to send, or be gone. */
static int builder_wait_source(const struct builder *builder, int source_fd, struct err *err) {
    uint64_t now_ns = clock_now_ns();
    if (now_ns >= builder->deadline_ns)
        return err_set(err, ERR_BUILD_TIMEOUT, "the source did not arrive in %d s", BUILDER_SECONDS);
    struct pollfd polls[] = {{.fd = source_fd, .events = POLLIN},
                             {.fd = builder->signal_fd, .events = POLLIN},
                             {.fd = builder->answer_fd, .events = 0}};
    int ready = poll(polls, 3, (int)((builder->deadline_ns - now_ns) / CLOCK_NS_PER_MS) + 1);
    if (ready > 0 && (polls[1].revents || polls[2].revents))
        return err_set(err, ERR_DRAINING, "the build was stopped");
    return 0;
}

static int builder_read_source(struct builder *builder, int source_fd, struct err *err) {
    struct buf *source = &builder->source;
    for (;;) {
        int failed = builder_wait_source(builder, source_fd, err);
        if (failed)
            return failed;
        if (!buf_reserve(source, 64 << 10))
            return err_set(err, ERR_INTERNAL, "out of memory");
        ssize_t len = read(source_fd, source->data + source->len, 64 << 10);
        if (len < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (len < 0)
            return err_sys(err, "the source");
        if (len == 0)
            return 0;
        source->len += (size_t)len;
        if (source->len > BUILDER_SOURCE_MAX)
            return err_set(err, ERR_BAD_REQUEST, "the source is larger than %d MiB",
                           BUILDER_SOURCE_MAX >> 20);
    }
}

static int builder_write_file(const struct builder *builder, const char *name, const struct buf *data,
                              struct err *err) {
    MEM_CLOSE_FD int fd = -1;
    int failed = step_create_file(builder, name, &fd, err);
    for (size_t done = 0; !failed && done < data->len;) {
        ssize_t len = write(fd, data->data + done, data->len - done);
        if (len < 0 && errno != EINTR)
            return err_sys(err, "%s of the stage", name);
        done += len > 0 ? (size_t)len : 0;
    }
    return failed;
}

static int builder_read_file(const struct builder *builder, const char *name, struct buf *ret_data,
                             struct err *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", builder->stage, name);
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, "%s of the stage", name);
    for (;;) {
        if (!buf_reserve(ret_data, 256 << 10))
            return err_set(err, ERR_INTERNAL, "out of memory");
        ssize_t len = read(fd, ret_data->data + ret_data->len, 256 << 10);
        if (len < 0 && errno != EINTR)
            return err_sys(err, "%s of the stage", name);
        if (len == 0)
            return 0;
        ret_data->len += len > 0 ? (size_t)len : 0;
    }
}

/* What the gateway is told of faults that are not the user's. */
static int builder_own_fault(int failed, struct err *err) {
    if (failed == -ERR_IO || failed == -ERR_UNAVAILABLE || failed == -ERR_NOT_FOUND)
        err->code = ERR_INTERNAL;
    return failed ? -err->code : 0;
}

static int builder_run(struct builder *builder, int source_fd, struct err *err) {
    const struct storage_lang *lang = storage_lang_find(builder->lang);
    if (!lang)
        return err_set(err, ERR_BAD_REQUEST, "unknown lang '%.32s'", builder->lang);
    int failed = lang_check(builder->lang, err);
    if (!failed)
        failed = builder_read_source(builder, source_fd, err);
    char file[32];
    snprintf(file, sizeof file, "code.%s", lang->extension);
    if (!failed)
        failed = builder_write_file(builder, file, &builder->source, err);
    if (!failed)
        failed = lang_find(builder->lang)->build(builder, err);
    if (failed || !builder->wasm)
        return failed;
    struct buf wasm = {0};
    failed = builder_read_file(builder, "code.wasm", &wasm, err);
    if (!failed)
        failed = native_compile(builder, wasm.data, wasm.len, err);
    buf_fini(&wasm);
    return failed;
}

int builder_build(struct builder *builder, int source_fd, struct err *err) {
    return builder_own_fault(builder_run(builder, source_fd, err), err);
}

int builder_rebuild(struct builder *builder, int source_fd, struct err *err) {
    int failed = builder_read_source(builder, source_fd, err);
    if (!failed)
        failed = native_compile(builder, builder->source.data, builder->source.len, err);
    if (!failed) {
        builder->wasm = true;
        snprintf(builder->entry, sizeof builder->entry, "wasi");
    }
    return builder_own_fault(failed, err);
}

void builder_fini(struct builder *builder) {
    buf_fini(&builder->source);
    buf_fini(&builder->messages);
}
