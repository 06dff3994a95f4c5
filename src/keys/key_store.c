#include "keys/key_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"

#define KEY_STORE_NEXT "keys.next"
#define KEY_STORE_LOCK "lock"

static int key_store_open_dir(const char *data_dir, int *ret_fd, struct err *err) {
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/" KEY_STORE_DIR, data_dir);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_BAD_REQUEST, "the data directory's path is too long");
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        *ret_fd = -1;
        return 0;
    }
    if (fd < 0)
        return err_sys(err, "cannot open '%.100s'", path);
    *ret_fd = fd;
    return 0;
}

/* Root makes keys for an instance of somebody else: what it makes belongs to the owner of the directory
 * above. */
static int key_store_give(int fd, const struct stat *above, struct err *err) {
    if (geteuid() == 0 && fchown(fd, above->st_uid, above->st_gid) != 0)
        return err_sys(err, "fchown");
    return 0;
}

int key_store_make_dir(const char *data_dir, struct err *err) {
    char path[4096];
    struct stat above;
    MEM_CLOSE_FD int fd = -1;
    int rc = key_store_open_dir(data_dir, &fd, err);
    if (rc < 0 || fd >= 0)
        return rc;
    snprintf(path, sizeof path, "%s/" KEY_STORE_DIR, data_dir);
    if (mkdir(data_dir, 0755) != 0 && errno != EEXIST)
        return err_sys(err, "cannot make the data directory '%.100s'", data_dir);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_sys(err, "cannot make '%.100s'", path);
    rc = key_store_open_dir(data_dir, &fd, err);
    if (rc == 0 && (fd < 0 || stat(data_dir, &above) != 0))
        rc = err_sys(err, "cannot open '%.100s'", path);
    return rc == 0 ? key_store_give(fd, &above, err) : rc;
}

static int key_store_read(int fd, struct buf *text, struct err *err) {
    for (;;) {
        if (!buf_reserve(text, 4096))
            return err_set(err, ERR_INTERNAL, "out of memory for the file of keys");
        ssize_t got = read(fd, text->data + text->len, text->cap - text->len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, "cannot read the file of keys");
        if (got == 0)
            return 0;
        text->len += (size_t)got;
        if (text->len > KEY_FILE_MAX)
            return err_set(err, ERR_BAD_REQUEST, "the file of keys is larger than %d bytes", KEY_FILE_MAX);
    }
}

static int key_store_load_at(int dir_fd, struct key_set *ret_set, bool *ret_exists, struct err *err) {
    MEM_CLOSE_FD int fd = dir_fd < 0 ? -1 : openat(dir_fd, KEY_STORE_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && (dir_fd < 0 || errno == ENOENT)) {
        *ret_set = (struct key_set){0};
        *ret_exists = false;
        return 0;
    }
    if (fd < 0)
        return err_sys(err, "cannot open the file of keys");
    struct buf text = {0};
    int rc = key_store_read(fd, &text, err);
    if (rc == 0)
        rc = key_set_parse((const char *)text.data, text.len, ret_set, err);
    buf_fini(&text);
    *ret_exists = true;
    return rc;
}

int key_store_load(const char *data_dir, struct key_set *ret_set, bool *ret_exists, struct err *err) {
    MEM_CLOSE_FD int dir_fd = -1;
    int rc = key_store_open_dir(data_dir, &dir_fd, err);
    if (rc == 0)
        rc = key_store_load_at(dir_fd, ret_set, ret_exists, err);
    return rc < 0 ? err_wrap(err, "keys in %.80s/" KEY_STORE_DIR, data_dir) : 0;
}

static int key_store_write(int fd, const struct buf *text, struct err *err) {
    size_t done = 0;
    while (done < text->len) {
        ssize_t put = write(fd, text->data + done, text->len - done);
        if (put < 0 && errno != EINTR)
            return err_sys(err, "cannot write the file of keys");
        done += put > 0 ? (size_t)put : 0;
    }
    return fsync(fd) == 0 ? 0 : err_sys(err, "fsync of the file of keys");
}

static int key_store_save(int dir_fd, const struct key_set *set, struct err *err) {
    struct stat above;
    struct buf text = {0};
    MEM_CLOSE_FD int fd =
        openat(dir_fd, KEY_STORE_NEXT, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fstat(dir_fd, &above) != 0)
        return err_sys(err, "cannot make the file of keys");
    key_set_format(set, &text);
    int rc = text.failed ? err_set(err, ERR_INTERNAL, "out of memory for keys") : 0;
    if (rc == 0)
        rc = key_store_give(fd, &above, err);
    if (rc == 0)
        rc = key_store_write(fd, &text, err);
    buf_fini(&text);
    if (rc == 0 && (renameat(dir_fd, KEY_STORE_NEXT, dir_fd, KEY_STORE_FILE) != 0 || fsync(dir_fd) != 0))
        rc = err_sys(err, "cannot replace the file of keys");
    if (rc < 0)
        unlinkat(dir_fd, KEY_STORE_NEXT, 0);
    return rc;
}

/* Of two commands at a time the second waits. Closing the descriptor ends it. */
static int key_store_lock(int dir_fd, int *ret_fd, struct err *err) {
    struct stat above;
    MEM_CLOSE_FD int fd = openat(dir_fd, KEY_STORE_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fstat(dir_fd, &above) != 0)
        return err_sys(err, "cannot lock the file of keys");
    int rc = key_store_give(fd, &above, err);
    if (rc < 0)
        return rc;
    while (flock(fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return err_sys(err, "cannot lock the file of keys");
    *ret_fd = mem_steal_fd(&fd);
    return 0;
}

/* A token whose id is free. */
static void key_store_draw(const struct key_set *set, char ret_token[KEY_TOKEN_CHARS + 1]) {
    uint8_t id[KEY_ID_CHARS / 2], secret[KEY_HASH_BYTES];
    do {
        randombytes_buf(id, sizeof id);
        memcpy(ret_token, "mf_", 3);
        sodium_bin2hex(ret_token + 3, KEY_ID_CHARS + 1, id, sizeof id);
    } while (key_set_find(set, ret_token + 3));
    randombytes_buf(secret, sizeof secret);
    ret_token[3 + KEY_ID_CHARS] = '_';
    sodium_bin2base64(ret_token + 3 + KEY_ID_CHARS + 1, 44, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(secret, sizeof secret);
}

static int key_store_add(struct key_set *set, const struct key *wanted, const char *token, struct err *err) {
    struct key key = *wanted;
    memcpy(key.id, token + 3, KEY_ID_CHARS);
    key.id[KEY_ID_CHARS] = '\0';
    key_token_hash(token, KEY_TOKEN_CHARS, key.hash);
    key.created_s = (uint64_t)time(NULL);
    key.due_ns = 0;
    key.functions = wanted->functions ? strdup(wanted->functions) : NULL;
    if (wanted->functions && !key.functions)
        return err_set(err, ERR_INTERNAL, "out of memory for keys");
    int rc = key_set_add(set, &key, err);
    if (rc < 0)
        free(key.functions);
    return rc;
}

int key_store_create(const char *data_dir, const struct key *wanted, char ret_token[KEY_TOKEN_CHARS + 1],
                     struct err *err) {
    MEM_CLOSE_FD int dir_fd = -1, lock_fd = -1;
    struct key_set set = {0};
    bool exists;
    if (sodium_init() < 0)
        return err_set(err, ERR_INTERNAL, "libsodium does not start");
    int rc = key_store_make_dir(data_dir, err);
    if (rc == 0)
        rc = key_store_open_dir(data_dir, &dir_fd, err);
    if (rc == 0)
        rc = key_store_lock(dir_fd, &lock_fd, err);
    if (rc == 0)
        rc = key_store_load_at(dir_fd, &set, &exists, err);
    if (rc == 0) {
        key_store_draw(&set, ret_token);
        rc = key_store_add(&set, wanted, ret_token, err);
    }
    if (rc == 0)
        rc = key_store_save(dir_fd, &set, err);
    key_set_fini(&set);
    return rc;
}

int key_store_revoke(const char *data_dir, const char *id, struct err *err) {
    MEM_CLOSE_FD int dir_fd = -1, lock_fd = -1;
    struct key_set set = {0};
    bool exists = false;
    int rc = key_store_open_dir(data_dir, &dir_fd, err);
    if (rc == 0 && dir_fd >= 0)
        rc = key_store_lock(dir_fd, &lock_fd, err);
    if (rc == 0)
        rc = key_store_load_at(dir_fd, &set, &exists, err);
    struct key *key = rc == 0 && strlen(id) == KEY_ID_CHARS ? key_set_find(&set, id) : NULL;
    if (rc == 0 && !key)
        rc = err_set(err, ERR_NOT_FOUND, "there is no key '%.32s'; see minifaas key ls", id);
    if (rc == 0) {
        key_set_remove(&set, key);
        rc = key_store_save(dir_fd, &set, err);
    }
    key_set_fini(&set);
    return rc;
}
