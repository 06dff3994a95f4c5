/* Variables between disk, key and index: what storage.h says of them. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "storage/storage_private.h"
#include "storage/vars_disk.h"

static const char vars_store_unopened[] =
    "the function's secrets cannot be opened: the gateway's log says why";
static const char vars_store_unread[] = "the function's variables cannot be read: the gateway's log says why";

static struct seal *vars_store_seal(const struct storage *storage) {
    return atomic_load_explicit(&storage->seal, memory_order_acquire);
}

int storage_open_secret(const struct storage *storage, const char *function, const struct vars_entry *entry,
                        uint8_t *ret_plain, struct err *err) {
    const struct seal *seal = vars_store_seal(storage);
    if (!seal)
        return err_set(err, ERR_SECRETS, "there is no key for the secret '%s'", entry->name);
    struct seal_owner owner = {function, entry->name};
    return seal_unwrap(seal, &owner, entry->value, entry->len, ret_plain, err);
}

/* Tries every secret. */
static const char *vars_store_find_problem(const struct storage *storage, const char *function,
                                           const struct vars *vars) {
    uint8_t plain[VARS_VALUE_MAX];
    struct err err;
    int rc = 0;
    for (size_t i = 0; i < vars->count && rc == 0; i++)
        if (vars->entries[i].secret)
            rc = storage_open_secret(storage, function, &vars->entries[i], plain, &err);
    sodium_memzero(plain, sizeof plain);
    return rc == 0 ? NULL : vars_store_unopened;
}

static bool vars_store_has_secrets(const struct vars *vars) {
    for (size_t i = 0; vars && i < vars->count; i++)
        if (vars->entries[i].secret)
            return true;
    return false;
}

/* ---- opening ---- */

enum { VARS_STORE_LOG_LINES = 20 };

struct vars_store_opening {
    struct storage *storage;
    size_t bytes, shut, unread;
    bool key_tried;
};

static void vars_store_try_key(struct vars_store_opening *opening) {
    struct storage *storage = opening->storage;
    struct err err;
    struct seal *seal;
    opening->key_tried = true;
    if (seal_read_key(storage->key_path, &seal, &err) == 0)
        atomic_store_explicit(&storage->seal, seal, memory_order_release);
    else
        log_event("secrets cannot be opened, functions that have some are not called: %s", err.msg);
}

static int vars_store_on_file(void *context, const char *function, struct err *err) {
    struct vars_store_opening *opening = context;
    struct storage *storage = opening->storage;
    struct err problem;
    struct vars *vars = NULL;
    if (!storage_find_function(storage, function)) {
        log_event("storage: swept the variables of '%s', which is not there", function);
        return vars_disk_write(&storage->disk, function, NULL, err);
    }
    if (vars_disk_read(&storage->disk, function, &vars, &problem) != 0) {
        if (opening->unread++ < VARS_STORE_LOG_LINES)
            log_event("storage: restore or remove vars/%s.json, '%s' is not called: %s", function, function,
                      problem.msg);
        vars = vars_new();
        if (!vars)
            return err_set(err, ERR_INTERNAL, "no memory for variables");
        vars->problem = vars_store_unread;
    } else if (vars) {
        if (vars_store_has_secrets(vars) && !opening->key_tried)
            vars_store_try_key(opening);
        vars->problem = vars_store_find_problem(storage, function, vars);
        opening->shut += vars->problem != NULL;
        opening->bytes += vars_bytes(vars);
    }
    storage_install_vars(storage, function, vars);
    return 0;
}

int storage_open_vars(struct storage *storage, const char *key_path, struct err *err) {
    struct vars_store_opening opening = {.storage = storage};
    int len = *key_path ? snprintf(storage->key_path, sizeof storage->key_path, "%s", key_path)
                        : snprintf(storage->key_path, sizeof storage->key_path, "%s.key", storage->disk.dir);
    if (len < 0 || (size_t)len >= sizeof storage->key_path)
        return err_set(err, ERR_BAD_REQUEST, "the path of the key file is too long");
    int rc = vars_disk_each(&storage->disk, vars_store_on_file, &opening, err);
    atomic_store(&storage->vars_bytes, opening.bytes);
    if (opening.shut > 0)
        log_event("storage: secrets of %zu functions cannot be opened with the key file '%s'", opening.shut,
                  storage->key_path);
    return rc;
}

/* ---- changing: on the jobs' thread ---- */

static int vars_store_on_other(void *context, const char *function, struct err *err) {
    const struct storage *storage = context;
    struct vars *vars = NULL;
    struct err ignored;
    if (vars_disk_read(&storage->disk, function, &vars, &ignored) != 0)
        return 0;
    bool secrets = vars_store_has_secrets(vars);
    vars_unref(vars);
    return secrets
               ? err_set(err, ERR_SECRETS,
                         "the key file (FAAS_SECRET_KEY_FILE) is missing, and '%s' has secrets that need it: "
                         "restore it, or delete those",
                         function)
               : 0;
}

/* The key of new secrets: the file's, which is made at first use. Never a second one while secrets are there
 * that need the first. */
static int vars_store_need_key(struct storage *storage, struct err *err) {
    struct seal *seal = vars_store_seal(storage);
    if (seal)
        return 0;
    int rc = seal_read_key(storage->key_path, &seal, err);
    if (rc == -ERR_NOT_FOUND) {
        rc = vars_disk_each(&storage->disk, vars_store_on_other, storage, err);
        if (rc == 0)
            rc = seal_make_key(storage->key_path, &seal, err);
        if (rc == 0)
            log_event("storage: made the key file '%s': secrets are of no use without it", storage->key_path);
    }
    if (rc == 0)
        atomic_store_explicit(&storage->seal, seal, memory_order_release);
    return rc;
}

static int vars_store_set(struct storage *storage, const char *function,
                          const struct storage_vars_change *change, struct vars *vars, struct err *err) {
    struct vars_entry entry = {.name = (char *)(uintptr_t)change->name,
                               .value = (uint8_t *)(uintptr_t)change->value,
                               .len = change->len,
                               .secret = change->secret};
    if (!change->secret)
        return vars_set(vars, &entry, err);
    int rc = vars_store_need_key(storage, err);
    if (rc != 0)
        return rc;
    uint8_t sealed[VARS_VALUE_MAX + SEAL_OVERHEAD];
    struct seal_owner owner = {function, change->name};
    seal_wrap(vars_store_seal(storage), &owner, change->value, change->len, sealed);
    entry.value = sealed;
    entry.len += SEAL_OVERHEAD;
    return vars_set(vars, &entry, err);
}

static int vars_store_apply(struct storage *storage, const char *function,
                            const struct storage_vars_change *change, struct vars *vars, struct err *err) {
    switch (change->kind) {
    case STORAGE_VARS_SET:
        return vars_store_set(storage, function, change, vars, err);
    case STORAGE_VARS_SET_ALL:
        vars_remove(vars, NULL, false);
        return vars_set_object(vars, (const char *)change->value, change->len, err);
    case STORAGE_VARS_REMOVE:
        break;
    }
    if (!vars_remove(vars, change->name, change->secret) && change->name)
        return err_set(err, ERR_NOT_FOUND, "'%.40s' has no %s '%.60s'", function,
                       change->secret ? "secret" : "variable", change->name);
    return 0;
}

static int vars_store_check_room(struct storage *storage, size_t before, size_t after, struct err *err) {
    if (after > before && atomic_load(&storage->vars_bytes) + after - before > VARS_ALL_BYTES_MAX)
        return err_set(err, ERR_STORAGE_FULL, "the variables of all functions have %d MiB, which is the most",
                       VARS_ALL_BYTES_MAX >> 20);
    return 0;
}

static int vars_store_read(const struct storage *storage, const char *function, struct vars **ret_vars,
                           struct err *err) {
    struct stat about;
    if (fstatat(storage->disk.names_fd, function, &about, AT_SYMLINK_NOFOLLOW) != 0)
        return err_set(err, ERR_NOT_FOUND, "function '%s' does not exist", function);
    struct vars *vars = NULL;
    int rc = vars_disk_read(&storage->disk, function, &vars, err);
    if (rc == -ERR_BAD_REQUEST)
        err->code = ERR_INTERNAL;
    if (rc == 0 && !vars && !(vars = vars_new()))
        return err_set(err, ERR_INTERNAL, "no memory for variables");
    *ret_vars = vars;
    return rc;
}

int storage_change_vars(struct storage *storage, const char *function,
                        const struct storage_vars_change *change, struct vars **ret_vars, struct err *err) {
    struct vars *vars = NULL;
    int rc = vars_store_read(storage, function, &vars, err);
    if (rc != 0)
        return rc;
    size_t before = vars_bytes(vars);
    rc = vars_store_apply(storage, function, change, vars, err);
    if (rc == 0)
        rc = vars_store_check_room(storage, before, vars_bytes(vars), err);
    if (rc == 0)
        rc = vars_disk_write(&storage->disk, function, vars, err);
    if (rc != 0) {
        vars_unref(vars);
        return rc;
    }
    atomic_fetch_add(&storage->vars_bytes, vars_bytes(vars) - before);
    vars->problem = vars_store_find_problem(storage, function, vars);
    *ret_vars = vars;
    return 0;
}

int vars_store_erase(struct storage *storage, const char *function, struct err *err) {
    struct vars *vars = NULL;
    struct err unreadable;
    size_t bytes = vars_disk_read(&storage->disk, function, &vars, &unreadable) == 0 ? vars_bytes(vars) : 0;
    vars_unref(vars);
    int rc = vars_disk_write(&storage->disk, function, NULL, err);
    if (rc == 0)
        atomic_fetch_sub(&storage->vars_bytes, bytes);
    return rc;
}

/* ---- the index: on the loop ---- */

/* The key has come after the start: what was shut may be open now. */
static void vars_store_look_again(struct storage *storage) {
    storage->key_seen = true;
    for (struct storage_version *at = storage_next(storage, NULL); at; at = storage_next(storage, at))
        if (at->vars && at->vars->problem == vars_store_unopened)
            at->vars->problem = vars_store_find_problem(storage, at->meta.name, at->vars);
}

static void vars_store_put(struct vars **place, struct vars *vars) {
    if (vars)
        vars_ref(vars);
    vars_unref(*place);
    *place = vars;
}

void storage_install_vars(struct storage *storage, const char *name, struct vars *vars) {
    struct storage_function *function = storage_find_function(storage, name);
    if (function) {
        vars_store_put(&function->vars, vars);
        for (struct storage_version *at = function->versions; at; at = at->older)
            vars_store_put(&at->vars, vars);
    }
    vars_unref(vars);
    if (!storage->key_seen && vars_store_seal(storage))
        vars_store_look_again(storage);
}
