#include "keys/key_set.h"

#include <sodium.h>
#include <stdlib.h>

#define KEY_SET_HEADER "minifaas-keys 1\n"

static const struct key_scope_row {
    uint32_t bit;
    const char *text;
} key_scope_rows[] = {
#define KEY_SCOPE_ROW(name, bit, text, doc) {(bit), (text)},
    KEY_SCOPES(KEY_SCOPE_ROW)
#undef KEY_SCOPE_ROW
};
enum { KEY_SCOPE_ROWS = sizeof key_scope_rows / sizeof *key_scope_rows };

/* Bytes not taken yet. */
struct key_text {
    const char *at, *end;
};

static struct key_text key_text_until(struct key_text *text, char stop) {
    const char *found = text->at < text->end ? memchr(text->at, stop, (size_t)(text->end - text->at)) : NULL;
    struct key_text part = {text->at, found ? found : text->end};
    text->at = found ? found + 1 : text->end;
    return part;
}

static bool key_text_is(struct key_text part, const char *text) {
    size_t len = (size_t)(part.end - part.at);
    return len == strlen(text) && memcmp(part.at, text, len) == 0;
}

void key_set_fini(struct key_set *set) {
    for (size_t i = 0; i < set->count; i++)
        free(set->keys[i].functions);
    free(set->keys);
    *set = (struct key_set){0};
}

/* --- parts of a key ---------------------------------------------------------------------------------------
 */

int key_scopes_parse(const char *text, size_t len, uint32_t *ret_scopes, struct err *err) {
    struct key_text left = {text, text + len};
    uint32_t scopes = 0;
    do {
        struct key_text part = key_text_until(&left, ',');
        uint32_t bit = 0;
        for (size_t i = 0; i < KEY_SCOPE_ROWS; i++)
            if (key_text_is(part, key_scope_rows[i].text))
                bit = key_scope_rows[i].bit;
        if (!bit)
            return err_set(err, ERR_BAD_REQUEST, "'%.*s' is no scope; they are deploy, invoke, read, admin",
                           (int)(part.end - part.at < 32 ? part.end - part.at : 32), part.at);
        scopes |= bit;
    } while (left.at < left.end);
    *ret_scopes = scopes;
    return 0;
}

void key_scopes_append(uint32_t scopes, struct buf *out) {
    const char *comma = "";
    for (size_t i = 0; i < KEY_SCOPE_ROWS; i++) {
        if (!(scopes & key_scope_rows[i].bit))
            continue;
        buf_append_str(out, comma);
        buf_append_str(out, key_scope_rows[i].text);
        comma = ",";
    }
}

static bool key_is_lower(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

/* As storage_name_check has it, but for names that end like an id: those are nobody's. */
static bool key_is_function(struct key_text part) {
    size_t len = (size_t)(part.end - part.at);
    if (len == 0 || len > 63 || !key_is_lower(*part.at))
        return false;
    for (const char *at = part.at; at < part.end; at++)
        if (!key_is_lower(*at) && *at != '_' && *at != '-')
            return false;
    return true;
}

int key_functions_check(const char *text, size_t len, struct err *err) {
    struct key_text left = {text, text + len};
    if (len > KEY_FUNCTIONS_MAX)
        return err_set(err, ERR_BAD_REQUEST, "the list of functions is longer than %d bytes",
                       KEY_FUNCTIONS_MAX);
    if (len && text[len - 1] == ',')
        return err_set(err, ERR_BAD_REQUEST, "the list of functions ends with a comma");
    while (left.at < left.end) {
        struct key_text part = key_text_until(&left, ',');
        if (!key_is_function(part))
            return err_set(err, ERR_BAD_REQUEST, "'%.*s' is no name of a function",
                           (int)(part.end - part.at < 64 ? part.end - part.at : 64), part.at);
    }
    return 0;
}

int key_name_check(const char *text, size_t len, struct err *err) {
    if (len > KEY_NAME_MAX)
        return err_set(err, ERR_BAD_REQUEST, "the name is longer than %d bytes", KEY_NAME_MAX);
    for (size_t i = 0; i < len; i++) {
        char byte = text[i];
        if (!key_is_lower((char)(byte | (byte >= 'A' && byte <= 'Z' ? 0x20 : 0))) && byte != '.' &&
            byte != '_' && byte != '-')
            return err_set(err, ERR_BAD_REQUEST, "a name is made of letters, digits, '.', '_' and '-'");
    }
    return 0;
}

bool key_is_for(const struct key *key, const char *name, size_t len) {
    if (!key->functions)
        return true;
    struct key_text left = {key->functions, key->functions + strlen(key->functions)};
    while (left.at < left.end) {
        struct key_text part = key_text_until(&left, ',');
        if ((size_t)(part.end - part.at) == len && memcmp(part.at, name, len) == 0)
            return true;
    }
    return false;
}

static int key_hex(char digit) {
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool key_token_split(const char *token, size_t len, const char **ret_id) {
    if (len != KEY_TOKEN_CHARS || memcmp(token, "mf_", 3) != 0 || token[3 + KEY_ID_CHARS] != '_')
        return false;
    for (int i = 0; i < KEY_ID_CHARS; i++)
        if (key_hex(token[3 + i]) < 0)
            return false;
    *ret_id = token + 3;
    return true;
}

void key_token_hash(const char *token, size_t len, uint8_t ret_hash[KEY_HASH_BYTES]) {
    crypto_generichash(ret_hash, KEY_HASH_BYTES, (const unsigned char *)token, len, NULL, 0);
}

/* --- a set ------------------------------------------------------------------------------------------------
 */

/* Where the id is, or would be. */
static size_t key_set_place(const struct key_set *set, const char *id, bool *ret_found) {
    size_t low = 0, high = set->count;
    *ret_found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = memcmp(set->keys[middle].id, id, KEY_ID_CHARS);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct key *key_set_find(const struct key_set *set, const char id[KEY_ID_CHARS]) {
    bool found;
    size_t at = key_set_place(set, id, &found);
    return found ? &set->keys[at] : NULL;
}

int key_set_add(struct key_set *set, const struct key *key, struct err *err) {
    bool found;
    size_t at = key_set_place(set, key->id, &found);
    if (found)
        return err_set(err, ERR_CONFLICT, "there is a key '%s' already", key->id);
    if (set->count == KEY_SET_MAX)
        return err_set(err, ERR_LIMITED, "there are %d keys already; revoke some", KEY_SET_MAX);
    if ((set->count & (set->count - 1)) == 0) { /* full at the powers of two */
        struct key *grown = reallocarray(set->keys, set->count ? set->count * 2 : 1, sizeof *grown);
        if (!grown)
            return err_set(err, ERR_INTERNAL, "out of memory for keys");
        set->keys = grown;
    }
    memmove(&set->keys[at + 1], &set->keys[at], (set->count - at) * sizeof *set->keys);
    set->keys[at] = *key;
    set->count++;
    return 0;
}

void key_set_remove(struct key_set *set, struct key *key) {
    size_t at = (size_t)(key - set->keys);
    free(key->functions);
    set->count--;
    memmove(key, key + 1, (set->count - at) * sizeof *key);
}

/* --- the file ---------------------------------------------------------------------------------------------
 */

static int key_parse_number(struct key_text value, uint64_t max, uint64_t *ret_number) {
    uint64_t number = 0;
    if (value.at == value.end || value.end - value.at > 18)
        return -1;
    for (const char *at = value.at; at < value.end; at++) {
        if (*at < '0' || *at > '9')
            return -1;
        number = number * 10 + (uint64_t)(*at - '0');
    }
    if (number > max)
        return -1;
    *ret_number = number;
    return 0;
}

static int key_parse_hash(struct key_text value, uint8_t hash[KEY_HASH_BYTES]) {
    if (value.end - value.at != 2 * KEY_HASH_BYTES)
        return -1;
    for (int i = 0; i < KEY_HASH_BYTES; i++) {
        int high = key_hex(value.at[2 * i]), low = key_hex(value.at[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static int key_parse_id(struct key_text value, char id[KEY_ID_CHARS + 1]) {
    if (value.end - value.at != KEY_ID_CHARS)
        return -1;
    for (int i = 0; i < KEY_ID_CHARS; i++)
        if (key_hex(value.at[i]) < 0)
            return -1;
    memcpy(id, value.at, KEY_ID_CHARS);
    return 0;
}

enum key_field {
    KEY_ID,
    KEY_HASH,
    KEY_SCOPE_LIST,
    KEY_CREATED,
    KEY_RATE,
    KEY_BURST,
    KEY_NAME,
    KEY_FUNCTIONS
};
static const char *const key_field_names[] = {"id",   "hash",  "scopes", "created",
                                              "rate", "burst", "name",   "functions"};
enum { KEY_FIELDS = sizeof key_field_names / sizeof *key_field_names };

/* Not 0: the value makes no sense. */
static int key_parse_value(struct key *key, enum key_field field, struct key_text value) {
    struct err ignored;
    uint64_t number = 0;
    size_t len = (size_t)(value.end - value.at);
    int rc = 0;
    switch (field) {
    case KEY_ID:
        return key_parse_id(value, key->id);
    case KEY_HASH:
        return key_parse_hash(value, key->hash);
    case KEY_SCOPE_LIST:
        return key_scopes_parse(value.at, len, &key->scopes, &ignored);
    case KEY_CREATED:
        return key_parse_number(value, UINT64_MAX, &key->created_s);
    case KEY_RATE:
        rc = key_parse_number(value, KEY_RATE_MAX, &number);
        key->rate = (uint32_t)number;
        return rc ? rc : number == 0;
    case KEY_BURST:
        rc = key_parse_number(value, KEY_RATE_MAX, &number);
        key->burst = (uint32_t)number;
        return rc ? rc : number == 0;
    case KEY_NAME:
        rc = key_name_check(value.at, len, &ignored);
        if (rc == 0)
            memcpy(key->name, value.at, len);
        return rc;
    case KEY_FUNCTIONS:
        if (len == 0 || key_functions_check(value.at, len, &ignored) != 0)
            return -1;
        key->functions = strndup(value.at, len);
        return key->functions ? 0 : -1;
    }
    return -1;
}

/* Every field once, and none that nobody knows. */
static int key_parse_line(struct key_text line, struct key *ret_key) {
    uint32_t seen = 0;
    while (line.at < line.end) {
        struct key_text value = key_text_until(&line, ' ');
        struct key_text name = key_text_until(&value, '=');
        if (name.end == value.end)
            return -1;
        int field = 0;
        while (field < KEY_FIELDS && !key_text_is(name, key_field_names[field]))
            field++;
        if (field == KEY_FIELDS || (seen & (1u << field)) ||
            key_parse_value(ret_key, (enum key_field)field, value))
            return -1;
        seen |= 1u << field;
    }
    uint32_t needed = 1u << KEY_ID | 1u << KEY_HASH | 1u << KEY_SCOPE_LIST | 1u << KEY_CREATED;
    return (seen & needed) == needed && !(seen & 1u << KEY_RATE) == !(seen & 1u << KEY_BURST) ? 0 : -1;
}

int key_set_parse(const char *text, size_t len, struct key_set *ret_set, struct err *err) {
    static const size_t header_len = sizeof KEY_SET_HEADER - 1;
    struct key_set set = {0};
    if (len < header_len || memcmp(text, KEY_SET_HEADER, header_len) != 0)
        return err_set(err, ERR_BAD_REQUEST, "no file of keys, or of another version");
    if (text[len - 1] != '\n')
        return err_set(err, ERR_BAD_REQUEST, "the file ends in the middle of a line");
    struct key_text left = {text + header_len, text + len};
    for (int number = 2; left.at < left.end; number++) {
        struct key key = {0};
        int rc = 0;
        if (key_parse_line(key_text_until(&left, '\n'), &key) != 0)
            rc = err_set(err, ERR_BAD_REQUEST, "line %d is damaged", number);
        if (rc == 0)
            rc = key_set_add(&set, &key, err);
        if (rc != 0) {
            free(key.functions);
            key_set_fini(&set);
            return rc;
        }
    }
    *ret_set = set;
    return 0;
}

static void key_format(const struct key *key, struct buf *out) {
    char hash[2 * KEY_HASH_BYTES + 1];
    sodium_bin2hex(hash, sizeof hash, key->hash, KEY_HASH_BYTES);
    buf_append_format(out, "id=%s hash=%s scopes=", key->id, hash);
    key_scopes_append(key->scopes, out);
    buf_append_format(out, " created=%llu", (unsigned long long)key->created_s);
    if (key->rate)
        buf_append_format(out, " rate=%u burst=%u", key->rate, key->burst);
    if (*key->name)
        buf_append_format(out, " name=%s", key->name);
    if (key->functions) {
        buf_append_str(out, " functions=");
        buf_append_str(out, key->functions);
    }
    buf_append_str(out, "\n");
}

void key_set_format(const struct key_set *set, struct buf *out) {
    buf_append_str(out, KEY_SET_HEADER);
    for (size_t i = 0; i < set->count; i++)
        key_format(&set->keys[i], out);
}
