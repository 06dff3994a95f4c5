#include "worker/wasm_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include <wasm.h>
#include <wasmtime.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/wasi_table.h"
#include "worker/wasm_outcome.h"

/* From engine/src/lib.rs. */
struct faas_limiter {
    uint64_t memory_bytes, table_elements;
    struct wasm_refusal refused;
};
void faas_pool_pagemap_scan(wasmtime_pooling_allocation_config_t *config, int mode);
void faas_store_limiter(wasmtime_store_t *store, struct faas_limiter *limiter);

enum {
    /* Changes with every setting below that changes the native code: artefacts are then made again. */
    WASM_SETTINGS = 1,
    /* Instances kept warm: as many functions as take turns on a worker without mapping their memory anew. */
    WASM_SLOTS = 128,
    WASM_STACK_BYTES = 2 << 20, /* of native frames; the C stack of a guest is in its memory */
    WASM_TABLE_ELEMENTS = 200000,
    WASM_TABLES = 4, /* a module */
    WASM_KEEP_MEMORY_BYTES = 256 << 10,
    WASM_KEEP_TABLE_BYTES = 64 << 10,
};
static const uint64_t wasm_memory_bytes_max = 4ull << 30;

/* --- what both builds share --- */

static uint32_t wasm_hash_word(uint32_t hash, uint32_t word) {
    for (int i = 0; i < 4; i++)
        hash = (hash ^ ((word >> (8 * i)) & 0xff)) * 16777619u; /* FNV-1a */
    return hash;
}

/* The processor's features that the compiler uses where it finds them. */
static uint32_t wasm_processor_hash(void) {
    uint32_t hash = wasm_hash_word(2166136261u, WASM_SETTINGS);
#ifdef __x86_64__
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d))
        hash = wasm_hash_word(hash, c & (1u << 0 | 1u << 9 | 1u << 12 | 1u << 13 | 1u << 19 | 1u << 20 |
                                         1u << 23 | 1u << 28)); /* SSE3 to SSE4.2, FMA, POPCNT, AVX */
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        hash = wasm_hash_word(hash, b & (1u << 3 | 1u << 5 | 1u << 8 | 1u << 16 | 1u << 17 | 1u << 31));
        hash = wasm_hash_word(hash, c & (1u << 1 | 1u << 12)); /* BMI, AVX2, AVX-512 */
    }
    if (__get_cpuid(0x80000001u, &a, &b, &c, &d))
        hash = wasm_hash_word(hash, c & 1u << 5); /* LZCNT */
#else
    hash = wasm_hash_word(hash, (uint32_t)getauxval(AT_HWCAP));
#endif
    return hash;
}

const char *wasm_engine_key(void) {
    static char key[64];
    if (!key[0])
        snprintf(key, sizeof key, "wasmtime-%s-%08x", FAAS_ENGINE_KEY, wasm_processor_hash());
    return key;
}

static wasm_engine_t *wasm_engine_make(uint32_t slots) {
    wasm_config_t *config = wasm_config_new();
    wasmtime_config_epoch_interruption_set(config, true);
    wasmtime_config_memory_init_cow_set(config, true);
    wasmtime_config_memory_reservation_set(config, wasm_memory_bytes_max);
    wasmtime_config_max_wasm_stack_set(config, WASM_STACK_BYTES);
    wasmtime_config_wasm_multi_memory_set(config, false);
    wasmtime_config_wasm_memory64_set(config, false);
    wasmtime_config_native_unwind_info_set(config, false);

    wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
    wasmtime_pooling_allocation_config_total_core_instances_set(pool, slots);
    wasmtime_pooling_allocation_config_total_memories_set(pool, slots);
    wasmtime_pooling_allocation_config_total_tables_set(pool, slots * WASM_TABLES);
    wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, slots);
    wasmtime_pooling_allocation_config_max_memory_size_set(pool, wasm_memory_bytes_max);
    wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, WASM_TABLES);
    wasmtime_pooling_allocation_config_table_elements_set(pool, WASM_TABLE_ELEMENTS);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, WASM_KEEP_MEMORY_BYTES);
    wasmtime_pooling_allocation_config_table_keep_resident_set(pool, WASM_KEEP_TABLE_BYTES);
    faas_pool_pagemap_scan(pool, 2); /* where the kernel has it: only pages that were written are reset */
    wasmtime_pooling_allocation_strategy_set(config, pool);
    wasmtime_pooling_allocation_config_delete(pool);
    return wasm_engine_new_with_config(config);
}

/* Takes the error. */
static void wasm_error_text(wasmtime_error_t *error, char *ret_text, size_t size) {
    wasm_byte_vec_t message;
    wasmtime_error_message(error, &message);
    wasm_text_flatten(message.data, message.size, ret_text, size);
    wasm_byte_vec_delete(&message);
    wasmtime_error_delete(error);
}

#ifdef FAAS_ENGINE_COMPILER

/* --- the compiler: validation --- */

static bool wasm_name_is(const wasm_name_t *name, const char *text) {
    return name->size == strlen(text) && memcmp(name->data, text, name->size) == 0;
}

static bool wasm_types_are(const wasm_valtype_vec_t *types, const char *letters) {
    if (types->size != strlen(letters))
        return false;
    for (size_t i = 0; i < types->size; i++)
        if (wasm_valtype_kind(types->data[i]) != (letters[i] == 'I' ? WASM_I64 : WASM_I32))
            return false;
    return true;
}

static bool wasm_func_is(const wasm_externtype_t *type, const char *params, const char *results) {
    const wasm_functype_t *func = wasm_externtype_as_functype_const(type);
    return func && wasm_types_are(wasm_functype_params(func), params) &&
           wasm_types_are(wasm_functype_results(func), results);
}

static int wasm_import_check(const wasm_importtype_t *import, struct err *err) {
    static const struct {
        const char *name, *params, *results;
    } table[] = {
#define WASM_WASI_ROW(name, params, results) {#name, params, results},
        WASI_TABLE(WASM_WASI_ROW)
#undef WASM_WASI_ROW
    };
    const wasm_name_t *module = wasm_importtype_module(import), *name = wasm_importtype_name(import);
    int module_len = module->size < 64 ? (int)module->size : 64;
    int name_len = name->size < 64 ? (int)name->size : 64;
    if (!wasm_name_is(module, WASI_MODULE))
        return err_set(err, ERR_COMPILE, "the module imports '%.*s' from '%.*s': only %s is provided",
                       name_len, name->data, module_len, module->data, WASI_MODULE);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (!wasm_name_is(name, table[i].name))
            continue;
        if (wasm_func_is(wasm_importtype_type(import), table[i].params, table[i].results))
            return 0;
        return err_set(err, ERR_COMPILE, "the module imports '%s' from %s with another type than it has",
                       table[i].name, WASI_MODULE);
    }
    return err_set(err, ERR_COMPILE, "the module imports '%.*s' from %s, which has no such function",
                   name_len, name->data, WASI_MODULE);
}

static int wasm_imports_check(const wasmtime_module_t *module, struct err *err) {
    wasm_importtype_vec_t imports;
    wasmtime_module_imports(module, &imports);
    int result = 0;
    for (size_t i = 0; i < imports.size && result == 0; i++)
        result = wasm_import_check(imports.data[i], err);
    wasm_importtype_vec_delete(&imports);
    return result;
}

static int wasm_exports_check(const wasmtime_module_t *module, struct err *err) {
    wasm_exporttype_vec_t exports;
    wasmtime_module_exports(module, &exports);
    bool start = false, start_fits = false, memory = false, reactor = false;
    for (size_t i = 0; i < exports.size; i++) {
        const wasm_name_t *name = wasm_exporttype_name(exports.data[i]);
        const wasm_externtype_t *type = wasm_exporttype_type(exports.data[i]);
        if (wasm_name_is(name, "_start")) {
            start = true;
            start_fits = wasm_func_is(type, "", "");
        }
        if (wasm_name_is(name, "memory"))
            memory = wasm_externtype_kind(type) == WASM_EXTERN_MEMORY;
        if (wasm_name_is(name, "_initialize"))
            reactor = true;
    }
    wasm_exporttype_vec_delete(&exports);
    if (!start)
        return err_set(err, ERR_COMPILE, "the module exports no _start%s",
                       reactor ? ": it is a library (reactor), not a command" : "");
    if (!start_fits)
        return err_set(err, ERR_COMPILE, "the module's _start is no function without parameters and results");
    if (!memory)
        return err_set(err, ERR_COMPILE, "the module exports no memory");
    return 0;
}

int wasm_engine_compile(const uint8_t *wasm, size_t len, struct buf *ret_native, struct err *err) {
    wasm_engine_t *engine = wasm_engine_make(1);
    if (!engine)
        return err_set(err, ERR_INTERNAL, "cannot start the compiler");
    wasmtime_module_t *module = NULL;
    wasm_byte_vec_t native = {0};
    char text[160];
    int result = 0;
    wasmtime_error_t *error = wasmtime_module_new(engine, wasm, len, &module);
    if (!error) {
        result = wasm_imports_check(module, err);
        if (result == 0)
            result = wasm_exports_check(module, err);
        if (result == 0)
            error = wasmtime_module_serialize(module, &native);
    }
    if (error) {
        wasm_error_text(error, text, sizeof text);
        result = err_set(err, ERR_COMPILE, "%s", text);
    } else if (result == 0) {
        buf_append(ret_native, native.data, native.size);
        wasm_byte_vec_delete(&native);
        if (ret_native->failed)
            result = err_set(err, ERR_INTERNAL, "no memory for the native code");
    }
    if (module)
        wasmtime_module_delete(module);
    wasm_engine_delete(engine);
    return result;
}

#else

/* --- the worker: what a guest calls --- */

struct runtime_engine {
    wasm_engine_t *engine;
    wasmtime_linker_t *linker; /* WASI's imports */
};

struct runtime_module {
    wasmtime_module_t *module;
    wasmtime_instance_pre_t *instance_pre;
};

/* One call, as the engine's callbacks see it. */
struct wasm_run {
    struct wasi_call *call; /* borrowed */
    struct faas_limiter limiter;
    wasmtime_memory_t memory; /* the guest's, once has_memory */
    bool has_memory;
};

static wasm_trap_t *wasm_engine_on_import(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *raw,
                                          size_t raw_count) {
    const struct wasi_import *import = env;
    wasmtime_context_t *context = wasmtime_caller_context(caller);
    struct wasm_run *run = wasmtime_context_get_data(context);
    if (!run->has_memory) {
        wasmtime_extern_t found;
        if (!wasmtime_caller_export_get(caller, "memory", 6, &found) || found.kind != WASMTIME_EXTERN_MEMORY)
            return wasmtime_trap_new("no memory", 9);
        run->memory = found.of.memory;
        run->has_memory = true;
    }
    struct wasi_memory memory = {wasmtime_memory_data(context, &run->memory),
                                 wasmtime_memory_data_size(context, &run->memory)};
    uint64_t args[WASI_PARAMS_MAX];
    for (size_t i = 0; i < raw_count && i < WASI_PARAMS_MAX; i++)
        args[i] = (uint64_t)raw[i].i64; /* of an i32 only the lower half counts */
    uint32_t result = import->function(run->call, memory, args);
    if (run->call->end != WASI_RUNNING)
        return wasmtime_trap_new("stop", 4); /* never seen: the call's end says why */
    if (raw_count > 0)
        raw[0].i32 = (int32_t)result;
    return NULL;
}

/* On the guest's thread, at the first check after a tick. */
static wasmtime_error_t *wasm_engine_on_epoch(wasmtime_context_t *context, void *data, uint64_t *ret_delta,
                                              wasmtime_update_deadline_kind_t *ret_kind) {
    struct wasi_call *call = ((struct wasm_run *)data)->call;
    (void)context;
    if (clock_now_ns() >= call->input.deadline_ns) {
        call->end = WASI_DEADLINE;
        return wasmtime_error_new("deadline");
    }
    if (wasi_cpu_is_over(call))
        return wasmtime_error_new("cpu");
    if (call->input.on_pause)
        call->input.on_pause(call->input.pause_context);
    *ret_delta = 1;
    *ret_kind = WASMTIME_UPDATE_DEADLINE_CONTINUE;
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
            type, wasm_engine_on_import, (void *)&wasi_imports[i], NULL);
        wasm_functype_delete(type);
        if (error) {
            wasm_error_text(error, text, sizeof text);
            return err_set(err, ERR_INTERNAL, "cannot define %s: %s", wasi_imports[i].name, text);
        }
    }
    return 0;
}

/* --- the worker: engine and modules --- */

static void wasm_runtime_close(struct runtime_engine *runtime) {
    if (!runtime)
        return;
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
    }
    if (result < 0)
        wasm_runtime_close(runtime);
    else
        *ret_runtime = runtime;
    return result;
}

static void wasm_runtime_tick(struct runtime_engine *runtime) {
    wasmtime_engine_increment_epoch(runtime->engine);
}

static void wasm_runtime_unload(struct runtime_module *module) {
    if (!module)
        return;
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
        wasm_error_text(error, text, sizeof text);
        wasm_runtime_unload(module);
        return err_set(err, ERR_ARTEFACT, "the native code cannot be used: %s", text);
    }
    *ret_module = module;
    return 0;
}

/* --- the worker: a call --- */

/* Instantiates and runs. NULL and no trap: the guest returned. */
static wasmtime_error_t *wasm_run_guest(struct runtime_module *module, wasmtime_context_t *context,
                                        struct runtime_outcome *outcome, wasm_trap_t **ret_trap) {
    wasmtime_instance_t instance;
    wasmtime_extern_t start;
    wasmtime_error_t *error =
        wasmtime_instance_pre_instantiate(module->instance_pre, context, &instance, ret_trap);
    if (error || *ret_trap)
        return error;
    if (!wasmtime_instance_export_get(context, &instance, "_start", 6, &start) ||
        start.kind != WASMTIME_EXTERN_FUNC)
        return wasmtime_error_new("the module exports no _start");
    outcome->started_ns = clock_now_ns();
    wasmtime_val_raw_t none[1];
    return wasmtime_func_call_unchecked(context, &start.of.func, none, 1, ret_trap);
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
        wasm_error_text(error, text, sizeof text);
        error = NULL;
        wasm_outcome_error(outcome, ending, text);
    }
    if (trap)
        wasm_trap_delete(trap);
    if (error)
        wasmtime_error_delete(error);
}

static void wasm_runtime_call(struct runtime_engine *runtime, struct runtime_module *module,
                              const struct limits *limits, struct wasi_call *call,
                              struct runtime_outcome *outcome) {
    struct wasm_run run = {
        .call = call,
        .limiter = {.memory_bytes = (uint64_t)limits->memory_mb << 20, .table_elements = WASM_TABLE_ELEMENTS},
    };
    outcome->code = ERR_OK;
    outcome->exit_code = 0;
    outcome->started_ns = 0;
    outcome->error[0] = 0;
    wasmtime_store_t *store = wasmtime_store_new(runtime->engine, &run, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    faas_store_limiter(store, &run.limiter);
    wasmtime_store_epoch_deadline_callback(store, wasm_engine_on_epoch, &run, NULL);
    wasmtime_context_set_epoch_deadline(context, 1);

    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = wasm_run_guest(module, context, outcome, &trap);
    outcome->ended_ns = clock_now_ns();
    struct wasm_ending ending = {call, limits, run.limiter.refused, outcome->started_ns == 0};
    if (ending.at_start)
        outcome->started_ns = outcome->ended_ns;
    wasm_run_conclude(&ending, error, trap, outcome);
    wasmtime_store_delete(store);
}

static wasmtime_error_t *wasm_engine_on_warm_epoch(wasmtime_context_t *context, void *data,
                                                   uint64_t *ret_delta,
                                                   wasmtime_update_deadline_kind_t *ret_kind) {
    (void)context, (void)data, (void)ret_delta, (void)ret_kind;
    return wasmtime_error_new("not called");
}

/* A module may have code that runs when it is instantiated: its deadline is over before its first
 * instruction. */
static void wasm_runtime_warm(struct runtime_engine *runtime, struct runtime_module *module,
                              const struct limits *limits) {
    struct wasi_call no_call = {.end = WASI_DEADLINE};
    struct wasm_run run = {
        .call = &no_call,
        .limiter = {.memory_bytes = (uint64_t)limits->memory_mb << 20, .table_elements = WASM_TABLE_ELEMENTS},
    };
    wasmtime_store_t *store = wasmtime_store_new(runtime->engine, &run, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    faas_store_limiter(store, &run.limiter);
    wasmtime_store_epoch_deadline_callback(store, wasm_engine_on_warm_epoch, NULL, NULL);
    wasmtime_context_set_epoch_deadline(context, 0);
    wasmtime_instance_t instance;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_instance_pre_instantiate(module->instance_pre, context, &instance, &trap);
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
    .tick = wasm_runtime_tick,
};

#endif
