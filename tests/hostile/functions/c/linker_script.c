/* Tries: to give options to the linker: pragmas, sections, dependent libraries. Expected: 422 compile, or without effect. */
#pragma comment(lib, "@SECRET@")
#pragma comment(linker, "/include:@SECRET@")
__asm__(".section .linker-options,\"\",@\n.ascii \"-T@SECRET@\"\n");
__attribute__((section(".init_array"))) static const char *const wild = (const char *)0x7fffffff;
int main(void) { begin(); return wild[0]; }
