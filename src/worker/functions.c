#include "worker/functions.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* How many may be ready. The table of descriptors is made large enough now: when it grows in a process of
 * more than one thread, the kernel waits 5 to 15 ms for all processors. */
static size_t functions_reserve_fds(void) {
    struct rlimit limit;
    rlim_t wanted = FUNCTIONS_READY_MAX + FUNCTIONS_OTHER_FDS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return FUNCTIONS_READY_MAX / 4;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted)
        wanted = limit.rlim_cur;
    int last = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, (int)wanted - 1);
    if (last >= 0)
        close(last);
    return wanted > 2 * FUNCTIONS_OTHER_FDS_MAX ? (size_t)wanted - FUNCTIONS_OTHER_FDS_MAX
                                                : FUNCTIONS_OTHER_FDS_MAX;
}

void functions_init(struct functions *functions, const struct runtime_ops *ops,
                    struct runtime_engine *runtime) {
    functions->ops = ops;
    functions->runtime = runtime;
    functions->ready_max = functions_reserve_fds();
}

/* --- ready ones, by last use --- */

static void functions_unlink(struct functions *functions, struct function *function) {
    *(function->newer ? &function->newer->older : &functions->newest) = function->older;
    *(function->older ? &function->older->newer : &functions->oldest) = function->newer;
}

static void functions_link(struct functions *functions, struct function *function) {
    function->newer = NULL;
    function->older = functions->newest;
    *(functions->newest ? &functions->newest->newer : &functions->oldest) = function;
    functions->newest = function;
}

static void functions_drop(struct functions *functions, struct function *function) {
    if (!function->module)
        return;
    functions_unlink(functions, function);
    functions->ops->unload(function->module);
    function->module = NULL;
    functions->ready--;
    functions->ready_bytes -= function->module_bytes;
}

static int functions_make_ready(struct functions *functions, struct function *function, size_t bytes_max,
                                struct err *err) {
    if (function->invalid.code != ERR_OK) {
        *err = function->invalid;
        return -err->code;
    }
    if (strcmp(function->artefact.engine, functions->ops->engine_key()) != 0)
        return err_set(err, ERR_ARTEFACT, "the native code of '%s' is for another engine",
                       function->artefact.id);
    struct buf bytes = {0};
    struct runtime_module *module;
    int result = artefact_read(functions->data_dir, &function->artefact, bytes_max, &bytes, err);
    if (result == 0)
        result = functions->ops->load(functions->runtime, bytes.data, bytes.len, &module, err);
    size_t size = bytes.len;
    buf_fini(&bytes);
    if (result < 0)
        return result;
    while (functions->oldest && (functions->ready >= functions->ready_max ||
                                 functions->ready_bytes + size > FUNCTIONS_READY_BYTES_MAX))
        functions_drop(functions, functions->oldest);
    function->module = module;
    function->module_bytes = size;
    function->slow_runs = 0xff;
    functions->ready++;
    functions->ready_bytes += size;
    functions_link(functions, function);
    return 0;
}

int functions_prepare(struct functions *functions, struct function *function, bool *ret_cold,
                      struct err *err) {
    *ret_cold = !function->module;
    if (!function->module)
        return functions_make_ready(functions, function, ARTEFACT_BYTES_MAX, err);
    if (functions->newest != function) {
        functions_unlink(functions, function);
        functions_link(functions, function);
    }
    return 0;
}

/* --- ahead of need --- */

static void functions_warm_later(struct functions *functions, uint32_t key) {
    if (functions->warm_count < FUNCTIONS_WARM_MAX)
        functions->warm[(functions->warm_first + functions->warm_count++) % FUNCTIONS_WARM_MAX] = key;
}

uint32_t functions_warm_next(struct functions *functions) {
    uint32_t key = functions->warm[functions->warm_first];
    functions->warm_first = (functions->warm_first + 1) % FUNCTIONS_WARM_MAX;
    functions->warm_count--;
    struct function *function = functions_find(functions, key);
    struct err ignored;
    if (function && !function->module &&
        functions_make_ready(functions, function, FUNCTIONS_WARM_BYTES_MAX, &ignored) == 0)
        functions->ops->warm(functions->runtime, function->module, &function->limits);
    return key;
}

/* --- all of them, by key --- */

static struct function **functions_slot(struct functions *functions, uint32_t key) {
    struct function **slot = &functions->buckets[key % FUNCTIONS_BUCKETS];
    while (*slot && (*slot)->key != key)
        slot = &(*slot)->bucket_next;
    return slot;
}

struct function *functions_find(const struct functions *functions, uint32_t key) {
    struct function *function = functions->buckets[key % FUNCTIONS_BUCKETS];
    while (function && function->key != key)
        function = function->bucket_next;
    return function;
}

void functions_unload(struct functions *functions, uint32_t key) {
    struct function **slot = functions_slot(functions, key), *function = *slot;
    if (!function)
        return;
    functions_drop(functions, function);
    *slot = function->bucket_next;
    functions->count--;
    functions->noted_bytes -= function->head_len;
    explicit_bzero(function->head, function->head_len);
    free(function->head);
    free(function);
}

void functions_clear(struct functions *functions) {
    for (size_t i = 0; i < FUNCTIONS_BUCKETS; i++)
        while (functions->buckets[i])
            functions_unload(functions, functions->buckets[i]->key);
    functions->warm_count = 0;
}

/* --- the head of a LOAD --- */

static void functions_copy_text(char *to, size_t size, const char *value, size_t value_len) {
    size_t len = value_len < size ? value_len : size - 1;
    memcpy(to, value, len);
    to[len] = 0;
}

static bool functions_name_is(const char *name, size_t name_len, const char *word) {
    return name_len == strlen(word) && memcmp(name, word, name_len) == 0;
}

static int functions_read_limit(uint32_t *limit, const char *value, uint32_t min, uint32_t max,
                                struct err *err) {
    char *end;
    unsigned long long number = strtoull(value, &end, 10); /* a head's value ends with NUL */
    if (*value < '0' || *value > '9' || *end || number < min || number > max)
        return err_set(err, ERR_BAD_REQUEST, "a limit of '%.32s'", value);
    *limit = (uint32_t)number;
    return 0;
}

static int functions_read_entry(struct function *function, const char *name, size_t name_len,
                                const char *value, size_t value_len, struct err *err) {
#define FUNCTIONS_LIMIT(field, fallback, min, max, unit, doc)                                                \
    if (functions_name_is(name, name_len, "limit." #field))                                                  \
        return functions_read_limit(&function->limits.field, value, min, max, err);
    LIMITS_TABLE(FUNCTIONS_LIMIT)
#undef FUNCTIONS_LIMIT
    if (functions_name_is(name, name_len, "FAAS_FUNCTION"))
        functions_copy_text(function->name, sizeof function->name, value, value_len);
    else if (functions_name_is(name, name_len, "id"))
        functions_copy_text(function->artefact.id, sizeof function->artefact.id, value, value_len);
    else if (functions_name_is(name, name_len, "engine"))
        functions_copy_text(function->artefact.engine, sizeof function->artefact.engine, value, value_len);
    else if (functions_name_is(name, name_len, "warm"))
        function->warm = true;
    else if (functions_name_is(name, name_len, "hash"))
        return artefact_hash_parse(value, value_len, function->artefact.hash, err);
    return 0;
}

static int functions_read_head(struct function *function, struct err *err) {
    const char *name, *value;
    size_t at = 0, name_len, value_len;
    while (frame_head_next(function->head, function->head_len, &at, &name, &name_len, &value, &value_len)) {
        int result = functions_read_entry(function, name, name_len, value, value_len, err);
        if (result < 0)
            return result;
    }
    return artefact_id_check(function->artefact.id, err);
}

void functions_load(struct functions *functions, const struct frame *frame) {
    functions_unload(functions, frame->header.key);
    size_t head_len = frame->header.head_len;
    /* Over these bounds a LOAD is dropped, and its calls are answered as never loaded. */
    if (functions->count >= FUNCTIONS_MAX || head_len > FUNCTIONS_HEAD_BYTES_MAX ||
        functions->noted_bytes + head_len > FUNCTIONS_NOTED_BYTES_MAX)
        return;
    struct function *function = calloc(1, sizeof *function);
    uint8_t *head = malloc(head_len ? head_len : 1);
    if (!function || !head) {
        free(function);
        free(head);
        return;
    }
    memcpy(head, frame->payload, head_len);
    function->key = frame->header.key;
    function->head = head;
    function->head_len = head_len;
    function->limits = LIMITS_DEFAULTS;
    struct err err;
    if (functions_read_head(function, &err) < 0) {
        function->invalid = err;
        function->invalid.code = ERR_INTERNAL;
    }
    if (function->limits.memory_mb > functions->memory_max_mb)
        function->limits.memory_mb = functions->memory_max_mb;
    struct function **slot = functions_slot(functions, function->key);
    *slot = function;
    functions->count++;
    functions->noted_bytes += head_len;
    if (function->warm)
        functions_warm_later(functions, function->key);
}
