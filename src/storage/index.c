#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "storage/name.h"
#include "storage/storage_private.h"

static struct storage_function *index_get_function(const struct storage *storage, const char *name,
                                                   size_t len) {
    return len <= STORAGE_NAME_MAX ? table_get(&storage->functions, name, len) : NULL;
}

static struct storage_version *index_get_version(const struct storage *storage, const char *id, size_t len) {
    return len <= STORAGE_ID_MAX ? table_get(&storage->versions, id, len) : NULL;
}

/* ---- functions: in the list `newest` with a current version, in `erased` when nothing but their numbers
 * matters, in none while reserved or damaged ---- */

static void index_list_push(struct storage_function **list, struct storage_function *function) {
    function->newer = NULL;
    function->older_in_list = *list;
    if (*list)
        (*list)->newer = function;
    *list = function;
}

static void index_list_remove(struct storage_function **list, struct storage_function *function) {
    if (function->newer)
        function->newer->older_in_list = function->older_in_list;
    else
        *list = function->older_in_list;
    if (function->older_in_list)
        function->older_in_list->newer = function->newer;
    function->newer = function->older_in_list = NULL;
}

static bool index_function_is_idle(const struct storage_function *function) {
    return !function->current && !function->reserved && !function->damaged;
}

static void index_function_unref(struct storage_function *function) {
    if (--function->references > 0)
        return;
    vars_unref(function->vars);
    free(function);
}

static void index_function_drop(struct storage *storage, struct storage_function *function) {
    table_remove(&storage->functions, function);
    index_function_unref(function);
}

static uint64_t index_now_s(void) {
    return clock_real_ns() / CLOCK_NS_PER_S;
}

/* The functions in `erased` whose last number the clock has passed: a new id cannot meet it any more. */
static void index_expire(struct storage *storage) {
    uint64_t now_s = index_now_s();
    for (struct storage_function *function = storage->erased, *next; function; function = next) {
        next = function->older_in_list;
        if (function->last_number >= now_s)
            continue;
        index_list_remove(&storage->erased, function);
        index_function_drop(storage, function);
    }
}

/* After a change: a function of which nothing is left goes, now or when its numbers do not matter. */
static void index_function_settle(struct storage *storage, struct storage_function *function) {
    if (index_function_is_idle(function))
        index_list_push(&storage->erased, function);
    index_expire(storage);
}

static struct storage_function *index_function_new(struct storage *storage, const char *name,
                                                   struct err *err) {
    size_t len = strnlen(name, STORAGE_NAME_MAX + 1);
    struct storage_function *function = len <= STORAGE_NAME_MAX ? calloc(1, sizeof *function) : NULL;
    if (!function) {
        err_set(err, ERR_INTERNAL, "no memory for function '%.63s'", name);
        return NULL;
    }
    memcpy(function->name, name, len);
    function->references = 1;
    table_put(&storage->functions, function);
    return function;
}

/* Finds or makes it, and takes it out of `erased`: the caller gives it a reason to stay, or settles it. */
static struct storage_function *index_function_take(struct storage *storage, const char *name,
                                                    struct err *err) {
    struct storage_function *function = storage_find_function(storage, name);
    if (!function)
        return index_function_new(storage, name, err);
    if (index_function_is_idle(function))
        index_list_remove(&storage->erased, function);
    return function;
}

/* ---- versions ---- */

static void index_function_count_number(struct storage_function *function, uint64_t number) {
    if (number > function->last_number)
        function->last_number = number;
}

/* A listed version at the head of its function's. NULL: err is filled. */
static struct storage_version *index_version_new(struct storage *storage, struct storage_function *function,
                                                 const struct storage_meta *meta, struct err *err) {
    size_t id_len = strnlen(meta->id, sizeof meta->id), name_len;
    uint64_t number;
    if (!name_id_split(meta->id, id_len, &name_len, &number) || name_len != strlen(function->name) ||
        memcmp(meta->id, function->name, name_len) != 0) {
        err_set(err, ERR_INTERNAL, "the version's id is none of function '%s'", function->name);
        return NULL;
    }
    if (index_get_version(storage, meta->id, id_len)) {
        err_set(err, ERR_CONFLICT, "there is a version '%s' already", meta->id);
        return NULL;
    }
    struct storage_version *version = storage->last_key == UINT32_MAX ? NULL : calloc(1, sizeof *version);
    if (!version) {
        err_set(err, ERR_INTERNAL, "no memory or number for version '%s'", meta->id);
        return NULL;
    }
    version->meta = *meta;
    version->key = ++storage->last_key;
    version->references = 1;
    version->listed = true;
    version->function = function;
    version->vars = function->vars;
    if (version->vars)
        vars_ref(version->vars);
    version->older = function->versions;
    function->versions = version;
    function->references++;
    index_function_count_number(function, number);
    table_put(&storage->versions, version);
    return version;
}

static void index_version_unlist(struct storage *storage, struct storage_version *version) {
    table_remove(&storage->versions, version);
    version->older = NULL;
    version->listed = version->current = false;
    storage_unref(storage, version);
}

void storage_ref(struct storage_version *version) {
    version->references++;
}

void storage_unref(struct storage *storage, struct storage_version *version) {
    if (--version->references > 0)
        return;
    if (storage->release)
        storage->release(version);
    index_function_unref(version->function);
    vars_unref(version->vars);
    free(version);
}

void storage_set_release(struct storage *storage, void (*release)(struct storage_version *version)) {
    storage->release = release;
}

static void index_function_set_current(struct storage *storage, struct storage_function *function,
                                       struct storage_version *version) {
    if (function->current) {
        function->current->current = false;
        index_list_remove(&storage->newest, function);
        storage->newest_count--;
    }
    function->current = version;
    if (!version)
        return;
    version->current = true;
    function->last_version = version->meta.version;
    function->damaged = false;
    index_list_push(&storage->newest, function);
    storage->newest_count++;
}

struct storage_version *storage_index_add(struct storage *storage, const struct storage_meta *meta,
                                          struct err *err) {
    struct storage_function *function = index_function_take(storage, meta->name, err);
    if (!function)
        return NULL;
    function->reserved = false;
    struct storage_version *version = index_version_new(storage, function, meta, err);
    if (version)
        index_function_set_current(storage, function, version);
    index_function_settle(storage, function);
    return version;
}

void storage_index_remove(struct storage *storage, const char *name) {
    struct storage_function *function = storage_find_function(storage, name);
    if (!function || index_function_is_idle(function))
        return;
    index_function_set_current(storage, function, NULL);
    function->damaged = false;
    function->last_version = 0;
    vars_unref(function->vars);
    function->vars = NULL;
    struct storage_version *version = function->versions;
    function->versions = NULL;
    while (version) {
        struct storage_version *older = version->older;
        index_version_unlist(storage, version);
        version = older;
    }
    index_function_settle(storage, function);
}

/* ---- look-up ---- */

struct storage_version *storage_find(struct storage *storage, const char *name_or_id, size_t len) {
    size_t name_len;
    uint64_t number;
    if (name_id_split(name_or_id, len, &name_len, &number))
        return index_get_version(storage, name_or_id, len);
    struct storage_function *function = index_get_function(storage, name_or_id, len);
    return function ? function->current : NULL;
}

struct storage_function *storage_find_function(struct storage *storage, const char *name) {
    return index_get_function(storage, name, strnlen(name, STORAGE_NAME_MAX + 1));
}

struct storage_version *storage_next(struct storage *storage, struct storage_version *at) {
    const struct storage_function *function = at ? at->function->older_in_list : storage->newest;
    return function ? function->current : NULL;
}

uint32_t storage_count(const struct storage *storage) {
    return storage->newest_count;
}

/* ---- reservation ---- */

int storage_reserve(struct storage *storage, const char *name, bool update, struct storage_meta *ret_meta,
                    struct err *err) {
    int rc = storage_name_check(name, err);
    if (rc != 0)
        return rc;
    index_expire(storage);
    const struct storage_function *there = storage_find_function(storage, name);
    if (there && there->current && !update)
        return err_set(err, ERR_CONFLICT, "function '%s' already exists", name);
    if (there && there->reserved)
        return err_set(err, ERR_CONFLICT, "function '%s' is being deployed", name);
    if (there && there->damaged && !update)
        return err_set(err, ERR_CONFLICT,
                       "function '%s' already exists, but its metadata cannot be read: update or delete it",
                       name);
    struct storage_function *function = index_function_take(storage, name, err);
    if (!function)
        return -err->code;
    uint64_t now_s = index_now_s(), number = now_s;
    if (number <= function->last_number)
        number = function->last_number + 1;
    if (number < NAME_NUMBER_MIN)
        number = NAME_NUMBER_MIN;
    if (number > NAME_NUMBER_MAX || function->last_version == UINT32_MAX) {
        index_function_settle(storage, function);
        return err_set(err, ERR_INTERNAL, "function '%s' has used up its numbers", name);
    }
    function->reserved = true;
    /* The number counts as used once it is published: storage_index_add notes it. */
    snprintf(ret_meta->id, sizeof ret_meta->id, "%s_%llu", name, (unsigned long long)number);
    snprintf(ret_meta->name, sizeof ret_meta->name, "%s", name);
    ret_meta->version = function->last_version + 1;
    ret_meta->created_s = now_s;
    return 0;
}

void storage_unreserve(struct storage *storage, const char *name) {
    struct storage_function *function = storage_find_function(storage, name);
    if (!function || !function->reserved)
        return;
    function->reserved = false;
    index_function_settle(storage, function);
}

/* ---- life ---- */

int index_init(struct storage *storage, struct err *err) {
    return table_init(&storage->functions, offsetof(struct storage_function, name),
                      offsetof(struct storage_function, hash_next)) &&
                   table_init(&storage->versions, offsetof(struct storage_version, meta.id),
                              offsetof(struct storage_version, hash_next))
               ? 0
               : err_set(err, ERR_INTERNAL, "no memory for the index");
}

void index_fini(struct storage *storage) {
    struct storage_version *version;
    for (struct table_walk walk = {0}; (version = table_next(&storage->versions, &walk));)
        index_version_unlist(storage, version);
    struct storage_function *function;
    for (struct table_walk walk = {0}; (function = table_next(&storage->functions, &walk));)
        index_function_drop(storage, function);
    table_fini(&storage->versions);
    table_fini(&storage->functions);
}

/* ---- loading: the lists are made when all is there ---- */

static struct storage_function *index_load_function(struct storage *storage, const char *name,
                                                    struct err *err) {
    struct storage_function *function = storage_find_function(storage, name);
    return function ? function : index_function_new(storage, name, err);
}

int index_load(struct storage *storage, const struct storage_meta *meta, bool current, struct err *err) {
    struct storage_function *function = index_load_function(storage, meta->name, err);
    struct storage_version *version = function ? index_version_new(storage, function, meta, err) : NULL;
    if (!version)
        return -err->code;
    if (current) {
        function->last_version = meta->version;
        function->current = version;
        version->current = true;
    }
    return 0;
}

int index_load_damaged(struct storage *storage, const char *name, uint64_t number, struct err *err) {
    struct storage_function *function = index_load_function(storage, name, err);
    if (!function)
        return -err->code;
    index_function_count_number(function, number);
    function->damaged = true;
    return 0;
}

/* They were loaded newest first, each put at the head. */
static void index_load_settle(struct storage_function *function) {
    struct storage_version *versions = NULL;
    for (struct storage_version *version = function->versions, *next; version; version = next) {
        next = version->older;
        version->older = versions;
        versions = version;
    }
    function->versions = versions;
    /* An update is what mends it, and takes the link over: it must not be a first version. */
    if (function->damaged)
        function->last_version = versions ? versions->meta.version + 1 : 1;
}

static int index_compare_age(const void *left, const void *right) {
    const struct storage_meta *a = &(*(struct storage_function *const *)left)->current->meta;
    const struct storage_meta *b = &(*(struct storage_function *const *)right)->current->meta;
    if (a->created_s != b->created_s)
        return a->created_s < b->created_s ? -1 : 1;
    return strcmp(a->id, b->id);
}

int index_load_done(struct storage *storage, struct err *err) {
    struct storage_function **sorted = calloc(storage->functions.count + 1, sizeof *sorted), *function;
    if (!sorted)
        return err_set(err, ERR_INTERNAL, "no memory for %zu functions", storage->functions.count);
    size_t count = 0;
    for (struct table_walk walk = {0}; (function = table_next(&storage->functions, &walk));) {
        index_load_settle(function);
        if (function->current)
            sorted[count++] = function;
    }
    qsort(sorted, count, sizeof(struct storage_function *), index_compare_age);
    for (size_t i = 0; i < count; i++)
        index_list_push(&storage->newest, sorted[i]);
    storage->newest_count = (uint32_t)count;
    free(sorted);
    return 0;
}
