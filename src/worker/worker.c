#include "worker/worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "sandbox/seal.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/page.h"
#include "worker/functions.h"
#include "worker/ticker.h"
#include "worker/wasi.h"

enum {
    WORKER_READ_BYTES = 256 << 10,  /* room for one read when no large frame is under way */
    WORKER_KEEP_BYTES = 1 << 20,    /* buffers larger than this are given back once empty */
    WORKER_FLUSH_BYTES = 512 << 10, /* answers that are written at once */
    WORKER_ANSWER_BYTES = FRAME_HEADER_BYTES + sizeof(struct frame_answer),
};
/* One write carries many answers, unless they would wait this long for it, or for a call that is slow. */
static const uint64_t worker_flush_after_ns = 150000;
static const uint64_t worker_slow_ns = 100000;

struct worker {
    const struct worker_options *options; /* borrowed: outlives worker_run */
    struct runtime_engine *runtime;
    struct ticker ticker;
    struct functions functions;
    struct wasi_call call;
    /* Of the gateway that is attached: */
    int calls_fd, answers_fd; /* -1 while none is */
    struct page *page;        /* mapped; NULL while none is */
    bool gone;                /* nobody reads the answers any more */
    struct buf in, out, log;
    size_t answer_at; /* where the answer under way starts in `out`; before it, finished ones */
    uint64_t unsent_since_ns;
};

/* --- answers --- */

static void worker_wait(int fd, short events) {
    struct pollfd poll_fd = {.fd = fd, .events = events};
    poll(&poll_fd, 1, -1);
}

static void worker_write(struct worker *worker, const uint8_t *data, size_t len) {
    while (len > 0 && !worker->gone) {
        ssize_t written = write(worker->answers_fd, data, len);
        if (written >= 0) {
            data += written;
            len -= (size_t)written;
        } else if (errno == EAGAIN) {
            worker_wait(worker->answers_fd, POLLOUT);
        } else if (errno != EINTR) {
            worker->gone = true;
        }
    }
}

/* Writes the finished answers; what the call under way has printed so far moves to the front. */
static void worker_flush(struct worker *worker) {
    if (worker->answer_at == 0)
        return;
    worker_write(worker, worker->out.data, worker->answer_at);
    buf_consume(&worker->out, worker->answer_at);
    buf_trim(&worker->out, WORKER_KEEP_BYTES);
    worker->call.output_from -= worker->answer_at;
    worker->answer_at = 0;
}

static void worker_on_pause(void *context) {
    worker_flush(context);
}

/* Puts `error` in front of the output, and the log behind it. */
static void worker_answer_assemble(struct worker *worker, const char *error, size_t *ret_head_len) {
    struct buf *out = &worker->out;
    struct buf head = {0};
    if (error[0])
        frame_head_add(&head, "error", error, strlen(error));
    size_t from = worker->answer_at + WORKER_ANSWER_BYTES;
    if (head.failed || !buf_reserve(out, head.len + worker->log.len)) {
        out->failed = true;
    } else if (head.len > 0) {
        memmove(out->data + from + head.len, out->data + from, out->len - from);
        memcpy(out->data + from, head.data, head.len);
        out->len += head.len;
    }
    buf_append(out, worker->log.data, worker->log.len);
    *ret_head_len = head.len;
    buf_fini(&head);
}

/* Ends the answer under way: everything from answer_at on. ERR_INTERNAL when not even an empty one fits into
 * memory. */
static int worker_answer_finish(struct worker *worker, const struct frame_header *call,
                                struct frame_answer *answer, const char *error, struct err *err) {
    struct buf *out = &worker->out;
    size_t output_len = out->len - worker->answer_at - WORKER_ANSWER_BYTES, head_len;
    worker_answer_assemble(worker, error, &head_len);
    if (out->failed) {
        out->failed = false;
        out->len = worker->answer_at + WORKER_ANSWER_BYTES;
        output_len = 0;
        buf_clear(&worker->log);
        answer->code = ERR_INTERNAL;
        worker_answer_assemble(worker, "the worker has no memory left for the answer", &head_len);
        if (out->failed)
            return err_set(err, ERR_INTERNAL, "no memory left");
    }
    answer->head_len = (uint32_t)head_len;
    answer->output_len = (uint32_t)output_len;
    answer->log_len = (uint32_t)worker->log.len;
    struct frame_header header = {
        .length = (uint32_t)(out->len - worker->answer_at - FRAME_HEADER_BYTES),
        .type = FRAME_ANSWER,
        .format = FRAME_FORMAT,
        .slot = call->slot,
        .call_id = call->call_id,
        .key = call->key,
    };
    memcpy(out->data + worker->answer_at, &header, sizeof header);
    memcpy(out->data + worker->answer_at + FRAME_HEADER_BYTES, answer, sizeof *answer);
    buf_clear(&worker->log);
    buf_trim(&worker->log, WORKER_KEEP_BYTES);
    worker->answer_at = out->len;
    return 0;
}

static int worker_answer_begin(struct worker *worker, struct err *err) {
    if (!buf_reserve(&worker->out, WORKER_ANSWER_BYTES))
        return err_set(err, ERR_INTERNAL, "no memory left");
    worker->out.len += WORKER_ANSWER_BYTES;
    return 0;
}

/* --- calls --- */

static void worker_run_function(struct worker *worker, struct function *function, const struct frame *frame,
                                uint64_t now_ns, struct runtime_outcome *outcome) {
    size_t head_len = frame->header.head_len;
    const struct wasi_input input = {
        .name = function->name,
        .load_head = function->head,
        .load_head_len = function->head_len,
        .call_head = frame->payload,
        .call_head_len = head_len,
        .payload = frame->payload + head_len,
        .payload_len = frame->header.length - head_len,
        .start_ns = now_ns,
        .deadline_ns = now_ns + function->limits.timeout_ms * CLOCK_NS_PER_MS,
        .cpu_max_ns = function->limits.cpu_ms * CLOCK_NS_PER_MS,
        .output_max = (size_t)function->limits.output_mb << 20,
        .output = &worker->out,
        .log = &worker->log,
        .on_pause = worker_on_pause,
        .pause_context = worker,
    };
    wasi_call_begin(&worker->call, &input);
    worker->options->ops->call(worker->runtime, function->module, &function->limits, &worker->call, outcome);
    bool slow = outcome->ended_ns - outcome->started_ns > worker_slow_ns;
    function->slow_runs = (uint8_t)(function->slow_runs << 1 | slow);
}

/* By the clock on the wall, a call in which the worker was preempted looks slow too: one or two in eight say
 * nothing. */
static bool worker_expects_quick(const struct function *function) {
    return function && function->module && __builtin_popcount(function->slow_runs) <= 2;
}

/* Answers that are finished do not wait for a call that may be slow. */
static void worker_flush_before(struct worker *worker, const struct function *function, uint64_t now_ns) {
    if (worker->answer_at == 0)
        return;
    if (!worker_expects_quick(function) || now_ns - worker->unsent_since_ns >= worker_flush_after_ns ||
        worker->answer_at >= WORKER_FLUSH_BYTES)
        worker_flush(worker);
}

static int worker_on_call(struct worker *worker, const struct frame *frame, struct err *err) {
    const struct frame_header *header = &frame->header;
    /* Lost when the gateway has taken it back: then it is not ours to answer. */
    if (!page_move(worker->page, header->slot, header->call_id, PAGE_SENT, PAGE_RUNNING))
        return 0;
    uint64_t claimed_ns = clock_now_ns();
    struct function *function = functions_find(&worker->functions, header->key);
    worker_flush_before(worker, function, claimed_ns);
    int result = worker_answer_begin(worker, err);
    if (result < 0)
        return result;

    struct frame_answer answer = {.code = ERR_OK};
    struct err failed = {.msg = ""};
    struct runtime_outcome outcome;
    bool cold = false;
    if (!function) {
        err_set(&failed, ERR_INTERNAL, "the worker was not told of function %u", header->key);
    } else if (functions_prepare(&worker->functions, function, &cold, &failed) == 0) {
        worker_run_function(worker, function, frame, cold ? clock_now_ns() : claimed_ns, &outcome);
        answer.code = (uint32_t)outcome.code;
        answer.exit_code = outcome.exit_code;
        answer.flags = cold ? FRAME_ANSWER_COLD : 0;
        answer.start_ns = outcome.started_ns - claimed_ns;
        answer.run_ns = outcome.ended_ns - outcome.started_ns;
    }
    if (failed.code != ERR_OK)
        answer.code = (uint32_t)failed.code;
    bool first = worker->answer_at == 0;
    result = worker_answer_finish(worker, header, &answer, failed.code ? failed.msg : outcome.error, err);
    if (first)
        worker->unsent_since_ns = failed.code ? claimed_ns : outcome.ended_ns;
    return result;
}

static int worker_on_frame(struct worker *worker, const struct frame *frame, struct err *err) {
    switch (frame->header.type) {
    case FRAME_LOAD:
        functions_load(&worker->functions, frame);
        /* Of the secrets in it one copy is enough. */
        explicit_bzero((void *)(uintptr_t)frame->payload, frame->header.head_len);
        return 0;
    case FRAME_UNLOAD:
        functions_unload(&worker->functions, frame->header.key);
        return 0;
    case FRAME_CALL:
        return worker_on_call(worker, frame, err);
    default:
        return err_set(err, ERR_BAD_ANSWER, "a frame of type %u, which a worker does not take",
                       frame->header.type);
    }
}

/* --- the pipe --- */

/* Serves every whole frame of the input. *ret_wanted: bytes that the next one takes in all. */
static int worker_drain(struct worker *worker, size_t *ret_wanted, struct err *err) {
    size_t at = 0, used = 0;
    int got = 0;
    while (!worker->gone) {
        struct frame frame;
        got = frame_decode(worker->in.data + at, worker->in.len - at, FRAME_LENGTH_MAX, &frame, &used, err);
        if (got <= 0)
            break;
        int result = worker_on_frame(worker, &frame, err);
        if (result < 0)
            return result;
        at += used;
    }
    buf_consume(&worker->in, at);
    *ret_wanted = used;
    return got < 0 ? got : 0;
}

/* Makes functions ready that will be called, until there is something to read. */
static void worker_warm(struct worker *worker) {
    struct pollfd calls = {.fd = worker->calls_fd, .events = POLLIN};
    while (functions_warm_waits(&worker->functions) && poll(&calls, 1, 0) == 0) {
        struct frame_header done = {
            .type = FRAME_LOADED, .format = FRAME_FORMAT, .key = functions_warm_next(&worker->functions)};
        worker_write(worker, (const uint8_t *)&done, sizeof done);
    }
}

/* 1: something was read; 0: the gateway is gone. */
static int worker_read(struct worker *worker, size_t wanted, struct err *err) {
    struct buf *in = &worker->in;
    buf_trim(in, WORKER_KEEP_BYTES);
    size_t room = wanted > WORKER_READ_BYTES ? wanted : WORKER_READ_BYTES;
    if (in->len >= room)
        room = in->len + WORKER_READ_BYTES;
    if (!buf_reserve(in, room - in->len))
        return err_set(err, ERR_INTERNAL, "no memory for a frame of %zu bytes", wanted);
    worker_warm(worker);
    for (;;) {
        ssize_t got = read(worker->calls_fd, in->data + in->len, in->cap - in->len);
        if (got > 0) {
            in->len += (size_t)got;
            return 1;
        }
        if (got < 0 && errno == EAGAIN)
            worker_wait(worker->calls_fd, POLLIN);
        else if (got == 0 || errno != EINTR)
            return 0;
    }
}

static int worker_serve(struct worker *worker, struct err *err) {
    size_t wanted = FRAME_HEADER_BYTES;
    int result;
    while ((result = worker_read(worker, wanted, err)) > 0) {
        ticker_busy(&worker->ticker);
        result = worker_drain(worker, &wanted, err);
        worker_flush(worker);
        worker->options->ops->settle(worker->runtime);
        ticker_idle(&worker->ticker);
        if (result < 0 || worker->gone)
            break;
    }
    return result < 0 ? result : 0;
}

/* --- attaching --- */

static void worker_detach(struct worker *worker) {
    functions_clear(&worker->functions);
    if (worker->page)
        munmap(worker->page, PAGE_BYTES);
    worker->page = NULL;
    mem_close_fd(&worker->calls_fd);
    mem_close_fd(&worker->answers_fd);
    buf_fini(&worker->in);
    buf_fini(&worker->out);
    buf_fini(&worker->log);
    worker->answer_at = 0;
    worker->gone = false;
}

static int worker_attach(struct worker *worker, const int *fds, int fd_count, struct err *err) {
    if (fd_count != 3) {
        for (int i = 0; i < fd_count; i++)
            close(fds[i]);
        return err_set(err, ERR_BAD_REQUEST, "attached with %d descriptors, not 3", fd_count);
    }
    worker->calls_fd = fds[0];
    worker->answers_fd = fds[1];
    MEM_CLOSE_FD int page_fd = fds[2];
    struct stat stat;
    if (fstat(page_fd, &stat) != 0 || stat.st_size < PAGE_BYTES)
        return err_set(err, ERR_BAD_REQUEST, "attached with a page that is too short");
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
    if (page == MAP_FAILED)
        return err_sys(err, "cannot map the page");
    worker->page = page;
    return 0;
}

/* 1: attached; 0: the control socket has ended. */
static int worker_await(struct worker *worker, struct err *err) {
    int fds[MESSAGE_FDS_MAX], fd_count = 0;
    struct message message;
    for (;;) {
        worker_wait(worker->options->control_fd, POLLIN);
        int got = message_receive(worker->options->control_fd, &message, fds, &fd_count, err);
        if (got < 0)
            return err->code == ERR_IO ? 0 : got;
        if (got > 0 && message.type == MESSAGE_WORKER_ATTACH) {
            int result = worker_attach(worker, fds, fd_count, err);
            if (result < 0)
                return result;
            struct message attached = {.type = MESSAGE_WORKER_ATTACHED, .request = message.request};
            struct err ignored; /* a server that is gone needs no answer: the gateway has the pipes, or not */
            message_send(worker->options->control_fd, &attached, NULL, 0, &ignored);
            return 1;
        }
        for (int i = 0; got > 0 && i < fd_count; i++)
            close(fds[i]);
    }
}

static void worker_on_tick(void *context) {
    struct worker *worker = context;
    worker->options->ops->tick(worker->runtime);
}

static int worker_serve_gateways(struct worker *worker, struct err *err) {
    struct message ready = {.type = MESSAGE_WORKER_READY, .format = MESSAGE_FORMAT, .pid = (int32_t)getpid()};
    int result = message_send(worker->options->control_fd, &ready, NULL, 0, err);
    while (result >= 0 && (result = worker_await(worker, err)) > 0) {
        result = worker_serve(worker, err);
        worker_detach(worker);
    }
    worker_detach(worker);
    return result;
}

int worker_run(const struct worker_options *options, struct err *err) {
    struct worker *worker = mem_zalloc(sizeof *worker);
    worker->options = options;
    worker->calls_fd = worker->answers_fd = -1;
    int result = options->ops->open(&worker->runtime, err);
    if (result == 0) {
        functions_init(&worker->functions, options->ops, worker->runtime);
        worker->functions.data_dir = options->data_dir;
        worker->functions.memory_max_mb = options->memory_max_mb;
        result = options->sealed ? seal_files(options->data_dir, err) : 0;
        if (result == 0)
            result = ticker_start(&worker->ticker, worker_on_tick, worker, err);
        if (result == 0) {
            /* A woken worker must not preempt the gateway in the middle of its turn. Best effort. */
            struct sched_param none = {0};
            sched_setscheduler(0, SCHED_BATCH, &none);
            result = options->sealed ? seal_calls(err) : 0;
            if (result == 0)
                result = worker_serve_gateways(worker, err);
            ticker_stop(&worker->ticker);
        }
        options->ops->close(worker->runtime);
    }
    wasi_call_fini(&worker->call);
    free(worker);
    return result;
}
