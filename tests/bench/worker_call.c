/* What one call costs inside a worker, without pipes: a fresh instance, the function, its end. For tuning the
 * engine's settings.
 *
 *     worker_call COUNT CODE.cwasm...      of deployed functions: functions/<id>/code.cwasm
 *
 * Prints for each file the median and p99 in µs and the CPU of the process a call (a memory reset is kernel
 * time); with several files then all of them in turn. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "worker/runtime.h"
#include "worker/wasm_engine.h"

struct bench {
    struct runtime_engine *engine;
    struct wasi_call call;
    struct buf output, log;
    uint64_t *taken_ns; /* of each call */
};

static const struct runtime_ops *const bench_ops = &wasm_engine_runtime;

static int bench_read(const char *path, struct buf *ret_bytes) {
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) != 0 || !buf_reserve(ret_bytes, (size_t)stat.st_size))
        return -1;
    ssize_t got = read(fd, ret_bytes->data, (size_t)stat.st_size);
    if (got != stat.st_size)
        return -1;
    ret_bytes->len = (size_t)got;
    return 0;
}

static int bench_call(struct bench *bench, struct runtime_module *module) {
    static const struct limits limits = {.timeout_ms = 10000, .memory_mb = 128, .output_mb = 16};
    uint64_t now_ns = clock_now_ns();
    const struct wasi_input input = {
        .name = "bench",
        .start_ns = now_ns,
        .deadline_ns = now_ns + 10 * CLOCK_NS_PER_S,
        .output_max = 16 << 20,
        .output = &bench->output,
        .log = &bench->log,
    };
    struct runtime_outcome outcome;
    buf_clear(&bench->output);
    buf_clear(&bench->log);
    wasi_call_begin(&bench->call, &input);
    bench_ops->call(bench->engine, module, &limits, &bench->call, &outcome);
    if (outcome.code != ERR_OK)
        fprintf(stderr, "worker_call: %s\n", outcome.error);
    return outcome.code == ERR_OK ? 0 : -1;
}

static int bench_compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static double bench_cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int bench_run(struct bench *bench, const char *title, struct runtime_module **modules,
                     size_t modules_len, size_t count) {
    for (size_t i = 0; i < modules_len * 10; i++)
        if (bench_call(bench, modules[i % modules_len]) < 0)
            return -1;
    double cpu_us = bench_cpu_us();
    for (size_t i = 0; i < count; i++) {
        uint64_t start_ns = clock_now_ns();
        if (bench_call(bench, modules[i % modules_len]) < 0)
            return -1;
        bench->taken_ns[i] = clock_now_ns() - start_ns;
    }
    cpu_us = bench_cpu_us() - cpu_us;
    qsort(bench->taken_ns, count, sizeof *bench->taken_ns, bench_compare);
    printf("%-48s p50 %7.2f  p99 %7.2f  cpu %7.2f\n", title, (double)bench->taken_ns[count / 2] / 1e3,
           (double)bench->taken_ns[count * 99 / 100] / 1e3, cpu_us / (double)count);
    return 0;
}

static int bench_load(struct bench *bench, const char *path, struct runtime_module **ret_module) {
    struct buf bytes = {0};
    struct err err = {.msg = "cannot be read"};
    int rc = bench_read(path, &bytes);
    if (rc == 0)
        rc = bench_ops->load(bench->engine, bytes.data, bytes.len, ret_module, &err);
    buf_fini(&bytes);
    if (rc != 0)
        fprintf(stderr, "worker_call: %s: %s\n", path, err.msg);
    return rc;
}

int main(int argc, char **argv) {
    long count = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
    if (count < 100 || count > 10000000) {
        fprintf(stderr, "usage: worker_call COUNT CODE.cwasm...   (COUNT 100 to 10000000)\n");
        return 2;
    }
    struct bench bench = {0};
    struct err err;
    if (bench_ops->open(&bench.engine, &err) != 0) {
        fprintf(stderr, "worker_call: %s\n", err.msg);
        return 1;
    }
    size_t modules_len = (size_t)argc - 2;
    struct runtime_module **modules = mem_zalloc(modules_len * sizeof(struct runtime_module *));
    bench.taken_ns = mem_zalloc((size_t)count * sizeof *bench.taken_ns);
    int rc = 0;
    for (size_t i = 0; i < modules_len && rc == 0; i++) {
        rc = bench_load(&bench, argv[i + 2], &modules[i]);
        if (rc == 0)
            rc = bench_run(&bench, argv[i + 2], &modules[i], 1, (size_t)count);
    }
    if (rc == 0 && modules_len > 1)
        rc = bench_run(&bench, "all of them in turn", modules, modules_len, (size_t)count);
    for (size_t i = 0; i < modules_len; i++)
        bench_ops->unload(modules[i]);
    wasi_call_fini(&bench.call);
    bench_ops->close(bench.engine);
    free(modules);
    free(bench.taken_ns);
    buf_fini(&bench.output);
    buf_fini(&bench.log);
    return rc == 0 ? 0 : 1;
}
