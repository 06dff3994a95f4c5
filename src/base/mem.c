#include "base/mem.h"

#include <stdio.h>

void *mem_zalloc(size_t size) {
    void *ptr = calloc(1, size ? size : 1);
    if (!ptr) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return ptr;
}
