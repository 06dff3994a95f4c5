#include "sandbox/template.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

enum { TEMPLATE_KINDS = SANDBOX_WORKER, TEMPLATE_KEY_BYTES = 2048 };

static struct template {
    struct sandbox_child holder; /* pid 0 = none */
    int lifeline_fd;
    char key[TEMPLATE_KEY_BYTES]; /* the binds */
}
templates[TEMPLATE_KINDS];

/* False for a spec that has something of its own: a directory to write to, or no /proc. */
static bool template_key(const struct sandbox_spec *spec, char *ret_key, size_t size) {
    size_t len = 0;
    for (int i = 0; i < spec->bind_count && len < size; i++) {
        const struct sandbox_bind *bind = &spec->binds[i];
        if (bind->writable || bind->map_fd > 0)
            return false;
        len += (size_t)snprintf(ret_key + len, size - len, "%s:%s\n", bind->source,
                                bind->target ? bind->target : "");
    }
    return !spec->proc_exe && spec->bind_count > 0 && len < size;
}

static void template_drop(struct template *template) {
    bool ignored;
    if (template->holder.pid > 0) {
        kill(template->holder.pid, SIGKILL);
        while (waitpid(template->holder.pid, NULL, 0) < 0 && errno == EINTR)
            ;
        sandbox_finish(&template->holder, &ignored, &ignored);
        close(template->holder.pidfd);
        close(template->lifeline_fd);
    }
    template->holder.pid = 0;
}

static bool template_make(const struct probe *probe, const struct sandbox_spec *spec,
                          struct template *template) {
    struct sandbox_spec root = {.comm = "spare-root", .page_fd = -1, .bind_count = spec->bind_count};
    int lifeline[2];
    struct err err;
    if (pipe2(lifeline, O_CLOEXEC) != 0)
        return false;
    memcpy(root.binds, spec->binds, sizeof root.binds);
    root.lifeline_fd = lifeline[0];
    bool made = sandbox_start_as(probe, &root, &template->holder, &err) == 0;
    close(lifeline[0]);
    template->lifeline_fd = lifeline[1];
    if (!made) {
        close(lifeline[1]);
        template->holder.pid = 0;
    }
    return made;
}

int template_find(const struct probe *probe, const struct sandbox_spec *spec) {
    struct template *template = &templates[spec->kind];
    char key[TEMPLATE_KEY_BYTES];
    siginfo_t ended = {0};
    if (probe->mode != PROBE_ROOT || spec->lifeline_fd > 0 || !template_key(spec, key, sizeof key))
        return 0;
    bool lives = template->holder.pid > 0 &&
                 waitid(P_PID, (id_t) template->holder.pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                 ended.si_pid == 0;
    if (lives && strcmp(key, template->key) == 0)
        return template->holder.pidfd;
    template_drop(template);
    if (!template_make(probe, spec, template))
        return 0;
    memcpy(template->key, key, sizeof key);
    return template->holder.pidfd;
}

void template_fini(void) {
    for (int i = 0; i < TEMPLATE_KINDS; i++)
        template_drop(&templates[i]);
}
