#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The headers of Debian 12 know version 2 only. From <linux/landlock.h>: */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
enum { LANDLOCK_ASK_VERSION = 1, LANDLOCK_BENEATH = 1 };
struct landlock_ruleset {
    uint64_t files, ports, scopes;
};
struct landlock_beneath {
    uint64_t access;
    int32_t fd;
} __attribute__((packed));
enum {
    LANDLOCK_EXECUTE = 1 << 0,
    LANDLOCK_WRITE_FILE = 1 << 1,
    LANDLOCK_READ_FILE = 1 << 2,
    LANDLOCK_READ_DIR = 1 << 3,
    LANDLOCK_MAKE_CHAR = 1 << 6,
    LANDLOCK_MAKE_BLOCK = 1 << 11,
    LANDLOCK_REFER = 1 << 13,
    LANDLOCK_TRUNCATE = 1 << 14,
    LANDLOCK_IOCTL = 1 << 15,
    LANDLOCK_VERSION_1 = LANDLOCK_REFER - 1,
    LANDLOCK_ON_FILES = LANDLOCK_EXECUTE | LANDLOCK_WRITE_FILE | LANDLOCK_READ_FILE | LANDLOCK_TRUNCATE,
    LANDLOCK_TCP = 3,    /* bind, connect */
    LANDLOCK_SCOPES = 3, /* abstract sockets, signals */
};

int landlock_version(void) {
    static int version = -1;
    if (version < 0) {
        long answer = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_ASK_VERSION);
        version = answer > 0 ? (int)answer : 0;
    }
    return version;
}

static uint64_t landlock_known(void) {
    int version = landlock_version();
    return LANDLOCK_VERSION_1 | (version >= 2 ? LANDLOCK_REFER : 0) | (version >= 3 ? LANDLOCK_TRUNCATE : 0) |
           (version >= 5 ? LANDLOCK_IOCTL : 0);
}

int landlock_begin(bool network) {
    int version = landlock_version();
    struct landlock_ruleset set = {.files = landlock_known(),
                                   .ports = version >= 4 && !network ? LANDLOCK_TCP : 0,
                                   .scopes = version >= 6 ? LANDLOCK_SCOPES : 0};
    /* An older kernel takes a longer structure when what it does not know is zero. */
    return (int)syscall(SYS_landlock_create_ruleset, &set, sizeof set, 0);
}

bool landlock_allow(int rules_fd, const char *path, enum landlock_access access) {
    static const uint64_t rights[] = {
        [LANDLOCK_SEE] = LANDLOCK_EXECUTE | LANDLOCK_READ_FILE | LANDLOCK_READ_DIR,
        [LANDLOCK_READ] = LANDLOCK_READ_FILE,
        [LANDLOCK_WRITE] = LANDLOCK_WRITE_FILE | LANDLOCK_READ_FILE | LANDLOCK_TRUNCATE,
        [LANDLOCK_OWN] = (LANDLOCK_VERSION_1 | LANDLOCK_REFER | LANDLOCK_TRUNCATE) &
                         ~(LANDLOCK_MAKE_CHAR | LANDLOCK_MAKE_BLOCK),
    };
    struct stat status;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR;
    struct landlock_beneath rule = {.access = rights[access] & landlock_known(), .fd = fd};
    if (fstat(fd, &status) == 0 && !S_ISDIR(status.st_mode))
        rule.access &= LANDLOCK_ON_FILES;
    bool added = syscall(SYS_landlock_add_rule, rules_fd, LANDLOCK_BENEATH, &rule, 0) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return added;
}

bool landlock_enter(int rules_fd) {
    return syscall(SYS_landlock_restrict_self, rules_fd, 0) == 0;
}
