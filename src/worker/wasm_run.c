#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/interrupt.h"
#include "worker/wasm_engine_internal.h"
#include "worker/wasm_outcome.h"
#include "worker/wasm_rewrite.h"

/* From engine/src/lib.rs. */
struct faas_limiter {
    uint64_t memory_bytes, table_elements;
    struct wasm_refusal refused;
};
struct faas_exports;
void faas_store_limiter(wasmtime_store_t *store, struct faas_limiter *limiter);
struct faas_exports *faas_module_look(const wasmtime_module_t *module, const char *initialize,
                                      struct interrupt_code *ret_code);
void faas_exports_delete(struct faas_exports *exports);
bool faas_instance_exports(wasmtime_context_t *context, const wasmtime_instance_t *instance,
                           const struct faas_exports *exports, wasmtime_memory_t *ret_memory,
                           wasmtime_func_t *ret_start, wasmtime_func_t *ret_initialize,
                           bool *ret_has_initialize);

enum {
    /* Instances kept warm: as many functions as take turns on a worker without mapping their memory anew. */
    WASM_SLOTS = 128,
};

struct runtime_engine {
    wasm_engine_t *engine;
    wasmtime_linker_t *linker; /* WASI's imports */
    wasmtime_store_t *spent;   /* of the last call, with its instance; or NULL */
};

struct runtime_module {
    wasmtime_module_t *module;
    wasmtime_instance_pre_t *instance_pre;
    struct faas_exports *exports;
    struct interrupt_code code;
};

/* One call, as the engine's callbacks see it. */
struct wasm_run {
    struct wasi_call *call; /* borrowed */
    struct faas_limiter limiter;
    struct interrupt interrupt;
    wasmtime_memory_t memory; /* the guest's */
};

/* At every tick of a call: true when it has to stop. */
static bool wasm_run_on_ask(void *context) {
    struct wasi_call *call = ((struct wasm_run *)context)->call;
    if (call->end != WASI_RUNNING)
        return true;
    if (clock_now_ns() >= call->input.deadline_ns)
        call->end = WASI_DEADLINE;
    else if (!wasi_cpu_is_over(call) && call->input.on_pause)
        call->input.on_pause(call->input.pause_context);
    return call->end != WASI_RUNNING;
}

static wasm_trap_t *wasm_run_on_import(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *raw,
                                       size_t raw_count) {
    const struct wasi_import *import = env;
    wasmtime_context_t *context = wasmtime_caller_context(caller);
    struct wasm_run *run = wasmtime_context_get_data(context);
    struct wasi_memory memory = {wasmtime_memory_data(context, &run->memory),
                                 wasmtime_memory_data_size(context, &run->memory)};
    uint64_t args[WASI_PARAMS_MAX];
    for (size_t i = 0; i < raw_count && i < WASI_PARAMS_MAX; i++)
        args[i] = (uint64_t)raw[i].i64; /* of an i32 only the lower half counts */
    uint32_t result = import->function(run->call, memory, args);
    if (run->interrupt.seen) {
        run->interrupt.seen = false;
        wasm_run_on_ask(run);
    }
    if (run->call->end != WASI_RUNNING)
        return wasmtime_trap_new("stop", 4); /* never seen: the call's end says why */
    if (raw_count > 0)
        raw[0].i32 = (int32_t)result;
    return NULL;
}

static void wasm_valtypes_make(const char *letters, wasm_valtype_vec_t *ret_types) {
    wasm_valtype_t *types[WASI_PARAMS_MAX];
    size_t count = strlen(letters);
    for (size_t i = 0; i < count; i++)
        types[i] = wasm_valtype_new(letters[i] == 'I' ? WASM_I64 : WASM_I32);
    wasm_valtype_vec_new(ret_types, count, types);
}

static int wasm_linker_fill(wasmtime_linker_t *linker, struct err *err) {
    char text[160];
    for (size_t i = 0; i < WASI_IMPORT_COUNT; i++) {
        wasm_valtype_vec_t params, results;
        wasm_valtypes_make(wasi_imports[i].params, &params);
        wasm_valtypes_make(wasi_imports[i].results, &results);
        wasm_functype_t *type = wasm_functype_new(&params, &results);
        wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
            linker, WASI_MODULE, strlen(WASI_MODULE), wasi_imports[i].name, strlen(wasi_imports[i].name),
            type, wasm_run_on_import, (void *)&wasi_imports[i], NULL);
        wasm_functype_delete(type);
        if (error) {
            wasm_engine_error_text(error, text, sizeof text);
            return err_set(err, ERR_INTERNAL, "cannot define %s: %s", wasi_imports[i].name, text);
        }
    }
    return 0;
}

/* --- the worker: engine and modules --- */

static void wasm_runtime_settle(struct runtime_engine *runtime) {
    if (runtime->spent)
        wasmtime_store_delete(runtime->spent);
    runtime->spent = NULL;
}

static void wasm_runtime_close(struct runtime_engine *runtime) {
    if (!runtime)
        return;
    wasm_runtime_settle(runtime);
    if (runtime->linker)
        wasmtime_linker_delete(runtime->linker);
    if (runtime->engine)
        wasm_engine_delete(runtime->engine);
    free(runtime);
}

static int wasm_runtime_open(struct runtime_engine **ret_runtime, struct err *err) {
    struct runtime_engine *runtime = mem_zalloc(sizeof *runtime);
    runtime->engine = wasm_engine_make(WASM_SLOTS);
    int result = 0;
    if (!runtime->engine) {
        result = err_set(err, ERR_INTERNAL, "cannot start the WASM engine");
    } else {
        runtime->linker = wasmtime_linker_new(runtime->engine);
        result = wasm_linker_fill(runtime->linker, err);
        if (result == 0)
            result = interrupt_open(err);
    }
    if (result < 0)
        wasm_runtime_close(runtime);
    else
        *ret_runtime = runtime;
    return result;
}

static void wasm_runtime_tick(struct runtime_engine *runtime) {
    (void)runtime;
    interrupt_ask();
}

static void wasm_runtime_unload(struct runtime_module *module) {
    if (!module)
        return;
    if (module->exports)
        faas_exports_delete(module->exports);
    if (module->instance_pre)
        wasmtime_instance_pre_delete(module->instance_pre);
    if (module->module)
        wasmtime_module_delete(module->module);
    free(module);
}

static int wasm_runtime_load(struct runtime_engine *runtime, const uint8_t *bytes, size_t len,
                             struct runtime_module **ret_module, struct err *err) {
    struct runtime_module *module = mem_zalloc(sizeof *module);
    wasmtime_error_t *error = wasmtime_module_deserialize(runtime->engine, bytes, len, &module->module);
    if (!error)
        error = wasmtime_linker_instantiate_pre(runtime->linker, module->module, &module->instance_pre);
    if (error) {
        char text[160];
        wasm_engine_error_text(error, text, sizeof text);
        wasm_runtime_unload(module);
        return err_set(err, ERR_ARTEFACT, "the native code cannot be used: %s", text);
    }
    module->exports = faas_module_look(module->module, WASM_REWRITE_INITIALIZE, &module->code);
    if (!module->exports) {
        wasm_runtime_unload(module);
        return err_set(err, ERR_ARTEFACT, "the native code is not as the compiler makes it");
    }
    *ret_module = module;
    return 0;
}

/* --- the worker: a call --- */

/* Instantiates and runs. NULL and no trap: the guest returned. */
static wasmtime_error_t *wasm_run_guest(struct runtime_module *module, wasmtime_context_t *context,
                                        struct runtime_outcome *outcome, wasm_trap_t **ret_trap) {
    struct wasm_run *run = wasmtime_context_get_data(context);
    wasmtime_instance_t instance;
    wasmtime_func_t start, initialize;
    bool has_initialize;
    wasmtime_error_t *error =
        wasmtime_instance_pre_instantiate(module->instance_pre, context, &instance, ret_trap);
    if (error || *ret_trap)
        return error;
    if (!faas_instance_exports(context, &instance, module->exports, &run->memory, &start, &initialize,
                               &has_initialize))
        return wasmtime_error_new("the module exports no _start or no memory");
    outcome->started_ns = clock_now_ns();
    wasmtime_val_raw_t none[1];
    if (has_initialize)
        error = wasmtime_func_call_unchecked(context, &initialize, none, 1, ret_trap);
    return error || *ret_trap ? error : wasmtime_func_call_unchecked(context, &start, none, 1, ret_trap);
}

/* Takes the error or the trap; both may be NULL. */
static void wasm_run_conclude(const struct wasm_ending *ending, wasmtime_error_t *error, wasm_trap_t *trap,
                              struct runtime_outcome *outcome) {
    if (ending->call->end != WASI_RUNNING) {
        wasm_outcome_end(outcome, ending);
    } else if (trap) {
        wasm_byte_vec_t message;
        wasm_trap_message(trap, &message);
        wasm_outcome_trap(outcome, ending, message.data, strnlen(message.data, message.size));
        wasm_byte_vec_delete(&message);
    } else if (error) {
        char text[160];
        wasm_engine_error_text(error, text, sizeof text);
        error = NULL;
        wasm_outcome_error(outcome, ending, text);
    }
    if (trap)
        wasm_trap_delete(trap);
    if (error)
        wasmtime_error_delete(error);
}

static struct faas_limiter wasm_limiter_make(const struct limits *limits) {
    return (struct faas_limiter){.memory_bytes = (uint64_t)limits->memory_mb << 20,
                                 .table_elements = WASM_TABLE_ELEMENTS};
}

static void wasm_runtime_call(struct runtime_engine *runtime, struct runtime_module *module,
                              const struct limits *limits, struct wasi_call *call,
                              struct runtime_outcome *outcome) {
    struct wasm_run run = {
        .call = call,
        .limiter = wasm_limiter_make(limits),
        .interrupt = {.code = &module->code, .on_ask = wasm_run_on_ask, .context = &run},
    };
    outcome->code = ERR_OK;
    outcome->exit_code = 0;
    outcome->started_ns = 0;
    outcome->error[0] = 0;
    wasm_runtime_settle(runtime);
    wasmtime_store_t *store = wasmtime_store_new(runtime->engine, &run, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    faas_store_limiter(store, &run.limiter);
    wasm_trap_t *trap = NULL;
    interrupt_begin(&run.interrupt);
    wasmtime_error_t *error = wasm_run_guest(module, context, outcome, &trap);
    interrupt_end();
    outcome->ended_ns = clock_now_ns();
    struct wasm_ending ending = {call, limits, run.limiter.refused, outcome->started_ns == 0};
    if (ending.at_start)
        outcome->started_ns = outcome->ended_ns;
    wasm_run_conclude(&ending, error, trap, outcome);
    runtime->spent = store;
}

static void wasm_runtime_warm(struct runtime_engine *runtime, struct runtime_module *module,
                              const struct limits *limits) {
    struct faas_limiter limiter = wasm_limiter_make(limits);
    wasmtime_store_t *store = wasmtime_store_new(runtime->engine, NULL, NULL);
    faas_store_limiter(store, &limiter);
    wasmtime_instance_t instance;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = wasmtime_instance_pre_instantiate(
        module->instance_pre, wasmtime_store_context(store), &instance, &trap);
    if (trap)
        wasm_trap_delete(trap);
    if (error)
        wasmtime_error_delete(error);
    wasmtime_store_delete(store);
}

const struct runtime_ops wasm_engine_runtime = {
    .name = "wasmtime",
    .open = wasm_runtime_open,
    .close = wasm_runtime_close,
    .engine_key = wasm_engine_key,
    .load = wasm_runtime_load,
    .unload = wasm_runtime_unload,
    .warm = wasm_runtime_warm,
    .call = wasm_runtime_call,
    .settle = wasm_runtime_settle,
    .tick = wasm_runtime_tick,
};
