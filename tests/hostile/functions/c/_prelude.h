/* Stands in front of every C probe. A probe prints "held" for what was refused and "ESCAPED" for what got through; "end"
 * says that it tried all. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define held(what, ...) (printf("held %s: ", what), printf("" __VA_ARGS__), puts(""), fflush(stdout))
#define escaped(what, ...) (printf("ESCAPED %s: ", what), printf("" __VA_ARGS__), puts(""), fflush(stdout))
static int begin(void) { puts("begin"); fflush(stdout); return 0; }
/* The text between the quotes of "name": "text" in the payload; what the test has set up on the host. */
static char payload[65536];
static const char *target(const char *name) {
    static char texts[8][512];
    static int used;
    char key[64];
    if (!payload[0]) payload[fread(payload, 1, sizeof payload - 1, stdin)] = 0;
    snprintf(key, sizeof key, "\"%s\": \"", name);
    char *at = strstr(payload, key), *text = texts[used++ % 8];
    text[0] = 0;
    if (at) sscanf(at + strlen(key), "%511[^\"]", text);
    return text;
}
