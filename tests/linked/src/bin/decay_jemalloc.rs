//! A burst on tikv-jemallocator, and then nothing for 12 seconds: what comes back is the
//! allocator's decay.

use fragtrace_linked_tests::jemalloc::{is_quiet, own_figures};
use fragtrace_linked_tests::{Counted, LATEST, say};
use std::hint::black_box;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tikv_jemallocator::Jemalloc;

const BLOCKS: usize = 2000;
const BLOCK_BYTES: usize = 16 << 10;
/// One in so many lives on.
const KEPT: usize = 100;

/// # Safety
/// The block is live.
unsafe fn usable_size(block: *const u8) -> usize {
    // SAFETY: by the caller.
    unsafe { tikv_jemalloc_sys::malloc_usable_size(block.cast()) }
}

#[global_allocator]
static ALLOCATOR: Counted<Jemalloc> = Counted::new(Jemalloc, usable_size);

fn main() {
    say("begin", own_figures);
    let mut blocks: Vec<Vec<u8>> = (0..BLOCKS).map(|_| black_box(vec![1; BLOCK_BYTES])).collect();
    say("load", own_figures);
    let mut index = 0;
    blocks.retain(|_| {
        index += 1;
        index % KEPT == 0
    });
    let dropped = Instant::now();
    say("dropped", own_figures);
    let until = |time: Duration| sleep(time.saturating_sub(dropped.elapsed()));
    until(Duration::from_secs(3));
    say("after_3_s", own_figures);
    until(Duration::from_secs(12));
    // A busy machine's purging thread may be late.
    while !is_quiet() && dropped.elapsed() < LATEST {
        sleep(Duration::from_millis(100));
    }
    say("after_12_s", own_figures);
    black_box(blocks);
}
