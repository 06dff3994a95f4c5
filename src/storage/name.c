#include "storage/name.h"

#include <string.h>

#include "storage/storage.h"

enum { NAME_ID_DIGITS_MIN = 9, NAME_ID_DIGITS_MAX = 18 };

static const struct storage_lang name_langs[] = {
#define NAME_LANG(name, extension, runtime) {name, extension, runtime},
    STORAGE_LANGS(NAME_LANG)
#undef NAME_LANG
        {NULL, NULL, RUNTIME_WASM},
};

const struct storage_lang *storage_lang_all(void) {
    return name_langs;
}

const struct storage_lang *storage_lang_find(const char *name) {
    for (const struct storage_lang *lang = name_langs; lang->name; lang++)
        if (strcmp(lang->name, name) == 0)
            return lang;
    return NULL;
}

static bool name_is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool name_is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || name_is_digit(c);
}

/* How many digits end the text when a '_' is right before them, else 0. */
static size_t name_count_digits(const char *text, size_t len) {
    size_t digits = 0;
    while (digits < len && name_is_digit(text[len - 1 - digits]))
        digits++;
    return digits < len && text[len - 1 - digits] == '_' ? digits : 0;
}

static bool name_is_valid(const char *text, size_t len) {
    if (len == 0 || len > STORAGE_NAME_MAX || !name_is_alnum(text[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!name_is_alnum(text[i]) && text[i] != '_' && text[i] != '-')
            return false;
    return true;
}

int storage_name_check(const char *name, struct err *err) {
    size_t len = strnlen(name, STORAGE_NAME_MAX + 1);
    if (!name_is_valid(name, len))
        return err_set(err, ERR_BAD_REQUEST,
                       "a function's name is 1 to %d of a-z, 0-9, '_' and '-', "
                       "and begins with a letter or a digit",
                       STORAGE_NAME_MAX);
    if (name_count_digits(name, len) >= NAME_ID_DIGITS_MIN)
        return err_set(err, ERR_BAD_REQUEST,
                       "the name '%s' ends like an id ('_' and nine or more digits): choose another", name);
    return 0;
}

bool name_id_split(const char *text, size_t len, size_t *ret_name_len, uint64_t *ret_number) {
    if (len > STORAGE_ID_MAX)
        return false;
    size_t digits = name_count_digits(text, len);
    if (digits < NAME_ID_DIGITS_MIN || digits > NAME_ID_DIGITS_MAX || text[len - digits] == '0')
        return false;
    size_t name_len = len - digits - 1;
    if (!name_is_valid(text, name_len) || name_count_digits(text, name_len) >= NAME_ID_DIGITS_MIN)
        return false;
    uint64_t number = 0;
    for (size_t i = len - digits; i < len; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    *ret_name_len = name_len;
    *ret_number = number;
    return true;
}
