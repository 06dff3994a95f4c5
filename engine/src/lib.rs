//! Re-exports Wasmtime's C API and adds what the product needs and the C API lacks.
pub use wasmtime_c_api::*;
use wasmtime_c_api::wasmtime::{Enabled, Error, PoolingAllocationConfig, ResourceLimiter, Result};

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
