#include "server/process_pool.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "egress/broker.h"
#include "sandbox/programs.h"
#include "server/egress_child.h"
#include "server/memory_watch.h"
#include "server/process.h"
#include "server/spawn.h"
#include "server/usage.h"
#include "wire/page.h"

/* At first the boots leave room for the rest of the start; later a spare that was taken is replaced as soon
 * as the one who took it has been answered. */
#define PROCESS_POOL_FIRST_FILL_NS (30 * CLOCK_NS_PER_MS)
#define PROCESS_POOL_REFILL_NS (1 * CLOCK_NS_PER_MS)
#define PROCESS_POOL_BACKOFF_NS (100 * CLOCK_NS_PER_MS)
#define PROCESS_POOL_BACKOFF_MAX_NS (5 * CLOCK_NS_PER_S)
/* A runtime that was not there is looked for again, but not for every call. */
#define PROCESS_POOL_PROBE_NS (5 * CLOCK_NS_PER_S)

struct process {
    struct process_pool *pool; /* borrowed: it holds us */
    enum runtime runtime;
    uint32_t number;
    bool spare;
    uint64_t serial;      /* the gateway connection that has it */
    uint64_t orphaned_ns; /* when that went; 0 = it is there */
    struct sandbox_child child;
    struct loop_watch exit_watch;
    const struct page *page;     /* owned mapping */
    int ends[PROCESS_ENDS];      /* of a spare */
    struct egress_child *broker; /* of one that may connect; else NULL */
    struct memory_watch memory;
    struct process *next, *prev;
};

struct process_runtime_state {
    char interpreter[4096]; /* "" = not found */
    struct err missing;
    uint64_t probed_ns; /* 0 = never */
    bool wanted;        /* somebody may ask for a process */
    uint32_t spares;
    uint64_t backoff_ns, not_before_ns; /* of spares that die at boot */
};

struct process_pool {
    struct process_pool_config config;
    struct process_runtime_state runtimes[RUNTIME_COUNT];
    struct process *first;
    struct egress_children brokers;
    uint32_t alive, taken;
    uint32_t next_number, next_inner_pid, inner_pid_max;
    bool filling, filled, draining;
    struct loop_timer fill_timer, orphan_timer, memory_timer;
};

enum { PROCESS_INNER_PID_MIN = 300, PROCESS_PIDS = 512, PROCESS_PIDS_FEW = 64, PROCESS_MANY_PIDS = 1 << 20 };

static uint32_t process_pool_pid_max(void) {
    unsigned long max = 32768;
    FILE *file = fopen("/proc/sys/kernel/pid_max", "re");
    if (file) {
        if (fscanf(file, "%lu", &max) != 1 || max < 1024 || max > 4194304)
            max = 32768;
        fclose(file);
    }
    return (uint32_t)max;
}

/* A Python process may fork for each of its calls (isolation=call), and no two calls share a pid:
 * runtimes/python/isolated.py knows how many it has. */
static uint32_t process_pool_next_inner_pid(struct process_pool *pool, enum runtime runtime) {
    uint32_t pid = pool->next_inner_pid;
    if (runtime == RUNTIME_NODE)
        pool->next_inner_pid += 1;
    else
        pool->next_inner_pid += pool->inner_pid_max < PROCESS_MANY_PIDS ? PROCESS_PIDS_FEW : PROCESS_PIDS;
    if (pool->next_inner_pid + PROCESS_PIDS >= pool->inner_pid_max)
        pool->next_inner_pid = PROCESS_INNER_PID_MIN;
    return pid;
}

/* Finds the interpreter, once; one that is missing again after a while. */
static bool process_pool_probe(struct process_pool *pool, enum runtime runtime) {
    struct process_runtime_state *state = &pool->runtimes[runtime];
    uint64_t now_ns = clock_now_ns();
    if (state->interpreter[0] || (state->probed_ns && now_ns - state->probed_ns < PROCESS_POOL_PROBE_NS))
        return state->interpreter[0] != 0;
    bool first = state->probed_ns == 0;
    state->probed_ns = now_ns;
    enum program program = runtime == RUNTIME_NODE ? PROGRAM_NODE : PROGRAM_PYTHON;
    if (programs_find(program, state->interpreter, sizeof state->interpreter, &state->missing) < 0) {
        state->interpreter[0] = 0;
        if (first)
            log_event("no processes of %s: %s", process_runtime_name(runtime), state->missing.msg);
    }
    return state->interpreter[0] != 0;
}

static void process_pool_unlink(struct process *process) {
    struct process_pool *pool = process->pool;
    if (process->prev)
        process->prev->next = process->next;
    else
        pool->first = process->next;
    if (process->next)
        process->next->prev = process->prev;
    pool->alive--;
    if (process->spare)
        pool->runtimes[process->runtime].spares--;
    else
        pool->taken--;
}

static void process_pool_release(struct process *process) {
    egress_child_release(process->broker);
    loop_unwatch(process->pool->config.loop, &process->exit_watch);
    mem_close_fd(&process->child.pidfd);
    process_close_ends(process->ends);
    if (process->page)
        munmap((void *)process->page, PAGE_BYTES);
    loop_defer(process->pool->config.loop, free, process);
}

/* True while it still grows: what goes on failing is not logged for ever. */
static bool process_pool_backoff(struct process_runtime_state *state) {
    bool grows = state->backoff_ns < PROCESS_POOL_BACKOFF_MAX_NS;
    state->backoff_ns = state->backoff_ns ? state->backoff_ns * 2 : PROCESS_POOL_BACKOFF_NS;
    if (state->backoff_ns > PROCESS_POOL_BACKOFF_MAX_NS)
        state->backoff_ns = PROCESS_POOL_BACKOFF_MAX_NS;
    state->not_before_ns = clock_now_ns() + state->backoff_ns;
    return grows;
}

/* A spare should never end: something is wrong with the runtime, and its stderr may say what. */
static void process_pool_on_spare_end(struct process *process, int status) {
    struct process_pool *pool = process->pool;
    if (pool->draining)
        return;
    char text[400];
    ssize_t len = read(process->ends[PROCESS_STDERR], text, sizeof text - 1);
    text[len > 0 ? len : 0] = 0;
    if (process_pool_backoff(&pool->runtimes[process->runtime]))
        log_event("a spare %s process ended at boot (wait status 0x%x): %s",
                  process_runtime_name(process->runtime), (unsigned)status, text);
    process_pool_fill(pool);
}

static int process_pool_code(int status, bool oom, bool processes) {
    if (status == 0)
        return ERR_CRASH;
    return oom ? ERR_OOM : processes ? ERR_PROCESSES : ERR_CRASH;
}

static void process_pool_on_exit(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct process *process = watch->context;
    struct process_pool *pool = process->pool;
    int status;
    pid_t reaped = waitpid(process->child.pid, &status, WNOHANG);
    if (reaped == 0)
        return;
    uint64_t noted = atomic_load(&process->page->exit_status);
    if (noted >> 32)
        status = (int)(uint32_t)noted;
    else if (reaped < 0)
        status = SIGKILL;
    bool oom = false, processes = false;
    sandbox_finish(&process->child, &oom, &processes);
    oom |= process->memory.over;
    process_pool_unlink(process);
    if (process->spare) {
        process_pool_on_spare_end(process, status);
    } else {
        struct message gone = {.type = MESSAGE_SERVER_GONE,
                               .runtime = (uint8_t)process->runtime,
                               .worker = process->number,
                               .pid = process->child.pid,
                               .status = status,
                               .code = process_pool_code(status, oom, processes)};
        pool->config.on_gone(pool->config.context, process->serial, &gone);
    }
    process_pool_release(process);
    if (pool->draining && pool->alive == 0)
        pool->config.on_empty(pool->config.context);
}

static int process_pool_watch(struct process *process, struct err *err) {
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, process->ends[PROCESS_PAGE], 0);
    if (page == MAP_FAILED)
        return err_sys(err, "mmap");
    process->page = page;
    process->exit_watch =
        (struct loop_watch){.fd = process->child.pidfd, .on_event = process_pool_on_exit, .context = process};
    return loop_watch(process->pool->config.loop, &process->exit_watch, EPOLLIN, err);
}

/* Without its broker a process cannot connect for the rest of its life, and the next one can. */
static void process_pool_on_broker_end(void *context, bool failed) {
    struct process *process = context;
    process->broker = NULL;
    if (!failed)
        return; /* it saw the end of its process before us */
    log_event("the broker of process %u ended; ending the process", process->number);
    spawn_kill(process->child.pidfd, SIGKILL);
}

/* The channel is the broker's end. */
static int process_pool_start_broker(struct process *process, int channel_fd, int policy_fd, int log_fd,
                                     struct err *err) {
    const struct process_pool_config *config = &process->pool->config;
    struct egress_child_spec spec = {.parts_dir = config->parts_dir,
                                     .hosts_path = config->hosts_path,
                                     .channel_fd = channel_fd,
                                     .policy_fd = policy_fd,
                                     .log_fd = log_fd,
                                     .on_end = process_pool_on_broker_end,
                                     .context = process};
    return egress_child_start(&process->pool->brokers, &spec, &process->broker, err);
}

/* A child that will not be used. */
static void process_pool_discard(struct process *process) {
    bool ignored;
    kill(process->child.pid, SIGKILL);
    waitpid(process->child.pid, NULL, 0);
    sandbox_finish(&process->child, &ignored, &ignored);
    process_pool_release(process);
}

/* The process is freed when it fails. */
static int process_pool_start(struct process *process, const struct message *start, int gate_fd,
                              int *ret_error_fd, struct err *err) {
    struct process_pool *pool = process->pool;
    struct process_spec spec = {.runtime = process->runtime,
                                .interpreter = pool->runtimes[process->runtime].interpreter,
                                .parts_dir = pool->config.parts_dir,
                                .memory_mb = start->limits.memory_mb,
                                .processes = start->limits.processes,
                                .tmp_mb = start->limits.tmp_mb,
                                .inner_pid = process_pool_next_inner_pid(pool, process->runtime),
                                .gate_fd = gate_fd,
                                .ret_error_fd = ret_error_fd};
    int rc = process_start(&spec, &process->child, process->ends, err);
    if (rc < 0) {
        free(process);
        return rc;
    }
    process->number = pool->next_number++;
    rc = process_pool_watch(process, err);
    if (rc < 0)
        process_pool_discard(process);
    return rc;
}

/* With a broker beside it, which is started while the interpreter boots. */
static int process_pool_start_watched(struct process *process, const struct message *start, int policy_fd,
                                      struct err *err) {
    int channel[2];
    int rc = broker_open_channel(channel, err);
    if (rc < 0) {
        free(process);
        return rc;
    }
    MEM_CLOSE_FD int broker_fd = channel[0], gate_fd = channel[1], error_fd = -1;
    rc = process_pool_start(process, start, gate_fd, &error_fd, err);
    if (rc < 0)
        return rc;
    rc = process_pool_start_broker(process, broker_fd, policy_fd, error_fd, err);
    if (rc < 0)
        process_pool_discard(process);
    return rc;
}

/* A spare of the start's runtime and limits. policy_fd >= 0: with a network, as far as that says. */
static int process_pool_boot(struct process_pool *pool, const struct message *start, int policy_fd,
                             struct process **ret_process, struct err *err) {
    struct process *process = calloc(1, sizeof *process);
    if (!process)
        return err_set(err, ERR_UNAVAILABLE, "no memory for a process");
    process->pool = pool;
    process->runtime = (enum runtime)start->runtime;
    process->spare = true;
    process->child.pidfd = process->exit_watch.fd = -1;
    for (int i = 0; i < PROCESS_ENDS; i++)
        process->ends[i] = -1;
    int rc = policy_fd < 0 ? process_pool_start(process, start, 0, NULL, err)
                           : process_pool_start_watched(process, start, policy_fd, err);
    if (rc < 0)
        return rc;
    process->next = pool->first;
    if (pool->first)
        pool->first->prev = process;
    pool->first = process;
    pool->alive++;
    pool->runtimes[process->runtime].spares++;
    *ret_process = process;
    return 0;
}

static void process_pool_boot_spare(struct process_pool *pool, enum runtime runtime) {
    struct process *ignored;
    struct err err;
    struct message standard = {.runtime = (uint8_t)runtime, .limits = LIMITS_DEFAULTS};
    if (process_pool_boot(pool, &standard, -1, &ignored, &err) == 0)
        return;
    if (process_pool_backoff(&pool->runtimes[runtime]))
        log_event("no spare %s process: %s", process_runtime_name(runtime), err.msg);
}

/* The runtime that wants a spare most, RUNTIME_COUNT when none does now; *ret_wait_ns: until one may. */
static enum runtime process_pool_wanting(struct process_pool *pool, uint64_t *ret_wait_ns) {
    enum runtime wanting = RUNTIME_COUNT;
    uint64_t now_ns = clock_now_ns();
    *ret_wait_ns = 0;
    for (enum runtime runtime = RUNTIME_NODE; runtime < RUNTIME_COUNT; runtime++) {
        struct process_runtime_state *state = &pool->runtimes[runtime];
        if (!state->wanted || state->spares >= PROCESS_POOL_SPARES || !process_pool_probe(pool, runtime))
            continue;
        if (state->not_before_ns > now_ns) {
            uint64_t wait_ns = state->not_before_ns - now_ns;
            if (*ret_wait_ns == 0 || wait_ns < *ret_wait_ns)
                *ret_wait_ns = wait_ns;
        } else if (wanting == RUNTIME_COUNT || state->spares < pool->runtimes[wanting].spares) {
            wanting = runtime;
        }
    }
    return wanting;
}

static void process_pool_on_fill(struct loop_timer *timer) {
    struct process_pool *pool = timer->context;
    uint64_t wait_ns;
    enum runtime runtime = process_pool_wanting(pool, &wait_ns);
    if (runtime != RUNTIME_COUNT) {
        process_pool_boot_spare(pool, runtime);
        wait_ns = pool->filled ? PROCESS_POOL_REFILL_NS : PROCESS_POOL_FIRST_FILL_NS;
    } else {
        pool->filled = true;
    }
    if (wait_ns)
        loop_arm(pool->config.loop, timer, wait_ns);
}

void process_pool_fill(struct process_pool *pool) {
    if (pool->draining)
        return;
    pool->filling = true;
    if (!pool->fill_timer.armed)
        loop_arm(pool->config.loop, &pool->fill_timer, PROCESS_POOL_REFILL_NS);
}

void process_pool_spare_none(struct process_pool *pool, uint32_t runtimes) {
    for (enum runtime runtime = RUNTIME_NODE; runtime < RUNTIME_COUNT; runtime++)
        pool->runtimes[runtime].wanted = !(runtimes >> runtime & 1);
}

void process_pool_want(struct process_pool *pool, enum runtime runtime) {
    if (runtime >= RUNTIME_COUNT || pool->runtimes[runtime].wanted)
        return;
    pool->runtimes[runtime].wanted = true;
    if (pool->filling)
        process_pool_fill(pool);
}

static void process_pool_on_orphans(struct loop_timer *timer) {
    struct process_pool *pool = timer->context;
    uint64_t now_ns = clock_now_ns(), next_ns = 0;
    uint64_t grace_ns = pool->draining ? 0 : PROCESS_POOL_ORPHAN_NS;
    for (struct process *process = pool->first; process; process = process->next) {
        if (!process->orphaned_ns)
            continue;
        uint64_t due_ns = process->orphaned_ns + grace_ns;
        if (due_ns <= now_ns)
            spawn_kill(process->child.pidfd, SIGKILL);
        else if (!next_ns || due_ns - now_ns < next_ns)
            next_ns = due_ns - now_ns;
    }
    if (next_ns)
        loop_arm(pool->config.loop, timer, next_ns);
}

/* Armed while there is a process whose memory nobody else counts. */
static void process_pool_on_memory(struct loop_timer *timer) {
    struct process_pool *pool = timer->context;
    uint64_t now_ns = clock_now_ns(), next_ns = 0;
    for (struct process *process = pool->first; process; process = process->next) {
        struct memory_watch *memory = &process->memory;
        memory_watch_look(memory, process->child.pid, process->child.pidfd, now_ns);
        if (memory->limit_bytes && !memory->over && (!next_ns || memory->due_ns < next_ns))
            next_ns = memory->due_ns;
    }
    now_ns = clock_now_ns();
    if (next_ns)
        loop_arm(pool->config.loop, timer, next_ns > now_ns ? next_ns - now_ns : 0);
}

struct process_pool *process_pool_new(const struct process_pool_config *config) {
    struct process_pool *pool = mem_zalloc(sizeof *pool);
    pool->config = *config;
    pool->brokers.loop = config->loop;
    pool->next_number = PROCESS_POOL_FIRST_NUMBER;
    process_pool_spare_none(pool, 0);
    pool->inner_pid_max = process_pool_pid_max();
    uint32_t start = 0;
    if (getrandom(&start, sizeof start, 0) != (ssize_t)sizeof start)
        start = (uint32_t)clock_now_ns();
    pool->next_inner_pid =
        PROCESS_INNER_PID_MIN + start % (pool->inner_pid_max - PROCESS_INNER_PID_MIN - PROCESS_PIDS);
    pool->fill_timer = (struct loop_timer){.on_timer = process_pool_on_fill, .context = pool};
    pool->orphan_timer = (struct loop_timer){.on_timer = process_pool_on_orphans, .context = pool};
    pool->memory_timer = (struct loop_timer){.on_timer = process_pool_on_memory, .context = pool};
    return pool;
}

void process_pool_free(struct process_pool *pool) {
    if (!pool)
        return;
    loop_disarm(pool->config.loop, &pool->fill_timer);
    loop_disarm(pool->config.loop, &pool->orphan_timer);
    loop_disarm(pool->config.loop, &pool->memory_timer);
    while (pool->first) {
        struct process *process = pool->first;
        process_pool_unlink(process);
        process_pool_release(process);
    }
    egress_children_fini(&pool->brokers);
    free(pool);
}

static bool process_pool_fits_spare(const struct limits *limits) {
    const struct limits standard = LIMITS_DEFAULTS;
    return limits->memory_mb == standard.memory_mb && limits->processes == standard.processes &&
           limits->tmp_mb == standard.tmp_mb;
}

/* The oldest: it is the one that has booted. */
static struct process *process_pool_find_spare(struct process_pool *pool, enum runtime runtime) {
    struct process *found = NULL;
    for (struct process *process = pool->first; process; process = process->next)
        if (process->spare && process->runtime == runtime && (!found || process->number < found->number))
            found = process;
    return found;
}

static int process_pool_get(struct process_pool *pool, const struct message *start, int policy_fd,
                            struct process **ret_process, struct err *err) {
    enum runtime runtime = (enum runtime)start->runtime;
    if (pool->draining)
        return err_set(err, ERR_DRAINING, "the server is stopping");
    if (runtime != RUNTIME_NODE && runtime != RUNTIME_PYTHON)
        return err_set(err, ERR_BAD_REQUEST, "runtime %u has no processes", start->runtime);
    if (pool->taken >= pool->config.most)
        return err_set(err, ERR_UNAVAILABLE, "%u processes are running, which is the most", pool->taken);
    if (!process_pool_probe(pool, runtime)) {
        *err = pool->runtimes[runtime].missing;
        return -err->code;
    }
    bool fits = policy_fd < 0 && process_pool_fits_spare(&start->limits);
    *ret_process = fits ? process_pool_find_spare(pool, runtime) : NULL;
    return *ret_process ? 0 : process_pool_boot(pool, start, policy_fd, ret_process, err);
}

void process_pool_take(struct process_pool *pool, const struct message *start, int policy_fd,
                       struct process_pool_asker asker) {
    struct err err;
    struct process *process;
    struct message answer = {.runtime = start->runtime, .request = start->request};
    if (process_pool_get(pool, start, policy_fd, &process, &err) < 0) {
        answer.type = MESSAGE_SERVER_START_FAILED;
        answer.code = err.code;
        snprintf(answer.text, sizeof answer.text, "%s", err.msg);
        peer_send(asker.peer, &answer, NULL, 0);
        return;
    }
    process->spare = false;
    process->serial = asker.serial;
    pool->runtimes[process->runtime].wanted = true;
    pool->runtimes[process->runtime].spares--;
    pool->runtimes[process->runtime].backoff_ns = 0;
    pool->taken++;
    memory_watch_start(&process->memory, process_memory_mb(process->runtime, start->limits.memory_mb),
                       clock_now_ns());
    if (process->memory.limit_bytes)
        process_pool_on_memory(&pool->memory_timer);
    answer.type = MESSAGE_SERVER_PROCESS;
    answer.worker = process->number;
    answer.pid = process->child.pid;
    peer_send(asker.peer, &answer, process->ends, PROCESS_ENDS);
    for (int i = 0; i < PROCESS_ENDS; i++)
        process->ends[i] = -1;
    if (pool->filling)
        process_pool_fill(pool);
}

void process_pool_measure(struct process_pool *pool, const struct message *measure, struct peer *gateway) {
    struct message usage = {
        .type = MESSAGE_SERVER_USAGE, .worker = measure->worker, .request = measure->request};
    for (struct process *process = pool->first; process; process = process->next)
        if (!process->spare && process->number == measure->worker) {
            if (usage_cpu_ms(process->child.pid, &usage.target))
                peer_send(gateway, &usage, NULL, 0);
            return;
        }
}

void process_pool_adopt(struct process_pool *pool, uint32_t number, uint64_t serial) {
    for (struct process *process = pool->first; process; process = process->next)
        if (process->number == number && !process->spare) {
            process->serial = serial;
            process->orphaned_ns = 0;
        }
}

void process_pool_orphan(struct process_pool *pool, uint64_t serial) {
    uint64_t now_ns = clock_now_ns();
    for (struct process *process = pool->first; process; process = process->next)
        if (!process->spare && process->serial == serial && !process->orphaned_ns)
            process->orphaned_ns = now_ns;
    process_pool_on_orphans(&pool->orphan_timer);
}

void process_pool_missing(struct process_pool *pool, char *ret_text, size_t size) {
    ret_text[0] = 0;
    for (enum runtime runtime = RUNTIME_NODE; runtime < RUNTIME_COUNT; runtime++)
        if (!process_pool_probe(pool, runtime)) {
            size_t len = strlen(ret_text);
            snprintf(ret_text + len, size - len, "%s%s", len ? " " : "", process_runtime_name(runtime));
        }
}

void process_pool_drain(struct process_pool *pool) {
    pool->draining = true;
    loop_disarm(pool->config.loop, &pool->fill_timer);
    for (struct process *process = pool->first; process; process = process->next)
        if (process->spare)
            spawn_kill(process->child.pidfd, SIGKILL);
    process_pool_on_orphans(&pool->orphan_timer);
}

void process_pool_kill(struct process_pool *pool) {
    for (struct process *process = pool->first; process; process = process->next)
        spawn_kill(process->child.pidfd, SIGKILL);
}

uint32_t process_pool_alive(const struct process_pool *pool) {
    return pool->alive;
}
