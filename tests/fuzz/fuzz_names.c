/* Names and ids: what is accepted can be a file's name and nothing more, whoever reads it; an id is taken
 * apart in one way only. */
#include <string.h>

#include "check.h"
#include "storage/name.h"
#include "storage/storage.h"
#include "worker/artefact.h"

static void fuzz_check_plain(const char *text, size_t len) {
    CHECK(len > 0 && len <= 255 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {0};
    char *text = malloc(size + 1);
    size_t name_len = 0;
    uint64_t number = 0;
    uint8_t hash[ARTEFACT_HASH_BYTES];
    CHECK(text);
    memcpy(text, data, size);
    text[size] = '\0';
    size_t len = strlen(text);
    bool is_name = storage_name_check(text, &err) == 0;
    if (is_name) {
        fuzz_check_plain(text, len);
        CHECK(len <= STORAGE_NAME_MAX && text[0] != '_' && text[0] != '-');
    }
    bool is_id = name_id_split((const char *)data, size, &name_len, &number);
    if (is_id) {
        char name[STORAGE_NAME_MAX + 1], again[STORAGE_ID_MAX + 1];
        CHECK(len == size && name_len < size && size <= STORAGE_ID_MAX && !is_name);
        fuzz_check_plain(text, len);
        snprintf(name, sizeof name, "%.*s", (int)name_len, text);
        CHECK(number >= NAME_NUMBER_MIN && number <= NAME_NUMBER_MAX);
        snprintf(again, sizeof again, "%s_%llu", name, (unsigned long long)number);
        CHECK(strcmp(again, text) == 0 && artefact_id_check(text, &err) == 0);
    }
    if (artefact_id_check(text, &err) == 0)
        fuzz_check_plain(text, len);
    if (artefact_hash_parse((const char *)data, size, hash, &err) == 0)
        for (size_t i = 0; i < size; i++) {
            static const char digits[] = "0123456789abcdef";
            CHECK(size == 2 * sizeof hash && text[i] == digits[i % 2 ? hash[i / 2] & 15 : hash[i / 2] >> 4]);
        }
    free(text);
    return 0;
}
