#include "builder/step.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sandbox/programs.h"
#include "wire/page.h"

enum { STEP_STDIN, STEP_MESSAGES, STEP_EXIT, STEP_SIGNAL, STEP_ANSWER, STEP_POLLS };

/* A step under way. */
struct step_run_state {
    struct builder *builder;
    const struct step *step;
    struct sandbox_child child;
    int stdin_fd, messages_fd; /* our ends; -1 when closed */
    size_t sent;
    bool exited;
    int stop; /* enum err_code for which the child was killed, or 0 */
};

static char *const step_environment[] = {"PATH=/usr/bin:/bin", "HOME=/tmp", "TMPDIR=.", "LC_ALL=C.UTF-8",
                                         NULL};

void step_init(struct step *step) {
    *step = (struct step){
        .spec =
            {
                .comm = "builder",
                .envp = step_environment,
                .memory_mb = BUILDER_MEMORY_MB,
                .data_mb = BUILDER_MEMORY_MB,
                .processes = 64,
                .tmp_mb = STEP_TMP_MB,
                .cpu_s = 2 * BUILDER_SECONDS,
                .file_bytes = STEP_OUTPUT_MAX,
                .wall_s = BUILDER_SECONDS + 5,
                .page_fd = -1,
            },
        .output_fd = -1,
    };
    programs_bind_system(&step->spec);
}

int step_create_file(const struct builder *builder, const char *name, int *ret_fd, struct err *err) {
    char path[PATH_MAX];
    int used = snprintf(path, sizeof path, "%s/%s", builder->stage, name);
    if (used < 0 || (size_t)used >= sizeof path)
        return err_set(err, ERR_BAD_REQUEST, "the path of the stage is too long");
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_sys(err, "%s of the stage", name);
    *ret_fd = fd;
    return 0;
}

const char *step_path(const struct sandbox_bind *bind) {
    return sandbox_has_root() && bind->target ? bind->target : bind->source;
}

static void step_kill(struct step_run_state *run, enum err_code reason) {
    if (!run->stop && !run->exited) {
        run->stop = (int)reason;
        kill(run->child.pid, SIGKILL);
    }
}

static void step_send(struct step_run_state *run) {
    const struct step *step = run->step;
    ssize_t len = write(run->stdin_fd, (const char *)step->input + run->sent, step->input_len - run->sent);
    if (len > 0)
        run->sent += (size_t)len;
    else if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    else if (errno != EPIPE) /* half a source is not to be judged; who does not read it all is */
        step_kill(run, ERR_INTERNAL);
    if (len <= 0 || run->sent == step->input_len)
        mem_close_fd(&run->stdin_fd);
}

static void step_receive(struct step_run_state *run) {
    struct buf *messages = &run->builder->messages;
    char part[16 << 10];
    ssize_t len = read(run->messages_fd, part, sizeof part);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len < 0)
        step_kill(run, ERR_INTERNAL);
    if (len <= 0) {
        mem_close_fd(&run->messages_fd);
        return;
    }
    size_t room = BUILDER_MESSAGES_MAX - messages->len;
    buf_append(messages, part, (size_t)len < room ? (size_t)len : room);
    if ((size_t)len > room)
        step_kill(run, ERR_BUILD_OUTPUT);
}

static int step_milliseconds_left(const struct builder *builder) {
    uint64_t now_ns = clock_now_ns();
    return now_ns >= builder->deadline_ns ? 0 : (int)((builder->deadline_ns - now_ns) / CLOCK_NS_PER_MS) + 1;
}

static void step_turn(struct step_run_state *run) {
    const struct builder *builder = run->builder;
    struct pollfd polls[STEP_POLLS] = {
        [STEP_STDIN] = {.fd = run->stdin_fd, .events = POLLOUT},
        [STEP_MESSAGES] = {.fd = run->messages_fd, .events = POLLIN},
        [STEP_EXIT] = {.fd = run->exited ? -1 : run->child.pidfd, .events = POLLIN},
        [STEP_SIGNAL] = {.fd = run->stop ? -1 : builder->signal_fd, .events = POLLIN},
        [STEP_ANSWER] = {.fd = run->stop ? -1 : builder->answer_fd, .events = 0},
    };
    int ready = poll(polls, STEP_POLLS, run->stop ? 1000 : step_milliseconds_left(builder));
    if (ready <= 0) {
        if (step_milliseconds_left(builder) == 0)
            step_kill(run, ERR_BUILD_TIMEOUT);
        return;
    }
    if (polls[STEP_SIGNAL].revents || polls[STEP_ANSWER].revents)
        step_kill(run, ERR_DRAINING);
    if (polls[STEP_STDIN].revents)
        step_send(run);
    if (polls[STEP_MESSAGES].revents)
        step_receive(run);
    if (polls[STEP_EXIT].revents)
        run->exited = true;
}

/* Compilers that are refused memory say so in their own words; only a kill shows in the control group. */
static bool step_says_oom(const struct buf *messages) {
    static const char *const words[] = {"out of memory",
                                        "bad_alloc",
                                        "memory allocation of",
                                        "MemoryError",
                                        "Cannot allocate",
                                        "Allocation failed",
                                        /* of the tmpfs, which is memory */ "No space left on device"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (messages->len && memmem(messages->data, messages->len, words[i], strlen(words[i])))
            return true;
    return false;
}

static int step_judge(const struct step_run_state *run, int exit_code, bool oom, struct err *err) {
    const struct buf *messages = &run->builder->messages;
    switch (run->stop) {
    case ERR_BUILD_TIMEOUT:
        return err_set(err, ERR_BUILD_TIMEOUT, "the build took longer than %d s", BUILDER_SECONDS);
    case ERR_BUILD_OUTPUT:
        return err_set(err, ERR_BUILD_OUTPUT, "the build printed more than %d KiB of messages",
                       BUILDER_MESSAGES_MAX >> 10);
    case ERR_DRAINING:
        return err_set(err, ERR_DRAINING, "the build was stopped");
    case ERR_INTERNAL:
        return err_set(err, ERR_INTERNAL, "the compiler's pipes broke");
    }
    if (exit_code == 0)
        return 0;
    if (oom || step_says_oom(messages))
        return err_set(err, ERR_BUILD_OOM, "the build needed more than %d MiB of memory", BUILDER_MEMORY_MB);
    if (exit_code == 128 + SIGXCPU)
        return err_set(err, ERR_BUILD_TIMEOUT, "the build took longer than %d s", BUILDER_SECONDS);
    if (exit_code > 128)
        return err_set(err, ERR_COMPILE, "the compiler crashed on this source (signal %d)", exit_code - 128);
    return err_set(err, ERR_COMPILE, "it does not compile");
}

static int step_start(struct step_run_state *run, struct err *err) {
    int input[2], messages[2];
    if (pipe2(input, O_CLOEXEC) != 0)
        return err_sys(err, "pipe");
    MEM_CLOSE_FD int input_read = input[0], input_write = input[1];
    if (pipe2(messages, O_CLOEXEC) != 0)
        return err_sys(err, "pipe");
    MEM_CLOSE_FD int messages_read = messages[0], messages_write = messages[1];
    fcntl(input_write, F_SETFL, O_NONBLOCK);
    fcntl(messages_read, F_SETFL, O_NONBLOCK);
    struct sandbox_spec spec = run->step->spec;
    int fds[] = {input_read, messages_write, messages_write, run->step->output_fd};
    memcpy(spec.fds, fds, sizeof fds);
    spec.fd_count = 4;
    int failed = sandbox_start(&spec, &run->child, err);
    if (failed)
        return failed;
    run->stdin_fd = mem_steal_fd(&input_write);
    run->messages_fd = mem_steal_fd(&messages_read);
    if (!run->step->input_len)
        mem_close_fd(&run->stdin_fd);
    return 0;
}

int step_run(struct builder *builder, struct step *step, struct err *err) {
    struct step_run_state run = {.builder = builder, .step = step, .stdin_fd = -1, .messages_fd = -1};
    int failed = step_start(&run, err);
    if (failed) {
        err->code = ERR_INTERNAL;
        return -ERR_INTERNAL;
    }
    while (!run.exited || run.messages_fd >= 0)
        step_turn(&run);
    siginfo_t info = {0};
    while (waitid(P_PID, (id_t)run.child.pid, &info, WEXITED) != 0 && errno == EINTR)
        ;
    bool oom, processes;
    sandbox_finish(&run.child, &oom, &processes);
    mem_close_fd(&run.child.pidfd);
    mem_close_fd(&run.stdin_fd);
    int exit_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return step_judge(&run, exit_code, oom, err);
}
