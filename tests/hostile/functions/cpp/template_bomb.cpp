// Tries: templates that explode: instances without end and without depth. Expected: 422 (compile, timeout or oom).
template <unsigned long long A, unsigned long long B> struct bomb {
    static constexpr unsigned long long value = bomb<A * 2, B - 1>::value + bomb<A * 2 + 1, B - 1>::value;
};
template <unsigned long long A> struct bomb<A, 0> { static constexpr unsigned long long value = A; };
int main() { return static_cast<int>(bomb<1, 40>::value); }
