#include "sandbox/cgroup_find.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/mem.h"

/* Is `word` one of the words of text, between separators? */
static bool cgroup_find_word(const char *text, const char *separators, const char *word) {
    size_t word_len = strlen(word);
    while (*text) {
        size_t len = strcspn(text, separators);
        if (len == word_len && memcmp(text, word, len) == 0)
            return true;
        text += len;
        text += strspn(text, separators);
    }
    return false;
}

bool cgroup_find_path(const char *line, const char *controller, int version, char *ret_path, size_t size) {
    const char *names = strchr(line, ':');
    const char *path = names ? strchr(names + 1, ':') : NULL;
    if (!path)
        return false;
    char list[128];
    size_t list_len = (size_t)(path - names - 1);
    if (list_len >= sizeof list)
        return false;
    memcpy(list, names + 1, list_len);
    list[list_len] = 0;
    if (version == 2 ? strncmp(line, "0::", 3) != 0 : !cgroup_find_word(list, ",", controller))
        return false;
    int used = snprintf(ret_path, size, "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
    return used > 0 && (size_t)used < size;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void cgroup_find_unescape(char *text) {
    char *out = text;
    for (const char *in = text; *in; out++) {
        if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] && in[3]) {
            *out = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
            in += 4;
        } else {
            *out = *in++;
        }
    }
    *out = 0;
}

bool cgroup_find_mount(const char *line, const char *controller, int version, const char *path, char *ret_dir,
                       size_t size) {
    char root[PATH_MAX], mount[PATH_MAX], type[32], options[512];
    const char *rest = strstr(line, " - ");
    if (!rest || strlen(line) >= PATH_MAX || sscanf(line, "%*s %*s %*s %s %s", root, mount) != 2 ||
        sscanf(rest + 3, "%31s %*s %511s", type, options) != 2)
        return false;
    if (strcmp(type, version == 2 ? "cgroup2" : "cgroup") != 0)
        return false;
    if (version == 1 && !cgroup_find_word(options, ",", controller))
        return false;
    cgroup_find_unescape(root);
    cgroup_find_unescape(mount);
    /* Only a part of the hierarchy may be mounted here, with our group in it or not. */
    size_t root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(path, root, root_len) != 0 || (path[root_len] && path[root_len] != '/'))
        return false;
    const char *below = path + root_len;
    int used = snprintf(ret_dir, size, "%s%s", mount, strcmp(below, "/") == 0 ? "" : below);
    return used > 0 && (size_t)used < size;
}

static bool cgroup_find_has_controller(const char *dir, const char *controller) {
    char path[PATH_MAX + 32], text[512];
    snprintf(path, sizeof path, "%s/cgroup.controllers", dir);
    MEM_CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (len < 0)
        return false;
    text[len] = 0;
    return cgroup_find_word(text, " \n", controller);
}

bool cgroup_find(const char *controller, int version, char *ret_dir, size_t size) {
    char path[PATH_MAX], *line = NULL;
    size_t line_size = 0;
    bool found = false;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && !found && getline(&line, &line_size, file) > 0)
        found = cgroup_find_path(line, controller, version, path, sizeof path);
    if (file)
        fclose(file);
    file = found ? fopen("/proc/self/mountinfo", "re") : NULL;
    found = false;
    while (file && !found && getline(&line, &line_size, file) > 0)
        found = cgroup_find_mount(line, controller, version, path, ret_dir, size) &&
                (version == 1 || cgroup_find_has_controller(ret_dir, controller));
    if (file)
        fclose(file);
    free(line);
    return found;
}

bool cgroup_is_delegated(const char *dir) {
    char value[4] = "";
    return (getxattr(dir, "user.delegate", value, sizeof value) > 0 ||
            getxattr(dir, "trusted.delegate", value, sizeof value) > 0) &&
           value[0] == '1';
}
