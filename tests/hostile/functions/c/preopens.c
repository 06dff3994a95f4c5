/* Tries: a directory that was granted: every descriptor is asked for its name, opened below, read, and listed.
 * Expected: there is none but the streams (200). */
#include <wasi/api.h>
int main(void) {
    begin();
    for (unsigned fd = 0; fd < 5000; fd++) {
        __wasi_prestat_t stat;
        __wasi_fd_t opened;
        __wasi_size_t size;
        uint8_t name[256];
        if (__wasi_fd_prestat_get(fd, &stat) == 0) escaped("prestat", "%u", fd);
        if (__wasi_path_open(fd, 1, "etc/passwd", 0, ~0ull >> 40, ~0ull >> 40, 0, &opened) == 0) escaped("path_open", "%u", fd);
        if (__wasi_path_open(fd, 0, "../../../etc/passwd", 0, 2, 2, 0, &opened) == 0) escaped("path_open", "%u", fd);
        if (__wasi_path_open(fd, 1, ".", __WASI_OFLAGS_DIRECTORY, 2, 2, 0, &opened) == 0) escaped("path_open", "%u", fd);
        if (__wasi_fd_readdir(fd, name, sizeof name, 0, &size) == 0) escaped("readdir", "%u", fd);
        if (__wasi_path_symlink("/etc/passwd", fd, "link") == 0) escaped("symlink", "%u", fd);
        if (fd > 2 && __wasi_fd_renumber(1, fd) == 0) escaped("renumber", "%u", fd);
    }
    puts("end");
    return 0;
}
