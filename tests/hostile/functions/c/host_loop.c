/* Tries: to spend its time inside of host functions, where it is not interrupted: 64 MiB of random bytes, again and again.
 * Expected: 504 timeout. */
#include <wasi/api.h>
static uint8_t block[64 << 20];
int main(void) {
    begin();
    puts("ready");
    fflush(stdout);
    for (int i = 0; i < 1000; i++) __wasi_random_get(block, sizeof block);
    escaped("deadline", "not met");
    return 0;
}
