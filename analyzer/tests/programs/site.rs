//! A program that knows where it allocates: its allocator tells the stack.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

static NOTING: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    fn backtrace(frames: *mut *mut c_void, most: i32) -> i32;
}

struct Noting;

// SAFETY: hands all on to the system's allocator.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if NOTING.swap(false, Ordering::Relaxed) {
            let mut frames = [std::ptr::null_mut(); 64];
            // SAFETY: there is room for 64 frames.
            let count = unsafe { backtrace(frames.as_mut_ptr(), 64) };
            print!("stack");
            for frame in &frames[..count as usize] {
                print!(" {:p}", *frame);
            }
            println!();
            NOTING.store(true, Ordering::Relaxed);
        }
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

mod shop {
    use super::*;

    pub trait Keep {
        fn keep(&mut self, item: u64);
    }

    impl Keep for Vec<u64> {
        #[inline(never)]
        fn keep(&mut self, item: u64) {
            self.push(item); // TRAIT
        }
    }

    #[inline(never)]
    pub fn keep_session(sessions: &mut HashMap<u64, u64>, id: u64) {
        sessions.insert(id, id); // SITE
        // Else this would be a jump, and the function not on the stack.
        std::hint::black_box(sessions);
    }

    #[inline(never)]
    pub fn squares(upto: u64) -> Vec<u64> {
        (0..upto).map(|n| n * n).collect() // COLLECT
    }
}

fn noted<T>(work: impl FnOnce() -> T) -> T {
    NOTING.store(true, Ordering::Relaxed);
    let result = work();
    NOTING.store(false, Ordering::Relaxed);
    result
}

fn main() {
    use shop::Keep;
    println!("begin");
    let (mut sessions, mut kept) = (HashMap::new(), Vec::new());
    noted(|| shop::keep_session(&mut sessions, 7));
    noted(|| kept.keep(8));
    let squares = noted(|| shop::squares(std::hint::black_box(9)));
    for line in std::fs::read_to_string("/proc/self/maps").expect("Linux").lines() {
        println!("map {line}");
    }
    assert_eq!(sessions.len() + kept.len() + squares.len(), 11);
}
