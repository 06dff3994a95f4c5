/* Tries: to print without end where output_mb is 1. Expected: 500 output. */
int main(void) {
    static char block[65536];
    memset(block, 'x', sizeof block);
    begin();
    for (int i = 0; i < 640; i++) fwrite(block, 1, sizeof block, stdout);
    escaped("output", "40 MiB");
    return 0;
}
