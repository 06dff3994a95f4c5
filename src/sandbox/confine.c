#include "sandbox/confine.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/landlock.h"
#include "sandbox/seccomp.h"

static bool confine_allow_own_root(const struct init_plan *plan, int rules) {
    const struct sandbox_spec *spec = plan->spec;
    bool allowed = landlock_allow(rules, "/", LANDLOCK_SEE) && landlock_allow(rules, "/tmp", LANDLOCK_OWN) &&
                   landlock_allow(rules, "/dev", LANDLOCK_WRITE);
    /* Of its own processes: names, and what they may lower. */
    if (!spec->proc_exe)
        allowed = allowed && landlock_allow(rules, "/proc", LANDLOCK_WRITE);
    for (int i = 0; allowed && i < spec->bind_count; i++) {
        const struct sandbox_bind *bind = &spec->binds[i];
        if (bind->writable)
            allowed = landlock_allow(rules, bind->target ? bind->target : bind->source, LANDLOCK_OWN);
    }
    return allowed;
}

static bool confine_allow_on_host(const struct init_plan *plan, int rules) {
    /* It is there for everybody, and a library that finds it locked ends the program. */
    static const char openssl[] = "/etc/ssl/openssl.cnf";
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                          "/dev/urandom"};
    const struct sandbox_spec *spec = plan->spec;
    bool allowed =
        landlock_allow(rules, plan->scratch, LANDLOCK_OWN) && landlock_allow(rules, openssl, LANDLOCK_READ);
    for (size_t i = 0; allowed && i < sizeof devices / sizeof devices[0]; i++)
        allowed = landlock_allow(rules, devices[i], LANDLOCK_WRITE);
    for (int i = 0; allowed && i < spec->bind_count; i++)
        allowed = landlock_allow(rules, spec->binds[i].source,
                                 spec->binds[i].writable ? LANDLOCK_OWN : LANDLOCK_SEE);
    return allowed;
}

static bool confine_files(const struct init_plan *plan) {
    int rules = landlock_begin(false);
    if (rules < 0)
        return false;
    bool allowed =
        plan->namespaces ? confine_allow_own_root(plan, rules) : confine_allow_on_host(plan, rules);
    bool entered = allowed && landlock_enter(rules);
    int saved = errno;
    close(rules);
    errno = saved;
    return entered;
}

bool confine_enter(const struct init_plan *plan, const char **ret_step) {
    const struct seccomp_options options = {
        .confined = plan->namespaces || (plan->landlock && landlock_version() >= 6),
        .forkless = plan->forkless,
        .on_host = !plan->namespaces,
        .uncounted = plan->uncounted,
        .network = plan->gate_fd > 0,
    };
    *ret_step = "Landlock";
    if (plan->landlock && !confine_files(plan))
        return false;
    *ret_step = "seccomp";
    return !plan->seccomp || seccomp_enter(plan->spec->kind, &options, getpid(), false);
}
