/* Tries: a file of the host inside of its program: .incbin in assembly. Expected: 422 compile. */
__asm__(".section .rodata.secret,\"\",@\n.globl secret\nsecret:\n.incbin \"@SECRET@\"\n.size secret, 64\n");
extern const char secret[64];
int main(void) { fwrite(secret, 1, 64, stdout); return 0; }
