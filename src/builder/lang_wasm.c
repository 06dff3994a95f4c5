#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "builder/lang.h"
#include "builder/link.h"
#include "builder/step.h"
#include "sandbox/programs.h"
#include "storage/storage.h"

#define LANG_SYSROOT "/opt/sysroot"
#define LANG_RUST "/opt/rust"
/* The stack lies first, so that its overflow traps instead of running into the globals. */
#define LANG_CLANG_OPTIONS                                                                                   \
    "--target=wasm32-wasi --sysroot=" LANG_SYSROOT " -O2 -fno-crash-diagnostics -fno-color-diagnostics"
#define LANG_CLANG_LINK "-s -lm -o code.wasm -Wl,--stack-first -Wl,-z,stack-size=1048576"
#define LANG_RUST_OPTIONS                                                                                    \
    "--sysroot " LANG_RUST " --edition 2021 --crate-name main --color never -O -C panic=abort -o code.wasm"
#define LANG_RUST_LINK "-C strip=symbols -C link-arg=--stack-first -C link-arg=-zstack-size=1048576"
/* Debian's Rust has no linker for WASM of its own. */
#define LANG_RUST_LINK_CLANG                                                                                 \
    "-C linker=clang -C linker-flavor=gcc -C link-self-contained=no -C link-arg=--target=wasm32-wasi "       \
    "-C link-arg=--sysroot=" LANG_SYSROOT " -C link-arg=-s -C link-arg=-Wl,--stack-first "                   \
    "-C link-arg=-Wl,-z,stack-size=1048576"
#define LANG_DEBIAN_C "apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32"

/* The source lies under its user's name in the working directory, so that messages show that name and nothing
 * else. $0 is that name, the arguments are the compiler's. */
static char lang_wasm_script[] = "cat >\"$0\" && \"$@\" && exec cat code.wasm >&3";
/* The same with the linker waiting for the object while the compiler makes it. $1 compiler, $2 its options,
 * $3 linker, $4 its arguments, $5 object; lists have one a line. What the linker says counts only when there
 * was an object. When the compiler fails nothing is waited for: all ends with this shell. */
static char lang_wasm_script_beside[] = "set -f; IFS='\n'\n"
                                        "cat >\"$0\" && mkfifo \"$5\" || exit 3\n"
                                        "\"$3\" $4 2>link.log &\n"
                                        "\"$1\" $2 -c -o - \"$0\" >\"$5\" || exit\n"
                                        "wait $! || { cat link.log >&2; exit 1; }\n"
                                        "exec cat code.wasm >&3";

static bool lang_wasm_exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

/* ---- is everything there? ---- */

static int lang_wasm_missing(const char *what, const char *packages, struct err *err) {
    return err_set(err, ERR_NOT_INSTALLED,
                   "%s is not installed on this machine; run ./scripts/start_all.sh, or %s", what, packages);
}

/* A source can make its compiler show files: without a root of its own none is compiled. */
static int lang_wasm_check_sandbox(struct err *err) {
    if (sandbox_has_root())
        return 0;
    return err_set(
        err, ERR_NOT_INSTALLED,
        "this machine has no namespaces to compile in (are user namespaces switched off?); compile "
        "elsewhere and deploy the module with lang=wasm");
}

static int lang_wasm_check_clang(enum program program, struct err *err) {
    char path[PATH_MAX], real[PATH_MAX], prefix[PATH_MAX], pattern[PATH_MAX + 64];
    int failed = lang_wasm_check_sandbox(err);
    if (!failed)
        failed = programs_find(program, path, sizeof path, err);
    if (failed)
        return failed;
    if (!realpath(path, real))
        return err_sys(err, "clang");
    programs_prefix(real, prefix, sizeof prefix);
    snprintf(pattern, sizeof pattern, "%s/bin/wasm-ld", prefix);
    if (!lang_wasm_exists(pattern) && !lang_wasm_exists("/usr/bin/wasm-ld"))
        return lang_wasm_missing("the linker wasm-ld", LANG_DEBIAN_C, err);
    if (!lang_wasm_exists("/usr/include/wasm32-wasi/stdio.h") ||
        !lang_wasm_exists("/usr/lib/wasm32-wasi/libc.a"))
        return lang_wasm_missing("the C library for WASI", LANG_DEBIAN_C, err);
    return link_find_builtins(prefix, path, sizeof path)
               ? 0
               : lang_wasm_missing("clang's run-time library for WASM", LANG_DEBIAN_C, err);
}

int lang_wasm_check_c(struct err *err) {
    return lang_wasm_check_clang(PROGRAM_CLANG, err);
}

int lang_wasm_check_cpp(struct err *err) {
    int failed = lang_wasm_check_clang(PROGRAM_CLANGXX, err);
    if (failed)
        return failed;
    if (!lang_wasm_exists("/usr/include/wasm32-wasi/c++/v1/vector") ||
        !lang_wasm_exists("/usr/lib/wasm32-wasi/libc++.a") ||
        !lang_wasm_exists("/usr/lib/wasm32-wasi/libc++abi.a"))
        return lang_wasm_missing("the C++ library for WASI",
                                 "apt-get install libc++-14-dev-wasm32 libc++abi-14-dev-wasm32", err);
    return 0;
}

int lang_wasm_check_rust(struct err *err) {
    char path[PATH_MAX], target[32];
    struct err clang_err;
    int failed = lang_wasm_check_sandbox(err);
    if (!failed)
        failed = programs_find(PROGRAM_RUSTC, path, sizeof path, err);
    if (failed)
        return failed;
    /* Debian's Rust links with clang; rustup's brings its linker along. */
    if (programs_rust_target(path, target, sizeof target) && strcmp(target, "wasm32-wasi") == 0 &&
        lang_wasm_check_c(&clang_err) != 0)
        return lang_wasm_missing("clang, which links Rust for WASM,", LANG_DEBIAN_C, err);
    return 0;
}

/* ---- build ---- */

static void lang_wasm_bind(struct step *step, const char *source, const char *target) {
    step->spec.binds[step->spec.bind_count++] = (struct sandbox_bind){.source = source, .target = target};
}

/* clang falls back to the host's headers unless it has a root of its own. The links of Debian's C++ library
 * point from there to lib/llvm-<version>, which ret_source and ret_target say where to find. */
static void lang_wasm_bind_sysroot(struct step *step, char *ret_source, char *ret_target) {
    lang_wasm_bind(step, "/usr/include/wasm32-wasi", LANG_SYSROOT "/include/wasm32-wasi");
    lang_wasm_bind(step, "/usr/lib/wasm32-wasi", LANG_SYSROOT "/lib/wasm32-wasi");
    if (!realpath("/usr/include/wasm32-wasi/c++/v1", ret_source))
        return;
    char *below = strstr(ret_source, "/include/wasm32-wasi/c++/v1");
    if (!below || below == ret_source)
        return;
    *below = 0;
    snprintf(ret_target, PATH_MAX, LANG_SYSROOT "/lib%s", strrchr(ret_source, '/'));
    lang_wasm_bind(step, ret_source, ret_target);
}

/* A compiler that dies prints its stack and arguments: nobody's business here. */
static void lang_wasm_cut_dump(struct builder *builder) {
    static const char *const starts[] = {"PLEASE submit a bug report", "Stack dump:", "stack backtrace:"};
    struct buf *messages = &builder->messages;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        const uint8_t *at =
            messages->len ? memmem(messages->data, messages->len, starts[i], strlen(starts[i])) : NULL;
        if (at)
            messages->len = (size_t)(at - messages->data);
    }
}

/* The linker's words for a source without main name neither the file nor what to do. */
static void lang_wasm_explain_main(struct builder *builder, const char *file) {
    static const char undefined[] = "undefined symbol: main\n";
    struct buf *messages = &builder->messages;
    if (messages->len && memmem(messages->data, messages->len, undefined, sizeof undefined - 1))
        buf_append_format(messages, "%s: error: there is no function 'main': the program starts there\n",
                          file);
}

/* argv of the step: the shell, its script, the file, the compiler with its options (words between spaces, cut
 * up in place), the file. */
static void lang_wasm_make_argv(char *compiler, char *options, char *file, char **ret_argv, int size) {
    char *const front[] = {"sh", "-c", lang_wasm_script, file, compiler};
    int count = sizeof front / sizeof front[0];
    memcpy(ret_argv, front, sizeof front);
    char *rest = options;
    for (char *word; count < size - 2 && (word = strtok_r(rest, " ", &rest));)
        ret_argv[count++] = word;
    ret_argv[count++] = file;
    ret_argv[count] = NULL;
}

/* Runs the step, whose arguments are set, with the source as its input. */
static int lang_wasm_run(struct builder *builder, struct step *step, const char *file, struct err *err) {
    MEM_CLOSE_FD int fd = -1;
    int failed = step_create_file(builder, "code.wasm", &fd, err);
    if (failed)
        return failed;
    step->spec.program = "/bin/sh";
    step->input = builder->source.data;
    step->input_len = builder->source.len;
    step->output_fd = fd;
    failed = step_run(builder, step, err);
    if (failed) {
        lang_wasm_cut_dump(builder);
        lang_wasm_explain_main(builder, file);
        return failed;
    }
    buf_clear(&builder->messages); /* warnings */
    builder->wasm = true;
    snprintf(builder->entry, sizeof builder->entry, "wasi");
    return 0;
}

static void lang_wasm_name_file(const struct builder *builder, const char *extension, char ret_file[96]) {
    snprintf(ret_file, 96, "%s.%s", builder->name, extension);
}

/* One program compiles and links. */
static int lang_wasm_compile(struct builder *builder, struct step *step, char *compiler, char *options,
                             struct err *err) {
    char file[96], *argv[64];
    lang_wasm_name_file(builder, storage_lang_find(builder->lang)->extension, file);
    lang_wasm_make_argv(compiler, options, file, argv, 64);
    step->spec.argv = argv;
    step->spec.proc_exe = compiler;
    return lang_wasm_run(builder, step, file, err);
}

/* False when the linker has to be left to the compiler's driver. */
static bool lang_wasm_find_link(const struct builder *builder, const char *compiler, const char *object,
                                struct link_plan *ret_plan) {
    char real[PATH_MAX], prefix[PATH_MAX];
    if (!realpath(compiler, real))
        return false;
    programs_prefix(real, prefix, sizeof prefix);
    bool cpp = strcmp(builder->lang, "cpp") == 0;
    return link_find(prefix, LANG_SYSROOT, object, cpp ? "-lc++\n-lc++abi\n" : "", ret_plan);
}

/* Two programs, at the same time. `options`: between spaces, cut up in place. */
static int lang_wasm_compile_beside(struct builder *builder, struct step *step, char *compiler, char *options,
                                    struct link_plan *plan, struct err *err) {
    char file[96], object[96];
    lang_wasm_name_file(builder, storage_lang_find(builder->lang)->extension, file);
    lang_wasm_name_file(builder, "o", object);
    for (char *at = options; (at = strchr(at, ' '));)
        *at = '\n';
    step->spec.argv = (char *[]){"sh",    "-c",         lang_wasm_script_beside, file,   compiler,
                                 options, plan->linker, plan->arguments,         object, NULL};
    step->spec.proc_exe = compiler;
    return lang_wasm_run(builder, step, file, err);
}

static int lang_wasm_build_clang(struct builder *builder, enum program program, const char *more,
                                 struct err *err) {
    char path[PATH_MAX], prefix[PATH_MAX], source[PATH_MAX], sysroot[PATH_MAX], options[512], object[96];
    int failed = programs_find(program, path, sizeof path, err);
    if (failed)
        return failed;
    programs_prefix(path, prefix, sizeof prefix);
    struct step step;
    struct link_plan plan;
    step_init(&step);
    lang_wasm_bind_sysroot(&step, source, sysroot);
    programs_bind_prefix(&step.spec, prefix);
    lang_wasm_name_file(builder, "o", object);
    bool beside = lang_wasm_find_link(builder, path, object, &plan);
    snprintf(options, sizeof options, "%s %s%s%s", LANG_CLANG_OPTIONS, more, beside ? "" : " ",
             beside ? "" : LANG_CLANG_LINK);
    return beside ? lang_wasm_compile_beside(builder, &step, path, options, &plan, err)
                  : lang_wasm_compile(builder, &step, path, options, err);
}

int lang_wasm_build_c(struct builder *builder, struct err *err) {
    return lang_wasm_build_clang(builder, PROGRAM_CLANG, "-std=gnu17", err);
}

int lang_wasm_build_cpp(struct builder *builder, struct err *err) {
    /* Debian's libc++ for WASM is built without exceptions. */
    return lang_wasm_build_clang(builder, PROGRAM_CLANGXX, "-std=gnu++20 -fno-exceptions", err);
}

int lang_wasm_build_rust(struct builder *builder, struct err *err) {
    char path[PATH_MAX], prefix[PATH_MAX], source[PATH_MAX], sysroot[PATH_MAX], options[1024];
    char target[32] = "", libraries[PATH_MAX + 64], compiler[] = LANG_RUST "/bin/rustc";
    int failed = programs_find(PROGRAM_RUSTC, path, sizeof path, err);
    if (failed)
        return failed;
    programs_rust_target(path, target, sizeof target);
    programs_prefix(path, prefix, sizeof prefix);
    programs_library_path(compiler, libraries, sizeof libraries);
    bool own_linker = strcmp(target, "wasm32-wasip1") == 0;
    snprintf(options, sizeof options, "%s --target %s %s", LANG_RUST_OPTIONS, target,
             own_linker ? LANG_RUST_LINK : LANG_RUST_LINK_CLANG);
    char *const environment[] = {"PATH=/usr/bin:/bin", "HOME=/tmp", "TMPDIR=.",
                                 "LC_ALL=C.UTF-8",     libraries,   NULL};
    struct step step;
    step_init(&step);
    step.spec.envp = environment;
    lang_wasm_bind(&step, prefix, LANG_RUST);
    if (!own_linker)
        lang_wasm_bind_sysroot(&step, source, sysroot);
    return lang_wasm_compile(builder, &step, compiler, options, err);
}
