#include "server/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "sandbox/programs.h"
#include "server/channel.h"

#define PROCESS_RUNTIMES_INSIDE "/faas/runtimes"
enum { PROCESS_PIPE_BYTES = 256 << 10, PROCESS_ARGS_MAX = 12, PROCESS_NETWORK_FILES = 3 };

/* What an interpreter needs for itself, beside what the function may have. After boot node has 7 MiB in its
 * control group and 48 MiB of RLIMIT_DATA (stacks of its threads), python 5 and 7; the young generation of a
 * busy V8 is up to 48 MiB more. RLIMIT_DATA is met first in Python: that is an exception, not a kill. In node
 * it is the last wall: V8 does not survive a refusal and dies of any signal, so its own heap limit and the
 * control group come first. Tasks are the interpreter's own threads and the sandbox's init. */
static const struct process_runtime {
    const char *name, *comm, *script;
    uint32_t memory_mb; /* of the memory cgroup, on top of memory_mb and of tmp_mb, which counts there */
    uint32_t data_mb;   /* of RLIMIT_DATA, on top of memory_mb */
    uint32_t tasks;
    const char *flags[6];
} process_runtimes[RUNTIME_COUNT] = {
    [RUNTIME_NODE] = {.name = "node",
                      .comm = "spare-node",
                      .script = "node/boot.cjs",
                      .memory_mb = 64,
                      .data_mb = 384,
                      .tasks = 16,
                      .flags = {"--no-warnings"}},
    [RUNTIME_PYTHON] = {.name = "python",
                        .comm = "spare-python",
                        .script = "python/boot.py",
                        .memory_mb = 32,
                        .data_mb = 24,
                        .tasks = 2,
                        .flags = {"-I", "-S"}},
};

struct process_pipes {
    struct channel channel;
    int in[2], out[2], error[2];
};

const char *process_runtime_name(enum runtime runtime) {
    return process_runtimes[runtime].name ? process_runtimes[runtime].name : "wasm";
}

uint32_t process_memory_mb(enum runtime runtime, uint32_t memory_mb) {
    return memory_mb + process_runtimes[runtime].memory_mb;
}

void process_close_ends(int ends[PROCESS_ENDS]) {
    for (int i = 0; i < PROCESS_ENDS; i++)
        mem_close_fd(&ends[i]);
}

static void process_close_pipes(struct process_pipes *pipes) {
    channel_close(&pipes->channel);
    for (int i = 0; i < 2; i++) {
        mem_close_fd(&pipes->in[i]);
        mem_close_fd(&pipes->out[i]);
        mem_close_fd(&pipes->error[i]);
    }
}

static int process_open_pipes(struct process_pipes *ret_pipes, struct err *err) {
    struct process_pipes pipes = {CHANNEL_NONE, {-1, -1}, {-1, -1}, {-1, -1}};
    int rc = channel_open(&pipes.channel, PROCESS_PIPE_BYTES, err);
    if (rc == 0)
        rc = channel_open_pipe(pipes.in, CHANNEL_WRITE_NONBLOCK, PROCESS_PIPE_BYTES, err);
    if (rc == 0)
        rc = channel_open_pipe(pipes.out, CHANNEL_READ_NONBLOCK, PROCESS_PIPE_BYTES, err);
    if (rc == 0)
        rc = channel_open_pipe(pipes.error, CHANNEL_READ_NONBLOCK, 0, err);
    if (rc < 0)
        process_close_pipes(&pipes);
    else
        *ret_pipes = pipes;
    return rc;
}

/* An interpreter outside of /usr is seen by its prefix (the directory above its bin), where its library is.
 * One that stands in no such place is seen by itself. */
static void process_bind_interpreter(struct sandbox_spec *spec, const char *interpreter, char *prefix,
                                     size_t size) {
    if (strncmp(interpreter, "/usr/", 5) == 0)
        return;
    snprintf(prefix, size, "%s", interpreter);
    char *slash = strrchr(prefix, '/');
    if (slash && slash - prefix > 4 && memcmp(slash - 4, "/bin", 4) == 0)
        slash[-4] = 0;
    else
        snprintf(prefix, size, "%s", interpreter);
    spec->binds[spec->bind_count++] = (struct sandbox_bind){.source = prefix};
}

/* What the C library asks for names, and the certificates of those whom TLS trusts, where the distributions
 * keep them. */
static void process_bind_network(struct sandbox_spec *spec, const char *runtimes_dir,
                                 char paths[PROCESS_NETWORK_FILES][4096 + 32]) {
    static const char *const files[PROCESS_NETWORK_FILES] = {"hosts", "resolv.conf", "nsswitch.conf"};
    static const char *const targets[PROCESS_NETWORK_FILES] = {"/etc/hosts", "/etc/resolv.conf",
                                                               "/etc/nsswitch.conf"};
    static const char *const trusted[] = {"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf",
                                          "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted"};
    for (int i = 0; i < PROCESS_NETWORK_FILES; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/network/%s", runtimes_dir, files[i]);
        spec->binds[spec->bind_count++] = (struct sandbox_bind){.source = paths[i], .target = targets[i]};
    }
    for (size_t i = 0; i < sizeof trusted / sizeof *trusted; i++)
        spec->binds[spec->bind_count++] = (struct sandbox_bind){.source = trusted[i], .optional = true};
}

static void process_fill_argv(const struct process_spec *spec, char **argv, char *heap_flag,
                              size_t heap_flag_size, char *script) {
    const struct process_runtime *runtime = &process_runtimes[spec->runtime];
    int count = 0;
    argv[count++] = (char *)runtime->name;
    if (spec->runtime == RUNTIME_NODE) {
        snprintf(heap_flag, heap_flag_size, "--max-old-space-size=%u", spec->memory_mb);
        argv[count++] = heap_flag;
    }
    for (int i = 0; i < 6 && runtime->flags[i]; i++)
        argv[count++] = (char *)runtime->flags[i];
    argv[count++] = script;
    argv[count] = NULL;
}

static int process_sandbox(const struct process_spec *spec, const struct process_pipes *pipes,
                           struct sandbox_child *ret_child, struct err *err) {
    const struct process_runtime *runtime = &process_runtimes[spec->runtime];
    char script[4096], runtimes_dir[4096], prefix[4096], heap_flag[48];
    char network[PROCESS_NETWORK_FILES][4096 + 32];
    /* Where the platform is installed is nobody's business inside; without a root of its own it is the same
     * place. */
    const char *inside = sandbox_has_root() ? PROCESS_RUNTIMES_INSIDE : runtimes_dir;
    char *argv[PROCESS_ARGS_MAX];
    static char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp",
                                        "LANG=C.UTF-8", NULL};
    snprintf(runtimes_dir, sizeof runtimes_dir, "%s/runtimes", spec->parts_dir);
    int len = snprintf(script, sizeof script, "%s/%s", inside, runtime->script);
    if (len < 0 || (size_t)len >= sizeof script)
        return err_set(err, ERR_INTERNAL, "the path of the runtimes is too long");
    process_fill_argv(spec, argv, heap_flag, sizeof heap_flag, script);
    struct sandbox_spec sandbox = {
        .kind = spec->runtime == RUNTIME_NODE ? SANDBOX_NODE : SANDBOX_PYTHON,
        .comm = runtime->comm,
        .program = spec->interpreter,
        .argv = argv,
        .envp = environment,
        .fds = {pipes->in[0], pipes->out[1], pipes->error[1], pipes->channel.calls_read,
                pipes->channel.answers_write, pipes->channel.page},
        .fd_count = 6,
        .memory_mb = process_memory_mb(spec->runtime, spec->memory_mb) + spec->tmp_mb,
        .data_mb = spec->memory_mb + runtime->data_mb,
        .processes = spec->processes + runtime->tasks,
        .tmp_mb = spec->tmp_mb,
        .inner_pid = spec->inner_pid,
        .page_fd = pipes->channel.page,
        .gate_fd = spec->gate_fd,
    };
    programs_bind_system(&sandbox);
    sandbox.binds[sandbox.bind_count++] = (struct sandbox_bind){.source = runtimes_dir, .target = inside};
    process_bind_interpreter(&sandbox, spec->interpreter, prefix, sizeof prefix);
    if (spec->gate_fd > 0)
        process_bind_network(&sandbox, runtimes_dir, network);
    return sandbox_start(&sandbox, ret_child, err);
}

/* A child that nobody will watch. */
static void process_discard(struct sandbox_child *child) {
    bool ignored;
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    mem_close_fd(&child->pidfd);
    sandbox_finish(child, &ignored, &ignored);
}

int process_start(const struct process_spec *spec, struct sandbox_child *ret_child,
                  int ret_ends[PROCESS_ENDS], struct err *err) {
    struct process_pipes pipes;
    int rc = process_open_pipes(&pipes, err);
    if (rc < 0)
        return rc;
    struct sandbox_child child;
    rc = process_sandbox(spec, &pipes, &child, err);
    if (rc < 0) {
        process_close_pipes(&pipes);
        return rc;
    }
    int pidfd = fcntl(child.pidfd, F_DUPFD_CLOEXEC, 0);
    if (pidfd < 0) {
        err_sys(err, "fcntl");
        process_discard(&child);
        process_close_pipes(&pipes);
        return -err->code;
    }
    ret_ends[PROCESS_PIDFD] = pidfd;
    ret_ends[PROCESS_CALLS] = mem_steal_fd(&pipes.channel.calls_write);
    ret_ends[PROCESS_ANSWERS] = mem_steal_fd(&pipes.channel.answers_read);
    ret_ends[PROCESS_PAGE] = mem_steal_fd(&pipes.channel.page);
    ret_ends[PROCESS_STDIN] = mem_steal_fd(&pipes.in[1]);
    ret_ends[PROCESS_STDOUT] = mem_steal_fd(&pipes.out[0]);
    ret_ends[PROCESS_STDERR] = mem_steal_fd(&pipes.error[0]);
    if (spec->gate_fd > 0)
        *spec->ret_error_fd = mem_steal_fd(&pipes.error[1]);
    process_close_pipes(&pipes);
    *ret_child = child;
    return 0;
}
