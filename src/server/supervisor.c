#include "server/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/successor.h"
#include "keys/key_listen.h"
#include "sandbox/sandbox.h"
#include "server/instance.h"
#include "server/spawn.h"
#include "server/supervisor_internal.h"

/* A part that lived this long is started again at once. */
#define SUPERVISOR_LIVED_NS (500 * CLOCK_NS_PER_MS)
#define SUPERVISOR_BACKOFF_NS (100 * CLOCK_NS_PER_MS)
#define SUPERVISOR_BACKOFF_KILLED_NS (200 * CLOCK_NS_PER_MS) /* most, for one that somebody kills */
#define SUPERVISOR_BACKOFF_MAX_NS (5 * CLOCK_NS_PER_S)       /* most, for one that cannot start */
#define SUPERVISOR_STOP_NS (12 * CLOCK_NS_PER_S)
#define SUPERVISOR_ORPHANS_NS CLOCK_NS_PER_S /* for what the parts left behind, when they are gone */
#define SUPERVISOR_KILL_AGAIN_NS (50 * CLOCK_NS_PER_MS)
/* Parts of an instance that was killed may still be ending. */
enum { SUPERVISOR_WAIT_MS = 3000, SUPERVISOR_WAIT_PORT_MS = 500, SUPERVISOR_POLL_MS = 20 };

int supervisor_start_process(const struct supervisor_part *part, int ready_fd, pid_t *ret_pid,
                             struct err *err) {
    char program[4096];
    snprintf(program, sizeof program, "%s/%s", part->supervisor->parts_dir, part->name);
    char *argv[] = {(char *)part->name, (char *)part->argument, NULL};
    struct spawn spawn = {.program = program,
                          .argv = argv,
                          .fds = {-1, 1, 2, ready_fd},
                          .fd_count = 4,
                          .death_signal = SIGTERM};
    if (part->listens)
        spawn.fds[spawn.fd_count++] = part->supervisor->listen_fd;
    return spawn_start(&spawn, ret_pid, err);
}

static void supervisor_spawn_later(struct supervisor_part *part, uint64_t most_ns) {
    part->backoff_ns = part->backoff_ns ? part->backoff_ns * 2 : SUPERVISOR_BACKOFF_NS;
    if (part->backoff_ns > most_ns)
        part->backoff_ns = most_ns;
    log_event("%s does not stay up; it is started again in %llu ms", part->name,
              (unsigned long long)(part->backoff_ns / CLOCK_NS_PER_MS));
    loop_arm(part->supervisor->loop, &part->respawn, part->backoff_ns);
}

void supervisor_spawn(struct supervisor_part *part) {
    struct err err;
    part->started_ns = clock_now_ns();
    if (supervisor_start_process(part, -1, &part->pid, &err) < 0) {
        part->pid = 0;
        log_event("%s: %s", part->name, err.msg);
        supervisor_spawn_later(part, SUPERVISOR_BACKOFF_MAX_NS);
    }
}

static void supervisor_on_respawn(struct loop_timer *timer) {
    supervisor_spawn(timer->context);
}

/* The next part to stop, or what is left of their children, or the end. */
static void supervisor_go_on_stopping(struct supervisor *supervisor) {
    for (int i = SUPERVISOR_PARTS - 1; i >= 0; i--) {
        struct supervisor_part *part = &supervisor->parts[i];
        if (part->pid <= 0)
            continue;
        if (!part->told)
            kill(part->pid, SIGTERM);
        part->told = true;
        return;
    }
    for (int i = 0; i < SUPERVISOR_RETIRED_MAX; i++)
        if (supervisor->retired[i] > 0)
            return; /* it has been told, and the deadline holds for it, too */
    if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
        loop_stop(supervisor->loop);
    else if (!supervisor->killing)
        loop_arm(supervisor->loop, &supervisor->deadline, SUPERVISOR_ORPHANS_NS);
}

static void supervisor_kill_all(struct supervisor *supervisor) {
    supervisor->killing = true;
    instance_kill_children();
    loop_arm(supervisor->loop, &supervisor->deadline, SUPERVISOR_KILL_AGAIN_NS);
}

static void supervisor_on_deadline(struct loop_timer *timer) {
    struct supervisor *supervisor = timer->context;
    if (!supervisor->killing)
        log_event("not all has ended; killing what is left");
    supervisor_kill_all(supervisor);
}

static void supervisor_on_stop_signal(struct supervisor *supervisor, int signal_number) {
    if (supervisor->stopping) {
        log_event("%s again: killing what is left", strsignal(signal_number));
        supervisor_kill_all(supervisor);
        return;
    }
    log_event("stopping (%s)", strsignal(signal_number));
    supervisor->stopping = true;
    for (int i = 0; i < SUPERVISOR_PARTS; i++)
        loop_disarm(supervisor->loop, &supervisor->parts[i].respawn);
    loop_arm(supervisor->loop, &supervisor->deadline, SUPERVISOR_STOP_NS);
    reload_stop(supervisor);
    supervisor_go_on_stopping(supervisor);
}

static void supervisor_on_part_end(struct supervisor_part *part, int status) {
    struct supervisor *supervisor = part->supervisor;
    pid_t pid = part->pid;
    part->pid = 0;
    if (supervisor->stopping) {
        supervisor_go_on_stopping(supervisor);
        return;
    }
    if (WIFSIGNALED(status))
        log_event("%s (pid %d) died: %s; starting it again", part->name, pid, strsignal(WTERMSIG(status)));
    else
        log_event("%s (pid %d) ended with exit code %d; starting it again", part->name, pid,
                  WEXITSTATUS(status));
    if (reload_on_part_end(part))
        return;
    if (clock_now_ns() - part->started_ns >= SUPERVISOR_LIVED_NS) {
        part->backoff_ns = 0;
        supervisor_spawn(part);
        return;
    }
    bool killed = WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
    supervisor_spawn_later(part, killed ? SUPERVISOR_BACKOFF_KILLED_NS : SUPERVISOR_BACKOFF_MAX_NS);
}

static void supervisor_reap(struct supervisor *supervisor) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        bool replaced = reload_on_end(supervisor, pid, status);
        for (int i = 0; i < SUPERVISOR_PARTS && !replaced; i++)
            if (supervisor->parts[i].pid == pid)
                supervisor_on_part_end(&supervisor->parts[i], status);
        if (replaced && supervisor->stopping)
            supervisor_go_on_stopping(supervisor);
    }
    if (supervisor->stopping && pid < 0 && errno == ECHILD)
        loop_stop(supervisor->loop);
}

static bool supervisor_has_terminal(void) {
    MEM_CLOSE_FD int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    return fd >= 0;
}

/* SIGHUP has two meanings: the terminal that we were started from is gone, or somebody wants new versions. */
static bool supervisor_lost_terminal(const struct supervisor *supervisor) {
    return supervisor->had_terminal && !supervisor_has_terminal();
}

static void supervisor_on_signal(void *context, int signal_number) {
    struct supervisor *supervisor = context;
    if (signal_number == SIGCHLD)
        supervisor_reap(supervisor);
    else if (signal_number == SIGHUP && !supervisor_lost_terminal(supervisor) && !supervisor->stopping)
        reload_on_request(supervisor, "");
    else
        supervisor_on_stop_signal(supervisor, signal_number);
}

/* Blocks for a moment when an instance that was killed is still ending. */
static int supervisor_take_place(struct supervisor *supervisor, const struct config *config,
                                 struct err *err) {
    int left_ms = SUPERVISOR_WAIT_PORT_MS;
    int rc = instance_lock(config->run_dir, &supervisor->lock_fd, err);
    if (rc < 0)
        return rc;
    if (instance_check_sockets(config->run_dir, err) == -ERR_CONFLICT)
        left_ms = SUPERVISOR_WAIT_MS;
    for (;; left_ms -= SUPERVISOR_POLL_MS) {
        rc = instance_check_sockets(config->run_dir, err);
        if (rc == 0)
            rc = listen_open(config->listen, &supervisor->listen_fd, err);
        if (rc != -ERR_CONFLICT || left_ms <= 0)
            return rc;
        nanosleep(&(struct timespec){.tv_nsec = SUPERVISOR_POLL_MS * 1000000L}, NULL);
    }
}

static int supervisor_check_parts(const struct supervisor *supervisor, struct err *err) {
    for (int i = 0; i < SUPERVISOR_PARTS; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", supervisor->parts_dir, supervisor->parts[i].name);
        if (access(path, X_OK) != 0)
            return err_set(err, ERR_NOT_INSTALLED, "%.120s is missing; run make", path);
    }
    return 0;
}

static void supervisor_init_part(struct supervisor *supervisor, int at, const char *name,
                                 const char *argument) {
    struct supervisor_part *part = &supervisor->parts[at];
    *part = (struct supervisor_part){.supervisor = supervisor, .name = name, .argument = argument};
    part->respawn = (struct loop_timer){.on_timer = supervisor_on_respawn, .context = part};
}

static int supervisor_use_sandbox(const struct config *config, struct err *err) {
    int rc = sandbox_use(config->sandbox, err);
    if (rc == 0) {
        char text[640];
        sandbox_describe(text, sizeof text);
        log_event("%s", text);
    }
    sandbox_fini();
    return rc;
}

static int supervisor_start(struct supervisor *supervisor, const struct config *config, struct err *err) {
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    supervisor_init_part(supervisor, 0, "load_balancer", config->strategy);
    supervisor_init_part(supervisor, 1, "server", NULL);
    supervisor_init_part(supervisor, 2, "api_gateway", NULL);
    supervisor->parts[2].listens = true;
    supervisor->had_terminal = supervisor_has_terminal();
    reload_init(supervisor);
    supervisor->deadline = (struct loop_timer){.on_timer = supervisor_on_deadline, .context = supervisor};
    int rc = supervisor_check_parts(supervisor, err);
    if (rc == 0)
        rc = instance_check_dirs(config, err);
    if (rc == 0)
        rc = supervisor_take_place(supervisor, config, err);
    if (rc == 0)
        rc = key_listen_check(config, supervisor->listen_fd, err);
    if (rc == 0)
        rc = log_open("minifaas", config->log_dir, err);
    if (rc == 0)
        rc = config_export(config, err);
    if (rc == 0)
        rc = supervisor_use_sandbox(config, err);
    if (rc == 0)
        rc = loop_new(&supervisor->loop, err);
    if (rc == 0)
        rc = loop_signals(supervisor->loop, signals, 4, supervisor_on_signal, supervisor, err);
    if (rc == 0)
        rc = control_new(supervisor->loop, config->run_dir, reload_on_request, supervisor,
                         &supervisor->control, err);
    if (rc == 0 && (setenv(READY_FD_VARIABLE, "3", 1) != 0 || setenv(LISTEN_FD_VARIABLE, "4", 1) != 0 ||
                    prctl(PR_SET_CHILD_SUBREAPER, 1) != 0))
        rc = err_sys(err, "subreaper");
    return rc;
}

int supervisor_run(const struct config *config, const char *parts_dir, struct err *err) {
    struct supervisor *supervisor = mem_zalloc(sizeof *supervisor);
    supervisor->parts_dir = parts_dir;
    supervisor->listen_fd = supervisor->lock_fd = -1;
    int rc = supervisor_start(supervisor, config, err);
    if (rc == 0) {
        for (int i = 0; i < SUPERVISOR_PARTS; i++)
            supervisor_spawn(&supervisor->parts[i]);
        rc = loop_run(supervisor->loop, err);
        instance_remove_sockets(config->run_dir);
        log_event("stopped");
    }
    control_free(supervisor->control);
    mem_close_fd(&supervisor->listen_fd);
    mem_close_fd(&supervisor->lock_fd);
    loop_free(supervisor->loop);
    free(supervisor);
    return rc;
}
