/* Tries: a file of the host in the compiler's messages: #include by absolute path. Expected: 422 compile, nothing of it shown. */
#include "@SECRET@"
int main(void) { return 0; }
