#include "balancer/cpu.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { CPU_STAT_BYTES = 64 << 10 }; /* lines of several hundred CPUs */

/* A file of /proc, as much of it as fits, terminated. */
static bool cpu_read(const char *path, char *text, size_t size) {
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t len = 0;
    ssize_t got;
    while (len + 1 < size && (got = read(fd, text + len, size - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = 0;
    return len > 0;
}

/* Lines `cpuN user nice system idle iowait …`, in ticks; the lines of single CPUs come first. */
static uint64_t cpu_idle_ticks(const char *text, const cpu_set_t *cpus, bool niced) {
    uint64_t sum = 0;
    for (const char *line = strchr(text, '\n'); line && strncmp(line, "\ncpu", 4) == 0;
         line = strchr(line + 1, '\n')) {
        unsigned number;
        unsigned long long user, nice, system, idle, iowait;
        if (sscanf(line, "\ncpu%u %llu %llu %llu %llu %llu", &number, &user, &nice, &system, &idle,
                   &iowait) == 6 &&
            number < CPU_SETSIZE && CPU_ISSET(number, cpus))
            sum += idle + iowait + (niced ? 0 : nice);
    }
    return sum;
}

double cpu_idle_look(struct cpu_idle *idle, uint64_t now_ns) {
    char text[CPU_STAT_BYTES];
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0 || !cpu_read("/proc/stat", text, sizeof text)) {
        idle->at_ns = 0;
        return -1;
    }
    uint64_t ticks = cpu_idle_ticks(text, &cpus, getpriority(PRIO_PROCESS, 0) > 0);
    struct cpu_idle before = *idle;
    *idle = (struct cpu_idle){.idle_ticks = ticks, .at_ns = now_ns};
    if (!before.at_ns || now_ns <= before.at_ns)
        return -1;
    /* The kernel's idle times may go back by a tick. */
    double passed_s = (double)(now_ns - before.at_ns) / (double)CLOCK_NS_PER_S;
    double idle_s =
        ticks > before.idle_ticks ? (double)(ticks - before.idle_ticks) / (double)sysconf(_SC_CLK_TCK) : 0;
    double most = CPU_COUNT(&cpus);
    return idle_s / passed_s > most ? most : idle_s / passed_s;
}

bool cpu_thread_times(int32_t pid, uint64_t *ret_ran_ns, uint64_t *ret_delayed_ns) {
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    unsigned long long ran_ns, delayed_ns;
    if (!cpu_read(path, text, sizeof text) || sscanf(text, "%llu %llu", &ran_ns, &delayed_ns) != 2)
        return false;
    *ret_ran_ns = ran_ns;
    *ret_delayed_ns = delayed_ns;
    return true;
}
