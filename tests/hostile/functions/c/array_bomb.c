/* Tries: a file without end from a line: a table of 3 GiB that is not zero. Expected: 422 (compile, oom or output). */
char table[3ul << 30] = {1, [2ul << 30] = 2};
int main(void) { return table[5]; }
