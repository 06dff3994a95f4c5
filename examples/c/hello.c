/* curl -X POST 'http://127.0.0.1:8080/deploy?name=hello&lang=c' --data-binary @examples/c/hello.c */
#include <stdio.h>

int main(void) {
    printf("Hello from FAAS!\n");
    return 0;
}
