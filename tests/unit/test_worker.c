/* The worker as a process: driven through its control socket and pipes, as the server and the gateway do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/page.h"

enum { RIG_DEADLINE_MS = 20000, RIG_GUEST_KEY = 1 };

struct rig {
    char dir[64]; /* data directory of the worker */
    char bin[512];
    char engine[64];
    pid_t pid; /* 0: none runs */
    int control, calls, answers;
    struct page *page;
    struct buf in, out; /* answers not taken yet; frames not sent yet */
    uint64_t last_id;
    uint32_t loaded[8]; /* keys of LOADED frames, since the worker started */
    size_t loaded_count;
    /* The answer that rig_answer took last: */
    struct frame_header header;
    struct frame_answer answer;
    struct buf error, output, log; /* each ended by a NUL that len does not count */
};
static struct rig rig;

/* --- files --- */

static void rig_path(char *path, const char *id, const char *name) {
    assert_true(snprintf(path, 256, "%s/%s/%s", rig.dir, id, name) < 256);
}

static void rig_write_file(const char *path, const void *data, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

static void rig_read_file(const char *path, struct buf *ret_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t got = 1;
    while (got > 0) {
        assert_true(buf_reserve(ret_bytes, 65536));
        got = read(fd, ret_bytes->data + ret_bytes->len, ret_bytes->cap - ret_bytes->len);
        assert_true(got >= 0);
        ret_bytes->len += (size_t)got;
    }
    close(fd);
}

/* Runs a shell command; exit status, and what it printed (cut). */
static int rig_shell(char *ret_text, size_t size, const char *format, ...) {
    char command[2048];
    va_list args;
    va_start(args, format);
    assert_true(vsnprintf(command, sizeof command, format, args) < (int)sizeof command);
    va_end(args);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t len = fread(ret_text, 1, size - 1, pipe);
    ret_text[len] = 0;
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Native code of bytes; exit code of the compiler and its message. */
static int rig_compile(const char *id, const void *wasm, size_t len, char *ret_text, size_t size) {
    char path[256], native[256];
    assert_true(snprintf(path, sizeof path, "%s/%s", rig.dir, id) < 256);
    mkdir(path, 0755);
    rig_path(path, id, "code.wasm");
    rig_path(native, id, "code.cwasm");
    rig_write_file(path, wasm, len);
    return rig_shell(ret_text, size, "'%s/native_compiler' '%s' '%s' 2>&1", rig.bin, path, native);
}

/* A C file of tests/unit/guests as function `id`. */
static void rig_build(const char *id, const char *file, const char *flags) {
    char wasm[256], text[4096];
    assert_true(snprintf(wasm, sizeof wasm, "%s/%s.wasm", rig.dir, id) < 256);
    if (rig_shell(text, sizeof text,
                  "clang --target=wasm32-wasi -O2 -s -Wl,--stack-first -Wl,-z,stack-size=1048576 %s '%s' -o "
                  "'%s' 2>&1",
                  flags, file, wasm) != 0)
        fail_msg("%s", text);
    struct buf bytes = {0};
    rig_read_file(wasm, &bytes);
    if (rig_compile(id, bytes.data, bytes.len, text, sizeof text) != 0)
        fail_msg("%s", text);
    buf_fini(&bytes);
}

static void rig_hash(const char *id, char *ret_hex) {
    char path[256];
    struct buf bytes = {0};
    uint8_t hash[32];
    rig_path(path, id, "code.cwasm");
    rig_read_file(path, &bytes);
    crypto_generichash(hash, sizeof hash, bytes.data, bytes.len, (const uint8_t *)rig.engine,
                       strlen(rig.engine));
    sodium_bin2hex(ret_hex, 65, hash, sizeof hash);
    buf_fini(&bytes);
}

/* --- the process --- */

static void rig_start(void) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    char program[600];
    snprintf(program, sizeof program, "%s/worker", rig.bin);
    rig.pid = fork();
    assert_true(rig.pid >= 0);
    if (rig.pid == 0) {
        if (pair[1] == 3)
            fcntl(3, F_SETFD, 0);
        else
            dup2(pair[1], 3);
        execl(program, "worker", "--data-dir", rig.dir, "--memory-max-mb", "256", NULL);
        _exit(127);
    }
    close(pair[1]);
    rig.control = pair[0];
    struct pollfd ready = {.fd = rig.control, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, RIG_DEADLINE_MS), 1);
    struct message message;
    struct err err;
    int fds[MESSAGE_FDS_MAX], fd_count;
    assert_int_equal(message_receive(rig.control, &message, fds, &fd_count, &err), 1);
    assert_int_equal(message.type, MESSAGE_WORKER_READY);
    assert_int_equal(message.pid, rig.pid);
}

static void rig_attach(void) {
    int calls[2], answers[2];
    assert_int_equal(pipe2(calls, O_CLOEXEC), 0);
    assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
    fcntl(calls[1], F_SETPIPE_SZ, 1 << 20);
    fcntl(answers[1], F_SETPIPE_SZ, 1 << 20);
    fcntl(calls[1], F_SETFL, O_NONBLOCK);
    int page = memfd_create("page", MFD_CLOEXEC);
    assert_int_equal(ftruncate(page, PAGE_BYTES), 0);
    rig.page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
    assert_ptr_not_equal(rig.page, MAP_FAILED);
    struct message message = {.type = MESSAGE_WORKER_ATTACH, .format = MESSAGE_FORMAT};
    struct err err;
    int fds[] = {calls[0], answers[1], page};
    assert_int_equal(message_send(rig.control, &message, fds, 3, &err), 0);
    close(calls[0]);
    close(answers[1]);
    close(page);
    rig.calls = calls[1];
    rig.answers = answers[0];
}

static void rig_detach(void) {
    close(rig.calls);
    close(rig.answers);
    munmap(rig.page, PAGE_BYTES);
    buf_clear(&rig.in);
    buf_clear(&rig.out);
}

/* Ends without a signal within the deadline; its wait status. */
static int rig_wait(void) {
    int status = 0;
    uint64_t until = clock_now_ns() + RIG_DEADLINE_MS * CLOCK_NS_PER_MS;
    while (waitpid(rig.pid, &status, WNOHANG) == 0) {
        assert_true(clock_now_ns() < until);
        poll(NULL, 0, 1);
    }
    rig.pid = 0;
    return status;
}

/* --- frames --- */

static void rig_put(uint8_t type, uint32_t key, uint16_t slot, uint64_t id, const struct buf *head,
                    const void *body, size_t len) {
    struct frame_header header = {.length = (uint32_t)(head->len + len),
                                  .type = type,
                                  .format = FRAME_FORMAT,
                                  .slot = slot,
                                  .call_id = id,
                                  .key = key,
                                  .head_len = (uint32_t)head->len};
    buf_append(&rig.out, &header, sizeof header);
    buf_append(&rig.out, head->data, head->len);
    buf_append(&rig.out, body, len);
    assert_false(rig.out.failed);
}

/* "name=value" strings, ended by NULL. */
static void rig_head(struct buf *head, const char *const *entries) {
    for (; entries && *entries; entries++) {
        char name[64];
        const char *equals = strchr(*entries, '=');
        snprintf(name, sizeof name, "%.*s", (int)(equals - *entries), *entries);
        frame_head_add(head, name, equals + 1, strlen(equals + 1));
    }
}

static void rig_load_as(uint32_t key, const char *id, const char *hash, const char *engine,
                        const char *const *entries) {
    struct buf head = {0};
    frame_head_add(&head, "FAAS_FUNCTION", "guest", 5);
    frame_head_add(&head, "FAAS_VERSION", "3", 1);
    frame_head_add(&head, "id", id, strlen(id));
    frame_head_add(&head, "hash", hash, strlen(hash));
    frame_head_add(&head, "engine", engine, strlen(engine));
    frame_head_add(&head, "entry", "wasi", 4);
    rig_head(&head, entries);
    rig_put(FRAME_LOAD, key, 0, 0, &head, NULL, 0);
    buf_fini(&head);
}

static void rig_load(uint32_t key, const char *id, const char *const *entries) {
    char hash[65];
    rig_hash(id, hash);
    rig_load_as(key, id, hash, rig.engine, entries);
}

static uint64_t rig_call_with(uint32_t key, uint16_t slot, const char *const *entries, const void *payload,
                              size_t len) {
    struct buf head = {0};
    rig_head(&head, entries);
    uint64_t id = ++rig.last_id;
    atomic_store(&rig.page->slots[slot], page_word(id, PAGE_SENT));
    rig_put(FRAME_CALL, key, slot, id, &head, payload, len);
    buf_fini(&head);
    return id;
}

static uint64_t rig_call(uint32_t key, uint16_t slot, const char *payload) {
    return rig_call_with(key, slot, NULL, payload, strlen(payload));
}

/* Reads what is there into rig.in; false at the end of the pipe. */
static bool rig_read_answers(void) {
    assert_true(buf_reserve(&rig.in, 1 << 20));
    ssize_t got = read(rig.answers, rig.in.data + rig.in.len, rig.in.cap - rig.in.len);
    assert_true(got >= 0);
    rig.in.len += (size_t)got;
    return got > 0;
}

/* Writes all frames, reading answers meanwhile so that neither side waits for the other. */
static void rig_send(void) {
    size_t at = 0;
    while (at < rig.out.len) {
        struct pollfd fds[] = {{.fd = rig.calls, .events = POLLOUT}, {.fd = rig.answers, .events = POLLIN}};
        assert_true(poll(fds, 2, RIG_DEADLINE_MS) > 0);
        if (fds[1].revents & POLLIN)
            assert_true(rig_read_answers());
        if (!(fds[0].revents & POLLOUT))
            continue;
        ssize_t put = write(rig.calls, rig.out.data + at, rig.out.len - at);
        assert_true(put > 0 || errno == EAGAIN);
        at += put > 0 ? (size_t)put : 0;
    }
    buf_clear(&rig.out);
}

static void rig_keep(struct buf *to, const uint8_t *data, size_t len) {
    buf_clear(to);
    buf_append(to, data, len);
    buf_append(to, "", 1);
    assert_false(to->failed);
    to->len--;
}

static bool rig_has_answer(void) {
    struct frame frame;
    size_t used;
    struct err err;
    struct frame_answer_view view;
    int got = frame_decode(rig.in.data, rig.in.len, FRAME_LENGTH_MAX, &frame, &used, &err);
    if (got < 0)
        fail_msg("%s", err.msg);
    if (got == 0)
        return false;
    if (frame.header.type == FRAME_LOADED) {
        assert_int_equal(frame.header.length, 0);
        assert_true(rig.loaded_count < sizeof rig.loaded / sizeof rig.loaded[0]);
        rig.loaded[rig.loaded_count++] = frame.header.key;
        buf_consume(&rig.in, used);
        return rig_has_answer();
    }
    assert_int_equal(frame_decode_answer(&frame, &view, &err), 0);
    rig.header = frame.header;
    rig.answer = view.fixed;
    rig_keep(&rig.error, (const uint8_t *)"", 0);
    rig_keep(&rig.output, view.output, view.fixed.output_len);
    rig_keep(&rig.log, view.log, view.fixed.log_len);
    const char *name, *value;
    size_t at = 0, name_len, value_len;
    while (frame_head_next(view.head, view.fixed.head_len, &at, &name, &name_len, &value, &value_len))
        if (name_len == 5 && memcmp(name, "error", 5) == 0)
            rig_keep(&rig.error, (const uint8_t *)value, value_len);
    assert_int_equal(at, view.fixed.head_len);
    buf_consume(&rig.in, used);
    return true;
}

/* Sends, and takes the next answer. */
static void rig_answer(void) {
    rig_send();
    while (!rig_has_answer()) {
        struct pollfd poll_fd = {.fd = rig.answers, .events = POLLIN};
        assert_int_equal(poll(&poll_fd, 1, RIG_DEADLINE_MS), 1);
        if (!rig_read_answers())
            fail_msg("the worker ended");
    }
}

static void rig_ask(const char *payload) {
    uint64_t id = rig_call(RIG_GUEST_KEY, 0, payload);
    rig_answer();
    assert_true(rig.header.call_id == id);
    assert_int_equal(rig.header.key, RIG_GUEST_KEY);
    assert_true(atomic_load(&rig.page->slots[0]) == page_word(id, PAGE_RUNNING));
}

static void rig_expect(const char *payload, enum err_code code, const char *error, const char *output) {
    rig_ask(payload);
    if (rig.answer.code != (uint32_t)code || strcmp((char *)rig.error.data, error) != 0)
        fail_msg("%s: %s (%s), not %s (%s); log: %.500s", payload, err_cause((int)rig.answer.code),
                 rig.error.data, err_cause((int)code), error, rig.log.data);
    if (output)
        assert_string_equal(rig.output.data, output);
}

static void rig_works(void) {
    rig_expect("hello", ERR_OK, "", "Hello from guest!\n");
}

/* --- fixtures --- */

static int rig_open(void **state) {
    (void)state;
    assert_true(sodium_init() >= 0);
    ssize_t len = readlink("/proc/self/exe", rig.bin, sizeof rig.bin - 16);
    assert_true(len > 0);
    rig.bin[len] = 0;
    *strrchr(rig.bin, '/') = 0;
    strcpy(strrchr(rig.bin, '/'), "/bin");
    const char *given = getenv("FAAS_TEST_BIN");
    if (given)
        snprintf(rig.bin, sizeof rig.bin, "%s", given);
    char program[600];
    snprintf(program, sizeof program, "%s/worker", rig.bin);
    if (access(program, X_OK) != 0)
        fail_msg("%s is not there: make builds it", program);
    strcpy(rig.dir, "/tmp/test_worker.XXXXXX");
    assert_non_null(mkdtemp(rig.dir));
    assert_int_equal(
        rig_shell(rig.engine, sizeof rig.engine, "'%s/native_compiler' --engine | tr -d '\\n'", rig.bin), 0);
    rig_build("guest_1", "tests/unit/guests/guest.c", "");
    rig_build("large_1", "tests/unit/guests/guest.c", "-Wl,--initial-memory=209715200");
    return 0;
}

static int rig_close(void **state) {
    (void)state;
    char text[16];
    return rig_shell(text, sizeof text, "rm -rf '%s'", rig.dir);
}

static int rig_up(void **state) {
    (void)state;
    static const char *const limits[] = {"limit.memory_mb=16", "limit.timeout_ms=300", "limit.output_mb=1",
                                         "env.COLOUR=blue=green", NULL};
    rig.loaded_count = 0;
    rig_start();
    rig_attach();
    rig_load(RIG_GUEST_KEY, "guest_1", limits);
    return 0;
}

static int rig_down(void **state) {
    (void)state;
    if (rig.pid > 0) {
        rig_detach();
        close(rig.control);
        assert_int_equal(rig_wait(), 0);
    }
    return 0;
}

/* --- tests --- */

static void a_hello_answers_and_says_how_long_it_took(void **state) {
    (void)state;
    rig_works();
    assert_int_equal(rig.answer.flags, FRAME_ANSWER_COLD);
    assert_int_equal(rig.answer.exit_code, 0);
    rig_works();
    assert_int_equal(rig.answer.flags, 0);
    assert_true(rig.answer.run_ns > 0 && rig.answer.run_ns < CLOCK_NS_PER_S);
    assert_true(rig.answer.start_ns > 0 && rig.answer.start_ns < CLOCK_NS_PER_S);
    rig_expect("count", ERR_OK, "", "1");
    rig_expect("count", ERR_OK, "", "1");
    rig_expect("files", ERR_OK, "", "1");
}

static void sixteen_mebibytes_come_back(void **state) {
    (void)state;
    static const char *const limits[] = {"limit.output_mb=16", NULL};
    rig_load(2, "guest_1", limits);
    size_t len = 16 << 20;
    char *payload = malloc(len + 5);
    memcpy(payload, "echo ", 5);
    for (size_t i = 0; i < len; i++)
        payload[5 + i] = (char)(i * 31 + (i >> 12));
    for (int round = 0; round < 3; round++) {
        rig_call_with(2, 0, NULL, payload, len + 5);
        rig_answer();
        assert_int_equal(rig.answer.code, ERR_OK);
        assert_int_equal(rig.output.len, len);
        assert_memory_equal(rig.output.data, payload + 5, len);
        rig_works();
    }
    free(payload);
}

static void an_endless_loop_is_stopped_at_its_deadline(void **state) {
    (void)state;
    rig_works();
    uint64_t from = clock_now_ns();
    rig_expect("loop", ERR_TIMEOUT, "ran out of time after 300 ms (timeout_ms)", "looping");
    uint64_t took_ms = (clock_now_ns() - from) / CLOCK_NS_PER_MS;
    assert_in_range(took_ms, 300, 2000);
    assert_in_range(rig.answer.run_ns / CLOCK_NS_PER_MS, 300, 2000);
    rig_works();
}

/* Calls without a loop; hardly ever outside of an import; hardly ever outside of a function of the engine. */
static void whatever_keeps_it_busy_it_is_stopped_at_its_deadline(void **state) {
    (void)state;
    static const char *const busy[] = {"tree", "ask", "fill"};
    for (size_t i = 0; i < sizeof busy / sizeof busy[0]; i++) {
        rig_expect(busy[i], ERR_TIMEOUT, "ran out of time after 300 ms (timeout_ms)", NULL);
        assert_in_range(rig.answer.run_ns / CLOCK_NS_PER_MS, 300, 2000);
        rig_works();
    }
}

static void a_sleep_is_slept_and_stopped_at_the_deadline(void **state) {
    (void)state;
    rig_expect("sleep 20", ERR_OK, "", "slept");
    assert_in_range(rig.answer.run_ns / CLOCK_NS_PER_MS, 20, 290);
    rig_expect("sleep 60000", ERR_TIMEOUT, "ran out of time after 300 ms (timeout_ms)", NULL);
    rig_works();
}

static void memory_is_limited(void **state) {
    (void)state;
    rig_ask("bomb");
    assert_int_equal(rig.answer.code, ERR_OOM);
    assert_non_null(strstr((char *)rig.error.data, "memory_mb is 16"));
    /* What a program makes of a NULL from malloc is its own affair. */
    rig_expect("null", ERR_OK, "", "malloc said NULL");
    rig_expect("gives-up", ERR_EXIT, "exit code 7", NULL);
    rig_works();
    rig_load(2, "large_1", (const char *const[]){"limit.memory_mb=128", NULL});
    rig_call(2, 0, "hello");
    rig_answer();
    assert_int_equal(rig.answer.code, ERR_OOM);
    assert_string_equal(rig.error.data, "out of memory: the module starts with 200 MiB, memory_mb is 128");
    /* More than --memory-max-mb is not given, whatever the LOAD says. */
    rig_load(2, "guest_1", (const char *const[]){"limit.memory_mb=4096", NULL});
    rig_call(2, 0, "bomb");
    rig_answer();
    assert_non_null(strstr((char *)rig.error.data, "memory_mb is 256"));
    rig_works();
}

static void output_is_limited(void **state) {
    (void)state;
    rig_ask("print 1024");
    assert_int_equal(rig.answer.code, ERR_OK);
    assert_int_equal(rig.output.len, 1 << 20);
    rig_expect("print 1025", ERR_OUTPUT, "printed more than 1 MiB (output_mb)", NULL);
    assert_int_equal(rig.output.len, 1 << 20);
    rig_works();
}

static void the_log_is_cut_and_says_so(void **state) {
    (void)state;
    rig_ask("log 1");
    assert_int_equal(rig.log.len, 1024);
    rig_ask("log 2000");
    assert_int_equal(rig.answer.code, ERR_OK);
    assert_int_equal(rig.log.len, FRAME_LOG_MAX);
    assert_non_null(strstr((char *)rig.log.data, "\n[the log was cut here"));
    assert_int_equal(rig.log.data[rig.log.len - 1], '\n');
    rig_ask("hello");
    assert_int_equal(rig.log.len, 0);
}

static void a_stack_overflow_is_a_trap(void **state) {
    (void)state;
    rig_expect("recurse", ERR_TRAP, "trap: out of bounds memory access", NULL);
    rig_works();
    rig_expect("native", ERR_TRAP, "trap: stack overflow (call stack exhausted)", NULL);
    rig_works();
}

static void traps_and_exit_codes_are_told_apart(void **state) {
    (void)state;
    rig_expect("exit 3", ERR_EXIT, "exit code 3", "before");
    assert_int_equal(rig.answer.exit_code, 3);
    rig_expect("exit 0", ERR_OK, "", "before");
    rig_expect("trap", ERR_TRAP, "trap: wasm `unreachable` instruction executed", NULL);
    assert_non_null(strstr((char *)rig.log.data, "wasm backtrace"));
    rig_expect("divide 0", ERR_TRAP, "trap: integer divide by zero", NULL);
    rig_works();
}

static void the_environment_is_that_of_the_protocol(void **state) {
    (void)state;
    static const char *const invoke[] = {"FAAS_CALL_ID=abc-1", "h:accept=no", NULL};
    rig_call_with(RIG_GUEST_KEY, 0, invoke, "environ", 7);
    rig_answer();
    char *deadline = strstr((char *)rig.output.data, "FAAS_DEADLINE_MS=");
    assert_non_null(deadline);
    uint64_t ms = strtoull(deadline + 17, NULL, 10), now_ms = clock_real_ns() / CLOCK_NS_PER_MS;
    assert_true(ms > now_ms && ms <= now_ms + 300);
    char *rest = strchr(deadline, '\n');
    assert_string_equal(rest, "\nFAAS_FUNCTION=guest\nFAAS_VERSION=3\nCOLOUR=blue=green\n");
    *deadline = 0;
    assert_string_equal(rig.output.data, "FAAS_CALL_ID=abc-1\n");

    static const char *const http[] = {"FAAS_CALL_ID=abc-2",
                                       "REQUEST_METHOD=POST",
                                       "PATH_INFO=/a b",
                                       "h:content-type=text/plain",
                                       "h:x-a=1",
                                       "h:proxy=http://evil",
                                       "h:x-a=2",
                                       "h:cookie=a=b",
                                       "h:cookie=c=d",
                                       "h:content_length=9",
                                       "h:content-length=700",
                                       NULL};
    rig_call_with(RIG_GUEST_KEY, 0, http, "environ", 7);
    rig_answer();
    rest = strstr((char *)rig.output.data, "GATEWAY_INTERFACE");
    assert_non_null(rest);
    assert_string_equal(rest, "GATEWAY_INTERFACE=CGI/1.1\nCONTENT_TYPE=text/plain\nHTTP_X_A=1, 2\n"
                              "HTTP_COOKIE=a=b; c=d\nCONTENT_LENGTH=7\n"
                              "FAAS_FUNCTION=guest\nFAAS_VERSION=3\nCOLOUR=blue=green\n");
    assert_non_null(strstr((char *)rig.output.data, "REQUEST_METHOD=POST\nPATH_INFO=/a b\n"));
}

static void a_damaged_artefact_is_never_run(void **state) {
    (void)state;
    char hash[65], path[256];
    struct buf good = {0};
    rig_works();
    rig_hash("guest_1", hash);
    rig_path(path, "guest_1", "code.cwasm");
    rig_read_file(path, &good);
    /* A gateway that was started again loads it anew. */
    for (uint32_t round = 0; round < 40; round++) {
        size_t at = (size_t)round * good.len / 40;
        good.data[at] ^= 1;
        rig_write_file(path, good.data, round == 39 ? 0 : round == 38 ? good.len / 2 : good.len);
        good.data[at] ^= 1;
        rig_load_as(10 + round, "guest_1", hash, rig.engine, NULL);
        rig_call(10 + round, 1, "hello");
        rig_answer();
        assert_int_equal(rig.answer.code, ERR_ARTEFACT);
    }
    unlink(path);
    rig_call(10, 1, "hello");
    rig_answer();
    assert_int_equal(rig.answer.code, ERR_ARTEFACT);
    /* Rebuilt: the same key works. */
    rig_write_file(path, good.data, good.len);
    rig_call(10, 1, "hello");
    rig_answer();
    assert_int_equal(rig.answer.code, ERR_OK);
    rig_load_as(11, "guest_1", hash, "wasmtime-1.2.3-of-another-time", NULL);
    rig_call(11, 1, "hello");
    rig_answer();
    assert_int_equal(rig.answer.code, ERR_ARTEFACT);
    rig_load_as(12, "../guest_1", hash, rig.engine, NULL);
    rig_call(12, 1, "hello");
    rig_answer();
    assert_int_equal(rig.answer.code, ERR_INTERNAL);
    rig_works();
    buf_fini(&good);
}

static void a_withdrawn_call_is_not_run(void **state) {
    (void)state;
    uint64_t first = rig_call(RIG_GUEST_KEY, 5, "hello");
    uint64_t second = rig_call(RIG_GUEST_KEY, 6, "hello");
    assert_true(page_move(rig.page, 5, first, PAGE_SENT, PAGE_WITHDRAWN));
    rig_answer();
    assert_true(rig.header.call_id == second);
    assert_true(atomic_load(&rig.page->slots[5]) == page_word(first, PAGE_WITHDRAWN));
    /* Slots outside of the page, and a slot that holds another call, are skipped as well. */
    rig_call(RIG_GUEST_KEY, 7, "hello");
    struct frame_header *header = (struct frame_header *)rig.out.data;
    header->slot = UINT16_MAX;
    rig_call(RIG_GUEST_KEY, 8, "hello");
    atomic_store(&rig.page->slots[8], page_word(1, PAGE_SENT));
    rig_works();
}

static void a_batch_is_answered_in_order_with_few_writes(void **state) {
    (void)state;
    rig_works();
    for (int round = 0; round < 20; round++) {
        uint64_t first = rig.last_id + 1;
        for (uint16_t slot = 0; slot < PAGE_SLOTS; slot++)
            rig_call(RIG_GUEST_KEY, slot, slot % 2 ? "hello" : "exit 2");
        for (uint16_t slot = 0; slot < PAGE_SLOTS; slot++) {
            rig_answer();
            assert_true(rig.header.call_id == first + slot);
            assert_int_equal(rig.header.slot, slot);
            assert_int_equal(rig.answer.code, slot % 2 ? ERR_OK : ERR_EXIT);
        }
    }
}

static void a_slow_call_does_not_hold_back_what_is_finished(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++)
        rig_works(); /* the worker believes that this function is quick */
    rig_call(RIG_GUEST_KEY, 0, "hello");
    rig_call(RIG_GUEST_KEY, 1, "loop");
    uint64_t from = clock_now_ns();
    rig_answer();
    assert_int_equal(rig.header.slot, 0);
    assert_true(clock_now_ns() - from < 200 * CLOCK_NS_PER_MS);
    rig_answer();
    assert_int_equal(rig.header.slot, 1);
    assert_int_equal(rig.answer.code, ERR_TIMEOUT);
    assert_string_equal(rig.output.data, "looping");
}

static void a_second_gateway_is_served_and_must_load_anew(void **state) {
    (void)state;
    rig_works();
    rig_detach();
    rig_attach();
    rig_call(RIG_GUEST_KEY, 0, "hello");
    rig_answer();
    assert_int_equal(rig.answer.code, ERR_INTERNAL);
    rig_load(RIG_GUEST_KEY, "guest_1", NULL);
    rig_works();
    /* The gateway goes away in the middle of a call and of a frame. */
    rig_call(RIG_GUEST_KEY, 0, "sleep 50");
    buf_append(&rig.out, "half a frame", 12);
    rig_send();
    rig_detach();
    rig_attach();
    rig_load(RIG_GUEST_KEY, "guest_1", NULL);
    rig_works();
}

static void it_serves_on_without_its_server(void **state) {
    (void)state;
    close(rig.control);
    rig_works();
    rig_works();
    rig_detach();
    assert_int_equal(rig_wait(), 0);
}

static void an_unloaded_function_is_forgotten(void **state) {
    (void)state;
    struct buf none = {0};
    rig_works();
    rig_put(FRAME_UNLOAD, RIG_GUEST_KEY, 0, 0, &none, NULL, 0);
    rig_put(FRAME_UNLOAD, 4711, 0, 0, &none, NULL, 0);
    rig_call(RIG_GUEST_KEY, 0, "hello");
    rig_answer();
    assert_int_equal(rig.answer.code, ERR_INTERNAL);
}

static void more_functions_than_stay_mapped_all_work(void **state) {
    (void)state;
    enum { FIRST = 100, LAST = 1399 };
    char hash[65];
    rig_hash("guest_1", hash);
    for (uint32_t key = FIRST; key <= LAST; key++)
        rig_load_as(key, "guest_1", hash, rig.engine, NULL);
    for (int round = 0; round < 2; round++)
        for (uint32_t key = FIRST; key <= LAST; key++) {
            rig_call(key, 0, "hello");
            rig_answer();
            assert_int_equal(rig.answer.code, ERR_OK);
            assert_int_equal(rig.answer.flags, FRAME_ANSWER_COLD);
        }
    rig_call(LAST, 0, "hello");
    rig_answer();
    assert_int_equal(rig.answer.flags, 0);
}

/* Functions whose native code the worker has mapped: each has a memory image. */
static int rig_count_images(void) {
    char text[16];
    rig_shell(text, sizeof text, "ls -l /proc/%d/fd | grep -c wasm-memory-image", (int)rig.pid);
    return atoi(text);
}

static void rig_wait_images(int count) {
    uint64_t end_ns = clock_now_ns() + RIG_DEADLINE_MS * CLOCK_NS_PER_MS;
    while (rig_count_images() < count)
        assert_true(clock_now_ns() < end_ns);
}

static void a_function_is_made_ready_ahead_of_its_first_call(void **state) {
    (void)state;
    static const char *const warm[] = {"warm=1", "limit.memory_mb=16", NULL};
    char hash[65];
    rig_hash("guest_1", hash);
    rig_load(900, "guest_1", warm);
    rig_load(901, "guest_1", NULL);
    rig_load_as(902, "missing_1", hash, rig.engine, warm);
    rig_load(903, "guest_1", warm);
    rig_send();
    rig_wait_images(2);
    assert_int_equal(rig_count_images(), 2);
    for (uint32_t key = 900; key <= 903; key += 3) {
        rig_call(key, 0, "hello");
        rig_answer();
        assert_int_equal(rig.answer.code, ERR_OK);
        assert_int_equal(rig.answer.flags, 0);
    }
    rig_call(902, 0, "hello");
    rig_answer();
    assert_int_equal(rig.answer.code, ERR_ARTEFACT);
    /* It said so of each, also of the one that it cannot make ready. */
    assert_int_equal(rig.loaded_count, 3);
    static const uint32_t warmed[] = {900, 902, 903};
    assert_memory_equal(rig.loaded, warmed, sizeof warmed);
}

static void making_a_function_ready_runs_nothing_of_it(void **state) {
    (void)state;
    /* Its start section is an endless loop. */
    static const uint8_t endless[] = {
        0,    'a',  's', 'm',  1,    0,   0,   0,    1,  4, 1,   0x60, 0,    0,   3,    3,   2,  0,
        0,    5,    3,   1,    0,    1,   7,   19,   2,  6, 'm', 'e',  'm',  'o', 'r',  'y', 2,  0,
        6,    '_',  's', 't',  'a',  'r', 't', 0,    1,  8, 1,   0,    10,   12,  2,    7,   0,  3,
        0x40, 0x0c, 0,   0x0b, 0x0b, 2,   0,   0x0b, 11, 7, 1,   0,    0x41, 0,   0x0b, 1,   'x'};
    static const char *const warm[] = {"warm=1", "limit.timeout_ms=100", NULL};
    char text[256];
    if (rig_compile("endless_1", endless, sizeof endless, text, sizeof text) != 0)
        fail_msg("%s", text);
    rig_load(900, "endless_1", warm);
    rig_send();
    rig_wait_images(1);
    rig_works();
    rig_call(900, 0, "");
    rig_answer();
    assert_int_equal(rig.answer.code, ERR_TIMEOUT);
    assert_int_equal(rig.answer.flags, 0);
    rig_works();
}

static void flipped_bits_end_the_worker_cleanly_or_are_served(void **state) {
    (void)state;
    uint32_t seed = 12345;
    int ended = 0;
    for (int round = 0; round < 60; round++) {
        if (rig.pid == 0)
            rig_up(NULL);
        rig_call(RIG_GUEST_KEY, 0, "hello");
        rig_call(RIG_GUEST_KEY, 1, "exit 1");
        size_t len = rig.out.len;
        for (int flips = 0; flips < 3; flips++) {
            seed = seed * 1664525 + 1013904223;
            rig.out.data[(seed >> 8) % len] ^= (uint8_t)(1u << (seed >> 29));
        }
        rig_send();
        rig_detach(); /* the end of the pipe: a frame that became too long is not waited for */
        close(rig.control);
        int status = rig_wait();
        assert_true(WIFEXITED(status));
        ended += WEXITSTATUS(status) != 0;
    }
    assert_true(ended > 0);
}

static void a_module_that_is_no_command_is_refused_in_plain_words(void **state) {
    (void)state;
    char text[1024];
    static const uint8_t empty[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    assert_int_equal(rig_compile("bad_1", empty, sizeof empty, text, sizeof text), 1);
    assert_string_equal(text, "the module exports no _start\n");
    assert_int_equal(rig_compile("bad_1", "", 0, text, sizeof text), 1);
    assert_int_equal(rig_compile("bad_1", "\177ELF\2\1\1", 7, text, sizeof text), 1);
    assert_int_equal(rig_compile("bad_1", empty, sizeof empty - 1, text, sizeof text), 1);

    /* (module (import "env" "f" (func)) (memory (export "memory") 1) (export "_start" (func 0))) */
    static const uint8_t foreign[] = {0,   'a', 's', 'm', 1,   0,   0,   0,   1,   4,   1,   0x60, 0,
                                      0,   2,   9,   1,   3,   'e', 'n', 'v', 1,   'f', 0,   0,    5,
                                      3,   1,   0,   1,   7,   19,  2,   6,   'm', 'e', 'm', 'o',  'r',
                                      'y', 2,   0,   6,   '_', 's', 't', 'a', 'r', 't', 0,   0};
    assert_int_equal(rig_compile("bad_1", foreign, sizeof foreign, text, sizeof text), 1);
    assert_string_equal(text, "the module imports 'f' from 'env': only wasi_snapshot_preview1 is provided\n");
    /* (module (func) (export "_start" (func 0))) */
    static const uint8_t bare[] = {0,   'a', 's', 'm', 1, 0, 0,  0,  1, 4, 1,   0x60,
                                   0,   0,   3,   2,   1, 0, 7,  10, 1, 6, '_', 's',
                                   't', 'a', 'r', 't', 0, 0, 10, 4,  1, 2, 0,   0x0b};
    assert_int_equal(rig_compile("bad_1", bare, sizeof bare, text, sizeof text), 1);
    assert_string_equal(text, "the module exports no memory\n");
    rig_works();
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_up, rig_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_hello_answers_and_says_how_long_it_took),
        RIG_TEST(sixteen_mebibytes_come_back),
        RIG_TEST(an_endless_loop_is_stopped_at_its_deadline),
        RIG_TEST(whatever_keeps_it_busy_it_is_stopped_at_its_deadline),
        RIG_TEST(a_sleep_is_slept_and_stopped_at_the_deadline),
        RIG_TEST(memory_is_limited),
        RIG_TEST(output_is_limited),
        RIG_TEST(the_log_is_cut_and_says_so),
        RIG_TEST(a_stack_overflow_is_a_trap),
        RIG_TEST(traps_and_exit_codes_are_told_apart),
        RIG_TEST(the_environment_is_that_of_the_protocol),
        RIG_TEST(a_damaged_artefact_is_never_run),
        RIG_TEST(a_withdrawn_call_is_not_run),
        RIG_TEST(a_batch_is_answered_in_order_with_few_writes),
        RIG_TEST(a_slow_call_does_not_hold_back_what_is_finished),
        RIG_TEST(a_second_gateway_is_served_and_must_load_anew),
        RIG_TEST(it_serves_on_without_its_server),
        RIG_TEST(an_unloaded_function_is_forgotten),
        RIG_TEST(more_functions_than_stay_mapped_all_work),
        RIG_TEST(a_function_is_made_ready_ahead_of_its_first_call),
        RIG_TEST(making_a_function_ready_runs_nothing_of_it),
        RIG_TEST(flipped_bits_end_the_worker_cleanly_or_are_served),
        RIG_TEST(a_module_that_is_no_command_is_refused_in_plain_words),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
