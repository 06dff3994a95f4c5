#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "worker/wasm_engine_internal.h"
#include "worker/wasm_outcome.h"

/* From engine/src/lib.rs. */
void faas_pool_pagemap_scan(wasmtime_pooling_allocation_config_t *config, int mode);

enum {
    /* Changes with every setting below that changes the native code: artefacts are then made again. */
    WASM_SETTINGS = 2,
    WASM_STACK_BYTES = 2 << 20, /* of native frames; the C stack of a guest is in its memory */
    WASM_TABLES = 4,            /* a module */
    WASM_KEEP_MEMORY_BYTES = 256 << 10,
    WASM_KEEP_TABLE_BYTES = 64 << 10,
};
static const uint64_t wasm_memory_bytes_max = 4ull << 30;

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

wasm_engine_t *wasm_engine_make(uint32_t slots) {
    wasm_config_t *config = wasm_config_new();
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

void wasm_engine_error_text(wasmtime_error_t *error, char *ret_text, size_t size) {
    wasm_byte_vec_t message;
    wasmtime_error_message(error, &message);
    wasm_text_flatten(message.data, message.size, ret_text, size);
    wasm_byte_vec_delete(&message);
    wasmtime_error_delete(error);
}
