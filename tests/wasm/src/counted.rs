//! An account of what is asked of the allocator, which the host reads.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use fragtrace_alloc::Traced;
use wee_alloc::WeeAlloc;

#[global_allocator]
static ALLOCATOR: Counted = Counted(Traced::new(WeeAlloc::INIT));

struct Counted(Traced<WeeAlloc<'static>>);

static ALLOCS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
static REALLOCS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicU64 = AtomicU64::new(0);
static LIVE_BLOCKS: AtomicU64 = AtomicU64::new(0);
/// All addresses that the allocator gave, in their order.
static ADDRESSES: AtomicU64 = AtomicU64::new(0);

fn came(block: *mut u8, bytes: usize) {
    let mixed = ADDRESSES.load(Relaxed).wrapping_mul(31).wrapping_add(block as u64);
    ADDRESSES.store(mixed & 0xffff_ffff, Relaxed);
    LIVE_BYTES.fetch_add(bytes as u64, Relaxed);
    LIVE_BLOCKS.fetch_add(1, Relaxed);
}

fn goes(bytes: usize) {
    LIVE_BYTES.fetch_sub(bytes as u64, Relaxed);
    LIVE_BLOCKS.fetch_sub(1, Relaxed);
}

// SAFETY: all is done by the allocator within.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller.
        let block = unsafe { self.0.alloc(layout) };
        ALLOCS.fetch_add(1, Relaxed);
        came(block, layout.size());
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        ALLOCS.fetch_add(1, Relaxed);
        came(block, layout.size());
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        FREES.fetch_add(1, Relaxed);
        goes(layout.size());
        // SAFETY: by the caller.
        unsafe { self.0.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        REALLOCS.fetch_add(1, Relaxed);
        goes(layout.size());
        // SAFETY: by the caller.
        let moved = unsafe { self.0.realloc(block, layout, bytes) };
        came(moved, bytes);
        moved
    }
}

macro_rules! told {
    ($($name:ident: $counter:ident;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> u64 {
            $counter.load(Relaxed)
        }
    )*};
}

told! {
    allocs: ALLOCS;
    frees: FREES;
    reallocs: REALLOCS;
    live_bytes: LIVE_BYTES;
    live_blocks: LIVE_BLOCKS;
    addresses: ADDRESSES;
}
