//! The service on tokio (`tests/workloads/async_service`), on tikv-jemallocator.

use std::ffi::c_void;
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

#[path = "../../../workloads/async_service/main.rs"]
mod service;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Else the linker leaves it out, and usable bytes are not known.
#[used]
static KEPT: unsafe extern "C" fn(*const c_void) -> usize = tikv_jemalloc_sys::malloc_usable_size;

fn main() -> ExitCode {
    service::main()
}
