//! A server in the way of asynchronous Rust, on an allocator of the program's choice, which
//! counts what it asks of that allocator: so it knows itself what a tracer should see.
//!
//! Each request takes 2 to 5 blocks of 128 B to 16 KiB, of which 70 % live for 1 to 20 requests
//! and 30 % for 100 to 2,000.

#![allow(missing_docs, reason = "a test program's insides")]

pub mod jemalloc;
mod tally;
pub mod tensors;

pub use tally::Tally;

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{CStr, CString, c_char};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SLOTS: usize = 2048;
const REQUESTS: usize = 60_000;
/// How long nothing happens after the drop.
const REST: Duration = Duration::from_secs(12);
/// Nobody waits longer for an allocator's threads.
pub const LATEST: Duration = Duration::from_secs(40);

static ALLOCS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
static REALLOCS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicU64 = AtomicU64::new(0);
static USABLE: AtomicU64 = AtomicU64::new(0);
/// All addresses, in their order.
static ADDRESSES: AtomicU64 = AtomicU64::new(0);
/// The same, within this much from where mappings of allocators begin.
static OFFSETS: AtomicU64 = AtomicU64::new(0);
const SEGMENT_BYTES: u64 = 2 << 20;

unsafe extern "C" {
    fn checkpoint(when: *const c_char, live_bytes: u64);
    fn tell_now();
    fn tell_view(when: *const c_char);
    fn tell(when: *const c_char, key: *const c_char, value: u64);
}

/// An allocator, and an account of what is asked of it.
pub struct Counted<A> {
    allocator: A,
    usable_size: Option<unsafe fn(*const u8) -> usize>,
}

impl<A> Counted<A> {
    pub const fn new(allocator: A, usable_size: unsafe fn(*const u8) -> usize) -> Self {
        Counted { allocator, usable_size: Some(usable_size) }
    }

    /// An allocator that does not tell what may be used of its blocks: what was asked for.
    pub const fn of_silent(allocator: A) -> Self {
        Counted { allocator, usable_size: None }
    }

    /// # Safety
    /// The block is live.
    unsafe fn note(&self, block: *mut u8, size: usize, comes: bool) {
        // SAFETY: by the caller.
        let usable = self.usable_size.map_or(size, |ask| unsafe { ask(block) }) as u64;
        if comes {
            let address = block as u64;
            for (all, place) in [(&ADDRESSES, address), (&OFFSETS, address % SEGMENT_BYTES)] {
                let mixed = (all.load(Relaxed) ^ place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                all.store(mixed.rotate_left(29), Relaxed);
            }
            LIVE.fetch_add(size as u64, Relaxed);
            USABLE.fetch_add(usable, Relaxed);
        } else {
            LIVE.fetch_sub(size as u64, Relaxed);
            USABLE.fetch_sub(usable, Relaxed);
        }
    }
}

// SAFETY: all is done by the allocator within.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCS.fetch_add(1, Relaxed);
        // SAFETY: by the caller.
        unsafe {
            let block = self.allocator.alloc(layout);
            self.note(block, layout.size(), true);
            block
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCS.fetch_add(1, Relaxed);
        // SAFETY: by the caller.
        unsafe {
            let block = self.allocator.alloc_zeroed(layout);
            self.note(block, layout.size(), true);
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        FREES.fetch_add(1, Relaxed);
        // SAFETY: by the caller.
        unsafe {
            self.note(block, layout.size(), false);
            self.allocator.dealloc(block, layout);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        REALLOCS.fetch_add(1, Relaxed);
        // SAFETY: by the caller.
        unsafe {
            self.note(block, layout.size(), false);
            let moved = self.allocator.realloc(block, layout, size);
            self.note(moved, size, true);
            moved
        }
    }
}

/// A figure that the allocator itself gives. Takes no block.
pub fn tell_figure(when: &CStr, key: &CStr, value: u64) {
    // SAFETY: two C strings.
    unsafe { tell(when.as_ptr(), key.as_ptr(), value) };
}

/// Says what is true now, and holds for the tracer to look. `own_figures`: what the allocator says
/// of itself, told by [`tell_figure`]. What may change meanwhile although the program does nothing,
/// as memory is given back behind its back, is told before and after, too.
pub fn say(when: &str, own_figures: fn(&CStr)) {
    let text = |text: &str| CString::new(text).expect("no zero");
    let name = text(when);
    let [before, after] = ["before", "after"].map(|part| text(&format!("{when}.{part}")));
    // From here on no block comes or goes before the figures are told.
    let (live, usable) = (LIVE.load(Relaxed), USABLE.load(Relaxed));
    let counts = [("allocs", &ALLOCS), ("frees", &FREES), ("reallocs", &REALLOCS)]
        .map(|(key, count)| (key, count.load(Relaxed)));
    let tell = |key: &str, value| {
        let key = text(key);
        // SAFETY: two C strings.
        unsafe { tell(name.as_ptr(), key.as_ptr(), value) };
    };
    for (key, value) in counts {
        tell(key, value);
    }
    tell("usable_bytes", usable);
    // The heap of the C library lies behind the program's own data.
    tell("program", (&raw const ALLOCS) as u64);
    own_figures(&before);
    // SAFETY: C strings.
    unsafe {
        tell_view(before.as_ptr());
        checkpoint(name.as_ptr(), live);
        tell_view(after.as_ptr());
    }
    own_figures(&after);
    own_figures(&name);
}

// Runs when the runtime's last blocks are gone.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = say_last;

extern "C" fn say_last() {
    for (key, count) in [
        (c"allocs", &ALLOCS),
        (c"frees", &FREES),
        (c"reallocs", &REALLOCS),
        (c"addresses", &ADDRESSES),
        (c"offsets", &OFFSETS),
    ] {
        // SAFETY: C strings.
        unsafe { tell(c"exit".as_ptr(), key.as_ptr(), count.load(Relaxed)) };
    }
    // SAFETY: takes nothing.
    unsafe { tell_now() };
}

/// A few numbers that look like chance.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The program.
pub fn run() {
    run_with(|_| {}, || true);
}

/// The program, on an allocator that knows figures of its own. With the argument `rest` it goes on
/// after the drop, doing nothing for twelve seconds, and until the allocator `is_quiet`: where its
/// threads give memory back, a busy machine may make them late.
pub fn run_with(own_figures: fn(&CStr), is_quiet: fn() -> bool) {
    let mut due: Vec<Vec<Vec<u8>>> = (0..SLOTS).map(|_| Vec::new()).collect();
    let mut random = Random(88_172_645_463_325_252);
    say("begin", own_figures);
    for request in 0..REQUESTS {
        due[request % SLOTS].clear();
        for _ in 0..2 + random.below(4) {
            let bytes = 128usize << random.below(8);
            let short = random.below(10) < 7;
            let life = if short { 1 + random.below(20) } else { 100 + random.below(1901) };
            let slot = (request + life as usize) % SLOTS;
            due[slot].push(black_box(vec![1u8; bytes]));
        }
        // What grows moves; what is asked for in zeroes or with an alignment goes other ways.
        let mut text = String::new();
        for _ in 0..request % 40 {
            text.push_str("a few more words ");
        }
        black_box((text, vec![0u64; 1 + request % 200], Box::new(Aligned([0; 64]))));
    }
    say("load", own_figures);
    drop(due);
    let dropped = Instant::now();
    say("dropped", own_figures);
    if std::env::args().nth(1).is_some_and(|argument| argument == "rest") {
        sleep(REST.saturating_sub(dropped.elapsed()));
        while !is_quiet() && dropped.elapsed() < LATEST {
            sleep(Duration::from_millis(100));
        }
        say("after_12_s", own_figures);
    }
}

#[repr(align(64))]
struct Aligned(#[allow(dead_code, reason = "it is only there")] [u8; 64]);
