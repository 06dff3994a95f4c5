#include "worker/wasi.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "worker/wasi_internal.h"

const struct wasi_import wasi_imports[WASI_IMPORT_COUNT] = {
#define WASI_ROW(name, params, results) [WASI_INDEX_##name] = {#name, params, results, wasi_##name},
    WASI_TABLE(WASI_ROW)
#undef WASI_ROW
};

void wasi_call_begin(struct wasi_call *call, const struct wasi_input *input) {
    call->input = *input;
    call->end = WASI_RUNNING;
    call->exit_code = 0;
    call->payload_at = 0;
    call->output_from = input->output->len;
    call->log_from = input->log->len;
    call->log_cut = false;
    for (uint8_t i = 0; i < WASI_STREAMS; i++) {
        call->streams[i] = i;
        call->flags[i] = 0;
    }
    call->cpu_from_ns = 0;
    call->environ_made = false;
}

void wasi_call_fini(struct wasi_call *call) {
    buf_fini(&call->environ_text);
}

bool wasi_cpu_is_over(struct wasi_call *call) {
    struct timespec now;
    if (call->input.cpu_max_ns == 0 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0)
        return false;
    uint64_t now_ns = (uint64_t)now.tv_sec * CLOCK_NS_PER_S + (uint64_t)now.tv_nsec;
    if (call->cpu_from_ns == 0)
        call->cpu_from_ns = now_ns;
    if (now_ns - call->cpu_from_ns < call->input.cpu_max_ns)
        return false;
    call->end = WASI_CPU;
    return true;
}

/* --- arguments: the function's name, nothing else --- */

uint32_t wasi_args_sizes_get(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t ret_count = (uint32_t)args[0], ret_bytes = (uint32_t)args[1];
    if (!wasi_inside(memory, ret_count, 4) || !wasi_inside(memory, ret_bytes, 4))
        return WASI_EFAULT;
    wasi_store_u32(memory, ret_count, 1);
    wasi_store_u32(memory, ret_bytes, (uint32_t)strlen(call->input.name) + 1);
    return WASI_SUCCESS;
}

uint32_t wasi_args_get(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t ret_pointers = (uint32_t)args[0], ret_text = (uint32_t)args[1];
    size_t len = strlen(call->input.name) + 1;
    if (!wasi_inside(memory, ret_pointers, 4) || !wasi_inside(memory, ret_text, len))
        return WASI_EFAULT;
    wasi_store_u32(memory, ret_pointers, ret_text);
    memcpy(memory.data + ret_text, call->input.name, len);
    return WASI_SUCCESS;
}

/* --- clocks --- */

bool wasi_clock_now(const struct wasi_call *call, uint32_t clock, uint64_t *ret_ns) {
    switch (clock) {
    case 0:
        *ret_ns = clock_real_ns();
        return true;
    case 1:
        *ret_ns = clock_now_ns();
        return true;
    case 2:
    case 3:
        /* The CPU clock of the worker would cost a system call and tell of the calls before. */
        *ret_ns = clock_now_ns() - call->input.start_ns;
        return true;
    default:
        return false;
    }
}

uint32_t wasi_clock_time_get(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t ret_time = (uint32_t)args[2];
    uint64_t now;
    if (!wasi_clock_now(call, (uint32_t)args[0], &now))
        return WASI_EINVAL;
    if (!wasi_inside(memory, ret_time, 8))
        return WASI_EFAULT;
    wasi_store_u64(memory, ret_time, now);
    return WASI_SUCCESS;
}

uint32_t wasi_clock_res_get(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t ret_resolution = (uint32_t)args[1];
    uint64_t now;
    if (!wasi_clock_now(call, (uint32_t)args[0], &now))
        return WASI_EINVAL;
    if (!wasi_inside(memory, ret_resolution, 8))
        return WASI_EFAULT;
    wasi_store_u64(memory, ret_resolution, 1);
    return WASI_SUCCESS;
}

/* --- random bytes --- */

static bool wasi_random_read(uint8_t *to, size_t len) {
    while (len > 0) {
        ssize_t got = getrandom(to, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        len -= (size_t)got;
    }
    return true;
}

/* Small requests are served from bytes that were read ahead and are wiped as they are used. */
static bool wasi_random_small(struct wasi_call *call, uint8_t *to, size_t len) {
    if (call->random_left < len) {
        if (!wasi_random_read(call->random, sizeof call->random))
            return false;
        call->random_left = sizeof call->random;
    }
    call->random_left -= len;
    memcpy(to, call->random + call->random_left, len);
    explicit_bzero(call->random + call->random_left, len);
    return true;
}

uint32_t wasi_random_get(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    enum { SMALL = 64, PART = 1 << 20 };
    uint32_t at = (uint32_t)args[0], len = (uint32_t)args[1];
    if (!wasi_inside(memory, at, len))
        return WASI_EFAULT;
    if (len <= SMALL)
        return wasi_random_small(call, memory.data + at, len) ? WASI_SUCCESS : WASI_EIO;
    /* Gigabytes of it take seconds, in which the engine cannot interrupt the guest. */
    for (uint32_t done = 0; done < len; done += PART) {
        uint32_t part = len - done < PART ? len - done : PART;
        if (!wasi_random_read(memory.data + at + done, part))
            return WASI_EIO;
        if (part == PART && clock_now_ns() >= call->input.deadline_ns)
            return wasi_stop(call, WASI_DEADLINE);
        if (part < PART)
            break;
    }
    return WASI_SUCCESS;
}

/* --- the process --- */

uint32_t wasi_proc_exit(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    (void)memory;
    call->exit_code = (uint32_t)args[0];
    return wasi_stop(call, WASI_EXITED);
}

uint32_t wasi_proc_raise(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    (void)memory;
    call->exit_code = (uint32_t)args[0] & 0xff;
    return call->exit_code == 0 ? WASI_SUCCESS : wasi_stop(call, WASI_RAISED);
}

uint32_t wasi_sched_yield(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    (void)call, (void)memory, (void)args;
    return WASI_SUCCESS;
}
