//! Re-exports Wasmtime's C API and adds what the product needs and the C API lacks.
pub use wasmtime_c_api::*;
use wasmtime_c_api::wasmtime::{
    Enabled, Error, Func, Instance, Memory, Module, ModuleExport, PoolingAllocationConfig, ResourceLimiter, Result,
};

/// C: `void faas_pool_pagemap_scan(wasmtime_pooling_allocation_config_t *, int)`; 0 = no, 1 = yes, else when available.
///
/// # Safety
/// `config` is a live pooling allocation configuration of this library.
#[no_mangle]
pub unsafe extern "C" fn faas_pool_pagemap_scan(config: *mut wasmtime_pooling_allocation_config_t, mode: i32) {
    // The C type is `repr(C)` around `PoolingAllocationConfig`.
    let config = &mut *config.cast::<PoolingAllocationConfig>();
    config.pagemap_scan(match mode {
        0 => Enabled::No,
        1 => Enabled::Yes,
        _ => Enabled::Auto,
    });
}

/// A store limiter that remembers what it refused. C: `struct faas_limiter`, the same fields in the same order.
#[repr(C)]
pub struct faas_limiter {
    /// Largest linear memory, in bytes.
    memory_bytes: u64,
    /// Largest table, in elements.
    table_elements: u64,
    /// Size in bytes that a memory asked for last when it was refused; 0 = none was.
    refused_memory_bytes: u64,
    /// Size in elements that a table asked for last when it was refused; 0 = none was.
    refused_table_elements: u64,
}

impl ResourceLimiter for faas_limiter {
    fn memory_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let allowed = desired as u64 <= self.memory_bytes && desired <= maximum.unwrap_or(usize::MAX);
        if !allowed {
            self.refused_memory_bytes = desired as u64;
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<()> {
        if self.refused_memory_bytes == 0 {
            self.refused_memory_bytes = self.memory_bytes;
        }
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let allowed = desired as u64 <= self.table_elements && desired <= maximum.unwrap_or(usize::MAX);
        if !allowed {
            self.refused_table_elements = desired as u64;
        }
        Ok(allowed)
    }
}

struct LimiterPointer(*mut faas_limiter);
// A store and its limiter stay on the thread that made them.
unsafe impl Send for LimiterPointer {}
unsafe impl Sync for LimiterPointer {}

/// C: `void faas_store_limiter(wasmtime_store_t *, struct faas_limiter *)`.
///
/// # Safety
/// `store` is a live store of this library; `limiter` outlives it and is used by one thread at a time.
#[no_mangle]
pub unsafe extern "C" fn faas_store_limiter(store: *mut wasmtime_store_t, limiter: *mut faas_limiter) {
    let limiter = LimiterPointer(limiter);
    // The C type is `repr(C)` around `Store`.
    let store = &mut *store.cast::<WasmtimeStore>();
    store.limiter(move |_| {
        let limiter = &limiter;
        unsafe { &mut *limiter.0 }
    });
}

/// Where a module's native code is, and what the worker looks up in every instance of it, as indices instead of names.
/// C: `struct faas_code` and an opaque `struct faas_exports`.
#[repr(C)]
pub struct faas_code {
    /// The instructions of the module's own functions, and nothing else: no trampoline to or from the host.
    begin: usize,
    end: usize,
    /// An instruction of the module's last function that traps.
    stop: usize,
}

#[allow(non_camel_case_types)] // as in C
pub struct faas_exports {
    start: ModuleExport,
    memory: ModuleExport,
    initialize: Option<ModuleExport>,
}

#[cfg(target_arch = "x86_64")]
const TRAP: &[u8] = &[0x0f, 0x0b]; // ud2
#[cfg(target_arch = "aarch64")]
const TRAP: &[u8] = &[0x1f, 0xc1, 0x00, 0x00]; // udf #0xc11f
/// Functions start at multiples of at most so many bytes: a larger gap between two is code that is none's.
const ALIGNMENT_MAX: usize = 64;

fn code_of(module: &Module) -> Option<faas_code> {
    let mut functions: Vec<_> = module.functions().collect();
    let last = functions.last()?.index;
    functions.sort_by_key(|function| function.offset);
    let apart = functions.windows(2).any(|pair| pair[1].offset - (pair[0].offset + pair[0].len) >= ALIGNMENT_MAX);
    let (first, end) = (functions.first()?.offset, functions.last().map(|f| f.offset + f.len)?);
    let stop = functions.iter().find(|function| function.index == last)?;
    let text = module.text();
    let body = text.get(stop.offset..stop.offset + stop.len)?;
    let trap = body.windows(TRAP.len()).position(|bytes| bytes == TRAP)?;
    let base = text.as_ptr() as usize;
    (!apart).then_some(faas_code { begin: base + first, end: base + end, stop: base + stop.offset + trap })
}

/// C: `struct faas_exports *faas_module_look(const wasmtime_module_t *, const char *initialize, struct faas_code *)`.
/// NULL: it lacks `_start` or `memory`, or its last function does not trap, or its functions do not lie together.
///
/// # Safety
/// The module is a live one of this library; `initialize` is a string.
#[no_mangle]
pub unsafe extern "C" fn faas_module_look(
    module: *const wasmtime_module_t,
    initialize: *const std::ffi::c_char,
    code: *mut faas_code,
) -> Option<Box<faas_exports>> {
    // The C type's only field is a `Module`.
    let module = &*module.cast::<Module>();
    *code = code_of(module)?;
    Some(Box::new(faas_exports {
        start: module.get_export_index("_start")?,
        memory: module.get_export_index("memory")?,
        initialize: module.get_export_index(std::ffi::CStr::from_ptr(initialize).to_str().ok()?),
    }))
}

/// C: `void faas_exports_delete(struct faas_exports *)`.
#[no_mangle]
pub extern "C" fn faas_exports_delete(_exports: Box<faas_exports>) {}

/// C: `bool faas_instance_exports(wasmtime_context_t *, const wasmtime_instance_t *, const struct faas_exports *,
/// wasmtime_memory_t *memory, wasmtime_func_t *start, wasmtime_func_t *initialize, bool *has_initialize)`.
/// False: `_start` or `memory` is something else than a function or a memory.
///
/// # Safety
/// The instance was made in that store from the module of `exports`.
#[no_mangle]
pub unsafe extern "C" fn faas_instance_exports(
    mut store: WasmtimeStoreContextMut<'_>,
    instance: &Instance,
    exports: &faas_exports,
    memory: *mut Memory,
    start: *mut Func,
    initialize: *mut Func,
    has_initialize: *mut bool,
) -> bool {
    let mut export = |index: &ModuleExport| instance.get_module_export(&mut store, index);
    let found_memory = export(&exports.memory).and_then(|found| found.into_memory());
    let found_start = export(&exports.start).and_then(|found| found.into_func());
    let found_initialize = exports.initialize.as_ref().and_then(|index| export(index)).and_then(|found| found.into_func());
    *has_initialize = found_initialize.is_some();
    if let Some(function) = found_initialize {
        initialize.write(function);
    }
    match (found_memory, found_start) {
        (Some(found_memory), Some(found_start)) => {
            memory.write(found_memory);
            start.write(found_start);
            true
        }
        _ => false,
    }
}
