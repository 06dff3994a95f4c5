#include "builder/link.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool link_find_builtins(const char *prefix, char *ret_path, size_t size) {
    static const char *const places[] = {"wasi/libclang_rt.builtins-wasm32.a",
                                         "wasm32-unknown-wasi/libclang_rt.builtins.a"};
    char pattern[PATH_MAX + 96];
    for (int i = 0; i < 2; i++) {
        glob_t found;
        snprintf(pattern, sizeof pattern, "%s/lib/clang/*/lib/%s", prefix, places[i]);
        bool some = glob(pattern, 0, NULL, &found) == 0;
        int used = some ? snprintf(ret_path, size, "%s", found.gl_pathv[0]) : -1;
        globfree(&found);
        if (some)
            return used > 0 && (size_t)used < size;
    }
    return false;
}

static bool link_find_linker(const char *prefix, char *ret_path, size_t size) {
    const char *const prefixes[] = {prefix, "/usr"};
    for (int i = 0; i < 2; i++) {
        int used = snprintf(ret_path, size, "%s/bin/wasm-ld", prefixes[i]);
        if (used > 0 && (size_t)used < size && access(ret_path, X_OK) == 0)
            return true;
    }
    return false;
}

/* Inside the sandbox; its counterpart on the host is there. */
static bool link_find_start(const char *sysroot, char *ret_path, size_t size) {
    static const char *const names[] = {"crt1-command.o", "crt1.o"};
    char path[128];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/usr/lib/wasm32-wasi/%s", names[i]);
        if (access(path, R_OK) != 0)
            continue;
        int used = snprintf(ret_path, size, "%s/lib/wasm32-wasi/%s", sysroot, names[i]);
        return used > 0 && (size_t)used < size;
    }
    return false;
}

bool link_find(const char *prefix, const char *sysroot, const char *object, const char *libraries,
               struct link_plan *ret_plan) {
    char builtins[PATH_MAX], start[PATH_MAX];
    if (!link_find_linker(prefix, ret_plan->linker, sizeof ret_plan->linker) ||
        !link_find_builtins(prefix, builtins, sizeof builtins) || strchr(builtins, '\n') ||
        !link_find_start(sysroot, start, sizeof start))
        return false;
    /* Threads of its own cost it more than they bring to a program of this size. */
    int used = snprintf(
        ret_plan->arguments, sizeof ret_plan->arguments,
        "--threads=1\n-m\nwasm32\n--strip-all\n--stack-first\n-z\nstack-size=1048576\n-o\ncode.wasm\n"
        "-L%s/lib/wasm32-wasi\n%s\n%s\n-lm\n%s-lc\n%s",
        sysroot, start, object, libraries, builtins);
    return used > 0 && (size_t)used < sizeof ret_plan->arguments;
}
