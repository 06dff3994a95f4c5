#include "builder/utf8.h"

/* Length of the valid sequence at the front of data, or 0. */
static size_t utf8_sequence(const uint8_t *data, size_t len) {
    uint8_t lead = data[0], low = 0x80, high = 0xbf;
    size_t need;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf) {
        need = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        need = 3;
        low = lead == 0xe0 ? 0xa0 : 0x80;  /* overlong */
        high = lead == 0xed ? 0x9f : 0xbf; /* surrogates */
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        need = 4;
        low = lead == 0xf0 ? 0x90 : 0x80;
        high = lead == 0xf4 ? 0x8f : 0xbf; /* above U+10FFFF */
    } else {
        return 0;
    }
    if (len < need || data[1] < low || data[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if (data[i] < 0x80 || data[i] > 0xbf)
            return 0;
    return need;
}

void utf8_append(struct buf *ret_text, const void *data, size_t len) {
    const uint8_t *bytes = data;
    size_t plain = 0; /* start of the valid run that was not yet appended */
    for (size_t i = 0; i < len;) {
        size_t step = utf8_sequence(bytes + i, len - i);
        if (step) {
            i += step;
            continue;
        }
        buf_append(ret_text, bytes + plain, i - plain);
        buf_append_str(ret_text, "\xef\xbf\xbd");
        plain = ++i;
    }
    buf_append(ret_text, bytes + plain, len - plain);
}
