/* curl -X POST 'http://127.0.0.1:8080/deploy?name=json&lang=c' --data-binary @examples/c/json_transform.c
 *
 * Reads one JSON document and answers {"sum":S,"result":R}: S is the sum of all its numbers, R the document
 * without white space and with its string values (not the keys) in upper case. Anything that is not JSON
 * (RFC 8259) is refused with the place where it stops being so, and exit code 1. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 200 };

struct parser {
    const char *start, *at, *end; /* the document; a NUL byte stands at its end */
    char *out;                    /* never longer than the document */
    double sum;
    int depth;
};

static int parse_value(struct parser *p);

static void skip_space(struct parser *p) {
    while (p->at < p->end && strchr(" \t\r\n", *p->at) && *p->at)
        p->at++;
}

static int peek(const struct parser *p) {
    return p->at < p->end ? (unsigned char)*p->at : -1;
}

static int parse_char(struct parser *p, char c) {
    if (peek(p) != c)
        return -1;
    *p->out++ = *p->at++;
    return 0;
}

static int is_digit(int c) {
    return c >= '0' && c <= '9';
}

static int parse_escape(struct parser *p) {
    parse_char(p, '\\');
    if (peek(p) == 'u') {
        parse_char(p, 'u');
        for (int i = 0; i < 4; i++) {
            int c = peek(p);
            if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F'))
                return -1;
            parse_char(p, (char)c);
        }
        return 0;
    }
    if (peek(p) <= 0 || !strchr("\"\\/bfnrt", peek(p)))
        return -1;
    return parse_char(p, (char)peek(p));
}

static int parse_string(struct parser *p, int upper) {
    if (parse_char(p, '"'))
        return -1;
    for (;;) {
        int c = peek(p);
        if (c < 0x20)
            return -1; /* the end, or a control character, which must be escaped */
        if (c == '"')
            return parse_char(p, '"');
        if (c == '\\') {
            if (parse_escape(p))
                return -1;
            continue;
        }
        p->at++;
        *p->out++ = (char)(upper && c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
}

static int parse_digits(struct parser *p) {
    if (!is_digit(peek(p)))
        return -1;
    while (is_digit(peek(p)))
        parse_char(p, (char)peek(p));
    return 0;
}

static int parse_number(struct parser *p) {
    const char *number = p->at;

    if (peek(p) == '-')
        parse_char(p, '-');
    if (peek(p) == '0')
        parse_char(p, '0'); /* nothing may follow a leading zero */
    else if (parse_digits(p))
        return -1;
    if (peek(p) == '.' && (parse_char(p, '.') || parse_digits(p)))
        return -1;
    if (peek(p) == 'e' || peek(p) == 'E') {
        parse_char(p, (char)peek(p));
        if (peek(p) == '+' || peek(p) == '-')
            parse_char(p, (char)peek(p));
        if (parse_digits(p))
            return -1;
    }
    p->sum += strtod(number, NULL);
    return 0;
}

static int parse_word(struct parser *p, const char *word) {
    for (; *word; word++)
        if (parse_char(p, *word))
            return -1;
    return 0;
}

/* An object, or an array: the same but for the brackets and the keys. */
static int parse_list(struct parser *p, char open, char close) {
    if (parse_char(p, open))
        return -1;
    skip_space(p);
    if (peek(p) == close)
        return parse_char(p, close);
    for (;;) {
        if (open == '{') {
            skip_space(p);
            if (parse_string(p, 0))
                return -1;
            skip_space(p);
            if (parse_char(p, ':'))
                return -1;
        }
        if (parse_value(p))
            return -1;
        if (peek(p) == close)
            return parse_char(p, close);
        if (parse_char(p, ','))
            return -1;
    }
}

static int parse_value(struct parser *p) {
    int failed;

    if (p->depth >= DEPTH_MAX)
        return -1;
    p->depth++;
    skip_space(p);
    switch (peek(p)) {
    case '{':
        failed = parse_list(p, '{', '}');
        break;
    case '[':
        failed = parse_list(p, '[', ']');
        break;
    case '"':
        failed = parse_string(p, 1);
        break;
    case 't':
        failed = parse_word(p, "true");
        break;
    case 'f':
        failed = parse_word(p, "false");
        break;
    case 'n':
        failed = parse_word(p, "null");
        break;
    default:
        failed = parse_number(p);
    }
    skip_space(p);
    p->depth--;
    return failed;
}

static char *read_all(size_t *ret_len) {
    size_t size = 65536, len = 0;
    char *bytes = malloc(size);

    while (bytes) {
        len += fread(bytes + len, 1, size - len - 1, stdin);
        if (len < size - 1)
            break;
        char *larger = realloc(bytes, size *= 2);
        if (!larger)
            free(bytes);
        bytes = larger;
    }
    if (bytes)
        bytes[ *ret_len = len] = '\0'; /* ends the last number for strtod */
    return bytes;
}

int main(void) {
    size_t len = 0;
    char *document = read_all(&len), *result = document ? malloc(len + 1) : NULL;

    if (!result) {
        fprintf(stderr, "json_transform: out of memory\n");
        return 1;
    }
    struct parser p = {.start = document, .at = document, .end = document + len, .out = result};
    if (parse_value(&p) || p.at != p.end) {
        printf("no JSON from byte %zu on\n", (size_t)(p.at - p.start));
        return 1;
    }
    if (isfinite(p.sum))
        printf("{\"sum\":%.15g,\"result\":", p.sum);
    else
        printf("{\"sum\":null,\"result\":"); /* JSON has no infinity */
    fwrite(result, 1, (size_t)(p.out - result), stdout);
    printf("}\n");
    return 0;
}
