#include "storage/vars.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ---- in memory ---- */

struct vars *vars_new(void) {
    struct vars *vars = calloc(1, sizeof *vars);
    if (vars)
        vars->references = 1;
    return vars;
}

void vars_ref(struct vars *vars) {
    vars->references++;
}

void vars_unref(struct vars *vars) {
    if (!vars || --vars->references > 0)
        return;
    for (size_t i = 0; i < vars->count; i++)
        free(vars->entries[i].name);
    free(vars);
}

static size_t vars_entry_bytes(const struct vars_entry *entry) {
    return strlen(entry->name) + entry->len - (entry->secret ? SEAL_OVERHEAD : 0);
}

size_t vars_bytes(const struct vars *vars) {
    size_t bytes = 0;
    for (size_t i = 0; vars && i < vars->count; i++)
        bytes += vars_entry_bytes(&vars->entries[i]);
    return bytes;
}

/* Where it is, or where it would be. */
static size_t vars_place(const struct vars *vars, const char *name) {
    size_t at = 0;
    while (at < vars->count && strcmp(vars->entries[at].name, name) < 0)
        at++;
    return at;
}

const struct vars_entry *vars_find(const struct vars *vars, const char *name) {
    size_t at = vars_place(vars, name);
    return at < vars->count && strcmp(vars->entries[at].name, name) == 0 ? &vars->entries[at] : NULL;
}

static bool vars_is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

int vars_name_check(const char *name, size_t len, struct err *err) {
    bool fits = len > 0 && len <= VARS_NAME_MAX && vars_is_letter(name[0]);
    for (size_t i = 0; fits && i < len; i++)
        fits = vars_is_letter(name[i]) || (name[i] >= '0' && name[i] <= '9');
    if (!fits)
        return err_set(
            err, ERR_BAD_REQUEST,
            "'%.*s' is no name of a variable: letters, digits and _, not a digit first, at most %d",
            (int)(len < 40 ? len : 40), name, VARS_NAME_MAX);
    if (len >= 5 && memcmp(name, "FAAS_", 5) == 0)
        return err_set(err, ERR_BAD_REQUEST, "'%.*s': names that start with FAAS_ are the platform's",
                       (int)(len < 40 ? len : 40), name);
    return 0;
}

int vars_value_check(const char *name, const uint8_t *value, size_t len, bool secret, struct err *err) {
    if (len > VARS_VALUE_MAX)
        return err_set(err, ERR_BAD_REQUEST, "'%.40s' has %zu bytes; a value has at most %d", name, len,
                       VARS_VALUE_MAX);
    if (len > 0 && memchr(value, 0, len))
        return err_set(err, ERR_BAD_REQUEST, "'%.40s' holds a NUL byte, which no variable can", name);
    if (secret)
        return 0;
    json_t *text = json_stringn(len ? (const char *)value : "", len);
    json_decref(text);
    return text ? 0
                : err_set(err, ERR_BAD_REQUEST,
                          "'%.40s' is no UTF-8; a secret may hold any bytes but NUL, a variable may not",
                          name);
}

static void vars_take_out(struct vars *vars, size_t at) {
    free(vars->entries[at].name);
    memmove(&vars->entries[at], &vars->entries[at + 1], (vars->count - at - 1) * sizeof vars->entries[0]);
    vars->count--;
}

int vars_set(struct vars *vars, const struct vars_entry *entry, struct err *err) {
    const struct vars_entry *there = vars_find(vars, entry->name);
    if (there && there->secret != entry->secret)
        return err_set(err, ERR_CONFLICT, "'%.40s' is %s already: delete that first", entry->name,
                       there->secret ? "a secret" : "a variable of the environment");
    size_t bytes = vars_bytes(vars) + vars_entry_bytes(entry) - (there ? vars_entry_bytes(there) : 0);
    if (bytes > VARS_BYTES_MAX)
        return err_set(err, ERR_BAD_REQUEST,
                       "with '%.40s' the function's variables have %zu bytes; %d is the most", entry->name,
                       bytes, VARS_BYTES_MAX);
    if (!there && vars->count >= VARS_COUNT_MAX)
        return err_set(err, ERR_BAD_REQUEST,
                       "with '%.40s' the function has more than %d variables and secrets", entry->name,
                       VARS_COUNT_MAX);
    size_t name_size = strlen(entry->name) + 1;
    char *copy = malloc(name_size + entry->len);
    if (!copy)
        return err_set(err, ERR_INTERNAL, "no memory for '%.40s'", entry->name);
    memcpy(copy, entry->name, name_size);
    if (entry->len)
        memcpy(copy + name_size, entry->value, entry->len);
    size_t at = vars_place(vars, copy);
    if (there)
        vars_take_out(vars, at);
    memmove(&vars->entries[at + 1], &vars->entries[at], (vars->count - at) * sizeof vars->entries[0]);
    vars->entries[at] = (struct vars_entry){copy, (uint8_t *)copy + name_size, entry->len, entry->secret};
    vars->count++;
    return 0;
}

bool vars_remove(struct vars *vars, const char *name, bool secret) {
    bool found = false;
    for (size_t i = vars->count; i-- > 0;)
        if (vars->entries[i].secret == secret && (!name || strcmp(vars->entries[i].name, name) == 0)) {
            vars_take_out(vars, i);
            found = true;
        }
    return found;
}

/* ---- JSON ---- */

static int vars_add_env(struct vars *vars, const json_t *object, struct err *err) {
    const char *name;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        int rc = vars_name_check(name, strlen(name), err);
        if (rc == 0 && !json_is_string(value))
            rc = err_set(err, ERR_BAD_REQUEST, "'%.40s' is no text: {\"NAME\": \"value\", …}", name);
        struct vars_entry entry = {.name = (char *)(uintptr_t)name,
                                   .value = (uint8_t *)(uintptr_t)json_string_value(value),
                                   .len = json_string_length(value)};
        if (rc == 0)
            rc = vars_value_check(name, entry.value, entry.len, false, err);
        if (rc == 0)
            rc = vars_set(vars, &entry, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static json_t *vars_parse(const char *json, size_t len, struct err *err) {
    json_error_t problem;
    json_t *root = json_loadb(len ? json : "", len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!root)
        err_set(err, ERR_BAD_REQUEST, "no JSON: line %d, column %d: %.100s", problem.line, problem.column,
                problem.text);
    else if (!json_is_object(root))
        err_set(err, ERR_BAD_REQUEST, "no JSON object: {\"NAME\": \"value\", …}");
    else
        return root;
    json_decref(root);
    return NULL;
}

int vars_set_object(struct vars *vars, const char *json, size_t len, struct err *err) {
    if (len > VARS_JSON_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "an environment of more than %d bytes", VARS_JSON_MAX_BYTES);
    json_t *root = vars_parse(json, len, err);
    int rc = root ? vars_add_env(vars, root, err) : -err->code;
    json_decref(root);
    return rc;
}

enum { VARS_BASE64_VARIANT = sodium_base64_VARIANT_ORIGINAL };

static json_t *vars_secret_to_json(const struct vars_entry *entry) {
    size_t size = sodium_base64_encoded_len(entry->len, VARS_BASE64_VARIANT);
    char *text = malloc(size);
    if (!text)
        return NULL;
    sodium_bin2base64(text, size, entry->value, entry->len, VARS_BASE64_VARIANT);
    json_t *json = json_string(text);
    free(text);
    return json;
}

int vars_encode(const struct vars *vars, const char *function, struct buf *ret_json, struct err *err) {
    json_t *env = json_object(), *secrets = json_object();
    bool failed = !env || !secrets;
    for (size_t i = 0; i < vars->count && !failed; i++) {
        const struct vars_entry *entry = &vars->entries[i];
        json_t *value =
            entry->secret ? vars_secret_to_json(entry) : json_stringn((const char *)entry->value, entry->len);
        failed = json_object_set_new(entry->secret ? secrets : env, entry->name, value) != 0;
    }
    json_t *root = json_pack("{s:i, s:s, s:o, s:o}", "format", (int)VARS_FORMAT, "function", function, "env",
                             env, "secrets", secrets);
    char *text = root && !failed ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    struct buf json = {0};
    if (text) {
        buf_append_str(&json, text);
        buf_append_str(&json, "\n");
    }
    failed = !text || json.failed;
    free(text);
    if (failed) {
        buf_fini(&json);
        return err_set(err, ERR_INTERNAL, "no memory for the variables of '%s'", function);
    }
    buf_fini(ret_json);
    *ret_json = json;
    return 0;
}

static int vars_add_secret(struct vars *vars, const char *name, const json_t *value, struct err *err) {
    int rc = vars_name_check(name, strlen(name), err);
    if (rc != 0)
        return rc;
    const char *text = json_string_value(value);
    size_t text_len = json_string_length(value), len = 0;
    uint8_t *sealed = text ? malloc(text_len + 1) : NULL;
    bool fits =
        sealed &&
        sodium_base642bin(sealed, text_len + 1, text, text_len, NULL, &len, NULL, VARS_BASE64_VARIANT) == 0 &&
        len >= SEAL_OVERHEAD && len - SEAL_OVERHEAD <= VARS_VALUE_MAX;
    if (!fits)
        rc = err_set(err, ERR_BAD_REQUEST, "the secret '%.40s' is damaged", name);
    else
        rc = vars_set(vars, &(struct vars_entry){(char *)(uintptr_t)name, sealed, len, true}, err);
    free(sealed);
    return rc;
}

static int vars_add_secrets(struct vars *vars, const json_t *object, struct err *err) {
    const char *name;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        int rc = vars_add_secret(vars, name, value, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int vars_from_json(const json_t *root, const char *function, struct vars *vars, struct err *err) {
    const json_t *env = json_object_get(root, "env"), *secrets = json_object_get(root, "secrets");
    const json_t *format = json_object_get(root, "format");
    const char *owner = json_string_value(json_object_get(root, "function"));
    if (!json_is_integer(format) || json_integer_value(format) != VARS_FORMAT)
        return err_set(err, ERR_BAD_REQUEST, "its format is not %d, which this version reads", VARS_FORMAT);
    if (!owner || strcmp(owner, function) != 0)
        return err_set(err, ERR_BAD_REQUEST, "it is not of this function");
    if (!json_is_object(env) || !json_is_object(secrets))
        return err_set(err, ERR_BAD_REQUEST, "'env' or 'secrets' is missing");
    int rc = vars_add_env(vars, env, err);
    return rc == 0 ? vars_add_secrets(vars, secrets, err) : rc;
}

int vars_decode(const char *json, size_t len, const char *function, struct vars **ret_vars, struct err *err) {
    json_t *root = vars_parse(json, len, err);
    if (!root)
        return -err->code;
    struct vars *vars = vars_new();
    int rc = vars ? vars_from_json(root, function, vars, err)
                  : err_set(err, ERR_INTERNAL, "no memory for the variables of '%s'", function);
    json_decref(root);
    if (rc == 0)
        *ret_vars = vars;
    else
        vars_unref(vars);
    return rc;
}
