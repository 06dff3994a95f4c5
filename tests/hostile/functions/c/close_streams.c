/* Tries: to confuse the worker about its streams: closes, renumbers, writes on what is closed. Expected: what was printed
 * before is its answer (200). */
#include <wasi/api.h>
int main(void) {
    begin();
    puts("end");
    fflush(stdout);
    __wasi_fd_renumber(2, 0);
    __wasi_fd_renumber(0, 1);
    for (int fd = 0; fd < 10; fd++) __wasi_fd_close(fd);
    __wasi_size_t size;
    __wasi_ciovec_t out = {(const uint8_t *)"LATE", 4};
    if (__wasi_fd_write(1, &out, 1, &size) == 0) __wasi_proc_exit(3);
    return 0;
}
