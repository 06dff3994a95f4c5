/* Tries: files of the host by #include: accounts, the environment and arguments of the compiler, its memory.
 * Expected: 422 compile, nothing of them shown. */
#include "/etc/passwd"
#include "/proc/self/environ"
#include "/proc/1/environ"
#include "/proc/self/cmdline"
#include "/proc/mounts"
#include "../../../../../../../etc/shadow"
int main(void) { return 0; }
