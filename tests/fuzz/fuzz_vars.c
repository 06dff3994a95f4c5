/* Variables as JSON: the body of a PUT, and the file. Whatever is accepted is within the bounds, is encoded,
 * and that decodes to the same. */
#include <stdlib.h>
#include <string.h>

#include "storage/vars.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(bool holds) {
    if (!holds)
        abort();
}

static void fuzz_check_bounds(const struct vars *vars) {
    struct err err;
    fuzz_check(vars->count <= VARS_COUNT_MAX && vars_bytes(vars) <= VARS_BYTES_MAX);
    for (size_t i = 0; i < vars->count; i++) {
        const struct vars_entry *entry = &vars->entries[i];
        fuzz_check(vars_name_check(entry->name, strlen(entry->name), &err) == 0);
        fuzz_check(!i || strcmp(vars->entries[i - 1].name, entry->name) < 0);
        fuzz_check(vars_find(vars, entry->name) == entry);
        if (!entry->secret)
            fuzz_check(vars_value_check(entry->name, entry->value, entry->len, false, &err) == 0);
    }
}

static void fuzz_round_trip(const struct vars *vars) {
    struct buf first = {0}, second = {0};
    struct vars *back = NULL;
    struct err err;
    fuzz_check(vars_encode(vars, "f", &first, &err) == 0);
    fuzz_check(vars_decode((const char *)first.data, first.len, "f", &back, &err) == 0);
    fuzz_check(vars_encode(back, "f", &second, &err) == 0);
    fuzz_check(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    vars_unref(back);
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vars *vars = vars_new(), *file = NULL;
    struct err err;
    int rc = vars_set_object(vars, (const char *)data, size, &err);
    if (rc == 0) {
        fuzz_check_bounds(vars);
        fuzz_round_trip(vars);
    } else {
        fuzz_check(err.code == -rc && memchr(err.msg, 0, sizeof err.msg) != NULL);
    }
    vars_unref(vars);
    if (vars_decode((const char *)data, size, "f", &file, &err) == 0) {
        fuzz_check_bounds(file);
        fuzz_round_trip(file);
        vars_unref(file);
    }
    return 0;
}
