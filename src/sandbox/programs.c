#include "sandbox/programs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "sandbox/capture.h"

struct programs_row {
    const char *name;       /* of the executable */
    const char *version_at; /* text before the version in what --version prints; NULL = any version will do */
    int major, minor;       /* the oldest that will do */
    const char *install;    /* what to install when there is none */
};

static const struct programs_row programs_rows[PROGRAM_COUNT] = {
    [PROGRAM_NODE] = {"node", "v", 18, 0, "Node.js 18 or newer (Debian: apt-get install nodejs)"},
    [PROGRAM_PYTHON] = {"python3", "Python ", 3, 11,
                        "Python 3.11 or newer (Debian: apt-get install python3)"},
    [PROGRAM_CLANG] = {"clang", NULL, 0, 0,
                       "clang for WASM (Debian: apt-get install clang lld wasi-libc "
                       "libclang-rt-14-dev-wasm32)"},
    [PROGRAM_CLANGXX] = {"clang++", NULL, 0, 0,
                         "clang++ for WASM (Debian: apt-get install clang lld wasi-libc "
                         "libclang-rt-14-dev-wasm32 libc++-14-dev-wasm32 libc++abi-14-dev-wasm32)"},
    [PROGRAM_RUSTC] =
        {"rustc", "rustc ", 1, 56,
         "Rust's compiler with its WASM library (./scripts/setup.sh fetches it; or rustup target "
         "add wasm32-wasip1)"},
};

/* What was found, for the life of the process. */
static struct {
    enum { PROGRAMS_UNKNOWN, PROGRAMS_FOUND, PROGRAMS_MISSING } state;
    char path[PATH_MAX];
} programs_found[PROGRAM_COUNT];

int programs_cache_dir(char *ret_path, size_t size, struct err *err) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int used;
    if (cache && cache[0] == '/')
        used = snprintf(ret_path, size, "%s/minifaas", cache);
    else if (home && home[0] == '/')
        used = snprintf(ret_path, size, "%s/.cache/minifaas", home);
    else
        return err_set(err, ERR_NOT_FOUND, "neither XDG_CACHE_HOME nor HOME is set");
    if (used < 0 || (size_t)used >= size)
        return err_set(err, ERR_INTERNAL, "the path of the cache directory is too long");
    return 0;
}

int programs_parts_dir(char *ret_path, size_t size, struct err *err) {
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    if (len < 0)
        return err_sys(err, "/proc/self/exe");
    path[len] = 0;
    char *slash = strrchr(path, '/');
    size_t dir_len = slash ? (size_t)(slash - path) : 0;
    if (dir_len >= size)
        return err_set(err, ERR_INTERNAL, "the path of the executables is too long");
    memcpy(ret_path, path, dir_len);
    ret_path[dir_len] = 0;
    return 0;
}

/* A real program, not a script that looks for one. */
static bool programs_is_binary(const char *path) {
    char magic[4];
    struct stat status;
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0 &&
           read(fd, magic, sizeof magic) == sizeof magic && memcmp(magic, "\177ELF", sizeof magic) == 0;
}

/* Everybody may read it, along the whole path, or it is ours: then the sandbox runs as us, or binds it as
 * root. */
static bool programs_is_readable(const char *path) {
    char part[PATH_MAX];
    struct stat status;
    if (stat(path, &status) != 0)
        return false;
    if (status.st_uid == geteuid())
        return true;
    if ((status.st_mode & (S_IROTH | S_IXOTH)) != (S_IROTH | S_IXOTH))
        return false;
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (stat(part, &status) != 0 || !(status.st_mode & S_IXOTH))
            return false;
    }
    return true;
}

void programs_library_path(const char *path, char *ret_variable, size_t size) {
    char prefix[PATH_MAX];
    programs_prefix(path, prefix, sizeof prefix);
    snprintf(ret_variable, size, "LD_LIBRARY_PATH=%s/lib/x86_64-linux-gnu", prefix);
}

static bool programs_is_new_enough(const struct programs_row *row, const char *path) {
    char text[4096], libraries[PATH_MAX + 64];
    int major, minor;
    if (!row->version_at)
        return true;
    programs_library_path(path, libraries, sizeof libraries);
    if (!capture_output((char *[]){(char *)path, "--version", NULL}, libraries, text, sizeof text))
        return false;
    const char *at = strstr(text, row->version_at);
    return at && sscanf(at + strlen(row->version_at), "%d.%d", &major, &minor) == 2 &&
           (major > row->major || (major == row->major && minor >= row->minor));
}

void programs_prefix(const char *path, char *ret_prefix, size_t size) {
    snprintf(ret_prefix, size, "%s", path);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(ret_prefix, '/');
        if (slash && slash != ret_prefix)
            *slash = 0;
    }
}

bool programs_rust_target(const char *rustc, char *ret_target, size_t size) {
    static const char *const targets[] = {"wasm32-wasip1", "wasm32-wasi"};
    char path[PATH_MAX + 64], prefix[PATH_MAX];
    struct stat status;
    programs_prefix(rustc, prefix, sizeof prefix);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/lib/rustlib/%s/lib", prefix, targets[i]);
        if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
            snprintf(ret_target, size, "%s", targets[i]);
            return true;
        }
    }
    return false;
}

/* What /usr/bin/rustc or ~/.cargo/bin/rustc is may be rustup's proxy; the compiler that it would start is
 * wanted. */
static bool programs_resolve_rustc(const char *candidate, char *path, size_t size) {
    char sysroot[PATH_MAX];
    const char *base = strrchr(path, '/');
    if (!base || strcmp(base, "/rustup") != 0)
        return true;
    if (!capture_output((char *[]){(char *)candidate, "--print", "sysroot", NULL}, NULL, sysroot,
                        sizeof sysroot))
        return false;
    sysroot[strcspn(sysroot, "\n")] = 0;
    int used = snprintf(path, size, "%s/bin/rustc", sysroot);
    return used > 0 && (size_t)used < size;
}

static bool programs_try(enum program program, const char *candidate, char *ret_path, size_t size) {
    char path[PATH_MAX], target[32];
    if (access(candidate, X_OK) != 0 || !realpath(candidate, path))
        return false;
    if (program == PROGRAM_RUSTC && !programs_resolve_rustc(candidate, path, sizeof path))
        return false;
    if (!programs_is_binary(path) || !programs_is_readable(path))
        return false;
    if (program == PROGRAM_RUSTC && !programs_rust_target(path, target, sizeof target))
        return false;
    /* A link under /usr is kept: clang++ knows what it is by its name. */
    const char *found = strncmp(path, "/usr/", 5) == 0 && program != PROGRAM_RUSTC ? candidate : path;
    if (!programs_is_new_enough(&programs_rows[program], found))
        return false;
    int used = snprintf(ret_path, size, "%s", found);
    return used > 0 && (size_t)used < size;
}

static bool programs_search(enum program program, char *ret_path, size_t size) {
    const char *name = programs_rows[program].name;
    char candidate[PATH_MAX], cache[PATH_MAX - 64];
    struct err ignored;
    static const char *const dirs[] = {"/usr/bin", "/usr/local/bin"};
    for (int i = 0; i < 2; i++) {
        snprintf(candidate, sizeof candidate, "%s/%s", dirs[i], name);
        if (programs_try(program, candidate, ret_path, size))
            return true;
    }
    if (program == PROGRAM_RUSTC && programs_cache_dir(cache, sizeof cache, &ignored) == 0) {
        snprintf(candidate, sizeof candidate, "%s/rust-wasm/usr/bin/rustc", cache);
        if (programs_try(program, candidate, ret_path, size))
            return true;
    }
    for (const char *at = getenv("PATH"); at && *at; at += strspn(at, ":")) {
        int len = (int)strcspn(at, ":");
        snprintf(candidate, sizeof candidate, "%.*s/%s", len, at, name);
        if (*at == '/' && programs_try(program, candidate, ret_path, size))
            return true;
        at += len;
    }
    return false;
}

int programs_find(enum program program, char *ret_path, size_t size, struct err *err) {
    const struct programs_row *row = &programs_rows[program];
    if (programs_found[program].state == PROGRAMS_UNKNOWN)
        programs_found[program].state =
            programs_search(program, programs_found[program].path, sizeof programs_found[program].path)
                ? PROGRAMS_FOUND
                : PROGRAMS_MISSING;
    if (programs_found[program].state == PROGRAMS_MISSING)
        return err_set(err, ERR_NOT_INSTALLED, "%s is not installed on this machine; install %s", row->name,
                       row->install);
    int used = snprintf(ret_path, size, "%s", programs_found[program].path);
    if (used < 0 || (size_t)used >= size)
        return err_set(err, ERR_INTERNAL, "the path of %s is too long", row->name);
    return 0;
}

static void programs_bind(struct sandbox_spec *spec, const char *source) {
    if (spec->bind_count < SANDBOX_BINDS_MAX)
        spec->binds[spec->bind_count++] = (struct sandbox_bind){.source = source, .optional = true};
}

void programs_bind_system(struct sandbox_spec *spec) {
    static const char *const system[] = {
        "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives"};
    for (size_t i = 0; i < sizeof system / sizeof system[0]; i++)
        programs_bind(spec, system[i]);
}

void programs_bind_prefix(struct sandbox_spec *spec, const char *prefix) {
    if (strcmp(prefix, "/usr") != 0 && strncmp(prefix, "/usr/", 5) != 0 && strcmp(prefix, "/") != 0)
        programs_bind(spec, prefix);
}
