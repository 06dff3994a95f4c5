/* Tries: to make the worker read or write outside of its memory: WASI functions with pointers and lengths at every edge.
 * Expected: an error code each, or a trap; the worker lives (200). */
#include <wasi/api.h>
static const uint32_t edges[] = {0, 1, 65535, 65536, 0x7fffffff, 0x80000000u, 0xfffffff0u, 0xfffffffcu, 0xffffffffu, 131071, 131072};
#define COUNT (sizeof edges / sizeof edges[0])
int main(void) {
    begin();
    fflush(stdout);
    static uint32_t iov[2];
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < COUNT; j++) {
            void *a = (void *)(uintptr_t)edges[i];
            void *b = (void *)(uintptr_t)edges[j];
            uint32_t n = edges[j];
            __wasi_size_t got;
            uint64_t time;
            if (edges[i] >= 0x7fffffff) { /* what lies inside would overwrite this program */
                __wasi_random_get(a, n);
                __wasi_args_get(a, b);
                __wasi_environ_get(a, b);
                __wasi_args_sizes_get(a, b);
                __wasi_environ_sizes_get(a, b);
                __wasi_clock_time_get(0, 0, a);
                __wasi_clock_res_get(n, a);
                __wasi_fd_fdstat_get(1, a);
                __wasi_fd_filestat_get(1, a);
                __wasi_fd_read(0, a, n, &got);
                __wasi_poll_oneoff(a, b, n, &got);
                __wasi_fd_write(2, a, n, a);
            }
            iov[0] = edges[i];
            iov[1] = n;
            if (edges[i] >= 0x7fffffff && n && __wasi_fd_write(2, (const __wasi_ciovec_t *)iov, 1, &got) == 0 && got) escaped("fd_write", "%u bytes at %u", got, edges[i]);
            if (edges[i] >= 0x7fffffff && __wasi_fd_read(0, (const __wasi_iovec_t *)iov, 1, &got) == 0 && got) escaped("fd_read", "%u bytes at %u", got, edges[i]);
            __wasi_clock_time_get(n, 0, &time);
            __wasi_fd_seek(n, (int64_t)edges[i], 0, &time);
            __wasi_fd_write(2, (const __wasi_ciovec_t *)iov, n, &got);
        }
    puts("end");
    return 0;
}
