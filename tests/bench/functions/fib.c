/* fib(n) by plain recursion, n on stdin: a function that is nothing but calls and additions. do_nothing.c
 * includes it for the same code compiled by the machine's own compiler, without a sandbox and without a call
 * in between. */
#include <stdio.h>
#include <stdlib.h>

static unsigned fib(unsigned n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

#ifndef FIB_WITHOUT_MAIN
int main(void) {
    char text[16] = "";
    fread(text, 1, sizeof text - 1, stdin);
    printf("%u\n", fib((unsigned)strtoul(text, NULL, 10)));
}
#endif
