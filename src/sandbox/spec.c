#include "sandbox/spec.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Two passes over the same code: the first, with `block` NULL, only counts. */
struct spec_writer {
    char *block;
    size_t used;
};

static void *spec_put(struct spec_writer *writer, const void *data, size_t size) {
    size_t at = (writer->used + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
    writer->used = at + size;
    if (!writer->block)
        return NULL;
    return memcpy(writer->block + at, data, size);
}

static char *spec_put_text(struct spec_writer *writer, const char *text) {
    return text ? spec_put(writer, text, strlen(text) + 1) : NULL;
}

static char *const *spec_put_list(struct spec_writer *writer, char *const *list) {
    static char *const empty[] = {NULL};
    size_t count = 0;
    if (!list)
        list = empty;
    while (list[count])
        count++;
    char **copy = spec_put(writer, list, (count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        char *text = spec_put_text(writer, list[i]);
        if (copy)
            copy[i] = text;
    }
    return copy;
}

static struct sandbox_spec *spec_put_all(struct spec_writer *writer, const struct sandbox_spec *spec,
                                         const char *program, const char *cwd) {
    struct sandbox_spec *placed = spec_put(writer, spec, sizeof *spec), scratch = *spec;
    struct sandbox_spec *copy = placed ? placed : &scratch;
    copy->comm = spec_put_text(writer, spec->comm);
    copy->program = spec_put_text(writer, program);
    copy->cwd = spec_put_text(writer, cwd);
    copy->proc_exe = spec_put_text(writer, spec->proc_exe);
    copy->argv = spec_put_list(writer, spec->argv);
    copy->envp = spec_put_list(writer, spec->envp);
    for (int i = 0; i < spec->bind_count; i++) {
        copy->binds[i].source = spec_put_text(writer, spec->binds[i].source);
        copy->binds[i].target = spec_put_text(writer, spec->binds[i].target);
    }
    return placed;
}

/* The path on the host of a path inside: by the longest bind that it lies in. */
static const char *spec_host_path(const struct sandbox_spec *spec, const char *path, char *ret_path,
                                  size_t size) {
    size_t best = 0;
    const char *host = path;
    for (int i = 0; path && i < spec->bind_count; i++) {
        const char *target = spec->binds[i].target;
        size_t len = target ? strlen(target) : 0;
        if (len <= best || strncmp(path, target, len) != 0 || (path[len] && path[len] != '/'))
            continue;
        best = len;
        snprintf(ret_path, size, "%s%s", spec->binds[i].source, path + len);
        host = ret_path;
    }
    return host;
}

struct sandbox_spec *spec_copy(const struct sandbox_spec *spec, bool host_paths) {
    char program_path[PATH_MAX], cwd_path[PATH_MAX];
    const char *program = spec->program, *cwd = spec->cwd;
    if (host_paths) {
        struct stat status;
        program = spec_host_path(spec, program, program_path, sizeof program_path);
        cwd = spec_host_path(spec, cwd, cwd_path, sizeof cwd_path);
        if (cwd && stat(cwd, &status) != 0)
            cwd = "/";
    }
    struct spec_writer writer = {NULL, 0};
    spec_put_all(&writer, spec, program, cwd);
    writer = (struct spec_writer){malloc(writer.used), 0};
    return writer.block ? spec_put_all(&writer, spec, program, cwd) : NULL;
}
