#include "builder/lang.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "builder/step.h"
#include "sandbox/programs.h"
#include "storage/storage.h"

enum { LANG_REPORT_MAX = 64 << 10 };

/* ---- scripts: checked, not compiled ---- */

static int lang_take_report(struct builder *builder, int report_fd, struct err *err) {
    char text[LANG_REPORT_MAX];
    ssize_t len = pread(report_fd, text, sizeof text, 0);
    json_t *report = len > 0 ? json_loadb(text, (size_t)len, 0, NULL) : NULL;
    const char *entry = json_string_value(json_object_get(report, "entry"));
    const char *error = json_string_value(json_object_get(report, "error"));
    int failed = 0;
    if (entry && strlen(entry) < sizeof builder->entry) {
        snprintf(builder->entry, sizeof builder->entry, "%s", entry);
        builder->module = json_is_true(json_object_get(report, "module"));
    } else if (error) {
        buf_clear(&builder->messages);
        buf_append_str(&builder->messages, error);
        failed = err_set(err, ERR_COMPILE, "it has an error");
    } else {
        failed = err_set(err, ERR_INTERNAL, "the check of the source gave no result");
    }
    json_decref(report);
    return failed;
}

/* Runs `program options… /opt/<script> <name>.<ext>` with the source as its input; the result comes from
 * descriptor 3. */
static int lang_check_script(struct builder *builder, enum program program, const char *script,
                             char *const *options, struct err *err) {
    char path[PATH_MAX], prefix[PATH_MAX], parts[PATH_MAX], source[PATH_MAX + 64], target[64], file[96];
    int failed = programs_find(program, path, sizeof path, err);
    if (!failed)
        failed = programs_parts_dir(parts, sizeof parts, err);
    if (failed)
        return failed;
    const char *extension = storage_lang_find(builder->lang)->extension;
    snprintf(file, sizeof file, "%s.%s", builder->name, extension);
    snprintf(source, sizeof source, "%s/runtimes/%s", parts, script);
    snprintf(target, sizeof target, "/opt/%s", strrchr(script, '/') + 1);
    programs_prefix(path, prefix, sizeof prefix);
    MEM_CLOSE_FD int report_fd = memfd_create("report", MFD_CLOEXEC);
    if (report_fd < 0)
        return err_sys(err, "memfd");
    char *argv[16] = {path};
    int argc = 1;
    while (*options && argc < 13)
        argv[argc++] = *options++;
    struct sandbox_bind bind = {.source = source, .target = target};
    argv[argc++] = (char *)(uintptr_t)step_path(&bind);
    argv[argc++] = file;
    struct step step;
    step_init(&step);
    step.spec.program = path;
    step.spec.argv = argv;
    step.spec.file_bytes = LANG_REPORT_MAX;
    step.spec.binds[step.spec.bind_count++] = bind;
    programs_bind_prefix(&step.spec, prefix);
    step.input = builder->source.data;
    step.input_len = builder->source.len;
    step.output_fd = report_fd;
    failed = step_run(builder, &step, err);
    if (failed == -ERR_COMPILE) {
        /* The checkers answer every source; one that dies was beaten by its own parser. */
        buf_clear(&builder->messages);
        return err_set(err, ERR_COMPILE, "%s: the source is nested too deeply or too complex", file);
    }
    return failed ? failed : lang_take_report(builder, report_fd, err);
}

static int lang_build_js(struct builder *builder, struct err *err) {
    char *const options[] = {"--expose-internals", "--experimental-vm-modules", "--no-warnings",
                             "--stack-size=6000",  "--max-old-space-size=768",  NULL};
    return lang_check_script(builder, PROGRAM_NODE, "node/check.cjs", options, err);
}

static int lang_build_python(struct builder *builder, struct err *err) {
    char *const options[] = {"-I", "-S", "-B", NULL};
    return lang_check_script(builder, PROGRAM_PYTHON, "python/check.py", options, err);
}

static int lang_check_js(struct err *err) {
    char path[PATH_MAX];
    return programs_find(PROGRAM_NODE, path, sizeof path, err);
}

static int lang_check_python(struct err *err) {
    char path[PATH_MAX];
    return programs_find(PROGRAM_PYTHON, path, sizeof path, err);
}

/* ---- wasm: as it is ---- */

static int lang_build_wasm(struct builder *builder, struct err *err) {
    static const uint8_t module[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    static const uint8_t component[8] = {0, 'a', 's', 'm', 0x0d, 0, 1, 0};
    const struct buf *source = &builder->source;
    if (source->len >= 8 && memcmp(source->data, component, 8) == 0)
        return err_set(err, ERR_COMPILE,
                       "this is a WebAssembly component; a core module for WASI preview 1 is wanted");
    if (source->len < 8 || memcmp(source->data, module, 8) != 0)
        return err_set(err, ERR_COMPILE, "this is not a WebAssembly module (no magic number)");
    builder->wasm = true; /* code.wasm is the source */
    snprintf(builder->entry, sizeof builder->entry, "wasi");
    return 0;
}

static int lang_check_nothing(struct err *err) {
    (void)err;
    return 0;
}

/* ---- the table ---- */

static const struct lang_row lang_rows[] = {
    {"c", lang_wasm_build_c, lang_wasm_check_c},
    {"cpp", lang_wasm_build_cpp, lang_wasm_check_cpp},
    {"rust", lang_wasm_build_rust, lang_wasm_check_rust},
    {"wasm", lang_build_wasm, lang_check_nothing},
    {"js", lang_build_js, lang_check_js},
    {"python", lang_build_python, lang_check_python},
};

const struct lang_row *lang_find(const char *name) {
    for (size_t i = 0; i < sizeof lang_rows / sizeof lang_rows[0]; i++)
        if (strcmp(lang_rows[i].name, name) == 0)
            return &lang_rows[i];
    return NULL;
}

int lang_check(const char *name, struct err *err) {
    const struct lang_row *row = lang_find(name);
    if (row)
        return row->check(err);
    if (strcmp(name, "go") == 0)
        return err_set(
            err, ERR_NOT_INSTALLED,
            "no Go compiler is used on this machine; install Go 1.21 or newer where you work, compile "
            "with GOOS=wasip1 GOARCH=wasm, and deploy the module with lang=wasm");
    return err_set(err, ERR_NOT_INSTALLED,
                   "no runtime for %s on this machine; install one that is a WASI module "
                   "and deploy it with lang=wasm",
                   name);
}
