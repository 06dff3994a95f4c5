/* The configuration file, and flags: whatever they say, the settings that come out are within their ranges,
 * or the message says what is wrong. Input: flags, each ended by a NUL byte, up to an empty one, then the
 * file. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/config.h"
#include "check.h"

enum { FUZZ_FLAGS_MAX = 6 };

static void fuzz_check_config(struct config *config) {
#define FUZZ_NUMBER(field, variable, fallback, min, max, doc)                                                \
    CHECK(config->field >= (min) && config->field <= (max));
    CONFIG_NUMBERS(FUZZ_NUMBER)
#undef FUZZ_NUMBER
#define FUZZ_TEXT(field, variable, fallback, doc) CHECK(memchr(config->field, 0, sizeof config->field));
    CONFIG_TEXTS(FUZZ_TEXT)
#undef FUZZ_TEXT
    CHECK(config->workers_max >= config->workers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("config", 0);
        CHECK(fd >= 0);
        snprintf(path, sizeof path, "--config=/proc/self/fd/%d", fd);
    }
    char *text = malloc(size + 1), *argv[FUZZ_FLAGS_MAX + 3] = {(char *)"fuzz", path};
    CHECK(text);
    memcpy(text, data, size);
    text[size] = '\0';
    int argc = 2;
    size_t at = 0;
    while (at < size && text[at] && argc < FUZZ_FLAGS_MAX + 2) {
        argv[argc++] = text + at;
        at += strlen(text + at) + 1;
    }
    at += at < size;
    if (at > size)
        at = size;
    CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, text + at, size - at, 0) == (ssize_t)(size - at));
    struct config config;
    struct err err = {0};
    int before = argc, rc = config_load(&config, &argc, argv, &err);
    if (rc == 0) {
        CHECK(argc <= before && argv[argc] == NULL);
        fuzz_check_config(&config);
    } else {
        CHECK(rc == -err.code && err.msg[0] && memchr(err.msg, 0, sizeof err.msg));
    }
    free(text);
    return 0;
}
