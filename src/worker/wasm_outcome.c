#include "worker/wasm_outcome.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void wasm_outcome_set(struct runtime_outcome *outcome, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void wasm_outcome_set(struct runtime_outcome *outcome, enum err_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(outcome->error, sizeof outcome->error, format, args);
    va_end(args);
    outcome->code = code;
}

static bool wasm_was_refused(const struct wasm_ending *ending) {
    return ending->refusal.memory_bytes > 0 || ending->refusal.table_elements > 0;
}

static void wasm_outcome_oom(struct runtime_outcome *outcome, const struct wasm_ending *ending) {
    unsigned long long mib = (ending->refusal.memory_bytes + (1 << 20) - 1) >> 20;
    if (ending->refusal.memory_bytes == 0)
        wasm_outcome_set(outcome, ERR_OOM, "out of memory: a table of %llu elements was refused",
                         (unsigned long long)ending->refusal.table_elements);
    else if (ending->at_start)
        wasm_outcome_set(outcome, ERR_OOM, "out of memory: the module starts with %llu MiB, memory_mb is %u",
                         mib, ending->limits->memory_mb);
    else
        wasm_outcome_set(outcome, ERR_OOM, "out of memory: a growth to %llu MiB was refused, memory_mb is %u",
                         mib, ending->limits->memory_mb);
}

/* A program that gives up by itself after a refused growth (Go's runtime exits with 2) says so. Any other
 * exit code after a NULL from malloc is the program's own affair. */
static bool wasm_says_out_of_memory(const struct wasi_call *call) {
    static const char words[] = "out of memory";
    const struct buf *log = call->input.log;
    return log->len > call->log_from &&
           memmem(log->data + call->log_from, log->len - call->log_from, words, sizeof words - 1);
}

void wasm_outcome_end(struct runtime_outcome *outcome, const struct wasm_ending *ending) {
    const struct wasi_call *call = ending->call;
    switch (call->end) {
    case WASI_EXITED:
        outcome->exit_code = (int)call->exit_code;
        if (call->exit_code == 0)
            outcome->code = ERR_OK;
        else if (wasm_was_refused(ending) && wasm_says_out_of_memory(call))
            wasm_outcome_oom(outcome, ending);
        else
            wasm_outcome_set(outcome, ERR_EXIT, "exit code %d", outcome->exit_code);
        break;
    case WASI_RAISED:
        if (wasm_was_refused(ending))
            wasm_outcome_oom(outcome, ending);
        else
            wasm_outcome_set(outcome, ERR_TRAP, "trap: signal %u was raised", call->exit_code);
        break;
    case WASI_OUTPUT_FULL:
        wasm_outcome_set(outcome, ERR_OUTPUT, "printed more than %u MiB (output_mb)",
                         ending->limits->output_mb);
        break;
    case WASI_DEADLINE:
        wasm_outcome_set(outcome, ERR_TIMEOUT, "ran out of time after %u ms (timeout_ms)%s",
                         ending->limits->timeout_ms,
                         wasm_was_refused(ending) ? "; a growth of its memory had been refused" : "");
        break;
    case WASI_CPU:
        wasm_outcome_set(outcome, ERR_CPU, "used more than %u ms of CPU time (cpu_ms)",
                         ending->limits->cpu_ms);
        break;
    default:
        wasm_outcome_set(outcome, ERR_INTERNAL, "the worker has no memory left for the output");
    }
}

void wasm_outcome_trap(struct runtime_outcome *outcome, const struct wasm_ending *ending, const char *message,
                       size_t len) {
    static const char marker[] = "wasm trap: ";
    const char *words = memmem(message, len, marker, sizeof marker - 1);
    char text[160] = "the function was stopped";
    if (words) {
        words += sizeof marker - 1;
        wasm_text_flatten(words, len - (size_t)(words - message), text, sizeof text);
    }
    if (wasm_was_refused(ending))
        wasm_outcome_oom(outcome, ending);
    else if (strcmp(text, "call stack exhausted") == 0)
        wasm_outcome_set(outcome, ERR_TRAP, "trap: stack overflow (%s)", text);
    else
        wasm_outcome_set(outcome, ERR_TRAP, "trap: %s", text);
    wasi_log(ending->call, message, len);
    wasi_log(ending->call, "\n", 1);
}

void wasm_outcome_error(struct runtime_outcome *outcome, const struct wasm_ending *ending,
                        const char *message) {
    if (wasm_was_refused(ending))
        wasm_outcome_oom(outcome, ending);
    else
        wasm_outcome_set(outcome, ERR_TRAP, "%s", message);
}

void wasm_text_flatten(const char *data, size_t len, char *ret_text, size_t size) {
    static const char caused[] = "Caused by:";
    size_t at = 0;
    for (size_t i = 0; i < len && at + 3 < size; i++) {
        if (data[i] == '\n') {
            while (i < len && isspace((unsigned char)data[i]))
                i++;
            if (len - i > sizeof caused && memcmp(data + i, caused, sizeof caused - 1) == 0)
                i += sizeof caused - 1;
            while (i < len && isspace((unsigned char)data[i]))
                i++;
            if (i + 2 < len && isdigit((unsigned char)data[i]) && data[i + 1] == ':')
                i += 3;
            if (i < len && at > 0) {
                ret_text[at++] = ':';
                ret_text[at++] = ' ';
            }
        }
        if (i < len)
            ret_text[at++] = data[i];
    }
    ret_text[at] = 0;
}
