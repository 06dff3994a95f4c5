/* The file of keys: what is accepted is written again, and that reads as the same; what is refused says why.
 * Tokens: only what has the form of one is one. */
#include <string.h>

#include "check.h"
#include "keys/key_set.h"

static void fuzz_check_key(const struct key_set *set, const struct key *key) {
    struct err err;
    CHECK(strlen(key->id) == KEY_ID_CHARS && key_set_find(set, key->id) == key);
    CHECK(key->scopes && key->scopes < 16);
    CHECK(!key->rate == !key->burst && key->rate <= KEY_RATE_MAX && key->burst <= KEY_RATE_MAX);
    CHECK(key_name_check(key->name, strlen(key->name), &err) == 0);
    CHECK(!key->functions || key_functions_check(key->functions, strlen(key->functions), &err) == 0);
    CHECK(!key->functions || !key_is_for(key, "", 0));
}

static void fuzz_token(const char *token, size_t len) {
    const char *id;
    if (!key_token_split(token, len, &id))
        return;
    CHECK(len == KEY_TOKEN_CHARS && id == token + 3 && strspn(id, "0123456789abcdef") >= KEY_ID_CHARS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct key_set set = {0}, again = {0};
    struct buf first = {0}, second = {0};
    struct err err = {0};
    char *text = malloc(size + 1); /* terminated, for what reads on while it finds digits */
    CHECK(text);
    memcpy(text, data, size);
    text[size] = '\0';
    fuzz_token(text, size);
    int rc = key_set_parse((const char *)data, size, &set, &err);
    if (rc == 0) {
        for (size_t i = 0; i < set.count; i++)
            fuzz_check_key(&set, &set.keys[i]);
        key_set_format(&set, &first);
        CHECK(key_set_parse((const char *)first.data, first.len, &again, &err) == 0);
        key_set_format(&again, &second);
        CHECK(!first.failed && first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    } else {
        CHECK(rc == -err.code && err.msg[0] && set.count == 0 && !set.keys);
    }
    key_set_fini(&set);
    key_set_fini(&again);
    buf_fini(&first);
    buf_fini(&second);
    free(text);
    return 0;
}
