/* native_compiler IN.wasm OUT.cwasm: makes native code of a WASI command. native_compiler --pipe: the same
 * from stdin to descriptor 3. native_compiler --engine prints the key of what it makes. Exit 1: the module is
 * bad, stderr says why; 2: wrong usage, 3: a file cannot be read or written. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/wasm_engine.h"

enum { MAIN_PIPE_FD = 3 };

static int main_read(int fd, const char *what, struct buf *ret_bytes, struct err *err) {
    for (;;) {
        if (!buf_reserve(ret_bytes, 256 << 10))
            return err_set(err, ERR_INTERNAL, "%s does not fit into memory", what);
        ssize_t got = read(fd, ret_bytes->data + ret_bytes->len, ret_bytes->cap - ret_bytes->len);
        if (got < 0)
            return err_sys(err, "cannot read %s", what);
        if (got == 0)
            return 0;
        ret_bytes->len += (size_t)got;
    }
}

static int main_read_file(const char *path, struct buf *ret_bytes, struct err *err) {
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_sys(err, "cannot open %s", path) : main_read(fd, path, ret_bytes, err);
}

static int main_write_all(int fd, const struct buf *bytes) {
    for (size_t at = 0; at < bytes->len;) {
        ssize_t written = write(fd, bytes->data + at, bytes->len - at);
        if (written < 0)
            return -1;
        at += (size_t)written;
    }
    return 0;
}

/* Beside and renamed: a file of that name is whole. */
static int main_write_file(const char *path, const struct buf *bytes, struct err *err) {
    char beside[4096];
    int len = snprintf(beside, sizeof beside, "%s.part", path);
    if (len < 0 || (size_t)len >= sizeof beside)
        return err_set(err, ERR_BAD_REQUEST, "the path is too long");
    MEM_CLOSE_FD int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return err_sys(err, "cannot create %s", beside);
    if (main_write_all(fd, bytes) < 0 || rename(beside, path) < 0) {
        int result = err_sys(err, "cannot write %s", path);
        unlink(beside);
        return result;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--engine") == 0) {
        puts(wasm_engine_key());
        return 0;
    }
    bool pipe = argc == 2 && strcmp(argv[1], "--pipe") == 0;
    if (!pipe && (argc != 3 || argv[1][0] == '-')) {
        fputs("usage: native_compiler IN.wasm OUT.cwasm | --pipe | --engine\n", stderr);
        return 2;
    }
    struct buf wasm = {0}, native = {0};
    struct err err;
    int result =
        pipe ? main_read(STDIN_FILENO, "the module", &wasm, &err) : main_read_file(argv[1], &wasm, &err);
    if (result == 0)
        result = wasm_engine_compile(wasm.data, wasm.len, &native, &err);
    if (result == 0 && pipe && main_write_all(MAIN_PIPE_FD, &native) < 0)
        result = err_sys(&err, "cannot write the native code");
    if (result == 0 && !pipe)
        result = main_write_file(argv[2], &native, &err);
    buf_fini(&wasm);
    buf_fini(&native);
    if (result == 0)
        return 0;
    fprintf(stderr, "%s\n", err.msg);
    return err.code == ERR_COMPILE ? 1 : 3;
}
