#include "server/egress_child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "server/spawn.h"

struct egress_child {
    struct egress_children *children; /* borrowed: holds us */
    pid_t pid;
    struct loop_watch exit_watch; /* its fd, a pidfd, is owned */
    egress_child_on_end *on_end;  /* NULL: released */
    void *context;
    struct egress_child *next, *prev;
};

static void egress_child_free(struct egress_child *child) {
    struct egress_children *children = child->children;
    if (child->prev)
        child->prev->next = child->next;
    else
        children->first = child->next;
    if (child->next)
        child->next->prev = child->prev;
    loop_unwatch(children->loop, &child->exit_watch);
    mem_close_fd(&child->exit_watch.fd);
    loop_defer(children->loop, free, child);
}

static void egress_child_on_exit(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct egress_child *child = watch->context;
    int status = 0;
    if (waitpid(child->pid, &status, WNOHANG) == 0)
        return;
    if (child->on_end)
        child->on_end(child->context, !WIFEXITED(status) || WEXITSTATUS(status) != 0);
    egress_child_free(child);
}

static int egress_child_spawn(const struct egress_child_spec *spec, pid_t *ret_pid, int *ret_pidfd,
                              struct err *err) {
    char program[4096];
    snprintf(program, sizeof program, "%s/egress", spec->parts_dir);
    char *argv[] = {"egress", (char *)spec->hosts_path, NULL};
    struct spawn spawn = {.program = program,
                          .argv = argv,
                          .fds = {-1, 1, 2, spec->policy_fd, spec->channel_fd, spec->log_fd},
                          .fd_count = 6};
    int rc = spawn_start(&spawn, ret_pid, err);
    if (rc < 0)
        return rc;
    rc = spawn_open_pidfd(*ret_pid, ret_pidfd, err);
    if (rc < 0) {
        kill(*ret_pid, SIGKILL);
        waitpid(*ret_pid, NULL, 0);
    }
    return rc;
}

int egress_child_start(struct egress_children *children, const struct egress_child_spec *spec,
                       struct egress_child **ret_child, struct err *err) {
    pid_t pid;
    int pidfd;
    int rc = egress_child_spawn(spec, &pid, &pidfd, err);
    if (rc < 0)
        return rc;
    struct egress_child *child = mem_zalloc(sizeof *child);
    *child = (struct egress_child){
        .children = children,
        .pid = pid,
        .exit_watch = {.fd = pidfd, .on_event = egress_child_on_exit, .context = child},
        .on_end = spec->on_end,
        .context = spec->context,
        .next = children->first,
    };
    if (child->next)
        child->next->prev = child;
    children->first = child;
    rc = loop_watch(children->loop, &child->exit_watch, EPOLLIN, err);
    if (rc < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        egress_child_free(child);
        return rc;
    }
    *ret_child = child;
    return 0;
}

void egress_child_release(struct egress_child *child) {
    if (!child)
        return;
    child->on_end = NULL;
    spawn_kill(child->exit_watch.fd, SIGKILL);
}

void egress_children_fini(struct egress_children *children) {
    while (children->first)
        egress_child_free(children->first);
}
