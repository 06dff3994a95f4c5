/* Tries: what lies on the compiler's descriptors. Expected: 422 (compile or timeout). */
#include "/dev/stdin"
#include "/proc/self/fd/3"
#include "/dev/fd/3"
int main(void) { return 0; }
