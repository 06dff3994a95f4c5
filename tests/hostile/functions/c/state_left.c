/* Tries: to leave something for the next caller: in a variable, on the heap, in all of its memory, whose every byte is looked
 * at. Expected: nothing of the call before (200, twice). */
static volatile uint64_t left;
#define SIGN 0x4c4546545f4c4546ull
int main(void) {
    begin();
    if (left) escaped("variable", "%llx", (unsigned long long)left);
    uint64_t sign = SIGN ^ 0x1111111111111111ull; /* not to be found itself */
    size_t end = __builtin_wasm_memory_size(0) * 65536ul;
    int found = 0;
    for (uint64_t *at = (uint64_t *)16; (size_t)at + 8 <= end; at++)
        if (*at == (sign ^ 0x2222222222222222ull)) found++;
    if (found > 0) escaped("memory", "%d times", found);
    size_t more = __builtin_wasm_memory_grow(0, 16);
    if (more != (size_t)-1)
        for (uint64_t *at = (uint64_t *)(more * 65536); (size_t)at < (more + 16) * 65536; at++) {
            if (*at) { escaped("grown memory", "not zero"); break; }
            *at = sign ^ 0x2222222222222222ull;
        }
    left = 1;
    puts("end");
    return 0;
}
