/* Tries: memory without end where memory_mb is 16. Expected: 507 oom. */
int main(void) {
    begin();
    for (int i = 0; i < 4096; i++) {
        char *more = malloc(1 << 20);
        if (!more) abort();
        memset(more, 1, 1 << 20);
        __asm__ volatile("" ::"r"(more) : "memory");
    }
    escaped("MiB", "4096");
    return 0;
}
