/* JSON out of bytes of any kind: another reader takes all of it and finds the same bytes again, as text where
 * they are UTF-8, else as base64. */
#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "check.h"
#include "gateway/json.h"

static json_t *fuzz_load(const struct buf *text) {
    json_error_t error;
    json_t *root = json_loadb((const char *)text->data, text->len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    CHECK(!text->failed && root);
    return root;
}

static void fuzz_check_bytes(const uint8_t *data, size_t size) {
    struct buf out = {0};
    buf_append_str(&out, "{");
    json_append_bytes(&out, "output", data, size);
    buf_append_str(&out, "}");
    json_t *root = fuzz_load(&out), *value = json_object_get(root, "output");
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    CHECK(text);
    if (json_object_get(root, "encoding")) {
        uint8_t *decoded = malloc(size + 1);
        size_t decoded_len = 0;
        CHECK(decoded && !json_is_utf8(data, size));
        CHECK(sodium_base642bin(decoded, size + 1, text, len, NULL, &decoded_len, NULL,
                                sodium_base64_VARIANT_ORIGINAL) == 0);
        CHECK(decoded_len == size && memcmp(decoded, data, size) == 0);
        free(decoded);
    } else {
        CHECK(json_is_utf8(data, size) && len == size && memcmp(text, data, size) == 0);
    }
    json_decref(root);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf out = {0};
    json_append_string(&out, data, size);
    json_t *root = fuzz_load(&out); /* also what is not UTF-8 comes out as UTF-8 */
    CHECK(json_is_string(root));
    if (json_is_utf8(data, size))
        CHECK(json_string_length(root) == size && memcmp(json_string_value(root), data, size) == 0);
    json_decref(root);
    buf_fini(&out);
    fuzz_check_bytes(data, size);
    return 0;
}
