/* A function that does what the first word of its payload says: what the tests of the worker call. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char payload[64 << 10];
static char *volatile kept;

static int recurse(volatile int depth) {
    volatile char frame[200];
    memset((void *)frame, depth, sizeof frame);
    return recurse(depth + 1) + frame[depth % 200];
}

/* Hours of calls and no loop. */
__attribute__((noinline)) static unsigned tree(unsigned n) {
    return n < 2 ? n : tree(n - 1) + tree(n - 2);
}

/* No frame in the guest's own memory: only the native stack grows. */
static int recurse_native(int depth) {
    return depth == -1 ? 0 : 1 + recurse_native(depth + (kept ? 1 : 2)) * 3;
}

static void eat_memory(void) {
    for (;;) {
        char *part = malloc(1 << 20);
        if (!part)
            return;
        memset(part, 1, 1 << 20);
        kept = part;
    }
}

static int echo(size_t from, size_t len) {
    fwrite(payload + from, 1, len - from, stdout);
    size_t got;
    while ((got = fread(payload, 1, sizeof payload, stdin)) > 0)
        fwrite(payload, 1, got, stdout);
    return 0;
}

int main(int argc, char **argv) {
    size_t len = fread(payload, 1, sizeof payload - 1, stdin);
    char word[16] = "";
    sscanf(payload, "%15s", word);
    int number = atoi(payload + strlen(word));
    if (!strcmp(word, "hello")) {
        printf("Hello from %s!\n", argv[argc - 1]);
    } else if (!strcmp(word, "echo")) {
        return echo(5, len);
    } else if (!strcmp(word, "exit")) {
        printf("before");
        exit(number);
    } else if (!strcmp(word, "loop")) {
        printf("looping");
        fflush(stdout);
        for (;;)
            kept = payload;
    } else if (!strcmp(word, "tree")) {
        printf("%u", tree(60));
    } else if (!strcmp(word, "ask")) {
        struct timespec now;
        for (;;)
            clock_gettime(CLOCK_MONOTONIC, &now);
    } else if (!strcmp(word, "fill")) {
        static char filled[1 << 20];
        for (int value = 0;; value++) {
            memset(filled, value, sizeof filled);
            kept = filled;
        }
    } else if (!strcmp(word, "bomb")) {
        eat_memory();
        abort();
    } else if (!strcmp(word, "null")) {
        eat_memory();
        printf("malloc said NULL");
    } else if (!strcmp(word, "gives-up")) {
        eat_memory();
        return 7;
    } else if (!strcmp(word, "print")) {
        for (int i = 0; i < number; i++)
            printf("%1023d\n", i);
    } else if (!strcmp(word, "log")) {
        for (int i = 0; i < number; i++)
            fprintf(stderr, "%1023d\n", i);
    } else if (!strcmp(word, "recurse")) {
        return recurse(0);
    } else if (!strcmp(word, "native")) {
        kept = payload;
        return recurse_native(0);
    } else if (!strcmp(word, "trap")) {
        __builtin_trap();
    } else if (!strcmp(word, "divide")) {
        printf("%d", 1000 / number);
    } else if (!strcmp(word, "environ")) {
        for (char **at = environ; *at; at++)
            puts(*at);
    } else if (!strcmp(word, "sleep")) {
        struct timespec time = {number / 1000, number % 1000 * 1000000L};
        nanosleep(&time, NULL);
        printf("slept");
    } else if (!strcmp(word, "count")) {
        static int calls;
        printf("%d", ++calls);
    } else if (!strcmp(word, "files")) {
        printf("%d", fopen("/etc/passwd", "r") == NULL && errno != 0);
    }
    return 0;
}
