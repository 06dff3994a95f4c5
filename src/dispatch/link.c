#include "dispatch/link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"

/* Reads of a pipe take what a full one holds; a body larger than LINK_DIRECT_BYTES is not copied into the
 * buffer first. */
enum { LINK_READ_BYTES = 64 << 10, LINK_DIRECT_BYTES = 32 << 10, LINK_KEEP_BYTES = 256 << 10 };

static void link_close_watch(struct link *link, struct loop_watch *watch, int *fd) {
    if (*fd < 0)
        return;
    loop_unwatch(link->loop, watch);
    close(*fd);
    *fd = -1;
}

static void link_end(struct link *link, const struct err *err) {
    if (link->ended)
        return;
    link->ended = true;
    loop_unwatch(link->loop, &link->answers_watch);
    link_close_watch(link, &link->calls_watch, &link->calls_fd);
    link->handlers->on_end(link, err);
}

static void link_end_text(struct link *link, const char *text) {
    struct err err;
    err_set(&err, ERR_CRASH, "%s", text);
    link_end(link, &err);
}

/* Hands up every whole frame of the input; a breach of framing ends the link. */
static void link_decode(struct link *link) {
    size_t at = 0;
    while (at < link->in.len && !link->ended) {
        struct frame frame;
        size_t used;
        struct err err;
        int rc = frame_decode(link->in.data + at, link->in.len - at, link->frame_max, &frame, &used, &err);
        if (rc < 0) {
            link_end(link, &err);
            return;
        }
        if (rc == 0) {
            buf_consume(&link->in, at);
            buf_reserve(&link->in, used > link->in.len ? used - link->in.len : 0);
            return;
        }
        link->handlers->on_frame(link, &frame);
        at += used;
    }
    buf_consume(&link->in, at);
    buf_trim(&link->in, LINK_KEEP_BYTES);
}

/* Of `got` bytes behind the input: drops those that were taken from the outbox. Returns how many stay. */
static size_t link_leave_out(struct link *link, size_t got) {
    size_t known = link->ahead < got ? link->ahead : got;
    if (known > 0) {
        uint8_t *at = link->in.data + link->in.len;
        memmove(at, at + known, got - known);
        link->ahead -= known;
    }
    link->received += got - known;
    return got - known;
}

/* One read; false when nothing is there. */
static bool link_read_answers(struct link *link) {
    if (link->in.cap - link->in.len < LINK_READ_BYTES / 2 && !buf_reserve(&link->in, LINK_READ_BYTES)) {
        link_end_text(link, "out of memory for an answer");
        return true;
    }
    ssize_t got = read(link->answers_fd, link->in.data + link->in.len, link->in.cap - link->in.len);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0) {
        if (link->runtime != RUNTIME_WASM)
            link_take_outbox(link);
        link_end_text(link, "the worker closed its pipe");
        return true;
    }
    if (link->runtime != RUNTIME_WASM)
        got = (ssize_t)link_leave_out(link, (size_t)got);
    link->in.len += (size_t)got;
    link_decode(link);
    return true;
}

void link_take_outbox(struct link *link) {
    struct page *page = link->page;
    uint64_t at = atomic_load(&page->outbox_at), len = atomic_load(&page->outbox_len);
    if (link->ended || len == 0 || len > PAGE_OUTBOX_BYTES || link->received < at ||
        link->received - at >= len)
        return;
    uint8_t bytes[PAGE_OUTBOX_BYTES];
    uint64_t seal;
    memcpy(bytes, page->outbox, len);
    memcpy(&seal, page->outbox + len, sizeof seal);
    atomic_thread_fence(memory_order_acquire);
    if (seal != at + len || atomic_load(&page->outbox_at) != at)
        return; /* it is being emptied: then the pipe brings it */
    size_t known = link->received - at;
    if (!buf_reserve(&link->in, len - known)) {
        link_kill(link);
        return;
    }
    buf_append(&link->in, bytes + known, len - known);
    link->received += len - known;
    link->ahead += len - known;
    link_decode(link);
}

static void link_on_answers(struct loop_watch *watch, uint32_t events) {
    (void)events;
    link_read_answers(watch->context);
}

static void link_on_calls_writable(struct loop_watch *watch, uint32_t events) {
    struct link *link = watch->context;
    if (events & EPOLLERR) {
        loop_unwatch(link->loop, watch); /* the reader is gone: the end of the answers follows */
        return;
    }
    link_flush(link);
}

static void link_on_pidfd(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct link *link = watch->context;
    loop_unwatch(link->loop, watch);
    while (!link->ended && link_read_answers(link))
        ; /* what it had answered before its end counts */
    link->exited = true;
    link->handlers->on_exit(link);
}

static void link_keep_tail(struct link *link, const char *text, size_t len) {
    if (len >= LINK_TAIL_BYTES) {
        memcpy(link->tail, text + len - LINK_TAIL_BYTES, LINK_TAIL_BYTES);
        link->tail_len = LINK_TAIL_BYTES;
    } else {
        size_t keep = link->tail_len + len > LINK_TAIL_BYTES ? LINK_TAIL_BYTES - len : link->tail_len;
        memmove(link->tail, link->tail + link->tail_len - keep, keep);
        memcpy(link->tail + keep, text, len);
        link->tail_len = keep + len;
    }
    link->tail[link->tail_len] = '\0';
}

/* One read; false at the end of the pipe or when nothing is there. */
static bool link_read_text(struct link *link, int stream) {
    int fd = stream == 1 ? link->stdout_fd : link->stderr_fd;
    if (fd < 0)
        return false;
    char text[LINK_READ_BYTES];
    ssize_t got = read(fd, text, sizeof text);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0) {
        if (stream == 1)
            link_close_watch(link, &link->stdout_watch, &link->stdout_fd);
        else
            link_close_watch(link, &link->stderr_watch, &link->stderr_fd);
        return false;
    }
    if (stream == 2)
        link_keep_tail(link, text, (size_t)got);
    link->handlers->on_text(link, stream,
                            (struct call_bytes){.data = (const uint8_t *)text, .len = (size_t)got});
    return true;
}

static void link_on_stdout(struct loop_watch *watch, uint32_t events) {
    (void)events;
    link_read_text(watch->context, 1);
}

static void link_on_stderr(struct loop_watch *watch, uint32_t events) {
    (void)events;
    link_read_text(watch->context, 2);
}

void link_drain_text(struct link *link) {
    while (link_read_text(link, 1))
        ;
    while (link_read_text(link, 2))
        ;
}

static int link_watch_fd(struct link *link, struct loop_watch *watch, int fd, loop_on_event *on_event,
                         uint32_t events, struct err *err) {
    *watch = (struct loop_watch){.fd = fd, .on_event = on_event, .context = link};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return err_sys(err, "fcntl");
    return events ? loop_watch(link->loop, watch, events, err) : 0;
}

static int link_watch_all(struct link *link, struct err *err) {
    int rc = link_watch_fd(link, &link->calls_watch, link->calls_fd, link_on_calls_writable, 0, err);
    if (rc == 0)
        rc = link_watch_fd(link, &link->answers_watch, link->answers_fd, link_on_answers, EPOLLIN, err);
    if (rc == 0) {
        link->pidfd_watch =
            (struct loop_watch){.fd = link->pidfd, .on_event = link_on_pidfd, .context = link};
        rc = loop_watch(link->loop, &link->pidfd_watch, EPOLLIN, err);
    }
    if (rc == 0 && link->stdout_fd >= 0)
        rc = link_watch_fd(link, &link->stdout_watch, link->stdout_fd, link_on_stdout, EPOLLIN, err);
    if (rc == 0 && link->stderr_fd >= 0)
        rc = link_watch_fd(link, &link->stderr_watch, link->stderr_fd, link_on_stderr, EPOLLIN, err);
    return rc;
}

int link_open(struct loop *loop, const struct link_handlers *handlers, const struct message *message,
              int *fds, struct link **ret_link, struct err *err) {
    bool process = message->type == MESSAGE_SERVER_PROCESS;
    MEM_CLOSE_FD int page_fd = fds[2];
    struct link *link = calloc(1, sizeof *link);
    if (!link) {
        for (int i = 0; i < (process ? 7 : 4); i++)
            if (i != 2)
                close(fds[i]);
        return err_set(err, ERR_UNAVAILABLE, "no memory for a worker's pipes");
    }
    link->loop = loop;
    link->handlers = handlers;
    link->runtime = message->runtime < RUNTIME_COUNT ? (enum runtime)message->runtime : RUNTIME_WASM;
    link->worker = message->worker;
    link->generation = message->generation;
    link->pid = message->pid;
    link->calls_fd = fds[0];
    link->answers_fd = fds[1];
    link->pidfd = fds[3];
    link->stdin_fd = process ? fds[4] : -1;
    link->stdout_fd = process ? fds[5] : -1;
    link->stderr_fd = process ? fds[6] : -1;
    link->page_fd = process ? mem_steal_fd(&page_fd) : -1;
    link->frame_max = FRAME_LENGTH_MAX;
    link->fresh = true;
    void *page =
        mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, process ? link->page_fd : page_fd, 0);
    int rc = 0;
    if (page == MAP_FAILED)
        rc = err_sys(err, "mmap of a worker's page");
    else
        link->page = page;
    if (rc == 0)
        rc = link_watch_all(link, err);
    if (rc != 0) {
        link_close(link);
        return rc;
    }
    *ret_link = link;
    return 0;
}

static void link_wipe(struct link *link) {
    if (link->out_secret && link->out.data)
        explicit_bzero(link->out.data, link->out.cap);
    link->out_secret = false;
}

static void link_release(void *ptr) {
    struct link *link = ptr;
    link_wipe(link);
    buf_fini(&link->in);
    buf_fini(&link->out);
    buf_fini(&link->output);
    if (link->page)
        munmap(link->page, PAGE_BYTES);
    free(link);
}

void link_close(struct link *link) {
    link->ended = true;
    link_close_watch(link, &link->calls_watch, &link->calls_fd);
    link_close_watch(link, &link->answers_watch, &link->answers_fd);
    link_close_watch(link, &link->pidfd_watch, &link->pidfd);
    link_close_watch(link, &link->stdin_watch, &link->stdin_fd);
    link_close_watch(link, &link->stdout_watch, &link->stdout_fd);
    link_close_watch(link, &link->stderr_watch, &link->stderr_fd);
    mem_close_fd(&link->page_fd);
    loop_defer(link->loop, link_release, link);
}

/* Writes header, head and body with one call, as far as the pipe takes them; returns the bytes that went. */
static size_t link_write_direct(struct link *link, const struct frame_header *header, struct call_bytes head,
                                struct call_bytes body) {
    struct iovec parts[3] = {{(void *)(uintptr_t)header, sizeof *header},
                             {(void *)(uintptr_t)head.data, head.len},
                             {(void *)(uintptr_t)body.data, body.len}};
    ssize_t done = writev(link->calls_fd, parts, 3);
    return done > 0 ? (size_t)done : 0;
}

static void link_append_rest(struct buf *out, const void *data, size_t len, size_t *skip) {
    size_t skipped = *skip < len ? *skip : len;
    *skip -= skipped;
    buf_append(out, (const uint8_t *)data + skipped, len - skipped);
}

/* Growing in place would leave a copy behind. */
static void link_make_room(struct link *link, size_t more) {
    if (!link->out_secret || more <= link->out.cap - link->out.len)
        return;
    struct buf larger = {0};
    buf_reserve(&larger, link->out.len + more);
    buf_append(&larger, link->out.data, link->out.len);
    if (link->out.data)
        explicit_bzero(link->out.data, link->out.cap);
    buf_fini(&link->out);
    link->out = larger;
}

void link_send(struct link *link, const struct frame_header *header, struct call_bytes head,
               struct call_bytes body) {
    if (link->calls_fd < 0)
        return;
    size_t done = 0;
    if (body.len >= LINK_DIRECT_BYTES) {
        link_flush(link);
        if (link->out.len == 0 && link->calls_fd >= 0)
            done = link_write_direct(link, header, head, body);
    }
    link_make_room(link, sizeof *header + head.len + body.len);
    link_append_rest(&link->out, header, sizeof *header, &done);
    link_append_rest(&link->out, head.data, head.len, &done);
    link_append_rest(&link->out, body.data, body.len, &done);
    if (link->out.failed)
        link_kill(link); /* half a frame can only be ended with its reader */
}

void link_flush(struct link *link) {
    if (link->calls_fd < 0 || link->out.len == link->out_sent)
        return;
    ssize_t done = write(link->calls_fd, link->out.data + link->out_sent, link->out.len - link->out_sent);
    if (done < 0 && errno != EAGAIN && errno != EINTR)
        return; /* the reader is gone: the end of the answers follows */
    if (done > 0)
        link->out_sent += (size_t)done;
    struct err err;
    if (link->out_sent >= LINK_KEEP_BYTES && link->out_sent < link->out.len) {
        buf_consume(&link->out, link->out_sent);
        link->out_sent = 0;
    }
    if (link->out_sent == link->out.len) {
        link->out_sent = 0;
        link_wipe(link);
        buf_clear(&link->out);
        buf_trim(&link->out, LINK_KEEP_BYTES);
        loop_unwatch(link->loop, &link->calls_watch);
    } else if (!link->calls_watch.watched &&
               loop_watch(link->loop, &link->calls_watch, EPOLLOUT, &err) != 0) {
        link_kill(link);
    }
}

void link_shut(struct link *link) {
    link_close_watch(link, &link->calls_watch, &link->calls_fd);
}

void link_kill(struct link *link) {
    if (link->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, link->pidfd, SIGKILL, NULL, 0);
}

static void link_write_stdin(struct link *link, struct call_bytes payload) {
    while (link->stdin_sent < payload.len) {
        ssize_t done = write(link->stdin_fd, payload.data + link->stdin_sent, payload.len - link->stdin_sent);
        if (done < 0 && errno == EAGAIN)
            return;
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            break; /* the script does not read it */
        link->stdin_sent += (size_t)done;
    }
    link_close_watch(link, &link->stdin_watch, &link->stdin_fd);
}

static void link_on_stdin_writable(struct loop_watch *watch, uint32_t events) {
    struct link *link = watch->context;
    if ((events & EPOLLERR) || !link->slots[0]) {
        link_close_watch(link, watch, &link->stdin_fd);
        return;
    }
    link_write_stdin(link, link->slots[0]->body);
}

void link_feed_stdin(struct link *link, struct call_bytes payload) {
    struct err err;
    if (link_watch_fd(link, &link->stdin_watch, link->stdin_fd, link_on_stdin_writable, 0, &err) != 0) {
        link_kill(link);
        return;
    }
    link_write_stdin(link, payload);
    if (link->stdin_fd >= 0 && loop_watch(link->loop, &link->stdin_watch, EPOLLOUT, &err) != 0)
        link_kill(link);
}

void link_claim_slot(struct link *link, struct call *call) {
    unsigned slot = 0;
    while (slot < LINK_WINDOW - 1 && link->slots[slot])
        slot++;
    link->slots[slot] = call;
    link->in_flight++;
    call->slot = (uint16_t)slot;
    call->link = link;
    atomic_store_explicit(&link->page->slots[slot], page_word(call->id, PAGE_SENT), memory_order_release);
}

void link_free_slot(struct link *link, struct call *call) {
    link->slots[call->slot] = NULL;
    link->in_flight--;
    call->link = NULL;
    atomic_store_explicit(&link->page->slots[call->slot], 0, memory_order_release);
}
