// Tries: memory without end through the C++ library, where memory_mb is 16. Expected: 507 oom.
#include <cstdio>
#include <cstring>
#include <vector>
int main() {
    puts("begin");
    fflush(stdout);
    std::vector<std::vector<char>> all;
    for (int i = 0; i < 4096; i++) all.emplace_back(1 << 20, 'x');
    printf("ESCAPED MiB %zu\n", all.size());
}
