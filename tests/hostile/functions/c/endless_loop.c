/* Tries: to compute for ever. Expected: 504 timeout, and the worker lives. */
int main(void) { begin(); puts("ready"); fflush(stdout); for (volatile int i = 0;; i++) ; }
