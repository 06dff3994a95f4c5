#include "http/http.h"

#include <string.h>
#include <strings.h>

const struct http_slice *http_request_header(const struct http_request *request, const char *name) {
    size_t len = strlen(name);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (header->name.len == len && strncasecmp(header->name.data, name, len) == 0)
            return &header->value;
    }
    return NULL;
}

static int query_hex(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit = (char)(digit | 0x20);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Decodes the byte at *at and moves on; -1: a bad escape. */
static int query_next(const char **at, const char *end) {
    char byte = *(*at)++;
    if (byte == '+')
        return ' ';
    if (byte != '%')
        return (unsigned char)byte;
    if (end - *at < 2)
        return -1;
    int high = query_hex((*at)[0]), low = query_hex((*at)[1]);
    *at += 2;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool query_is_name(const char *at, const char *end, const char *name) {
    while (at < end && *name)
        if (query_next(&at, end) != (unsigned char)*name++)
            return false;
    return at == end && *name == '\0';
}

static int query_decode(struct http_slice value, char *ret_value, size_t size, const char *name,
                        struct err *err) {
    const char *at = value.data, *end = value.data + value.len;
    size_t len = 0;
    while (at < end) {
        int byte = query_next(&at, end);
        if (byte <= 0)
            return err_set(err, ERR_BAD_REQUEST, "parameter '%s': %s", name,
                           byte < 0 ? "a bad escape" : "a NUL byte");
        if (len + 1 >= size)
            return err_set(err, ERR_BAD_REQUEST, "parameter '%s' is longer than %zu bytes", name, size - 1);
        ret_value[len++] = (char)byte;
    }
    ret_value[len] = '\0';
    return 1;
}

int http_query_get(struct http_slice query, const char *name, char *ret_value, size_t size, struct err *err) {
    const char *at = query.data, *end = query.data + query.len;
    while (at < end) {
        const char *pair_end = memchr(at, '&', (size_t)(end - at));
        if (!pair_end)
            pair_end = end;
        const char *equals = memchr(at, '=', (size_t)(pair_end - at));
        const char *name_end = equals ? equals : pair_end;
        if (query_is_name(at, name_end, name)) {
            const char *value = equals ? equals + 1 : pair_end;
            return query_decode((struct http_slice){value, (size_t)(pair_end - value)}, ret_value, size, name,
                                err);
        }
        at = pair_end + (pair_end < end);
    }
    return 0;
}
