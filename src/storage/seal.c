#include "storage/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "storage/files.h"

#define SEAL_FILE_START "minifaas-secret-key-1 "
enum {
    SEAL_KEY_BYTES = crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    SEAL_START_CHARS = sizeof SEAL_FILE_START - 1,
    SEAL_FILE_BYTES = SEAL_START_CHARS + 2 * SEAL_KEY_BYTES + 1, /* with the end of the line */
};
_Static_assert(SEAL_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "XChaCha20's nonce");
_Static_assert(SEAL_TAG_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "Poly1305's tag");

struct seal {
    uint8_t key[SEAL_KEY_BYTES];
    uint8_t id[SEAL_KEY_ID_BYTES]; /* says which key without saying anything of it */
};

static struct seal *seal_new(const uint8_t key[SEAL_KEY_BYTES]) {
    static const char words[] = "minifaas secret key id";
    uint8_t hash[crypto_generichash_BYTES];
    struct seal *seal = sodium_malloc(sizeof *seal);
    if (!seal)
        return NULL;
    memcpy(seal->key, key, sizeof seal->key);
    crypto_generichash(hash, sizeof hash, (const uint8_t *)words, sizeof words - 1, key, SEAL_KEY_BYTES);
    memcpy(seal->id, hash, sizeof seal->id);
    sodium_mprotect_readonly(seal);
    return seal;
}

void seal_free(struct seal *seal) {
    if (seal)
        sodium_free(seal); /* wipes it */
}

/* ---- the file ---- */

static int seal_check_file(int fd, const char *path, struct err *err) {
    struct stat about;
    if (fstat(fd, &about) != 0)
        return err_sys(err, "cannot look at the key file '%.100s'", path);
    if (!S_ISREG(about.st_mode))
        return err_set(err, ERR_SECRETS, "the key file '%.100s' is no file", path);
    if (about.st_uid != geteuid() && about.st_uid != 0)
        return err_set(err, ERR_SECRETS, "the key file '%.100s' belongs to another user", path);
    if (about.st_mode & 077)
        return err_set(err, ERR_SECRETS,
                       "the key file '%.100s' can be read or changed by others (mode %04o): chmod 600 it",
                       path, (unsigned)about.st_mode & 07777);
    if (about.st_size != SEAL_FILE_BYTES)
        return err_set(err, ERR_SECRETS, "the key file '%.100s' holds no key", path);
    return 0;
}

static int seal_parse_file(const char *text, const char *path, struct seal **ret_seal, struct err *err) {
    uint8_t key[SEAL_KEY_BYTES];
    size_t len = 0;
    bool parsed =
        memcmp(text, SEAL_FILE_START, SEAL_START_CHARS) == 0 && text[SEAL_FILE_BYTES - 1] == '\n' &&
        sodium_hex2bin(key, sizeof key, text + SEAL_START_CHARS, 2 * SEAL_KEY_BYTES, NULL, &len, NULL) == 0 &&
        len == sizeof key;
    struct seal *seal = parsed ? seal_new(key) : NULL;
    sodium_memzero(key, sizeof key);
    if (!parsed)
        return err_set(err, ERR_SECRETS, "the key file '%.100s' holds no key", path);
    if (!seal)
        return err_set(err, ERR_INTERNAL, "no memory for the secret key");
    *ret_seal = seal;
    return 0;
}

int seal_read_key(const char *path, struct seal **ret_seal, struct err *err) {
    char text[SEAL_FILE_BYTES];
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "the key file '%.100s' is missing", path);
    if (fd < 0) {
        err_sys(err, "cannot read the key file '%.100s'", path);
        err->code = ERR_SECRETS;
        return -err->code;
    }
    int rc = seal_check_file(fd, path, err);
    if (rc == 0 && read(fd, text, sizeof text) != (ssize_t)sizeof text)
        rc = err_set(err, ERR_SECRETS, "cannot read the key file '%.100s'", path);
    if (rc == 0)
        rc = seal_parse_file(text, path, ret_seal, err);
    sodium_memzero(text, sizeof text);
    return rc;
}

static int seal_write_file(int dir_fd, const char *name, struct err *err) {
    uint8_t key[SEAL_KEY_BYTES];
    char text[SEAL_FILE_BYTES + 1] = SEAL_FILE_START, next[NAME_MAX + 1];
    char random[FILES_RANDOM_BYTES];
    files_random_name(random);
    snprintf(next, sizeof next, ".%.200s.%s", name, random);
    randombytes_buf(key, sizeof key);
    sodium_bin2hex(text + SEAL_START_CHARS, 2 * SEAL_KEY_BYTES + 1, key, sizeof key);
    text[SEAL_FILE_BYTES - 1] = '\n';
    int rc = files_write(dir_fd, next, text, SEAL_FILE_BYTES, err);
    sodium_memzero(key, sizeof key);
    sodium_memzero(text, sizeof text);
    /* A link is made only when there is none, and then it is of a whole file. */
    if (rc == 0 && linkat(dir_fd, next, dir_fd, name, 0) != 0 && errno != EEXIST)
        rc = err_sys(err, "cannot make the key file '%.100s'", name);
    unlinkat(dir_fd, next, 0);
    return rc == 0 ? files_sync(dir_fd, "the key file's directory", err) : rc;
}

int seal_make_key(const char *path, struct seal **ret_seal, struct err *err) {
    char dir[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof dir || path[len - 1] == '/')
        return err_set(err, ERR_SECRETS, "the key file's path is empty, too long or a directory's");
    memcpy(dir, path, len + 1);
    char *slash = strrchr(dir, '/');
    const char *name = slash ? path + (slash - dir) + 1 : path;
    if (slash)
        slash[slash == dir] = 0;
    MEM_CLOSE_FD int dir_fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return err_sys(err, "cannot open the directory of the key file '%.100s'", path);
    int rc = seal_write_file(dir_fd, name, err);
    return rc == 0 ? seal_read_key(path, ret_seal, err) : rc;
}

/* ---- secrets ---- */

enum { SEAL_BOUND_BYTES = 512 };

/* What the secret is bound to. The NULs keep "ab", "c" and "a", "bc" apart. */
static size_t seal_bind(const struct seal_owner *owner, uint8_t bound[SEAL_BOUND_BYTES]) {
    int len = snprintf((char *)bound, SEAL_BOUND_BYTES, "minifaas secret 1%c%s%c%s", 0, owner->function, 0,
                       owner->name);
    if (len < 0 || len >= SEAL_BOUND_BYTES)
        abort(); /* both were checked to be short */
    return (size_t)len;
}

void seal_wrap(const struct seal *seal, const struct seal_owner *owner, const uint8_t *plain, size_t len,
               uint8_t *ret_sealed) {
    uint8_t bound[SEAL_BOUND_BYTES], *nonce = ret_sealed + SEAL_KEY_ID_BYTES;
    size_t bound_len = seal_bind(owner, bound);
    memcpy(ret_sealed, seal->id, SEAL_KEY_ID_BYTES);
    randombytes_buf(nonce, SEAL_NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + SEAL_NONCE_BYTES, NULL, plain, len, bound, bound_len,
                                               NULL, nonce, seal->key);
}

int seal_unwrap(const struct seal *seal, const struct seal_owner *owner, const uint8_t *sealed, size_t len,
                uint8_t *ret_plain, struct err *err) {
    uint8_t bound[SEAL_BOUND_BYTES];
    const uint8_t *nonce = sealed + SEAL_KEY_ID_BYTES;
    size_t bound_len = seal_bind(owner, bound);
    if (len < SEAL_OVERHEAD)
        return err_set(err, ERR_SECRETS, "the secret '%s' is damaged", owner->name);
    if (memcmp(sealed, seal->id, SEAL_KEY_ID_BYTES) != 0)
        return err_set(err, ERR_SECRETS, "the secret '%s' was sealed with another key", owner->name);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret_plain, NULL, NULL, nonce + SEAL_NONCE_BYTES,
                                                   len - SEAL_KEY_ID_BYTES - SEAL_NONCE_BYTES, bound,
                                                   bound_len, nonce, seal->key) != 0)
        return err_set(err, ERR_SECRETS, "the secret '%s' is damaged", owner->name);
    return 0;
}
