#include "worker/wasm_rewrite.h"

#include <string.h>

enum {
    REWRITE_HEADER_BYTES = 8, /* magic and version */
    REWRITE_LEB_MAX = 5,      /* bytes of a 32 bit number */
};

enum rewrite_section {
    REWRITE_TYPE = 1,
    REWRITE_FUNCTION = 3,
    REWRITE_EXPORT = 7,
    REWRITE_START = 8,
    REWRITE_CODE = 10,
    REWRITE_SECTIONS = 14,
};

/* A part of the module that is being read; `failed` once it was shorter than what it says. */
struct rewrite_span {
    const uint8_t *at, *end;
    bool failed;
};

struct rewrite_module {
    struct rewrite_span sections[REWRITE_SECTIONS]; /* their contents; at is NULL where there is none */
};

static uint8_t rewrite_byte(struct rewrite_span *span) {
    if (span->at == span->end) {
        span->failed = true;
        return 0;
    }
    return *span->at++;
}

/* LEB128, unsigned, of 32 bits. */
static uint32_t rewrite_number(struct rewrite_span *span) {
    uint32_t number = 0;
    for (unsigned shift = 0; shift < 7 * REWRITE_LEB_MAX; shift += 7) {
        uint8_t byte = rewrite_byte(span);
        number |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return number;
    }
    span->failed = true;
    return 0;
}

static struct rewrite_span rewrite_part(struct rewrite_span *span, uint32_t len) {
    struct rewrite_span part = {span->at, span->at, false};
    if (len > (size_t)(span->end - span->at))
        span->failed = true;
    else
        part.end = span->at += len;
    return part;
}

static void rewrite_put_number(struct buf *out, uint32_t number) {
    uint8_t bytes[REWRITE_LEB_MAX];
    size_t count = 0;
    do {
        bytes[count] = (uint8_t)((number & 0x7f) | (number > 0x7f ? 0x80 : 0));
        number >>= 7;
        count++;
    } while (number);
    buf_append(out, bytes, count);
}

static void rewrite_put_section(struct buf *out, uint8_t id, const struct buf *content) {
    buf_append(out, &id, 1);
    rewrite_put_number(out, (uint32_t)content->len);
    buf_append(out, content->data, content->len);
}

/* A section that is a vector, with one element more. */
static void rewrite_put_longer(struct buf *out, uint8_t id, struct rewrite_span old,
                               const struct buf *element) {
    struct buf content = {0};
    rewrite_put_number(&content, rewrite_number(&old) + 1);
    buf_append(&content, old.at, (size_t)(old.end - old.at));
    buf_append(&content, element->data, element->len);
    rewrite_put_section(out, id, &content);
    out->failed |= content.failed;
    buf_fini(&content);
}

static void rewrite_element(const struct rewrite_module *module, uint8_t id, struct buf *ret_element) {
    static const uint8_t type[] = {0x60, 0, 0};       /* a function: no parameters, no results */
    static const uint8_t body[] = {3, 0, 0x00, 0x0b}; /* 3 bytes: no locals, unreachable, end */
    static const char name[] = WASM_REWRITE_INITIALIZE;
    struct rewrite_span types = module->sections[REWRITE_TYPE], start = module->sections[REWRITE_START];
    uint8_t number = sizeof name - 1, kind = 0; /* a function */
    switch (id) {
    case REWRITE_TYPE:
        buf_append(ret_element, type, sizeof type);
        break;
    case REWRITE_FUNCTION:
        rewrite_put_number(ret_element, rewrite_number(&types)); /* the type that was added */
        break;
    case REWRITE_CODE:
        buf_append(ret_element, body, sizeof body);
        break;
    default: /* REWRITE_EXPORT */
        buf_append(ret_element, &number, 1);
        buf_append(ret_element, name, sizeof name - 1);
        buf_append(ret_element, &kind, 1);
        rewrite_put_number(ret_element, rewrite_number(&start));
    }
}

static bool rewrite_grows(const struct rewrite_module *module, uint8_t id) {
    return id == REWRITE_TYPE || id == REWRITE_FUNCTION || id == REWRITE_CODE ||
           (id == REWRITE_EXPORT && module->sections[REWRITE_START].at);
}

static void rewrite_put(const struct rewrite_module *module, struct rewrite_span rest, struct buf *out) {
    while (rest.at != rest.end) {
        const uint8_t *from = rest.at;
        uint8_t id = rewrite_byte(&rest);
        struct rewrite_span content = rewrite_part(&rest, rewrite_number(&rest));
        if (rewrite_grows(module, id)) {
            struct buf element = {0};
            rewrite_element(module, id, &element);
            rewrite_put_longer(out, id, content, &element);
            out->failed |= element.failed;
            buf_fini(&element);
        } else if (id != REWRITE_START) {
            buf_append(out, from, (size_t)(rest.at - from));
        }
    }
}

int wasm_rewrite(const uint8_t *wasm, size_t len, struct buf *ret_wasm, struct err *err) {
    if (len < REWRITE_HEADER_BYTES)
        return err_set(err, ERR_COMPILE, "the module is cut short");
    struct rewrite_module module = {0};
    const struct rewrite_span all = {wasm + REWRITE_HEADER_BYTES, wasm + len, false};
    struct rewrite_span rest = all;
    while (rest.at != rest.end && !rest.failed) {
        uint8_t id = rewrite_byte(&rest);
        struct rewrite_span content = rewrite_part(&rest, rewrite_number(&rest));
        if (id < REWRITE_SECTIONS)
            module.sections[id] = content;
    }
    if (rest.failed)
        return err_set(err, ERR_COMPILE, "the module is cut short");
    buf_append(ret_wasm, wasm, REWRITE_HEADER_BYTES);
    if (module.sections[REWRITE_TYPE].at && module.sections[REWRITE_FUNCTION].at &&
        module.sections[REWRITE_CODE].at && module.sections[REWRITE_EXPORT].at)
        rewrite_put(&module, all, ret_wasm);
    else
        buf_append(ret_wasm, all.at, (size_t)(all.end - all.at));
    return ret_wasm->failed ? err_set(err, ERR_INTERNAL, "no memory for the module") : 0;
}
