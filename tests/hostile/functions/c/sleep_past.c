/* Tries: to outlive its deadline asleep in the host. Expected: 504 timeout. */
#include <time.h>
int main(void) {
    begin();
    puts("ready");
    fflush(stdout);
    nanosleep(&(struct timespec){20, 0}, NULL);
    escaped("deadline", "20 s have passed");
    return 0;
}
