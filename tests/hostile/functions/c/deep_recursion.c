/* Tries: to run over the end of its stack, and of the worker's. Expected: 500 trap, and the worker lives. */
static int dive(int n) { volatile char frame[64]; frame[n & 63] = (char)n; return n == -1 ? 0 : dive(n + 1) + frame[n & 63]; }
int main(void) { begin(); return dive(0); }
