/* Tries: sockets of WASI on every descriptor. Expected: there is none (200). */
#include <wasi/api.h>
int main(void) {
    begin();
    uint8_t data[64] = "x";
    for (unsigned fd = 0; fd < 256; fd++) {
        __wasi_iovec_t in = {data, sizeof data};
        __wasi_ciovec_t out = {data, sizeof data};
        __wasi_size_t size;
        __wasi_roflags_t flags;
        __wasi_fd_t accepted;
        if (__wasi_sock_accept(fd, 0, &accepted) == 0) escaped("accept", "%u", fd);
        if (__wasi_sock_recv(fd, &in, 1, 0, &size, &flags) == 0) escaped("recv", "%u", fd);
        if (__wasi_sock_send(fd, &out, 1, 0, &size) == 0) escaped("send", "%u", fd);
        if (__wasi_sock_shutdown(fd, 3) == 0) escaped("shutdown", "%u", fd);
    }
    puts("end");
    return 0;
}
