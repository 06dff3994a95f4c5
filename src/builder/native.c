#include "builder/native.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "builder/step.h"
#include "sandbox/capture.h"
#include "sandbox/programs.h"
#include "storage/storage.h"

#define NATIVE_PROGRAM "/opt/native_compiler"

static int native_hash_file(struct builder *builder, int fd, struct err *err) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_sys(err, "code.cwasm");
    size_t size = (size_t)status.st_size;
    void *data = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (data == MAP_FAILED)
        return err_set(err, ERR_INTERNAL, "the compiler made no native code");
    uint8_t hash[STORAGE_HASH_BYTES];
    storage_hash(data, size, builder->engine, hash);
    munmap(data, size);
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(builder->native_hash + 2 * i, 3, "%02x", hash[i]);
    return 0;
}

int native_compile(struct builder *builder, const void *wasm, size_t len, struct err *err) {
    char parts[PATH_MAX - 32], program[PATH_MAX];
    int failed = programs_parts_dir(parts, sizeof parts, err);
    if (failed)
        return failed;
    snprintf(program, sizeof program, "%s/native_compiler", parts);
    if (!capture_output((char *[]){program, "--engine", NULL}, NULL, builder->engine, sizeof builder->engine))
        return err_set(err, ERR_INTERNAL, "the native compiler beside the builder does not run");
    builder->engine[strcspn(builder->engine, "\n")] = 0;
    MEM_CLOSE_FD int fd = -1;
    failed = step_create_file(builder, "code.cwasm", &fd, err);
    if (failed)
        return failed;
    struct step step;
    step_init(&step);
    struct sandbox_bind bind = {.source = program, .target = NATIVE_PROGRAM};
    step.spec.program = NATIVE_PROGRAM;
    step.spec.argv = (char *[]){"native_compiler", "--pipe", NULL};
    step.spec.binds[step.spec.bind_count++] = bind;
    step.spec.proc_exe = NATIVE_PROGRAM;
    step.input = wasm;
    step.input_len = len;
    step.output_fd = fd;
    failed = step_run(builder, &step, err);
    return failed ? failed : native_hash_file(builder, fd, err);
}
