/* Tries: to load code into the compiler: pragmas and attributes of plug-ins, module maps. Expected: without effect, or 422. */
#pragma clang __debug crash
#pragma clang module import "/etc/passwd"
int main(void) { return 0; }
