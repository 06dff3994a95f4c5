#include "keys/keyring.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "keys/key_store.h"

/* How often to read the file where the system has no inotify instance left for us. */
#define KEYRING_POLL_NS CLOCK_NS_PER_S

struct keyring {
    struct keyring_config config;
    struct key_set set;
    bool exists; /* the file */
    uint32_t generation;
    struct loop_watch watch; /* inotify, or -1 */
    struct loop_timer poll;
};

static uint32_t keyring_next(uint32_t generation) {
    return generation + 1 ? generation + 1 : 1;
}

/* What was used up of a key's rate stays so. */
static void keyring_keep_rates(const struct key_set *before, struct key_set *after) {
    for (size_t i = 0; i < after->count; i++) {
        const struct key *same = key_set_find(before, after->keys[i].id);
        if (same)
            after->keys[i].due_ns = same->due_ns;
    }
}

static int keyring_load(struct keyring *keyring, struct err *err) {
    struct key_set set = {0};
    bool exists;
    int rc = key_store_load(keyring->config.data_dir, &set, &exists, err);
    if (rc < 0)
        return rc;
    keyring_keep_rates(&keyring->set, &set);
    key_set_fini(&keyring->set);
    keyring->set = set;
    keyring->exists = exists;
    keyring->generation = keyring_next(keyring->generation);
    return 0;
}

static void keyring_log(const struct keyring *keyring) {
    if (keyring->exists)
        log_event("keys: %zu; every request but /healthz and /readyz needs one", keyring->set.count);
    else
        log_event("keys: none; %s",
                  keyring->config.may_be_open ? "everybody may do everything" : "every request is refused");
}

static void keyring_watch(struct keyring *keyring);

static void keyring_reload(struct keyring *keyring) {
    struct err err;
    if (keyring_load(keyring, &err) < 0)
        log_event("%s; the keys that were known stay in force", err.msg);
    else
        keyring_log(keyring);
}

/* All that is to be read is one change. */
static void keyring_on_change(struct loop_watch *watch, uint32_t events) {
    _Alignas(struct inotify_event) char buffer[4096];
    bool changed = false, lost = false;
    struct keyring *keyring = watch->context;
    (void)events;
    ssize_t got;
    while ((got = read(watch->fd, buffer, sizeof buffer)) > 0) {
        const struct inotify_event *event;
        for (char *at = buffer; at < buffer + got; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)(const void *)at;
            changed |= event->len == 0 || strcmp(event->name, KEY_STORE_FILE) == 0;
            lost |= (event->mask & (IN_IGNORED | IN_MOVE_SELF)) != 0;
        }
    }
    if (lost) {
        loop_unwatch(keyring->config.loop, watch);
        mem_close_fd(&watch->fd);
        keyring_watch(keyring);
    }
    if (changed)
        keyring_reload(keyring);
}

static void keyring_on_poll(struct loop_timer *timer) {
    struct keyring *keyring = timer->context;
    struct err err;
    if (keyring_load(keyring, &err) < 0)
        log_event("%s; the keys that were known stay in force", err.msg);
    loop_arm(keyring->config.loop, timer, KEYRING_POLL_NS);
}

static int keyring_try_watch(struct keyring *keyring, struct err *err) {
    static const uint32_t changes =
        IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
    char path[4096];
    int rc = key_store_make_dir(keyring->config.data_dir, err);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%s/" KEY_STORE_DIR, keyring->config.data_dir);
    MEM_CLOSE_FD int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0 || inotify_add_watch(fd, path, changes) < 0)
        return err_sys(err, "inotify");
    keyring->watch = (struct loop_watch){.fd = fd, .on_event = keyring_on_change, .context = keyring};
    rc = loop_watch(keyring->config.loop, &keyring->watch, EPOLLIN, err);
    if (rc == 0)
        mem_steal_fd(&fd);
    else
        keyring->watch.fd = -1;
    return rc;
}

static void keyring_watch(struct keyring *keyring) {
    struct err err;
    if (keyring_try_watch(keyring, &err) == 0)
        return;
    log_event("keys: %s; changes are seen within a second", err.msg);
    keyring->poll = (struct loop_timer){.on_timer = keyring_on_poll, .context = keyring};
    loop_arm(keyring->config.loop, &keyring->poll, KEYRING_POLL_NS);
}

int keyring_new(const struct keyring_config *config, struct keyring **ret_keyring, struct err *err) {
    if (sodium_init() < 0)
        return err_set(err, ERR_INTERNAL, "libsodium does not start");
    struct keyring *keyring = mem_zalloc(sizeof *keyring);
    keyring->config = *config;
    keyring->watch.fd = -1;
    /* Watched before it is read: no change falls between. */
    keyring_watch(keyring);
    int rc = keyring_load(keyring, err);
    if (rc < 0) {
        keyring_free(keyring);
        return rc;
    }
    if (keyring->exists || !config->may_be_open)
        keyring_log(keyring);
    *ret_keyring = keyring;
    return 0;
}

void keyring_free(struct keyring *keyring) {
    if (!keyring)
        return;
    loop_unwatch(keyring->config.loop, &keyring->watch);
    mem_close_fd(&keyring->watch.fd);
    if (keyring->poll.armed)
        loop_disarm(keyring->config.loop, &keyring->poll);
    key_set_fini(&keyring->set);
    free(keyring);
}

bool keyring_is_open(const struct keyring *keyring) {
    return !keyring->exists && keyring->config.may_be_open;
}

size_t keyring_count(const struct keyring *keyring) {
    return keyring->set.count;
}

/* In constant time, a word at a time: sodium_memcmp goes by bytes, which is 20 times as long on the path of a
 * call. */
static bool keyring_is_same(const char a[KEY_TOKEN_CHARS], const char b[KEY_TOKEN_CHARS]) {
    uint64_t left[(KEY_TOKEN_CHARS + 7) / 8] = {0}, right[(KEY_TOKEN_CHARS + 7) / 8] = {0}, differ = 0;
    memcpy(left, a, KEY_TOKEN_CHARS);
    memcpy(right, b, KEY_TOKEN_CHARS);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        differ |= left[i] ^ right[i];
        __asm__("" : "+r"(differ)); /* no compiler may see that it could stop here */
    }
    return differ == 0;
}

struct key *keyring_find(struct keyring *keyring, struct keyring_session *session, const char *token,
                         size_t len) {
    static const uint8_t nobodys[KEY_HASH_BYTES];
    uint8_t hash[KEY_HASH_BYTES];
    const char *id;
    if (len != KEY_TOKEN_CHARS)
        return NULL;
    if (session->generation == keyring->generation && keyring_is_same(session->token, token))
        return &keyring->set.keys[session->index];
    if (!key_token_split(token, len, &id))
        return NULL;
    struct key *key = key_set_find(&keyring->set, id);
    key_token_hash(token, len, hash);
    if (sodium_memcmp(hash, key ? key->hash : nobodys, sizeof hash) != 0 || !key)
        return NULL;
    session->generation = keyring->generation;
    session->index = (uint32_t)(key - keyring->set.keys);
    memcpy(session->token, token, len);
    return key;
}

/* The generic cell rate algorithm: one number a key says how far ahead of its rate it is. */
uint64_t keyring_count_request(struct key *key, uint64_t now_ns) {
    if (key->rate == 0)
        return 0;
    uint64_t interval_ns = CLOCK_NS_PER_S / key->rate;
    uint64_t due_ns = key->due_ns > now_ns ? key->due_ns : now_ns;
    uint64_t ahead_ns = due_ns + interval_ns - now_ns, most_ns = interval_ns * key->burst;
    if (ahead_ns > most_ns)
        return ahead_ns - most_ns;
    key->due_ns = due_ns + interval_ns;
    return 0;
}
