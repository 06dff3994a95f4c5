#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "storage/storage.h"

void storage_hash(const void *data, size_t len, const char *engine, uint8_t ret_hash[STORAGE_HASH_BYTES]) {
    /* Picks the fast implementation for this processor; harmless when called again, from any thread. */
    if (sodium_init() < 0)
        abort();
    uint8_t key[crypto_generichash_KEYBYTES_MAX] = {0};
    size_t key_len = strnlen(engine, sizeof key);
    memcpy(key, engine, key_len);
    if (key_len < crypto_generichash_KEYBYTES_MIN)
        key_len = crypto_generichash_KEYBYTES_MIN;
    if (crypto_generichash(ret_hash, STORAGE_HASH_BYTES, data, len, key, key_len) != 0)
        abort();
}
