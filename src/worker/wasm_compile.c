#include <stdio.h>
#include <string.h>

#include "worker/wasi_table.h"
#include "worker/wasm_engine_internal.h"
#include "worker/wasm_rewrite.h"

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
    bool start = false, start_fits = false, memory = false, reactor = false, taken = false;
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
        if (wasm_name_is(name, WASM_REWRITE_INITIALIZE))
            taken = !wasm_func_is(type, "", "");
    }
    wasm_exporttype_vec_delete(&exports);
    if (!start)
        return err_set(err, ERR_COMPILE, "the module exports no _start%s",
                       reactor ? ": it is a library (reactor), not a command" : "");
    if (!start_fits)
        return err_set(err, ERR_COMPILE, "the module's _start is no function without parameters and results");
    if (!memory)
        return err_set(err, ERR_COMPILE, "the module exports no memory");
    if (taken)
        return err_set(err, ERR_COMPILE, "the module exports '%s', a name that is taken",
                       WASM_REWRITE_INITIALIZE);
    return 0;
}

/* Appends the native code of a module that the engine finds valid. */
static wasmtime_error_t *wasm_native_make(wasm_engine_t *engine, const struct buf *wasm,
                                          struct buf *ret_native, struct err *err) {
    wasmtime_module_t *module = NULL;
    wasm_byte_vec_t native = {0};
    wasmtime_error_t *error = wasmtime_module_new(engine, wasm->data, wasm->len, &module);
    if (error)
        return error;
    if (wasm_imports_check(module, err) == 0 && wasm_exports_check(module, err) == 0 &&
        !(error = wasmtime_module_serialize(module, &native))) {
        buf_append(ret_native, native.data, native.size);
        wasm_byte_vec_delete(&native);
        if (ret_native->failed)
            err_set(err, ERR_INTERNAL, "no memory for the native code");
    }
    wasmtime_module_delete(module);
    return error;
}

int wasm_engine_compile(const uint8_t *wasm, size_t len, struct buf *ret_native, struct err *err) {
    wasm_engine_t *engine = wasm_engine_make(1);
    if (!engine)
        return err_set(err, ERR_INTERNAL, "cannot start the compiler");
    struct buf rewritten = {0};
    err->code = ERR_OK;
    wasmtime_error_t *error = wasmtime_module_validate(engine, wasm, len);
    if (!error && wasm_rewrite(wasm, len, &rewritten, err) == 0)
        error = wasm_native_make(engine, &rewritten, ret_native, err);
    if (error) {
        char text[160];
        wasm_engine_error_text(error, text, sizeof text);
        err_set(err, ERR_COMPILE, "%s", text);
    }
    buf_fini(&rewritten);
    wasm_engine_delete(engine);
    return err->code == ERR_OK ? 0 : -err->code;
}
