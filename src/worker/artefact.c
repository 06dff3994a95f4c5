#include "worker/artefact.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

int artefact_id_check(const char *id, struct err *err) {
    size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    if (len == 0 || id[len] || len > ARTEFACT_ID_MAX)
        return err_set(err, ERR_BAD_REQUEST, "'%.100s' is no id of a function", id);
    return 0;
}

static int artefact_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int artefact_hash_parse(const char *hex, size_t len, uint8_t ret_hash[ARTEFACT_HASH_BYTES], struct err *err) {
    if (len != 2 * ARTEFACT_HASH_BYTES)
        return err_set(err, ERR_BAD_REQUEST, "a hash of %zu digits", len);
    uint8_t hash[ARTEFACT_HASH_BYTES];
    for (size_t i = 0; i < ARTEFACT_HASH_BYTES; i++) {
        int high = artefact_digit(hex[2 * i]), low = artefact_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return err_set(err, ERR_BAD_REQUEST, "a hash that is not hexadecimal");
        hash[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_hash, hash, sizeof hash);
    return 0;
}

static int artefact_check(const struct artefact_name *name, const struct buf *bytes, struct err *err) {
    uint8_t hash[ARTEFACT_HASH_BYTES];
    size_t key_len = strlen(name->engine);
    bool failed = key_len < crypto_generichash_KEYBYTES_MIN || key_len > crypto_generichash_KEYBYTES_MAX ||
                  crypto_generichash(hash, sizeof hash, bytes->data, bytes->len,
                                     (const uint8_t *)name->engine, key_len) != 0;
    if (failed || sodium_memcmp(hash, name->hash, sizeof hash) != 0)
        return err_set(err, ERR_ARTEFACT, "the native code of '%s' is damaged", name->id);
    return 0;
}

static int artefact_read_file(int fd, const struct artefact_name *name, size_t bytes_max,
                              struct buf *ret_bytes, struct err *err) {
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return err_sys(err, "cannot look at the native code of '%s'", name->id);
    if (!S_ISREG(stat.st_mode) || stat.st_size <= 0 || (uint64_t)stat.st_size > bytes_max)
        return err_set(err, ERR_ARTEFACT, "the native code of '%s' is no file of a sensible size", name->id);
    size_t size = (size_t)stat.st_size;
    if (!buf_reserve(ret_bytes, size))
        return err_set(err, ERR_INTERNAL, "no memory for the native code of '%s'", name->id);
    while (ret_bytes->len < size) {
        ssize_t got = read(fd, ret_bytes->data + ret_bytes->len, size - ret_bytes->len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, "cannot read the native code of '%s'", name->id);
        if (got == 0)
            return err_set(err, ERR_ARTEFACT, "the native code of '%s' became shorter", name->id);
        ret_bytes->len += (size_t)got;
    }
    return 0;
}

int artefact_read(const char *data_dir, const struct artefact_name *name, size_t bytes_max,
                  struct buf *ret_bytes, struct err *err) {
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/%s/code.cwasm", data_dir, name->id);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_IO, "the data directory's path is too long");
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        err_sys(err, "cannot open the native code of '%s'", name->id);
        if (err->sys_errno == ENOENT || err->sys_errno == ENOTDIR || err->sys_errno == ELOOP)
            err->code = ERR_ARTEFACT;
        return -err->code;
    }
    int result = artefact_read_file(fd, name, bytes_max, ret_bytes, err);
    return result < 0 ? result : artefact_check(name, ret_bytes, err);
}
