/* Tries: the code of another function by #include. Expected: 422 compile, nothing of it shown. */
#include "@CODE@"
int main(void) { return 0; }
