#include "sandbox/seal.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "sandbox/landlock.h"
#include "sandbox/program.h"
#include "sandbox/seccomp.h"

int seal_files(const char *data_dir, struct err *err) {
    const struct rlimit none = {0, 0};
    if (!program_drop_capabilities())
        return err_sys(err, "capabilities");
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return err_sys(err, "limits");
    if (landlock_version() == 0)
        return 0;
    MEM_CLOSE_FD int rules = landlock_begin(false);
    if (rules < 0 || !landlock_allow(rules, data_dir, LANDLOCK_READ) || !landlock_enter(rules))
        return err_sys(err, "Landlock");
    return 0;
}

int seal_calls(struct err *err) {
    const struct seccomp_options options = {.confined = false};
    if (seccomp_is_there() && !seccomp_enter(SANDBOX_WORKER, &options, getpid(), true))
        return err_sys(err, "seccomp");
    return 0;
}
