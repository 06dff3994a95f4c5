/* poll_oneoff: sleeping, and the question whether stdin and stdout are ready (they always are). */
#include "worker/wasi_internal.h"

#include <errno.h>

#include "base/clock.h"

/* Layout of WASI's subscription and event. */
enum {
    WASI_SUBSCRIPTION_BYTES = 48,
    WASI_EVENT_BYTES = 32,
    WASI_EVENTTYPE_CLOCK = 0,
    WASI_EVENTTYPE_FD_READ = 1,
    WASI_EVENTTYPE_FD_WRITE = 2,
    WASI_SUBCLOCK_ABSTIME = 1,
    WASI_EVENT_HANGUP = 1,
};
/* More than any program subscribes to; bounds the work that nothing interrupts. */
enum { WASI_SUBSCRIPTIONS_MAX = 4096 };

struct wasi_subscription {
    uint64_t userdata;
    uint8_t type;
    uint32_t fd_or_clock;
    uint64_t timeout;
    uint16_t flags;
};

struct wasi_event {
    uint64_t userdata;
    uint16_t error;
    uint8_t type;
    uint64_t bytes;
    uint16_t flags;
};

static struct wasi_subscription wasi_subscription_load(struct wasi_memory memory, uint64_t at) {
    struct wasi_subscription subscription;
    const uint8_t *from = memory.data + at;
    memcpy(&subscription.userdata, from, 8);
    subscription.type = from[8];
    memcpy(&subscription.fd_or_clock, from + 16, 4);
    memcpy(&subscription.timeout, from + 24, 8);
    memcpy(&subscription.flags, from + 40, 2);
    return subscription;
}

static void wasi_event_store(struct wasi_memory memory, uint64_t at, const struct wasi_event *event) {
    memset(memory.data + at, 0, WASI_EVENT_BYTES);
    wasi_store_u64(memory, at, event->userdata);
    wasi_store_u16(memory, at + 8, event->error);
    memory.data[at + 10] = event->type;
    wasi_store_u64(memory, at + 16, event->bytes);
    wasi_store_u16(memory, at + 24, event->flags);
}

/* When a clock's subscription is due, on the monotonic clock; false when there is no such clock. */
static bool wasi_clock_due(const struct wasi_call *call, const struct wasi_subscription *subscription,
                           uint64_t *ret_due_ns) {
    uint64_t now, wait = subscription->timeout;
    if (!wasi_clock_now(call, subscription->fd_or_clock, &now))
        return false;
    if (subscription->flags & WASI_SUBCLOCK_ABSTIME)
        wait = wait > now ? wait - now : 0;
    uint64_t mono = clock_now_ns();
    *ret_due_ns = wait > UINT64_MAX - mono ? UINT64_MAX : mono + wait;
    return true;
}

/* Stdin and stdout, and what is wrong, are ready at once; true when the event is filled. */
static bool wasi_poll_stream(const struct wasi_call *call, const struct wasi_subscription *subscription,
                             struct wasi_event *ret_event) {
    struct wasi_event event = {.userdata = subscription->userdata, .type = subscription->type};
    enum wasi_stream stream = wasi_stream_of(call, subscription->fd_or_clock);
    uint64_t due;
    switch (subscription->type) {
    case WASI_EVENTTYPE_CLOCK:
        if (wasi_clock_due(call, subscription, &due))
            return false;
        event.error = WASI_EINVAL;
        break;
    case WASI_EVENTTYPE_FD_READ:
        event.error = stream == WASI_STDIN ? WASI_SUCCESS : WASI_EBADF;
        event.bytes = stream == WASI_STDIN ? call->input.payload_len - call->payload_at : 0;
        event.flags = stream == WASI_STDIN && event.bytes == 0 ? WASI_EVENT_HANGUP : 0;
        break;
    case WASI_EVENTTYPE_FD_WRITE:
        event.error = stream == WASI_STDOUT || stream == WASI_STDERR ? WASI_SUCCESS : WASI_EBADF;
        event.bytes = event.error ? 0 : 65536;
        break;
    default:
        event.error = WASI_EINVAL;
    }
    *ret_event = event;
    return true;
}

/* Sleeps until due_ns or the call's deadline. */
static void wasi_sleep(struct wasi_call *call, uint64_t due_ns) {
    uint64_t until = due_ns < call->input.deadline_ns ? due_ns : call->input.deadline_ns;
    if (until > clock_now_ns()) {
        if (call->input.on_pause)
            call->input.on_pause(call->input.pause_context);
        struct timespec at = {(time_t)(until / CLOCK_NS_PER_S), (long)(until % CLOCK_NS_PER_S)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
            ;
    }
    if (clock_now_ns() >= call->input.deadline_ns)
        wasi_stop(call, WASI_DEADLINE);
}

uint32_t wasi_poll_oneoff(struct wasi_call *call, struct wasi_memory memory, const uint64_t *args) {
    uint32_t in = (uint32_t)args[0], out = (uint32_t)args[1], count = (uint32_t)args[2],
             ret_events = (uint32_t)args[3];
    if (count == 0 || count > WASI_SUBSCRIPTIONS_MAX)
        return WASI_EINVAL;
    if (!wasi_inside(memory, in, (uint64_t)count * WASI_SUBSCRIPTION_BYTES) ||
        !wasi_inside(memory, out, (uint64_t)count * WASI_EVENT_BYTES) || !wasi_inside(memory, ret_events, 4))
        return WASI_EFAULT;
    uint32_t events = 0;
    uint64_t first_due = UINT64_MAX;
    uint64_t first_userdata = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct wasi_subscription subscription =
            wasi_subscription_load(memory, in + (uint64_t)i * WASI_SUBSCRIPTION_BYTES);
        struct wasi_event event;
        uint64_t due;
        if (wasi_poll_stream(call, &subscription, &event)) {
            wasi_event_store(memory, out + (uint64_t)events++ * WASI_EVENT_BYTES, &event);
        } else if (wasi_clock_due(call, &subscription, &due) && due < first_due) {
            first_due = due;
            first_userdata = subscription.userdata;
        }
    }
    if (events == 0) {
        wasi_sleep(call, first_due);
        if (call->end != WASI_RUNNING)
            return WASI_EIO;
        /* A relative time would start again when it is asked for a second time. */
        struct wasi_event event = {.userdata = first_userdata, .type = WASI_EVENTTYPE_CLOCK};
        wasi_event_store(memory, out, &event);
        events = 1;
    }
    wasi_store_u32(memory, ret_events, events);
    return WASI_SUCCESS;
}
