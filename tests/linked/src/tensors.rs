//! A service that runs a model: a tensor of 1 MiB, something small, the next tensor, the first one
//! freed, the small one freed, and again. About 2 MiB are live at any time.

use std::hint::black_box;

const ROUNDS: usize = 64;
const TENSOR_BYTES: usize = 1 << 20;

#[inline(never)]
fn tensor() -> Vec<u8> {
    vec![1; TENSOR_BYTES]
}

#[inline(never)]
fn result() -> Box<[u8; 48]> {
    Box::new([1; 48])
}

/// The program.
pub fn serve() {
    let mut current = tensor();
    for _ in 0..ROUNDS {
        let small = result();
        let next = tensor();
        drop(black_box(std::mem::replace(&mut current, next)));
        drop(black_box(small));
    }
}
