/* Tries: to read for ever: #include of a device without end. Expected: 422 (compile, timeout or oom). */
#include "/dev/zero"
int main(void) { return 0; }
