/* What the tests of storage share: a data directory of their own, and deploys made by hand. */
#ifndef FAAS_TESTS_STORAGE_FIXTURE_H
#define FAAS_TESTS_STORAGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/storage.h"

#define FIXTURE_ENGINE "engine-1.2.3-for-tests"

struct fixture {
    char dir[PATH_MAX / 2]; /* the data directory */
    struct storage *storage;
};

__attribute__((format(printf, 3, 4))) static inline void fixture_format(char *ret_text, size_t size,
                                                                        const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(ret_text, size, format, args);
    va_end(args);
    assert_in_range(len, 0, size - 1);
}

static inline int fixture_on_removal(const char *path, const struct stat *about, int flag, struct FTW *walk) {
    (void)about, (void)flag, (void)walk;
    return remove(path);
}

static inline void fixture_remove_tree(const char *path) {
    nftw(path, fixture_on_removal, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fixture_make_dir(struct fixture *fixture, const char *tmp) {
    fixture_format(fixture->dir, sizeof fixture->dir, "%s/faas-storage-XXXXXX", tmp);
    assert_non_null(mkdtemp(fixture->dir));
}

static inline void fixture_open(struct fixture *fixture) {
    struct err err = {0};
    if (storage_open(fixture->dir, &fixture->storage, &err) != 0)
        fail_msg("storage_open: %s", err.msg);
}

static inline void fixture_close(struct fixture *fixture) {
    storage_free(fixture->storage);
    fixture->storage = NULL;
}

static inline void fixture_reopen(struct fixture *fixture) {
    fixture_close(fixture);
    fixture_open(fixture);
}

static inline int fixture_setup_in(void **state, const char *tmp) {
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture_make_dir(fixture, tmp);
    fixture_open(fixture);
    *state = fixture;
    return 0;
}

static inline const char *fixture_tmp(void) {
    const char *tmp = getenv("TMPDIR");
    return tmp && *tmp ? tmp : "/tmp";
}

static inline int fixture_setup(void **state) {
    return fixture_setup_in(state, fixture_tmp());
}

/* For tests of very many files or runs: what they are about is not the medium. */
static inline int fixture_setup_in_memory(void **state) {
    return fixture_setup_in(state, access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : fixture_tmp());
}

static inline int fixture_teardown(void **state) {
    struct fixture *fixture = *state;
    fixture_close(fixture);
    fixture_remove_tree(fixture->dir);
    free(fixture);
    return 0;
}

static inline void fixture_path(const struct fixture *fixture, const char *below, char ret_path[PATH_MAX]) {
    fixture_format(ret_path, PATH_MAX, "%s/%s", fixture->dir, below);
}

static inline void fixture_write(const char *dir, const char *file, const char *text) {
    char path[PATH_MAX + 64];
    fixture_format(path, sizeof path, "%s/%s", dir, file);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
    assert_int_equal(fclose(out), 0);
}

static inline bool fixture_exists(const struct fixture *fixture, const char *below) {
    char path[PATH_MAX];
    struct stat about;
    fixture_path(fixture, below, path);
    return lstat(path, &about) == 0;
}

/* Entries of a directory below the data directory ("." for itself), but the lock. */
static inline size_t fixture_count(const struct fixture *fixture, const char *below) {
    char path[PATH_MAX];
    fixture_path(fixture, below, path);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                 strcmp(entry->d_name, ".lock") != 0;
    closedir(dir);
    return count;
}

/* A C function; id and version as given. */
static inline struct storage_meta fixture_meta(const char *name, uint64_t number, uint32_t version) {
    struct storage_meta meta = {
        .lang = "c", .entry = "wasi", .version = version, .created_s = number, .wasm = true};
    meta.limits = LIMITS_DEFAULTS;
    fixture_format(meta.name, sizeof meta.name, "%s", name);
    fixture_format(meta.id, sizeof meta.id, "%.63s_%llu", name, (unsigned long long)number);
    fixture_format(meta.engine, sizeof meta.engine, "%s", FIXTURE_ENGINE);
    return meta;
}

/* A stage as the builder leaves it: `text` in each of the three files. Size and hash of *meta are filled. */
static inline void fixture_stage(struct storage *storage, const char *text, struct storage_meta *meta,
                                 char ret_stage[PATH_MAX]) {
    struct err err = {0};
    if (storage_stage(storage, ret_stage, PATH_MAX, &err) != 0)
        fail_msg("storage_stage: %s", err.msg);
    fixture_write(ret_stage, "code.c", text);
    fixture_write(ret_stage, "code.wasm", text);
    fixture_write(ret_stage, "code.cwasm", text);
    meta->size = strlen(text);
    storage_hash(text, strlen(text), meta->engine, meta->native_hash);
}

static inline int fixture_try_publish(struct storage *storage, struct storage_meta *meta, const char *text,
                                      struct err *err) {
    char stage[PATH_MAX];
    fixture_stage(storage, text, meta, stage);
    return storage_publish(storage, stage, meta, err);
}

/* A whole deploy, as the gateway does it. */
static inline struct storage_version *fixture_deploy(struct storage *storage, const char *name, bool update,
                                                     const char *text) {
    struct storage_meta meta = fixture_meta(name, 100000000, 1);
    struct err err = {0};
    if (storage_reserve(storage, name, update, &meta, &err) != 0)
        fail_msg("storage_reserve: %s", err.msg);
    if (fixture_try_publish(storage, &meta, text, &err) != 0)
        fail_msg("storage_publish: %s", err.msg);
    struct storage_version *version = storage_index_add(storage, &meta, &err);
    if (!version)
        fail_msg("storage_index_add: %s", err.msg);
    return version;
}

static inline struct storage_version *fixture_find(struct storage *storage, const char *name_or_id) {
    return storage_find(storage, name_or_id, strlen(name_or_id));
}

static inline bool fixture_holds(struct storage *storage, const char *id, const char *file,
                                 const char *text) {
    struct buf bytes = {0};
    struct err err;
    bool same = storage_read(storage, id, file, 1 << 20, &bytes, &err) == 0 && bytes.len == strlen(text) &&
                memcmp(bytes.data, text, bytes.len) == 0;
    buf_fini(&bytes);
    return same;
}

#endif
