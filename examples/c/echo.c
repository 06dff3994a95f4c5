/* curl -X POST 'http://127.0.0.1:8080/deploy?name=echo&lang=c' --data-binary @examples/c/echo.c */
#include <stdio.h>

int main(void) {
    static char bytes[65536];
    size_t len;

    while ((len = fread(bytes, 1, sizeof bytes, stdin)) > 0)
        if (fwrite(bytes, 1, len, stdout) != len)
            return 1;
    return ferror(stdin) ? 1 : 0;
}
