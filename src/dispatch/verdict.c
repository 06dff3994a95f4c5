/* What a process's end means for the call that it was running: from what we killed it for, how it ended, what
 * the server saw of its limits, and what it said last. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "dispatch/dispatch_internal.h"

enum { VERDICT_LINE_BYTES = 240 }; /* of a traceback: where the error was raised */

/* The last line of its stderr that is no stack frame and not Node.js's signature. */
static const char *verdict_last_line(const struct link *link, size_t *ret_len) {
    const char *end = link->tail + link->tail_len;
    for (;;) {
        while (end > link->tail && end[-1] == '\n')
            end--;
        const char *line = end;
        while (line > link->tail && line[-1] != '\n')
            line--;
        if (line == link->tail || (*line != ' ' && strncmp(line, "Node.js v", 9) != 0)) {
            *ret_len = (size_t)(end - line);
            return line;
        }
        end = line;
    }
}

static bool verdict_starts(const char *line, const char *words) {
    return strncmp(line, words, strlen(words)) == 0;
}

static bool verdict_is_out_of_memory(const struct link *link, const char *line) {
    return link->gone_code == ERR_OOM || verdict_starts(line, "MemoryError") ||
           strstr(link->tail, "heap out of memory") || strstr(link->tail, "Array buffer allocation failed");
}

/* Where no control group counts processes, the kernel only says EAGAIN, as it does for much else: a fork must
 * stand in the line before. */
static bool verdict_is_out_of_processes(const struct link *link, const char *line) {
    if (link->gone_code == ERR_PROCESSES || verdict_starts(line, "RuntimeError: can't start new thread"))
        return true;
    if (!verdict_starts(line, "BlockingIOError: [Errno 11]"))
        return false;
    size_t before = (size_t)(line - link->tail);
    before = before < VERDICT_LINE_BYTES ? before : VERDICT_LINE_BYTES;
    return memmem(line - before, before, "fork", 4) || memmem(line - before, before, "_spawn", 6);
}

/* What we killed it for. */
static int verdict_of_kill(const struct link *link, char *text, size_t size) {
    const struct limits *limits = &link->function->version->meta.limits;
    if (link->kill_code == ERR_TIMEOUT)
        snprintf(text, size, "ran out of time after %u ms (timeout_ms)", limits->timeout_ms);
    else if (link->kill_code == ERR_CPU)
        snprintf(text, size, "used more than %u ms of CPU time (cpu_ms)", limits->cpu_ms);
    else if (link->kill_code == ERR_OUTPUT)
        snprintf(text, size, "printed more than %u MiB (output_mb)", limits->output_mb);
    else
        snprintf(text, size, "the process broke the protocol of its pipe");
    return link->kill_code;
}

/* status 0, high word 0: it could not note how it ended. */
static int verdict_of_end(const struct link *link, uint64_t word, char *text, size_t size) {
    const struct limits *limits = &link->function->version->meta.limits;
    int status = (int)(word & 0xffffffff);
    size_t line_len;
    const char *line = verdict_last_line(link, &line_len);
    if (verdict_is_out_of_memory(link, line)) {
        snprintf(text, size, "out of memory: memory_mb is %u", limits->memory_mb);
        return ERR_OOM;
    }
    if (verdict_is_out_of_processes(link, line)) {
        snprintf(text, size, "started more processes than %u (processes)", limits->processes);
        return ERR_PROCESSES;
    }
    if (!(word >> 32))
        snprintf(text, size, "the function's process died");
    else if (WIFSIGNALED(status))
        snprintf(text, size, "the function's process was killed by signal %d", WTERMSIG(status));
    else if (!link->script)
        snprintf(text, size, "the function's process exited with code %d", WEXITSTATUS(status));
    else if (line_len > 0)
        snprintf(text, size, "exit code %d: %.*s", WEXITSTATUS(status), (int)line_len, line);
    else
        snprintf(text, size, "exit code %d", WEXITSTATUS(status));
    return link->script && (word >> 32) && WIFEXITED(status) ? ERR_EXIT : ERR_CRASH;
}

int verdict_of(const struct link *link, const char **ret_error, int *ret_exit_code) {
    static char text[512]; /* valid until the next verdict: it is sent at once */
    uint64_t word = atomic_load(&link->page->exit_status);
    int status = (int)(word & 0xffffffff);
    bool exited = (word >> 32) && WIFEXITED(status);
    *ret_error = text;
    *ret_exit_code = exited && !link->kill_code ? WEXITSTATUS(status) : 0;
    if (link->kill_code)
        return verdict_of_kill(link, text, sizeof text);
    if (exited && link->script && *ret_exit_code == 0)
        return ERR_OK;
    return verdict_of_end(link, word, text, sizeof text);
}
