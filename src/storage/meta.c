#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "storage/name.h"
#include "storage/quick.h"
#include "storage/storage.h"

enum {
    META_JSON_MAX_BYTES = 64 * 1024,
    META_HEX_CHARS = 2 * STORAGE_HASH_BYTES,
};

#define META_SIZE_MAX (1ll << 30)         /* of a source: the largest request body there can be */
#define META_CREATED_S_MAX 253402300799ll /* the year 9999 */

static const char *const meta_entries[] = {"wasi", "fetch", "handler", "wsgi", "asgi", "script"};

static bool meta_entry_is_known(const char *entry) {
    for (size_t i = 0; i < sizeof meta_entries / sizeof meta_entries[0]; i++)
        if (strcmp(entry, meta_entries[i]) == 0)
            return true;
    return false;
}

static bool meta_text_is_plain(const char *text) {
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

/* An array that is not terminated is a text too long for its field. */
#define META_IS_TERMINATED(field) (memchr((field), 0, sizeof(field)) != NULL)

static int meta_refuse(struct err *err, const char *field) {
    return err_set(err, ERR_BAD_REQUEST, "metadata: '%s' is outside of its range", field);
}

/* What must hold between and within the fields, on the way out and on the way in. */
static int meta_check(const struct storage_meta *meta, struct err *err) {
    if (!META_IS_TERMINATED(meta->name) || storage_name_check(meta->name, err) != 0)
        return meta_refuse(err, "name");
    size_t name_len;
    uint64_t number;
    if (!META_IS_TERMINATED(meta->id) || !name_id_split(meta->id, strlen(meta->id), &name_len, &number) ||
        name_len != strlen(meta->name) || memcmp(meta->id, meta->name, name_len) != 0)
        return err_set(err, ERR_BAD_REQUEST, "metadata: 'id' is no id of the name");
    if (!META_IS_TERMINATED(meta->lang) || !storage_lang_find(meta->lang))
        return meta_refuse(err, "lang");
    if (!META_IS_TERMINATED(meta->entry) || !meta_entry_is_known(meta->entry))
        return meta_refuse(err, "entry");
    if (meta->version == 0)
        return meta_refuse(err, "version");
    if (meta->size > (uint64_t)META_SIZE_MAX)
        return meta_refuse(err, "size");
    if (meta->created_s > (uint64_t)META_CREATED_S_MAX)
        return meta_refuse(err, "created_s");
    if (meta->wasm &&
        (!META_IS_TERMINATED(meta->engine) || !*meta->engine || !meta_text_is_plain(meta->engine)))
        return meta_refuse(err, "engine");
#define META_LIMIT_CHECK(field, fallback, min, max, unit, doc)                                               \
    if ((int64_t)meta->limits.field < (min) || (int64_t)meta->limits.field > (max))                          \
        return meta_refuse(err, "limits." #field);
    LIMITS_TABLE(META_LIMIT_CHECK)
#undef META_LIMIT_CHECK
    struct allow allow;
    if (!META_IS_TERMINATED(meta->allow) || (meta->wasm && meta->allow[0]) ||
        allow_parse(meta->allow, &allow, err) != 0)
        return meta_refuse(err, "allow");
    return 0;
}

static void meta_hash_to_hex(const uint8_t hash[STORAGE_HASH_BYTES], char ret_hex[META_HEX_CHARS + 1]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < STORAGE_HASH_BYTES; i++) {
        ret_hex[2 * i] = digits[hash[i] >> 4];
        ret_hex[2 * i + 1] = digits[hash[i] & 15];
    }
    ret_hex[META_HEX_CHARS] = 0;
}

static int meta_hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool meta_hash_from_hex(const char *hex, uint8_t ret_hash[STORAGE_HASH_BYTES]) {
    if (strlen(hex) != META_HEX_CHARS)
        return false;
    for (size_t i = 0; i < STORAGE_HASH_BYTES; i++) {
        int high = meta_hex_digit(hex[2 * i]), low = meta_hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static json_t *meta_to_json(const struct storage_meta *meta) {
    json_t *limits = json_object();
#define META_LIMIT_PUT(field, fallback, min, max, unit, doc)                                                 \
    if (json_object_set_new(limits, #field, json_integer((json_int_t)meta->limits.field)) != 0) {            \
        json_decref(limits);                                                                                 \
        return NULL;                                                                                         \
    }
    LIMITS_TABLE(META_LIMIT_PUT)
#undef META_LIMIT_PUT
    json_t *root = json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:o, s:b}", "format", (int)STORAGE_FORMAT, "id",
        meta->id, "name", meta->name, "lang", meta->lang, "entry", meta->entry, "module", (int)meta->module,
        "cgi", (int)meta->cgi, "version", (json_int_t)meta->version, "size", (json_int_t)meta->size,
        "created_s", (json_int_t)meta->created_s, "limits", limits, "wasm", (int)meta->wasm);
    /* Only where it is set: metadata of before there was such a thing reads the same. */
    if (root && meta->isolated && json_object_set_new(root, "isolated", json_true()) != 0) {
        json_decref(root);
        return NULL;
    }
    if (root && meta->allow[0] && json_object_set_new(root, "allow", json_string(meta->allow)) != 0) {
        json_decref(root);
        return NULL;
    }
    if (!root || !meta->wasm)
        return root;
    char hex[META_HEX_CHARS + 1];
    meta_hash_to_hex(meta->native_hash, hex);
    if (json_object_set_new(root, "engine", json_string(meta->engine)) != 0 ||
        json_object_set_new(root, "native_hash", json_string(hex)) != 0) {
        json_decref(root);
        return NULL;
    }
    return root;
}

int storage_meta_encode(const struct storage_meta *meta, struct buf *ret_json, struct err *err) {
    int rc = meta_check(meta, err);
    if (rc != 0)
        return rc;
    json_t *root = meta_to_json(meta);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    struct buf json = {0};
    if (text) {
        buf_append_str(&json, text);
        buf_append_str(&json, "\n");
    }
    bool failed = !text || json.failed;
    free(text);
    if (failed) {
        buf_fini(&json);
        return err_set(err, ERR_INTERNAL, "out of memory for the metadata of '%s'", meta->id);
    }
    buf_fini(ret_json);
    *ret_json = json;
    return 0;
}

/* Reads fields of one object; the first that is wrong fills err, and the rest are passed over. */
struct meta_reader {
    const json_t *object;
    struct err *err;
    int rc;
};

static const json_t *meta_take(struct meta_reader *reader, const char *field,
                               bool right_type(const json_t *)) {
    if (reader->rc != 0)
        return NULL;
    const json_t *value = json_object_get(reader->object, field);
    if (!value)
        reader->rc = err_set(reader->err, ERR_BAD_REQUEST, "metadata: '%s' is missing", field);
    else if (!right_type(value))
        reader->rc = err_set(reader->err, ERR_BAD_REQUEST, "metadata: '%s' is of the wrong type", field);
    return reader->rc == 0 ? value : NULL;
}

static bool meta_is_text(const json_t *value) {
    return json_is_string(value);
}

static bool meta_is_integer(const json_t *value) {
    return json_is_integer(value);
}

static bool meta_is_flag(const json_t *value) {
    return json_is_boolean(value);
}

static void meta_take_text(struct meta_reader *reader, const char *field, char *ret_text, size_t size) {
    const json_t *value = meta_take(reader, field, meta_is_text);
    if (!value)
        return;
    if (json_string_length(value) >= size) {
        reader->rc = meta_refuse(reader->err, field);
        return;
    }
    memcpy(ret_text, json_string_value(value), json_string_length(value) + 1);
}

/* 0 to max; `fallback` < 0: the field must be there. */
static uint64_t meta_take_number(struct meta_reader *reader, const char *field, int64_t max,
                                 int64_t fallback) {
    if (fallback >= 0 && !json_object_get(reader->object, field))
        return (uint64_t)fallback;
    const json_t *value = meta_take(reader, field, meta_is_integer);
    if (!value)
        return 0;
    json_int_t number = json_integer_value(value);
    if (number < 0 || number > max) {
        reader->rc = meta_refuse(reader->err, field);
        return 0;
    }
    return (uint64_t)number;
}

static bool meta_take_flag(struct meta_reader *reader, const char *field) {
    const json_t *value = meta_take(reader, field, meta_is_flag);
    return value && json_is_true(value);
}

/* A limit that is missing has its default: it came into the table after this version was deployed. */
static void meta_take_limits(struct meta_reader *reader, struct limits *ret_limits) {
    if (reader->rc != 0)
        return;
    struct meta_reader limits = *reader;
    limits.object = json_object_get(reader->object, "limits");
    if (!json_is_object(limits.object)) {
        reader->rc = err_set(reader->err, ERR_BAD_REQUEST, "metadata: 'limits' is missing or no object");
        return;
    }
#define META_LIMIT_TAKE(field, fallback, min, max, unit, doc)                                                \
    ret_limits->field = (uint32_t)meta_take_number(&limits, #field, (max), (fallback));
    LIMITS_TABLE(META_LIMIT_TAKE)
#undef META_LIMIT_TAKE
    reader->rc = limits.rc;
}

static int meta_from_json(const json_t *root, struct storage_meta *meta, struct err *err) {
    if (!json_is_object(root))
        return err_set(err, ERR_BAD_REQUEST, "metadata: no JSON object");
    struct meta_reader reader = {.object = root, .err = err};
    uint64_t format = meta_take_number(&reader, "format", INT64_MAX, -1);
    if (reader.rc == 0 && format != STORAGE_FORMAT)
        return err_set(err, ERR_BAD_REQUEST, "metadata: format %" PRIu64 "; this version reads format %d",
                       format, STORAGE_FORMAT);
    meta_take_text(&reader, "id", meta->id, sizeof meta->id);
    meta_take_text(&reader, "name", meta->name, sizeof meta->name);
    meta_take_text(&reader, "lang", meta->lang, sizeof meta->lang);
    meta_take_text(&reader, "entry", meta->entry, sizeof meta->entry);
    meta->module = meta_take_flag(&reader, "module");
    meta->cgi = meta_take_flag(&reader, "cgi");
    if (json_object_get(root, "isolated"))
        meta->isolated = meta_take_flag(&reader, "isolated");
    if (json_object_get(root, "allow"))
        meta_take_text(&reader, "allow", meta->allow, sizeof meta->allow);
    meta->version = (uint32_t)meta_take_number(&reader, "version", UINT32_MAX, -1);
    meta->size = meta_take_number(&reader, "size", META_SIZE_MAX, -1);
    meta->created_s = meta_take_number(&reader, "created_s", META_CREATED_S_MAX, -1);
    meta_take_limits(&reader, &meta->limits);
    meta->wasm = meta_take_flag(&reader, "wasm");
    if (reader.rc == 0 && meta->wasm) {
        char hex[META_HEX_CHARS + 1] = "";
        meta_take_text(&reader, "engine", meta->engine, sizeof meta->engine);
        meta_take_text(&reader, "native_hash", hex, sizeof hex);
        if (reader.rc == 0 && !meta_hash_from_hex(hex, meta->native_hash))
            return meta_refuse(err, "native_hash");
    }
    return reader.rc != 0 ? reader.rc : meta_check(meta, err);
}

static int meta_parse(const char *json, size_t len, struct storage_meta *meta, struct err *err) {
    json_error_t problem;
    json_t *root = json_loadb(len ? json : "", len, JSON_REJECT_DUPLICATES, &problem);
    if (!root)
        return err_set(err, ERR_BAD_REQUEST, "metadata: no JSON: line %d, column %d", problem.line,
                       problem.column);
    int rc = meta_from_json(root, meta, err);
    json_decref(root);
    return rc;
}

int storage_meta_decode(const char *json, size_t len, struct storage_meta *ret_meta, struct err *err) {
    if (len > META_JSON_MAX_BYTES)
        return err_set(err, ERR_BAD_REQUEST, "metadata: longer than %d bytes", META_JSON_MAX_BYTES);
    struct storage_meta meta = {0};
    int rc;
    if (len > 0 && quick_decode(json, len, &meta)) {
        rc = meta_check(&meta, err);
    } else {
        meta = (struct storage_meta){0};
        rc = meta_parse(json, len, &meta, err);
    }
    if (rc == 0)
        *ret_meta = meta;
    return rc;
}
