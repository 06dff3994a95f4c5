/* Replacing the parts while they serve: the new one starts beside the old, says that it is ready, and the old
 * one is told to go when it has done what it had. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/successor.h"
#include "server/supervisor_internal.h"

/* For one part: a server's workers have to boot, a gateway waits for writes to the disk. */
#define RELOAD_PATIENCE_NS (60 * CLOCK_NS_PER_S)

static void reload_next(struct supervisor *supervisor);

static void reload_report(struct supervisor *supervisor, const char *text) {
    size_t len = strlen(supervisor->report);
    snprintf(supervisor->report + len, sizeof supervisor->report - len, "%s%s", len ? "; " : "", text);
}

static void reload_close_pipe(struct supervisor_part *part) {
    if (part->ready_watch.fd < 0)
        return;
    loop_unwatch(part->supervisor->loop, &part->ready_watch);
    mem_close_fd(&part->ready_watch.fd);
}

static void reload_end(struct supervisor *supervisor, int code) {
    supervisor->wanted = 0;
    supervisor->replacing = NULL;
    loop_disarm(supervisor->loop, &supervisor->patience);
    control_answer(supervisor->control, code, supervisor->report);
    supervisor->report[0] = 0;
}

/* The old one goes on serving, as if nothing had happened; unless it has no socket any more. */
static void reload_fail(struct supervisor_part *part, const char *why) {
    struct supervisor *supervisor = part->supervisor;
    char text[MESSAGE_TEXT_BYTES];
    snprintf(text, sizeof text, "%s was not replaced: %s", part->name, why);
    log_event("%s", text);
    if (part->next_pid > 0)
        kill(part->next_pid, SIGKILL);
    part->next_pid = 0;
    reload_close_pipe(part);
    reload_report(supervisor, text);
    reload_end(supervisor, ERR_INTERNAL);
}

static void reload_retire(struct supervisor *supervisor, pid_t pid) {
    for (int i = 0; i < SUPERVISOR_RETIRED_MAX; i++)
        if (supervisor->retired[i] == 0) {
            supervisor->retired[i] = pid;
            kill(pid, SIGHUP);
            return;
        }
    log_event("%d parts that were replaced still have calls; pid %d is stopped", SUPERVISOR_RETIRED_MAX, pid);
    kill(pid, SIGTERM);
}

static bool reload_promote(struct supervisor_part *part) {
    if (part->next_pid <= 0)
        return false;
    part->pid = part->next_pid;
    part->next_pid = 0;
    part->started_ns = part->supervisor->replacing_ns;
    return true;
}

static void reload_replace(struct supervisor_part *part) {
    struct supervisor *supervisor = part->supervisor;
    uint64_t took_ms = (clock_now_ns() - supervisor->replacing_ns) / CLOCK_NS_PER_MS;
    char text[MESSAGE_TEXT_BYTES];
    pid_t before = part->pid;
    if (!reload_promote(part)) {
        reload_retire(supervisor, part->pid);
        supervisor_spawn(part);
        reload_fail(part, "the new one died when it had taken over; another one was started");
        return;
    }
    snprintf(text, sizeof text, "%s: pid %d took over from %d within %llu ms", part->name, part->pid, before,
             (unsigned long long)took_ms);
    log_event("%s", text);
    reload_report(supervisor, text);
    reload_retire(supervisor, before);
    part->backoff_ns = 0;
    supervisor->wanted &= ~(1u << (part - supervisor->parts));
    supervisor->replacing = NULL;
    loop_disarm(supervisor->loop, &supervisor->patience);
    reload_next(supervisor);
}

static void reload_on_ready(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct supervisor_part *part = watch->context;
    char byte;
    ssize_t got = read(watch->fd, &byte, 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    reload_close_pipe(part);
    if (part->supervisor->replacing != part)
        return; /* the old one had died meanwhile */
    if (got == 1)
        reload_replace(part);
    else
        reload_fail(part, "the new one ended before it was ready");
}

static void reload_on_patience(struct loop_timer *timer) {
    struct supervisor *supervisor = timer->context;
    if (supervisor->replacing)
        reload_fail(supervisor->replacing, "the new one was not ready in time");
}

static int reload_spawn(struct supervisor_part *part, struct err *err) {
    struct supervisor *supervisor = part->supervisor;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_sys(err, "pipe2");
    MEM_CLOSE_FD int write_end = ends[1];
    MEM_CLOSE_FD int read_end = ends[0];
    reload_close_pipe(part);
    setenv(TAKEOVER_VARIABLE, "1", 1);
    int rc = supervisor_start_process(part, write_end, &part->next_pid, err);
    unsetenv(TAKEOVER_VARIABLE);
    if (rc < 0)
        return rc;
    part->ready_watch = (struct loop_watch){.fd = read_end, .on_event = reload_on_ready, .context = part};
    rc = loop_watch(supervisor->loop, &part->ready_watch, EPOLLIN, err);
    if (rc == 0)
        mem_steal_fd(&read_end);
    else
        part->ready_watch.fd = -1;
    return rc;
}

static void reload_next(struct supervisor *supervisor) {
    struct err err;
    if (supervisor->replacing)
        return;
    for (int i = 0; i < SUPERVISOR_PARTS; i++) {
        struct supervisor_part *part = &supervisor->parts[i];
        if (!(supervisor->wanted & 1u << i))
            continue;
        if (part->pid <= 0) { /* it is about to be started anyway */
            supervisor->wanted &= ~(1u << i);
            continue;
        }
        supervisor->replacing = part;
        supervisor->replacing_ns = clock_now_ns();
        loop_arm(supervisor->loop, &supervisor->patience, RELOAD_PATIENCE_NS);
        if (reload_spawn(part, &err) < 0)
            reload_fail(part, err.msg);
        return;
    }
    reload_end(supervisor, ERR_OK);
}

void reload_init(struct supervisor *supervisor) {
    supervisor->patience = (struct loop_timer){.on_timer = reload_on_patience, .context = supervisor};
    for (int i = 0; i < SUPERVISOR_PARTS; i++)
        supervisor->parts[i].ready_watch.fd = -1;
}

void reload_start(struct supervisor *supervisor, unsigned parts) {
    supervisor->wanted |= parts;
    reload_next(supervisor);
}

void reload_on_request(void *context, const char *parts) {
    struct supervisor *supervisor = context;
    unsigned wanted = *parts ? 0 : (1u << SUPERVISOR_PARTS) - 1;
    for (int i = 0; i < SUPERVISOR_PARTS; i++)
        if (strcmp(parts, supervisor->parts[i].name) == 0)
            wanted |= 1u << i;
    if (supervisor->stopping)
        control_answer(supervisor->control, ERR_DRAINING, "minifaas is stopping");
    else if (wanted)
        reload_start(supervisor, wanted);
    else
        control_answer(supervisor->control, ERR_BAD_REQUEST, "there is no such part");
}

/* The old one has died, so that nobody waits for us to be ready. */
bool reload_on_part_end(struct supervisor_part *part) {
    struct supervisor *supervisor = part->supervisor;
    if (!reload_promote(part))
        return false;
    log_event("pid %d, which was about to replace it, has its place now", part->pid);
    supervisor->replacing = NULL;
    supervisor->wanted &= ~(1u << (part - supervisor->parts));
    loop_disarm(supervisor->loop, &supervisor->patience);
    reload_next(supervisor);
    return true;
}

static void reload_log_end(pid_t pid, int status) {
    if (WIFSIGNALED(status))
        log_event("pid %d, which was replaced, died: %s", pid, strsignal(WTERMSIG(status)));
    else
        log_event("pid %d, which was replaced, is done (exit code %d)", pid, WEXITSTATUS(status));
}

bool reload_on_end(struct supervisor *supervisor, pid_t pid, int status) {
    for (int i = 0; i < SUPERVISOR_RETIRED_MAX; i++)
        if (supervisor->retired[i] == pid) {
            supervisor->retired[i] = 0;
            reload_log_end(pid, status);
            return true;
        }
    for (int i = 0; i < SUPERVISOR_PARTS; i++)
        if (supervisor->parts[i].next_pid == pid) {
            supervisor->parts[i].next_pid = 0; /* the pipe says whether it had taken over */
            return true;
        }
    return false;
}

void reload_stop(struct supervisor *supervisor) {
    loop_disarm(supervisor->loop, &supervisor->patience);
    for (int i = 0; i < SUPERVISOR_PARTS; i++) {
        struct supervisor_part *part = &supervisor->parts[i];
        reload_close_pipe(part);
        if (part->next_pid > 0)
            kill(part->next_pid, SIGKILL);
    }
    for (int i = 0; i < SUPERVISOR_RETIRED_MAX; i++)
        if (supervisor->retired[i] > 0)
            kill(supervisor->retired[i], SIGTERM);
    if (supervisor->replacing) {
        reload_report(supervisor, "minifaas is stopping");
        reload_end(supervisor, ERR_DRAINING);
    }
}
