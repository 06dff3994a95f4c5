/* Tries: macros that explode: 2 to the 40th tokens. Expected: 422 timeout or oom. */
#define A(x) x x
#define B(x) A(A(A(A(A(x)))))
#define C(x) B(B(B(B(x))))
#define D(x) C(C(x))
int main(void) { int i = 0; D(i++;) return i; }
