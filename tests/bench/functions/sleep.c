/* Sleeps for 100 ms, or for as many as the payload says, and says so. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    char text[16] = "";
    fread(text, 1, sizeof text - 1, stdin);
    unsigned ms = text[0] ? (unsigned)strtoul(text, NULL, 10) : 100;
    usleep(ms * 1000);
    printf("slept %u ms\n", ms);
}
