/* Query strings: whatever a parameter says is what a slow and simple reading of it says; the bounds of the
 * output hold. Input: a byte for the size of the output, the parameter's name up to a NUL byte, the query. */
#include <ctype.h>
#include <string.h>

#include "check.h"
#include "http/http.h"

/* -1: a bad escape; else bytes. */
static int fuzz_decode(const char *from, size_t len, char *to) {
    static const char digits[] = "0123456789abcdef";
    int count = 0;
    for (size_t i = 0; i < len; i++) {
        if (from[i] == '+') {
            to[count++] = ' ';
        } else if (from[i] != '%') {
            to[count++] = from[i];
        } else {
            if (len - i < 3 || !isxdigit((unsigned char)from[i + 1]) || !isxdigit((unsigned char)from[i + 2]))
                return -1;
            long high = strchr(digits, tolower((unsigned char)from[i + 1])) - digits;
            long low = strchr(digits, tolower((unsigned char)from[i + 2])) - digits;
            to[count++] = (char)(high * 16 + low);
            i += 2;
        }
    }
    return count;
}

/* As http_query_get, with memory for everything. */
static int fuzz_expect(struct http_slice query, const char *name, char *value, size_t size) {
    char *memory = malloc(query.len + 1);
    CHECK(memory);
    int rc = 0;
    for (size_t at = 0, len; rc == 0 && at < query.len; at += len + 1) {
        const char *pair = query.data + at;
        const char *end = memchr(pair, '&', query.len - at);
        len = end ? (size_t)(end - pair) : query.len - at;
        const char *equals = memchr(pair, '=', len);
        size_t name_len = equals ? (size_t)(equals - pair) : len;
        int got = fuzz_decode(pair, name_len, memory);
        if (got < 0 || (size_t)got != strlen(name) || memcmp(memory, name, (size_t)got) != 0)
            continue;
        got = equals ? fuzz_decode(equals + 1, len - name_len - 1, memory) : 0;
        rc = got < 0 || (size_t)got >= size || memchr(memory, 0, (size_t)got) ? -1 : 1;
        if (rc == 1) {
            memcpy(value, memory, (size_t)got);
            value[got] = '\0';
        }
    }
    free(memory);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size > 1 ? memchr(data + 1, 0, size - 1) : NULL;
    if (!end)
        return 0;
    const char *name = (const char *)data + 1;
    size_t value_size = 1 + data[0] % 64;
    struct http_slice query = {(const char *)end + 1, size - (size_t)(end + 1 - data)};
    char *value = malloc(value_size), *expected = malloc(value_size);
    struct err err = {0};
    CHECK(value && expected);
    int rc = http_query_get(query, name, value, value_size, &err);
    int wanted = fuzz_expect(query, name, expected, value_size);
    CHECK(rc < 0 ? rc == -ERR_BAD_REQUEST && err.code == ERR_BAD_REQUEST && wanted < 0 : rc == wanted);
    CHECK(rc <= 0 || strcmp(value, expected) == 0);
    free(value);
    free(expected);
    return 0;
}
