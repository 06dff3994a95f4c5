/* Tries: a file without end from assembly: .rept and .skip. Expected: 422 (compile, oom or timeout). */
__asm__(".section .data.bomb,\"\",@\n.rept 2000000000\n.int 1\n.endr\n");
int main(void) { return 0; }
