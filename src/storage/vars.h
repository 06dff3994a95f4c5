/* The variables of a function: its environment and its secrets. They belong to the name: every version, also
 * a later one, sees them. In memory a secret is sealed (storage/seal.h). */
#ifndef FAAS_STORAGE_VARS_H
#define FAAS_STORAGE_VARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "storage/seal.h"

enum {
    VARS_FORMAT = 1,
    VARS_COUNT_MAX = 64, /* of a function, environment and secrets together */
    VARS_NAME_MAX = 128,
    VARS_VALUE_MAX = 32 << 10,
    VARS_BYTES_MAX = 128 << 10,    /* names and values of a function */
    VARS_ALL_BYTES_MAX = 64 << 20, /* of all functions */
    VARS_JSON_MAX_BYTES = 2 << 20,
};

struct vars_entry {
    char *name;     /* owned, with the value behind it */
    uint8_t *value; /* as it is, or of a secret: sealed */
    size_t len;
    bool secret;
};

/* Never changed once others see it, but for the count of references, which is the loop's. */
struct vars {
    uint32_t references;
    size_t count;
    const char *problem; /* why no call may see them; NULL = they are as they should be */
    struct vars_entry entries[VARS_COUNT_MAX]; /* by name */
};

struct vars *vars_new(void); /* one reference; NULL when memory is out */
void vars_ref(struct vars *vars);
void vars_unref(struct vars *vars); /* NULL is fine */

/* Bytes that count against the bounds: a secret's are those of its text. */
size_t vars_bytes(const struct vars *vars);
const struct vars_entry *vars_find(const struct vars *vars, const char *name);

/* ^[A-Za-z_][A-Za-z0-9_]{0,127}$ and not FAAS_…: ERR_BAD_REQUEST. */
int vars_name_check(const char *name, size_t len, struct err *err);
/* No NUL byte and not too long; UTF-8 when it will be shown: ERR_BAD_REQUEST. */
int vars_value_check(const char *name, const uint8_t *value, size_t len, bool secret, struct err *err);

/* Sets one; of another kind by that name: ERR_CONFLICT. ERR_BAD_REQUEST over a bound. The value is copied as
 * it is. */
int vars_set(struct vars *vars, const struct vars_entry *entry, struct err *err);
/* name NULL: all of that kind. False when there was none. */
bool vars_remove(struct vars *vars, const char *name, bool secret);
/* Adds an environment from a JSON object of texts. */
int vars_set_object(struct vars *vars, const char *json, size_t len, struct err *err);

/* The file; pure. Decoding refuses what is not of that function, of a newer format or over a bound. */
int vars_encode(const struct vars *vars, const char *function, struct buf *ret_json, struct err *err);
int vars_decode(const char *json, size_t len, const char *function, struct vars **ret_vars, struct err *err);

#endif
