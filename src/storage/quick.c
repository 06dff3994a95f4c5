#include "storage/quick.h"

#include <string.h>

/* The fields come in order; the first that does not fit ends the reading. */
struct quick_reader {
    const char *at, *end;
    bool failed;
};

static void quick_expect(struct quick_reader *reader, const char *text) {
    size_t len = strlen(text);
    if (reader->failed || (size_t)(reader->end - reader->at) < len || memcmp(reader->at, text, len) != 0)
        reader->failed = true;
    else
        reader->at += len;
}

static bool quick_accept(struct quick_reader *reader, const char *text) {
    struct quick_reader ahead = *reader;
    quick_expect(&ahead, text);
    if (ahead.failed)
        return false;
    *reader = ahead;
    return true;
}

/* Up to the closing quote: printable ASCII without an escape. */
static void quick_text(struct quick_reader *reader, char *ret_text, size_t size) {
    size_t len = 0, left = (size_t)(reader->end - reader->at);
    while (!reader->failed && len < left && len < size && reader->at[len] >= ' ' && reader->at[len] <= '~' &&
           reader->at[len] != '"' && reader->at[len] != '\\')
        len++;
    if (reader->failed || len == left || len == size || reader->at[len] != '"') {
        reader->failed = true;
        return;
    }
    memcpy(ret_text, reader->at, len);
    ret_text[len] = 0;
    reader->at += len + 1;
}

/* A whole number of at most 15 digits. */
static uint64_t quick_number(struct quick_reader *reader, uint64_t max) {
    uint64_t number = 0;
    size_t len = 0, left = (size_t)(reader->end - reader->at);
    while (len < left && len < 15 && reader->at[len] >= '0' && reader->at[len] <= '9')
        number = number * 10 + (uint64_t)(reader->at[len++] - '0');
    if (len == 0 || (len > 1 && *reader->at == '0') || number > max)
        reader->failed = true;
    else
        reader->at += len;
    return reader->failed ? 0 : number;
}

static bool quick_flag(struct quick_reader *reader) {
    if (quick_accept(reader, "true"))
        return true;
    quick_expect(reader, "false");
    return false;
}

static int quick_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void quick_hash(struct quick_reader *reader, uint8_t ret_hash[STORAGE_HASH_BYTES]) {
    char hex[2 * STORAGE_HASH_BYTES + 1] = "";
    quick_text(reader, hex, sizeof hex);
    for (size_t i = 0; i < STORAGE_HASH_BYTES && !reader->failed; i++) {
        int high = quick_digit(hex[2 * i]), low = high < 0 ? -1 : quick_digit(hex[2 * i + 1]);
        if (low < 0)
            reader->failed = true;
        else
            ret_hash[i] = (uint8_t)(high << 4 | low);
    }
}

static void quick_limits(struct quick_reader *reader, struct limits *ret_limits) {
    const char *before = "{";
#define QUICK_LIMIT(field, fallback, min, max, unit, doc)                                                    \
    quick_expect(reader, before);                                                                            \
    quick_expect(reader, "\"" #field "\":");                                                                 \
    ret_limits->field = (uint32_t)quick_number(reader, (max));                                               \
    before = ",";
    LIMITS_TABLE(QUICK_LIMIT)
#undef QUICK_LIMIT
    quick_expect(reader, "}");
}

bool quick_decode(const char *json, size_t len, struct storage_meta *ret_meta) {
    struct quick_reader own = {.at = json, .end = json + len}, *reader = &own;
    struct storage_meta *meta = ret_meta;
    quick_expect(reader, "{\"format\":");
    if (quick_number(reader, STORAGE_FORMAT) != STORAGE_FORMAT)
        return false;
    quick_expect(reader, ",\"id\":\"");
    quick_text(reader, meta->id, sizeof meta->id);
    quick_expect(reader, ",\"name\":\"");
    quick_text(reader, meta->name, sizeof meta->name);
    quick_expect(reader, ",\"lang\":\"");
    quick_text(reader, meta->lang, sizeof meta->lang);
    quick_expect(reader, ",\"entry\":\"");
    quick_text(reader, meta->entry, sizeof meta->entry);
    quick_expect(reader, ",\"module\":");
    meta->module = quick_flag(reader);
    quick_expect(reader, ",\"cgi\":");
    meta->cgi = quick_flag(reader);
    quick_expect(reader, ",\"version\":");
    meta->version = (uint32_t)quick_number(reader, UINT32_MAX);
    quick_expect(reader, ",\"size\":");
    meta->size = quick_number(reader, UINT64_MAX);
    quick_expect(reader, ",\"created_s\":");
    meta->created_s = quick_number(reader, UINT64_MAX);
    quick_expect(reader, ",\"limits\":");
    quick_limits(reader, &meta->limits);
    quick_expect(reader, ",\"wasm\":");
    meta->wasm = quick_flag(reader);
    meta->isolated = !reader->failed && quick_accept(reader, ",\"isolated\":true");
    if (!reader->failed && quick_accept(reader, ",\"allow\":\""))
        quick_text(reader, meta->allow, sizeof meta->allow);
    if (meta->wasm && !reader->failed) {
        quick_expect(reader, ",\"engine\":\"");
        quick_text(reader, meta->engine, sizeof meta->engine);
        quick_expect(reader, ",\"native_hash\":\"");
        quick_hash(reader, meta->native_hash);
    }
    quick_expect(reader, "}\n");
    return !reader->failed && reader->at == reader->end;
}
