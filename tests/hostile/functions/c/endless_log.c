/* Tries: to fill the host's disk through its log: 64 MiB on stderr. Expected: cut (200). */
int main(void) {
    static char block[65536];
    memset(block, 'x', sizeof block);
    begin();
    for (int i = 0; i < 1024; i++) fwrite(block, 1, sizeof block, stderr);
    puts("end");
    return 0;
}
