//! A service that runs a model: a tensor, something small, the next tensor, the first one freed, the
//! small one freed, and again; and texts that grow. One tensor is live between requests.

extern crate alloc;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::hint::black_box;

const TENSOR_BYTES: usize = 1 << 20;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

fn tensor() -> Vec<u8> {
    black_box(alloc::vec![1; TENSOR_BYTES])
}

/// Loads the first tensor.
#[unsafe(no_mangle)]
extern "C" fn load() -> *mut Vec<u8> {
    Box::into_raw(Box::new(tensor()))
}

/// Serves a request. What it was loaded with stays live.
///
/// # Safety
/// `current` is what `load` returned.
#[unsafe(no_mangle)]
unsafe extern "C" fn serve(current: *mut Vec<u8>, request: usize) {
    // SAFETY: by the caller; the host calls one function at a time.
    let current = unsafe { &mut *current };
    let small = Box::new([1u8; 48]);
    let next = tensor();
    drop(black_box(core::mem::replace(current, next)));
    drop(black_box(small));
    let mut text = String::new();
    for _ in 0..request % 40 {
        text.push_str("a few more words ");
    }
    black_box((text, alloc::vec![0u64; 1 + request % 200]));
}

/// Takes a block and gives it back, so many times.
#[unsafe(no_mangle)]
extern "C" fn churn(pairs: u32) {
    for pair in 0..pairs {
        black_box(Box::new(pair));
    }
}
