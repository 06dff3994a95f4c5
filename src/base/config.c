#include "base/config.h"

#include <ctype.h>
#include <stdbool.h>
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <strings.h>

enum { CONFIG_NAME_BYTES = 64, CONFIG_LINE_BYTES = 2048, CONFIG_WEIGHT_MAX = 1000 };
#define CONFIG_FILE "/etc/minifaas/minifaas.conf"
#define CONFIG_FILE_VARIABLE "FAAS_CONFIG"

struct config_row {
    const char *variable;
    const char *doc;
    const char *text_default; /* NULL: a number */
    int64_t number_default, min, max;
    size_t offset;
};

static const struct config_row config_rows[] = {
#define CONFIG_TEXT(field, name, fallback, text)                                                             \
    {.variable = (name), .doc = (text), .text_default = (fallback), .offset = offsetof(struct config, field)},
    CONFIG_TEXTS(CONFIG_TEXT)
#undef CONFIG_TEXT
#define CONFIG_NUMBER(field, name, fallback, low, high, text)                                                \
    {.variable = (name),                                                                                     \
     .doc = (text),                                                                                          \
     .number_default = (fallback),                                                                           \
     .min = (low),                                                                                           \
     .max = (high),                                                                                          \
     .offset = offsetof(struct config, field)},
        CONFIG_NUMBERS(CONFIG_NUMBER)
#undef CONFIG_NUMBER
};
enum { CONFIG_ROWS = sizeof config_rows / sizeof config_rows[0], CONFIG_TEXT_BYTES = 1024 };

static char *config_text(struct config *config, const struct config_row *row) {
    return (char *)config + row->offset;
}

static int64_t *config_number(struct config *config, const struct config_row *row) {
    return (int64_t *)(void *)((char *)config + row->offset);
}

/* FAAS_DATA_DIR as a flag (data-dir) or as a key of the file (data_dir). */
static void config_name(const char *variable, char separator, char ret_name[CONFIG_NAME_BYTES]) {
    size_t len = 0;
    for (const char *c = variable + strlen("FAAS_"); *c && len + 1 < CONFIG_NAME_BYTES; c++)
        ret_name[len++] = *c == '_' ? separator : (char)tolower((unsigned char)*c);
    ret_name[len] = 0;
}

static const struct config_row *config_find(const char *name, size_t len, char separator) {
    for (size_t i = 0; i < CONFIG_ROWS; i++) {
        char known[CONFIG_NAME_BYTES];
        config_name(config_rows[i].variable, separator, known);
        if (strlen(known) == len && memcmp(known, name, len) == 0)
            return &config_rows[i];
    }
    return NULL;
}

static int config_parse_number(const char *text, int64_t *ret_number) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || isspace((unsigned char)*text))
        return -1;
    *ret_number = number;
    return 0;
}

/* `origin` is what the user wrote the value in: "--workers", "FAAS_WORKERS", "x.conf:3: workers". An empty
 * value counts as not given. */
static int config_set(struct config *config, const struct config_row *row, const char *value,
                      const char *origin, struct err *err) {
    if (!*value)
        return 0;
    if (row->text_default) {
        if (strlen(value) >= CONFIG_TEXT_BYTES)
            return err_set(err, ERR_BAD_REQUEST, "%s: longer than %d bytes", origin, CONFIG_TEXT_BYTES - 1);
        memcpy(config_text(config, row), value, strlen(value) + 1);
        return 0;
    }
    int64_t number;
    if (config_parse_number(value, &number) != 0)
        return err_set(err, ERR_BAD_REQUEST, "%s: '%.64s' is no number", origin, value);
    if (number < row->min || number > row->max)
        return err_set(err, ERR_BAD_REQUEST, "%s: %lld is not in %lld..%lld", origin, (long long)number,
                       (long long)row->min, (long long)row->max);
    *config_number(config, row) = number;
    return 0;
}

static void config_set_defaults(struct config *config) {
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < CONFIG_ROWS; i++)
        if (config_rows[i].text_default)
            snprintf(config_text(config, &config_rows[i]), CONFIG_TEXT_BYTES, "%s",
                     config_rows[i].text_default);
        else
            *config_number(config, &config_rows[i]) = config_rows[i].number_default;
}

static char *config_trim(char *text) {
    while (isspace((unsigned char)*text))
        text++;
    size_t len = strlen(text);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        text[--len] = 0;
    return text;
}

static int config_read_line(struct config *config, char *line, const char *where, struct err *err) {
    char *text = config_trim(line);
    if (!*text || *text == '#')
        return 0;
    char *equals = strchr(text, '=');
    if (!equals)
        return err_set(err, ERR_BAD_REQUEST, "%s: '%.64s' is no 'key = value'", where, text);
    *equals = 0;
    const char *key = config_trim(text);
    const struct config_row *row = config_find(key, strlen(key), '_');
    if (!row)
        return err_set(err, ERR_BAD_REQUEST, "%s: unknown key '%.64s'", where, key);
    char origin[256];
    snprintf(origin, sizeof origin, "%s: %s", where, key);
    return config_set(config, row, config_trim(equals + 1), origin, err);
}

static int config_read_file(struct config *config, const char *path, bool must_exist, struct err *err) {
    FILE *file = fopen(path, "re");
    if (!file) {
        if (errno == ENOENT && !must_exist)
            return 0;
        err_sys(err, "cannot read the configuration file '%.100s'", path);
        err->code = ERR_BAD_REQUEST;
        return -ERR_BAD_REQUEST;
    }
    char line[CONFIG_LINE_BYTES];
    int rc = 0;
    for (int number = 1; rc == 0 && fgets(line, sizeof line, file); number++) {
        char where[160];
        snprintf(where, sizeof where, "%.120s:%d", path, number);
        if (!strchr(line, '\n') && !feof(file))
            rc = err_set(err, ERR_BAD_REQUEST, "%s: the line is longer than %d bytes", where,
                         CONFIG_LINE_BYTES - 2);
        else
            rc = config_read_line(config, line, where, err);
    }
    if (rc == 0 && ferror(file))
        rc = err_set(err, ERR_BAD_REQUEST, "cannot read the configuration file '%.100s'", path);
    fclose(file);
    return rc;
}

static int config_read_environment(struct config *config, struct err *err) {
    for (size_t i = 0; i < CONFIG_ROWS; i++) {
        const char *value = getenv(config_rows[i].variable);
        if (!value)
            continue;
        int rc = config_set(config, &config_rows[i], value, config_rows[i].variable, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* One pass over the flags that the table knows. With a config they are set; without one only --config is
 * looked for. `keep` collects the arguments that are left. */
struct config_flags {
    struct config *config; /* NULL: the first pass */
    const char *file;      /* what --config says, or NULL */
    int at, count;         /* in argv */
    char **argv;
    int kept;
};

static bool config_is_switch(const struct config_row *row) {
    return !row->text_default && row->min == 0 && row->max == 1;
}

static int config_read_flag(struct config_flags *flags, struct err *err) {
    char *argument = flags->argv[flags->at];
    char *name = argument + 2;
    size_t len = strcspn(name, "=");
    bool is_file = len == strlen("config") && memcmp(name, "config", len) == 0;
    const struct config_row *row = config_find(name, len, '-');
    if (!row && !is_file) {
        flags->argv[flags->kept++] = argument;
        return 0;
    }
    const char *value = name + len + 1;
    const char *next = flags->at + 1 < flags->count ? flags->argv[flags->at + 1] : "";
    if (name[len] != '=' && row && config_is_switch(row) && strcmp(next, "0") != 0 &&
        strcmp(next, "1") != 0) {
        value = "1";
    } else if (name[len] != '=') {
        if (flags->at + 1 >= flags->count)
            return err_set(err, ERR_BAD_REQUEST, "%s wants a value", argument);
        value = flags->argv[++flags->at];
    }
    if (is_file) {
        flags->file = value;
        return 0;
    }
    if (!flags->config)
        return 0;
    char origin[CONFIG_NAME_BYTES + 2];
    snprintf(origin, sizeof origin, "--%.*s", (int)len, name);
    return config_set(flags->config, row, value, origin, err);
}

static int config_read_flags(struct config_flags *flags, struct err *err) {
    flags->kept = flags->count > 0 ? 1 : 0;
    for (flags->at = flags->kept; flags->at < flags->count; flags->at++) {
        char *argument = flags->argv[flags->at];
        if (strcmp(argument, "--") == 0)
            break;
        if (strncmp(argument, "--", 2) == 0) {
            int rc = config_read_flag(flags, err);
            if (rc < 0)
                return rc;
        } else {
            flags->argv[flags->kept++] = argument;
        }
    }
    for (; flags->at < flags->count; flags->at++)
        flags->argv[flags->kept++] = flags->argv[flags->at];
    return 0;
}

/* The first pass must leave argv as it is. */
static int config_find_file(int argc, char **argv, const char **ret_file, struct err *err) {
    char **copy = calloc((size_t)argc + 1, sizeof *copy);
    if (!copy)
        return err_set(err, ERR_INTERNAL, "out of memory");
    memcpy(copy, argv, (size_t)argc * sizeof *copy);
    struct config_flags flags = {.argv = copy, .count = argc};
    int rc = config_read_flags(&flags, err);
    *ret_file = flags.file;
    free(copy);
    return rc;
}

static int config_check_strategy(struct config *config, struct err *err) {
    static const char *const known[] = {"RR", "FIFO", "WEIGHTED"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcasecmp(config->strategy, known[i]) == 0) {
            snprintf(config->strategy, sizeof config->strategy, "%s", known[i]);
            return 0;
        }
    return err_set(err, ERR_BAD_REQUEST, "strategy '%.64s' is none of RR, FIFO, WEIGHTED", config->strategy);
}

static int config_check_weights(const struct config *config, struct err *err) {
    for (const char *at = config->weights; *at;) {
        char *end;
        long weight = isdigit((unsigned char)*at) ? strtol(at, &end, 10) : 0;
        if (weight < 1 || weight > CONFIG_WEIGHT_MAX || (*end && (*end != ',' || !end[1])))
            return err_set(err, ERR_BAD_REQUEST, "weights '%.64s' are not numbers of 1..%d, comma between",
                           config->weights, CONFIG_WEIGHT_MAX);
        at = *end ? end + 1 : end;
    }
    return 0;
}

/* A Node.js process that serves small calls takes about 64 MiB. */
static int64_t config_count_processes(void) {
    int64_t fit = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / (64 << 20);
    return fit < 8 ? 8 : fit > 256 ? 256 : fit;
}

static int config_check(struct config *config, struct err *err) {
    if (config->processes_max < 0)
        config->processes_max = config_count_processes();
    if (config->workers_max < 0) {
        cpu_set_t cpus;
        int cores = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
        config->workers_max = cores * 4 > 64 ? 64 : cores * 4;
        if (config->workers_max < config->workers)
            config->workers_max = config->workers;
    }
    if (config->workers_max < config->workers)
        return err_set(err, ERR_BAD_REQUEST, "workers_max (%lld) is less than workers (%lld)",
                       (long long)config->workers_max, (long long)config->workers);
    if (*config->egress_hosts && access(config->egress_hosts, R_OK) != 0)
        return err_set(err, ERR_BAD_REQUEST, "egress_hosts: cannot read '%.100s'", config->egress_hosts);
    int rc = config_check_strategy(config, err);
    return rc < 0 ? rc : config_check_weights(config, err);
}

int config_load(struct config *ret_config, int *argc, char **argv, struct err *err) {
    struct config config;
    config_set_defaults(&config);
    const char *file = NULL;
    int rc = config_find_file(*argc, argv, &file, err);
    if (rc < 0)
        return rc;
    if (!file || !*file)
        file = getenv(CONFIG_FILE_VARIABLE);
    bool named = file && *file;
    rc = config_read_file(&config, named ? file : CONFIG_FILE, named, err);
    if (rc == 0)
        rc = config_read_environment(&config, err);
    struct config_flags flags = {.config = &config, .argv = argv, .count = *argc};
    if (rc == 0)
        rc = config_read_flags(&flags, err);
    if (rc == 0)
        rc = config_check(&config, err);
    if (rc < 0)
        return rc;
    *argc = flags.kept;
    argv[flags.kept] = NULL;
    *ret_config = config;
    return 0;
}

void config_print_help(void) {
    printf("Settings: flag > environment > configuration file (--config, FAAS_CONFIG, else\n"
           "%s; lines `key = value`) > default.\n",
           CONFIG_FILE);
    for (size_t i = 0; i < CONFIG_ROWS; i++) {
        const struct config_row *row = &config_rows[i];
        char name[CONFIG_NAME_BYTES];
        config_name(row->variable, '-', name);
        printf("  --%-24s %-28s %s", name, row->variable, row->doc);
        if (row->text_default && *row->text_default)
            printf(" (%s)\n", row->text_default);
        else if (!row->text_default && row->number_default >= 0)
            printf(" (%lld)\n", (long long)row->number_default);
        else
            printf("\n");
    }
}

int config_export(const struct config *config, struct err *err) {
    struct config copy = *config;
    for (size_t i = 0; i < CONFIG_ROWS; i++) {
        const struct config_row *row = &config_rows[i];
        char number[32];
        snprintf(number, sizeof number, "%lld",
                 row->text_default ? 0LL : (long long)*config_number(&copy, row));
        if (setenv(row->variable, row->text_default ? config_text(&copy, row) : number, 1) != 0)
            return err_sys(err, "setenv");
    }
    /* The file has been read; a part that is started again must not see what was written to it since. */
    if (setenv(CONFIG_FILE_VARIABLE, "/dev/null", 1) != 0)
        return err_sys(err, "setenv");
    return 0;
}
