//! The tracer, if it is in the process: found by name, once.

use core::ffi::{CStr, c_void};
use core::mem::transmute;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU8, AtomicUsize};

// The bits are those that the trace has for the same.
/// The memory was asked for in zeroes.
pub(crate) const ZEROED: u32 = 1;
/// One half of a realloc.
pub(crate) const MOVED: u32 = 2;
/// The realloc was refused: the block is as before.
pub(crate) const KEPT: u32 = 4;

const UNKNOWN: u8 = 0;
/// No tracer, or one that sees the allocator by itself.
const SILENT: u8 = 1;
const TOLD: u8 = 2;

type Begin = unsafe extern "C" fn() -> u32;
type End = unsafe extern "C" fn(u32);
type Acquired = unsafe extern "C" fn(*mut c_void, usize, usize, u32);
type Released = unsafe extern "C" fn(*mut c_void, u32);
type Saw = unsafe extern "C" fn(*mut c_void) -> u32;

/// The program's one view of it.
pub(crate) static TRACER: Tracer = Tracer {
    state: AtomicU8::new(UNKNOWN),
    functions: [const { AtomicUsize::new(0) }; NAMES.len()],
};

/// What the tracer offers, in the order of [`Tracer::functions`].
const NAMES: [&CStr; 5] = [
    c"fragtrace_begin",
    c"fragtrace_end",
    c"fragtrace_acquired",
    c"fragtrace_released",
    c"fragtrace_saw",
];
// Their places in it.
const BEGIN: usize = 0;
const END: usize = 1;
const ACQUIRED: usize = 2;
const RELEASED: usize = 3;
const SAW: usize = 4;

/// A function of the tracer's.
#[cfg(unix)]
pub(crate) fn symbol(name: &CStr) -> Option<usize> {
    // SAFETY: a C string. Whatever dlsym takes from malloc is not our allocator's.
    let at = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as usize;
    (at != 0).then_some(at)
}

/// Nothing can be preloaded elsewhere.
#[cfg(not(unix))]
pub(crate) fn symbol(_: &CStr) -> Option<usize> {
    None
}

#[derive(Debug)]
pub(crate) struct Tracer {
    state: AtomicU8,
    functions: [AtomicUsize; NAMES.len()],
}

impl Tracer {
    /// Whether nobody wants to be told.
    #[inline(always)]
    pub(crate) fn is_silent(&self) -> bool {
        self.state.load(Relaxed) == SILENT
    }

    /// Makes the call that gives a new block, and tells of the block.
    #[cold]
    pub(crate) fn tell_of_new(
        &self,
        bytes: usize,
        align: usize,
        flags: u32,
        call: impl FnOnce() -> *mut u8,
    ) -> *mut u8 {
        if self.state.load(Acquire) == UNKNOWN {
            self.find();
        }
        if self.is_silent() {
            return call();
        }
        let first = self.state.load(Relaxed) == UNKNOWN;
        let block = if first { call() } else { self.within(call) };
        if !block.is_null() {
            if first {
                // A hook may have told of it already.
                let state = if self.saw(block) { SILENT } else { TOLD };
                self.state.store(state, Release);
            }
            if !self.is_silent() {
                self.acquired(block, bytes, align, flags);
            }
        }
        block
    }

    /// Tells of a block's end, and makes the call that ends it.
    #[cold]
    pub(crate) fn tell_of_end(&self, block: *mut u8, call: impl FnOnce()) {
        self.released(block, 0);
        self.within(call);
    }

    /// Makes a call that moves a block of so many bytes to so many, with an alignment; and tells.
    #[cold]
    pub(crate) fn tell_of_move(
        &self,
        block: *mut u8,
        (bytes, new_bytes, align): (usize, usize, usize),
        call: impl FnOnce() -> *mut u8,
    ) -> *mut u8 {
        self.released(block, MOVED);
        let moved = self.within(call);
        if moved.is_null() {
            self.acquired(block, bytes, align, MOVED | KEPT);
        } else {
            self.acquired(moved, new_bytes, align, MOVED);
        }
        moved
    }

    /// Looks for the tracer, in the first call of all.
    fn find(&self) {
        for (name, place) in NAMES.iter().zip(&self.functions) {
            let Some(at) = symbol(name) else { return self.go_without() };
            place.store(at, Relaxed);
        }
    }

    /// There is no tracer in the process: the recorder that is linked in is told, or nobody.
    fn go_without(&self) {
        #[cfg(all(
            feature = "embedded",
            any(unix, all(target_arch = "wasm32", not(target_feature = "atomics")))
        ))]
        if crate::embedded::start() {
            // There are no hooks, which would have to be told of a begin and an end, or could have
            // seen a block.
            let acquired: Acquired = crate::embedded::acquired;
            let released: Released = crate::embedded::released;
            self.functions[ACQUIRED].store(acquired as usize, Relaxed);
            self.functions[RELEASED].store(released as usize, Relaxed);
            return;
        }
        self.state.store(SILENT, Release);
    }

    fn function(&self, index: usize) -> Option<usize> {
        Some(self.functions[index].load(Relaxed)).filter(|at| *at != 0)
    }

    /// Makes a call inside which hooks of the same allocator hear nothing.
    fn within<R>(&self, call: impl FnOnce() -> R) -> R {
        let (Some(begin), Some(end)) = (self.function(BEGIN), self.function(END)) else {
            return call();
        };
        // SAFETY: the tracer's functions of these names are of these types.
        let (begin, end) =
            unsafe { (transmute::<usize, Begin>(begin), transmute::<usize, End>(end)) };
        // SAFETY: they may be called at any time, in pairs.
        let begun = unsafe { begin() };
        let result = call();
        // SAFETY: as above.
        unsafe { end(begun) };
        result
    }

    fn acquired(&self, block: *mut u8, bytes: usize, align: usize, flags: u32) {
        if let Some(acquired) = self.function(ACQUIRED) {
            // SAFETY: the tracer's function of this name is of this type, and keeps numbers only.
            unsafe { transmute::<usize, Acquired>(acquired)(block.cast(), bytes, align, flags) };
        }
    }

    fn released(&self, block: *mut u8, flags: u32) {
        if let Some(released) = self.function(RELEASED) {
            // SAFETY: as above.
            unsafe { transmute::<usize, Released>(released)(block.cast(), flags) };
        }
    }

    fn saw(&self, block: *mut u8) -> bool {
        // SAFETY: as above.
        self.function(SAW)
            .is_some_and(|saw| unsafe { transmute::<usize, Saw>(saw)(block.cast()) } != 0)
    }
}
