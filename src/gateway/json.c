#include "gateway/json.h"

#include <string.h>

/* 0: the byte goes out as it is; otherwise it starts a decision (escape, or a UTF-8 sequence). */
static inline bool json_is_plain(uint8_t byte) {
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* The same of eight bytes at once: a byte's top bit is set when it is below 0x20, '"', '\\' or not ASCII; see
 * "Determine if a word has a byte less than n", Bit Twiddling Hacks, S. E. Anderson. */
static inline bool json_are_plain(const uint8_t *at) {
    static const uint64_t ones = 0x0101010101010101ull, tops = 0x8080808080808080ull;
    uint64_t word;
    memcpy(&word, at, 8);
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
    uint64_t below = word - ones * 0x20, quotes = quote - ones, backslashes = backslash - ones;
    return ((below | quotes | backslashes | word) & tops) == 0;
}

/* Bytes of the valid UTF-8 sequence at `at`, or 0. */
static size_t json_utf8_len(const uint8_t *at, size_t left) {
    uint8_t lead = at[0];
    if (lead < 0x80)
        return 1;
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || left < len)
        return 0;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool json_is_utf8(const void *data, size_t len) {
    const uint8_t *at = data, *end = at + len;
    while (at < end) {
        uint64_t word;
        while (end - at >= 8 && (memcpy(&word, at, 8), (word & 0x8080808080808080ull) == 0))
            at += 8;
        if (at == end)
            break;
        size_t used = json_utf8_len(at, (size_t)(end - at));
        if (used == 0)
            return false;
        at += used;
    }
    return true;
}

static void json_escape_byte(struct buf *out, uint8_t byte) {
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 0};
    size_t len = 2;
    switch (byte) {
    case '"':
    case '\\':
        text[1] = (char)byte;
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    case '\b':
        text[1] = 'b';
        break;
    case '\f':
        text[1] = 'f';
        break;
    default:
        memcpy(text + 1, "u00", 3);
        text[4] = hex[byte >> 4];
        text[5] = hex[byte & 15];
        len = 6;
    }
    buf_append(out, text, len);
}

void json_append_string(struct buf *out, const void *data, size_t len) {
    const uint8_t *at = data, *end = at + len;
    buf_reserve(out, len + 2);
    buf_append(out, "\"", 1);
    while (at < end) {
        const uint8_t *run = at;
        while (end - at >= 8 && json_are_plain(at))
            at += 8;
        while (at < end && json_is_plain(*at))
            at++;
        buf_append(out, run, (size_t)(at - run));
        if (at == end)
            break;
        size_t used = json_utf8_len(at, (size_t)(end - at));
        if (used == 0)
            buf_append(out, "\xef\xbf\xbd", 3);
        else if (used == 1)
            json_escape_byte(out, *at);
        else
            buf_append(out, at, used);
        at += used ? used : 1;
    }
    buf_append(out, "\"", 1);
}

void json_append_text(struct buf *out, const char *text) {
    json_append_string(out, text, strlen(text));
}

static void json_append_base64(struct buf *out, const uint8_t *data, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!buf_reserve(out, (len + 2) / 3 * 4))
        return;
    uint8_t *to = out->data + out->len;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)data[i] << 16;
        if (i + 1 < len)
            three |= (uint32_t)data[i + 1] << 8;
        if (i + 2 < len)
            three |= data[i + 2];
        *to++ = (uint8_t)digits[three >> 18];
        *to++ = (uint8_t)digits[three >> 12 & 63];
        *to++ = i + 1 < len ? (uint8_t)digits[three >> 6 & 63] : '=';
        *to++ = i + 2 < len ? (uint8_t)digits[three & 63] : '=';
    }
    out->len = (size_t)(to - out->data);
}

void json_append_bytes(struct buf *out, const char *key, const void *data, size_t len) {
    buf_append(out, "\"", 1);
    buf_append_str(out, key);
    if (json_is_utf8(data, len)) {
        buf_append(out, "\":", 2);
        json_append_string(out, data, len);
        return;
    }
    buf_append(out, "\":\"", 3);
    json_append_base64(out, data, len);
    buf_append_str(out, "\",\"encoding\":\"base64\"");
}

void json_append_error(struct buf *out, int code, const char *error) {
    buf_append_str(out, "{\"ok\":false,\"error\":");
    json_append_text(out, error);
    buf_append_str(out, ",\"cause\":");
    json_append_text(out, err_cause(code));
    buf_append(out, "}", 1);
}
