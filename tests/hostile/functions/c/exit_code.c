/* Tries: an exit code that is none. Expected: 500 exit. */
int main(void) { begin(); fflush(stdout); _Exit(0x7fffffff); }
