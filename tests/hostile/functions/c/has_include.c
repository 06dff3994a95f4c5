/* Tries: to find out which files the host has: __has_include. Expected: it sees none of them (200). */
int main(void) {
    begin();
#if __has_include("@SECRET@")
    escaped("has_include", "the secret");
#endif
#if __has_include("@CODE@")
    escaped("has_include", "another's code");
#endif
#if __has_include("/etc/passwd") || __has_include("/proc/self/environ") || __has_include("/proc/1/cmdline") || __has_include("/root") || __has_include("/home")
    escaped("has_include", "the host's files");
#endif
    puts("end");
    return 0;
}
