/* metadata.json: whatever is accepted is encoded again, and that decodes to the same. There are two readers,
 * one for the form that is written and one for all of JSON: a blank in front is for the second only, and both
 * say the same. */
#include <stdlib.h>
#include <string.h>

#include "storage/storage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(bool holds) {
    if (!holds)
        abort();
}

static void fuzz_both_readers(const uint8_t *data, size_t size) {
    char text[8192];
    struct storage_meta one = {0}, other = {0};
    struct err err;
    if (size >= sizeof text)
        return;
    text[0] = ' ';
    memcpy(text + 1, data, size);
    int rc = storage_meta_decode(size ? text + 1 : "", size, &one, &err);
    fuzz_check(storage_meta_decode(text, size + 1, &other, &err) == rc);
    if (rc != 0)
        return;
    struct buf first = {0}, second = {0};
    fuzz_check(storage_meta_encode(&one, &first, &err) == 0 &&
               storage_meta_encode(&other, &second, &err) == 0);
    fuzz_check(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_both_readers(data, size);
    struct storage_meta meta, again;
    struct err err = {0};
    int rc = storage_meta_decode((const char *)data, size, &meta, &err);
    if (rc != 0) {
        fuzz_check(rc == -ERR_BAD_REQUEST && err.code == ERR_BAD_REQUEST);
        fuzz_check(memchr(err.msg, 0, sizeof err.msg) != NULL);
        return 0;
    }
    fuzz_check(storage_name_check(meta.name, &err) == 0 && storage_lang_find(meta.lang));
    struct buf json = {0}, second = {0};
    fuzz_check(storage_meta_encode(&meta, &json, &err) == 0);
    fuzz_check(storage_meta_decode((const char *)json.data, json.len, &again, &err) == 0);
    /* The text holds every field: the same text is the same metadata (padding apart). */
    fuzz_check(storage_meta_encode(&again, &second, &err) == 0);
    fuzz_check(json.len == second.len && memcmp(json.data, second.data, json.len) == 0);
    buf_fini(&json);
    buf_fini(&second);
    return 0;
}
