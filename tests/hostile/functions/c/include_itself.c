/* Tries: to include itself without end, twice at each level. Expected: 422 compile or output. */
#include __FILE__
#include __FILE__
int main(void) { return 0; }
