#include "sandbox/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/cgroup.h"
#include "sandbox/landlock.h"
#include "sandbox/seccomp.h"

#define PROBE_VARIABLE "FAAS_SANDBOX"

static struct {
    bool done;
    struct probe probe;
    struct sandbox_report report;
} probe_state;

/* A sandbox with every wall, in which nothing runs. */
static bool probe_try(enum probe_mode mode, bool privileged) {
    struct probe probe = {.mode = mode, .privileged = privileged};
    struct sandbox_spec spec = {.comm = "sandbox", .tmp_mb = 1, .page_fd = -1};
    struct sandbox_child child;
    struct err err;
    siginfo_t info = {0};
    if (sandbox_start_as(&probe, &spec, &child, &err) != 0)
        return false;
    while (waitid(P_PID, (id_t)child.pid, &info, WEXITED) != 0 && errno == EINTR)
        ;
    close(child.pidfd);
    sandbox_finish(&child, &(bool){false}, &(bool){false});
    return info.si_code == CLD_EXITED && info.si_status == 0;
}

static struct probe probe_choose(void) {
    const char *setting = getenv(PROBE_VARIABLE);
    bool root = geteuid() == 0;
    if (setting && strcmp(setting, "off") == 0)
        return (struct probe){.mode = PROBE_OFF};
    if (root && probe_try(PROBE_ROOT, true))
        return (struct probe){.mode = PROBE_ROOT, .privileged = true};
    if (probe_try(PROBE_USER, false))
        return (struct probe){.mode = PROBE_USER};
    return (struct probe){.mode = PROBE_NONE, .privileged = root && probe_try(PROBE_NONE, true)};
}

static void probe_report(const struct probe *probe, struct sandbox_report *report) {
    bool off = probe->mode == PROBE_OFF;
    *report = (struct sandbox_report){
        .tier = off ? SANDBOX_OFF : SANDBOX_PROCESS,
        .namespaces = probe->mode == PROBE_ROOT || probe->mode == PROBE_USER,
        .own_users = probe->privileged,
        .memory_group = !off && cgroup_is_there(CGROUP_MEMORY),
        .process_group = !off && cgroup_is_there(CGROUP_PIDS),
        .landlock = !off && landlock_version() > 0,
        .seccomp = !off && seccomp_is_there(),
    };
    bool all = true;
#define PROBE_WALL(field, name) all = all && report->field;
    SANDBOX_WALLS(PROBE_WALL)
#undef PROBE_WALL
    if (report->namespaces)
        report->tier = all ? SANDBOX_FULL : SANDBOX_NAMESPACES;
}

const struct probe *probe_get(void) {
    if (!probe_state.done) {
        probe_state.probe = probe_choose();
        probe_report(&probe_state.probe, &probe_state.report);
        probe_state.done = true;
    }
    return &probe_state.probe;
}

const struct sandbox_report *sandbox_probe(void) {
    probe_get();
    return &probe_state.report;
}

bool sandbox_has_root(void) {
    return sandbox_probe()->namespaces;
}

const char *sandbox_tier_name(enum sandbox_tier tier) {
    static const char *const names[] = {[SANDBOX_OFF] = "off",
                                        [SANDBOX_PROCESS] = "process",
                                        [SANDBOX_NAMESPACES] = "namespaces",
                                        [SANDBOX_FULL] = "full"};
    return names[tier];
}

/* "a, b, c" of the walls that are there, or of those that are missing. */
static void probe_list(const struct sandbox_report *report, bool there, char *ret_text, size_t size) {
    size_t len = 0;
    ret_text[0] = 0;
#define PROBE_WALL(field, name)                                                                              \
    if (report->field == there && len < size)                                                                \
        len += (size_t)snprintf(ret_text + len, size - len, "%s%s", len ? ", " : "", name);
    SANDBOX_WALLS(PROBE_WALL)
#undef PROBE_WALL
}

void sandbox_describe(char *ret_text, size_t size) {
    const struct sandbox_report *report = sandbox_probe();
    char there[256], missing[256];
    probe_list(report, true, there, sizeof there);
    probe_list(report, false, missing, sizeof missing);
    if (report->tier == SANDBOX_OFF)
        snprintf(ret_text, size,
                 "sandbox: OFF by FAAS_SANDBOX=off: functions run with the rights of this user; "
                 "for measurement only");
    else if (report->tier == SANDBOX_FULL)
        snprintf(ret_text, size, "sandbox: tier 'full': %s", there);
    else
        snprintf(ret_text, size, "sandbox: tier '%s': %s; not to be had here: %s",
                 sandbox_tier_name(report->tier), there, missing);
}

int sandbox_use(const char *mode, struct err *err) {
    static const char *const modes[] = {"auto", "require", "off"};
    bool known = false;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        known |= strcmp(mode, modes[i]) == 0;
    if (!known)
        return err_set(err, ERR_BAD_REQUEST, PROBE_VARIABLE " '%.32s' is none of auto, require, off", mode);
    if (setenv(PROBE_VARIABLE, mode, 1) != 0)
        return err_sys(err, "setenv");
    if (strcmp(mode, "require") != 0 || sandbox_probe()->tier == SANDBOX_FULL)
        return 0;
    char missing[160];
    probe_list(sandbox_probe(), false, missing, sizeof missing);
    return err_set(err, ERR_UNAVAILABLE, PROBE_VARIABLE "=require, and this machine does not give: %s",
                   missing);
}
