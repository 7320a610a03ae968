//! One step after the other: calls of the allocator, with the time that they take, and writes to
//! the blocks, so that their pages are in memory as they were in the program.

use crate::clock;
use crate::dispatch::Selector;
use crate::kernel::{self, ticks};
use crate::pool::Pool;
use crate::reader::Reader;
use crate::script::{self, Large, Op, TO_THE_END, TOUCH_UNIT, Trim};
use crate::slots::Slots;
use core::ffi::c_void;
use core::ptr::{null, null_mut};

unsafe extern "C" {
    fn malloc_trim(pad: usize) -> i32;
}

/// Why a caller does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// It is this one's turn now.
    Turn(u32),
    /// This one is to end; the turn stays.
    End(u32),
    /// The kernel's figures are to be read.
    Sample(u32),
    /// The script is over.
    Done,
}

/// Whoever makes the calls: all stand-ins that take turns, or one that runs freely.
pub struct Caller {
    reader: Reader,
    slots: Slots,
    pool: Pool,
    /// Whether each call's time is taken.
    is_timed: bool,
    /// When the first step was done, where pauses are waited for.
    begun_ns: Option<u64>,
    call_ticks: u64,
    calls: u64,
    refused: u64,
    /// Of the thread that makes the calls, if system calls are counted.
    selector: *const Selector,
}

impl Caller {
    /// For the steps that the reader is at.
    pub fn new(reader: Reader, slots: Slots, begun_ns: Option<u64>) -> Caller {
        Caller {
            reader,
            slots,
            pool: Pool::default(),
            is_timed: !slots.are_counting(),
            begun_ns,
            call_ticks: 0,
            calls: 0,
            refused: 0,
            selector: null(),
        }
    }

    /// On the calling thread this selector is set while a call is under way; null: none is.
    pub fn select(&mut self, selector: *const Selector) {
        self.selector = selector;
    }

    /// Whether no step is left.
    pub fn is_over(&mut self) -> bool {
        script::op(self.reader.peek()).is_none_or(|op| op == Op::Done)
    }

    /// Words of the script that were done.
    pub fn words(&self) -> u64 {
        self.reader.taken()
    }

    /// Calls that were made.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Time in them, with what taking it takes.
    pub fn call_ticks(&self) -> u64 {
        self.call_ticks
    }

    /// Calls that returned no block.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Does steps until there is one that is not this one's matter.
    pub fn go_on(&mut self) -> Halt {
        loop {
            let word = self.reader.next();
            let (slot, value) = (script::slot(word), script::value(word));
            match script::op(word) {
                Some(Op::Malloc) => {
                    // SAFETY: any size may be asked for.
                    let block = self.timed(|| unsafe { libc::malloc(value as usize) });
                    self.place(slot, block, value.into());
                }
                Some(Op::Calloc) => {
                    // SAFETY: any size may be asked for.
                    let block = self.timed(|| unsafe { libc::calloc(1, value as usize) });
                    self.place(slot, block, value.into());
                }
                Some(Op::Free) => {
                    let block = self.slots.take(slot);
                    // SAFETY: a block of this allocator that no slot holds any more, or null.
                    self.timed(|| unsafe { libc::free(block) });
                }
                Some(Op::Realloc) => self.realloc(slot, value.into(), 0, TO_THE_END),
                Some(Op::Large) => self.large(slot, value),
                Some(Op::Turn) => return Halt::Turn(value),
                Some(Op::End) => return Halt::End(value),
                Some(Op::Clock) => self.tell_time(script::elapsed_ns(word)),
                Some(Op::Sample) => return Halt::Sample(value),
                Some(Op::Trim) if value == Trim::Jemalloc as u32 => self.timed(purge),
                // SAFETY: gives back what is free in the C library's own heap, which nobody uses.
                Some(Op::Trim) => self.timed(|| unsafe {
                    malloc_trim(0);
                }),
                Some(Op::PoolMalloc) => {
                    self.enter();
                    let begun = ticks();
                    let block = self.pool.take(value);
                    self.count_call(begun);
                    self.leave();
                    self.place(slot, block, value.into());
                }
                Some(Op::PoolFree) => {
                    let block = self.slots.take(slot);
                    self.enter();
                    let begun = ticks();
                    self.pool.give_back(block, value);
                    self.count_call(begun);
                    self.leave();
                }
                Some(Op::Await) => self.slots.wait(slot, value),
                Some(Op::Jump) => self.reader.go_to(script::place(word)),
                Some(Op::Done) | None => return Halt::Done,
            }
        }
    }

    /// A call of the allocator, and the time that it takes.
    #[inline(always)]
    fn timed<R>(&mut self, call: impl FnOnce() -> R) -> R {
        if !self.is_timed {
            self.calls += 1;
            return call();
        }
        self.enter();
        let begun = ticks();
        let result = call();
        self.count_call(begun);
        self.leave();
        result
    }

    #[inline(always)]
    fn enter(&self) {
        // SAFETY: null, or of the thread that runs this.
        if let Some(selector) = unsafe { self.selector.as_ref() } {
            selector.enter();
        }
    }

    #[inline(always)]
    fn leave(&self) {
        // SAFETY: as above.
        if let Some(selector) = unsafe { self.selector.as_ref() } {
            selector.leave();
        }
    }

    #[inline(always)]
    fn count_call(&mut self, begun: u64) {
        self.call_ticks += ticks().wrapping_sub(begun);
        self.calls += 1;
    }

    /// Puts a new block into its slot, and writes to all of it.
    #[inline]
    fn place(&mut self, slot: u32, block: *mut c_void, bytes: u64) {
        self.place_part(slot, block, bytes, 0, TO_THE_END);
    }

    #[inline]
    fn place_part(&mut self, slot: u32, block: *mut c_void, bytes: u64, from: u32, to: u32) {
        self.refused += u64::from(block.is_null());
        self.slots.put(slot, block);
        // SAFETY: the block has these bytes, and is the driver's alone.
        unsafe { write_part(block.cast(), bytes, from, to) };
        self.slots.count(slot);
    }

    fn realloc(&mut self, slot: u32, bytes: u64, from: u32, to: u32) {
        let block = self.slots.take(slot);
        // SAFETY: a block of this allocator that no slot holds any more, or null.
        let moved = self.timed(|| unsafe { libc::realloc(block, bytes as usize) });
        if moved.is_null() && bytes > 0 {
            // Refused: the old block stays. How large it is, only the script knows: it is left
            // as it is.
            self.place_part(slot, block, 0, 0, 0);
            self.refused += u64::from(!block.is_null());
        } else {
            self.place_part(slot, moved, bytes, from, to);
        }
    }

    #[inline(never)]
    fn large(&mut self, slot: u32, value: u32) {
        let (bytes, part) = (self.reader.next(), self.reader.next());
        let (from, to) = (part as u32, script::value(part));
        let size = bytes as usize;
        match script::large(value) {
            Some((Large::Malloc, 0)) => {
                // SAFETY: any size may be asked for.
                let block = self.timed(|| unsafe { libc::malloc(size) });
                self.place_part(slot, block, bytes, from, to);
            }
            Some((Large::Malloc, align_log2)) => {
                let mut block = null_mut();
                let alignment = 1_usize.checked_shl(align_log2.into()).unwrap_or(0);
                // SAFETY: the pointer is ours to be written; a bad alignment is refused.
                let status =
                    self.timed(|| unsafe { libc::posix_memalign(&mut block, alignment, size) });
                let block = if status == 0 { block } else { null_mut() };
                self.place_part(slot, block, bytes, from, to);
            }
            Some((Large::Calloc, _)) => {
                // SAFETY: any size may be asked for.
                let block = self.timed(|| unsafe { libc::calloc(1, size) });
                self.place_part(slot, block, bytes, from, to);
            }
            Some((Large::Realloc, _)) => self.realloc(slot, bytes, from, to),
            Some((Large::Touch, _)) => {
                // SAFETY: the block in this slot has these bytes.
                unsafe { write_part(self.slots.block(slot).cast(), bytes, from, to) };
                self.slots.count(slot);
            }
            None => {}
        }
    }

    fn tell_time(&mut self, elapsed_ns: u64) {
        match self.begun_ns {
            Some(begun_ns) => kernel::sleep_until(begun_ns + elapsed_ns),
            None if self.slots.are_counting() => clock::reach(elapsed_ns),
            None => clock::advance(elapsed_ns),
        }
    }
}

/// Has jemalloc give back what is free, if that is the allocator.
fn purge() {
    type Mallctl = unsafe extern "C" fn(
        *const libc::c_char,
        *mut c_void,
        *mut usize,
        *mut c_void,
        usize,
    ) -> libc::c_int;
    // SAFETY: the name ends in a zero byte.
    let mallctl = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"mallctl".as_ptr()) };
    if mallctl.is_null() {
        return;
    }
    // SAFETY: jemalloc's function of this name has this type.
    let mallctl = unsafe { core::mem::transmute::<*mut c_void, Mallctl>(mallctl) };
    // 4096 stands for all arenas (MALLCTL_ARENAS_ALL, jemalloc 5).
    let name = c"arena.4096.purge".as_ptr();
    // SAFETY: the name ends in a zero byte; nothing is asked for, nothing given.
    unsafe { mallctl(name, null_mut(), null_mut(), null_mut(), 0) };
}

/// Writes to every page of a part of a block, told in units of 4 KiB.
///
/// # Safety
/// The block, unless it is null, has `bytes` bytes that may be written.
#[inline]
unsafe fn write_part(block: *mut u8, bytes: u64, from: u32, to: u32) {
    if block.is_null() || bytes == 0 {
        return;
    }
    let end = u64::from(to).saturating_mul(TOUCH_UNIT).min(bytes);
    let mut at = u64::from(from) * TOUCH_UNIT;
    while at < end {
        // SAFETY: below `bytes`, by the caller.
        unsafe { block.add(at as usize).write_volatile(1) };
        at += TOUCH_UNIT;
    }
    if to == TO_THE_END {
        // SAFETY: the last byte, by the caller.
        unsafe { block.add(bytes as usize - 1).write_volatile(1) };
    }
}
