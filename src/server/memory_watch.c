#include "server/memory_watch.h"

#include <signal.h>

#include "base/clock.h"
#include "sandbox/sandbox.h"
#include "server/spawn.h"
#include "server/usage.h"

/* Memory is not filled faster than about a gigabyte a second. */
enum { MEMORY_WATCH_BYTES_MS = 1 << 20, MEMORY_WATCH_LEAST_MS = 20, MEMORY_WATCH_MOST_MS = 500 };

void memory_watch_start(struct memory_watch *watch, uint32_t limit_mb, uint64_t now_ns) {
    const struct sandbox_report *report = sandbox_probe();
    bool counted = report->memory_group || report->tier == SANDBOX_OFF;
    *watch = (struct memory_watch){.limit_bytes = counted ? 0 : (uint64_t)limit_mb << 20, .due_ns = now_ns};
}

void memory_watch_look(struct memory_watch *watch, pid_t pid, int pidfd, uint64_t now_ns) {
    uint64_t bytes = 0;
    if (!watch->limit_bytes || watch->over || now_ns < watch->due_ns)
        return;
    if (usage_memory_bytes(pid, watch->limit_bytes, &bytes) && bytes > watch->limit_bytes) {
        watch->over = true;
        spawn_kill(pidfd, SIGKILL);
        return;
    }
    uint64_t wait_ms = (watch->limit_bytes - bytes) / MEMORY_WATCH_BYTES_MS;
    if (wait_ms < MEMORY_WATCH_LEAST_MS)
        wait_ms = MEMORY_WATCH_LEAST_MS;
    if (wait_ms > MEMORY_WATCH_MOST_MS)
        wait_ms = MEMORY_WATCH_MOST_MS;
    watch->due_ns = now_ns + wait_ms * CLOCK_NS_PER_MS;
}
