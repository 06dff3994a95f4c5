// Tries: to compute for ever in the compiler. Expected: 422 compile (the compiler's own bound), or timeout.
constexpr unsigned long spin(unsigned long n) { unsigned long x = 0; for (unsigned long i = 0; i < n; i++) x += i ^ x; return x; }
constexpr unsigned long value = spin(1ul << 62);
int main() { return static_cast<int>(value); }
