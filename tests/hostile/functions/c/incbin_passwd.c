/* Tries: accounts of the host by .incbin and .include. Expected: 422 compile. */
__asm__(".include \"/etc/passwd\"\n.incbin \"/proc/self/environ\"\n");
int main(void) { return 0; }
