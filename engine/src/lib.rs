//! Re-exports Wasmtime's C API and adds the one setter that the product needs and the C API lacks.
pub use wasmtime_c_api::*;
use wasmtime_c_api::wasmtime::{Enabled, PoolingAllocationConfig};

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
