/* Tries: files of the host, by absolute and relative paths, and directories. Expected: there is none (200). */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    begin();
    char up[600];
    snprintf(up, sizeof up, "../../../../../..%s", target("secret"));
    const char *paths[] = {"/etc/passwd", "etc/passwd", "../../../../etc/passwd", "/proc/self/environ", "/dev/mem", "/", ".", "..", up, target("secret"), target("code"), "code.wasm", "metadata.json"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        FILE *file = fopen(paths[i], "r");
        DIR *dir = opendir(paths[i]);
        struct stat status;
        if (file || dir || stat(paths[i], &status) == 0) escaped(paths[i], "opened");
        else held(paths[i], "%s", strerror(errno));
        if (open(paths[i], O_CREAT | O_WRONLY, 0644) >= 0 || mkdir("hostile", 0755) == 0 || symlink("/etc/passwd", "link") == 0) escaped(paths[i], "made");
    }
    puts("end");
    return 0;
}
