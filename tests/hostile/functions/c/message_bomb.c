/* Tries: messages without end. Expected: 422 output, or compile where the compiler itself stops. */
#define W8(x) x x x x x x x x
#define W(x) W8(W8(W8(W8(x))))
#pragma clang diagnostic fatal "-Wall"
int main(void) { W(_Pragma("message(\"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm\")")) return 0; }
