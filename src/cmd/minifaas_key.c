/* minifaas key create|ls|revoke: works on the file of keys in the data directory; a running instance sees it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/config.h"
#include "cmd/minifaas.h"
#include "keys/key_store.h"

static const char key_usage[] =
    "usage: minifaas key create --scope SCOPE[,SCOPE]... [--name NAME] [--rate N [--burst N]]\n"
    "                           [--function NAME[,NAME]...]\n"
    "       minifaas key ls\n"
    "       minifaas key revoke ID...\n"
    "       each with [--data-dir DIR]\n"
    "\n"
    "create prints a new key on stdout, this once: only its hash is kept. Scopes: deploy, invoke, read, "
    "admin (all).\n"
    "--rate: requests a second, 1 to 1000000, then 429; --burst: how many at once (as --rate). --function: "
    "for these\n"
    "alone. As soon as there was a key, every request but /healthz and /readyz needs one, sent as\n"
    "`Authorization: Bearer KEY` or `X-API-Key: KEY`. A running instance follows at once.\n";

static int key_fail(const struct err *err) {
    fprintf(stderr, "minifaas: %s\n", err->msg);
    return err_exit_status(err->code);
}

static int key_parse_count(const char *flag, const char *value, uint32_t *ret_number, struct err *err) {
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || number == 0 || number > KEY_RATE_MAX)
        return err_set(err, ERR_BAD_REQUEST, "%s takes a whole number from 1 to %d", flag, KEY_RATE_MAX);
    *ret_number = (uint32_t)number;
    return 0;
}

/* One --flag of create. Functions may come in several. */
static int key_set_flag(struct key *key, struct buf *functions, const char *flag, const char *value,
                        struct err *err) {
    size_t len = strlen(value);
    int rc;
    if (strcmp(flag, "--scope") == 0) {
        uint32_t scopes = 0;
        rc = key_scopes_parse(value, len, &scopes, err);
        key->scopes |= scopes;
        return rc;
    }
    if (strcmp(flag, "--name") == 0) {
        rc = key_name_check(value, len, err);
        if (rc == 0)
            memcpy(key->name, value, len + 1);
        return rc;
    }
    if (strcmp(flag, "--rate") == 0)
        return key_parse_count(flag, value, &key->rate, err);
    if (strcmp(flag, "--burst") == 0)
        return key_parse_count(flag, value, &key->burst, err);
    if (strcmp(flag, "--function") != 0)
        return err_set(err, ERR_BAD_REQUEST, "unknown argument '%.64s'; see minifaas key", flag);
    if (functions->len)
        buf_append_str(functions, ",");
    buf_append_str(functions, value);
    return key_functions_check((const char *)functions->data, functions->len, err);
}

static int key_parse_create(int argc, char **argv, struct key *key, struct buf *functions, struct err *err) {
    for (int at = 1; at < argc; at += 2) {
        if (at + 1 == argc)
            return err_set(err, ERR_BAD_REQUEST, "%.64s: unknown, or it wants a value; see minifaas key",
                           argv[at]);
        int rc = key_set_flag(key, functions, argv[at], argv[at + 1], err);
        if (rc < 0)
            return rc;
    }
    if (key->scopes == 0)
        return err_set(err, ERR_BAD_REQUEST,
                       "--scope is missing: deploy, invoke, read, admin, or several of them");
    if (key->burst && !key->rate)
        return err_set(err, ERR_BAD_REQUEST, "--burst is of no use without --rate");
    if (!key->burst)
        key->burst = key->rate;
    buf_append(functions, "", 1);
    if (functions->failed)
        return err_set(err, ERR_INTERNAL, "out of memory");
    if (functions->len > 1)
        key->functions = (char *)functions->data;
    return 0;
}

static int key_create(const struct config *config, int argc, char **argv, struct err *err) {
    struct key key = {0};
    struct buf functions = {0};
    char token[KEY_TOKEN_CHARS + 1];
    int rc = key_parse_create(argc, argv, &key, &functions, err);
    if (rc == 0)
        rc = key_store_create(config->data_dir, &key, token, err);
    buf_fini(&functions);
    if (rc < 0)
        return rc;
    fprintf(stderr, "key %.*s in %s; this is shown once:\n", KEY_ID_CHARS, token + 3, config->data_dir);
    printf("%s\n", token);
    return 0;
}

static int key_compare_age(const void *left, const void *right) {
    const struct key *a = left, *b = right;
    return (a->created_s > b->created_s) - (a->created_s < b->created_s);
}

static void key_print(const struct key *key) {
    char created[32] = "", rate[32] = "-";
    struct buf scopes = {0};
    struct tm tm;
    time_t seconds = (time_t)key->created_s;
    if (gmtime_r(&seconds, &tm))
        strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (key->rate)
        snprintf(rate, sizeof rate, "%u/s,%u", key->rate, key->burst);
    key_scopes_append(key->scopes, &scopes);
    buf_append(&scopes, "", 1);
    printf("%-9s %-20s %-25s %-16s %-16s %s\n", key->id, created, scopes.data ? (char *)scopes.data : "",
           rate, *key->name ? key->name : "-", key->functions ? key->functions : "all");
    buf_fini(&scopes);
}

static int key_ls(const struct config *config, int argc, char **argv, struct err *err) {
    struct key_set set;
    bool exists;
    (void)argv;
    if (argc > 1)
        return err_set(err, ERR_BAD_REQUEST, "ls takes no argument");
    int rc = key_store_load(config->data_dir, &set, &exists, err);
    if (rc < 0)
        return rc;
    printf("%-9s %-20s %-25s %-16s %-16s %s\n", "ID", "CREATED", "SCOPES", "RATE,BURST", "NAME", "FUNCTIONS");
    if (set.count)
        qsort(set.keys, set.count, sizeof *set.keys, key_compare_age);
    for (size_t i = 0; i < set.count; i++)
        key_print(&set.keys[i]);
    key_set_fini(&set);
    return 0;
}

static int key_revoke(const struct config *config, int argc, char **argv, struct err *err) {
    if (argc < 2)
        return err_set(err, ERR_BAD_REQUEST, "revoke wants the id of a key; see minifaas key ls");
    for (int at = 1; at < argc; at++) {
        int rc = key_store_revoke(config->data_dir, argv[at], err);
        if (rc < 0)
            return rc;
        fprintf(stderr, "key %s is revoked\n", argv[at]);
    }
    struct key_set set;
    bool exists;
    int rc = key_store_load(config->data_dir, &set, &exists, err);
    if (rc < 0)
        return rc;
    if (set.count == 0)
        fprintf(stderr,
                "no key is left: every request is refused until one is made, or %s/%s/%s is removed\n",
                config->data_dir, KEY_STORE_DIR, KEY_STORE_FILE);
    key_set_fini(&set);
    return 0;
}

int minifaas_key(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(const struct config *config, int argc, char **argv, struct err *err);
    } verbs[] = {{"create", key_create}, {"ls", key_ls}, {"revoke", key_revoke}};
    struct config config;
    struct err err;
    if (config_load(&config, &argc, argv, &err) < 0)
        return key_fail(&err);
    for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(argv[1], verbs[i].name) != 0)
            continue;
        return verbs[i].run(&config, argc - 1, argv + 1, &err) < 0 ? key_fail(&err) : 0;
    }
    if (argc > 1)
        fprintf(stderr, "minifaas: unknown verb '%.64s' of key\n", argv[1]);
    fputs(key_usage, argc > 1 ? stderr : stdout);
    return argc > 1 ? 2 : 0;
}
