//! One step after the other: calls of the allocator, with the time that they take, and writes to
//! the blocks, so that their pages are in memory as they were in the program.

use crate::clock;
use crate::dispatch::{self, Selector};
use crate::kernel::{self, StatmFile, real_ns, ticks};
use crate::memory::{Table, page_bytes};
use crate::pool::Pool;
use crate::results::{Sample, TOTALS, Total, file_bytes};
use crate::script::{self, Head, Large, Op, TO_THE_END, TOUCH_UNIT, Trim};
use core::ffi::c_void;
use core::ptr::{null, null_mut};

/// The file with the script, and the one for the results.
const SCRIPT: i32 = 0;
const RESULTS: i32 = 1;
/// Words of the script that are read at once.
const BUFFER_WORDS: usize = 32 << 10;

unsafe extern "C" {
    fn malloc_trim(pad: usize) -> i32;
}

/// Where a stand-in's turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// It is this one's turn now.
    Turn(u32),
    /// This one is to end; the turn stays.
    End(u32),
    /// The script is over.
    Done,
}

/// The script, as far as it was read.
struct Reader {
    buffer: Table<u64>,
    at: usize,
    filled: usize,
    words: u64,
}

impl Reader {
    fn new() -> Option<Reader> {
        Some(Reader { buffer: Table::new(BUFFER_WORDS)?, at: 0, filled: 0, words: 0 })
    }

    /// The next word; behind the last one 0, which is [`Op::Done`].
    #[inline]
    fn next(&mut self) -> u64 {
        if self.at == self.filled {
            self.fill();
        }
        let word = match self.buffer.at(self.at) {
            // SAFETY: in the buffer, which nobody else knows of.
            Some(word) if self.filled > 0 => unsafe { word.read() },
            _ => return 0,
        };
        self.at += 1;
        word
    }

    #[cold]
    fn fill(&mut self) {
        (self.at, self.filled) = (0, 0);
        let Some(first) = self.buffer.at(0) else { return };
        let bytes = BUFFER_WORDS * 8;
        // SAFETY: the buffer's bytes, which nobody else knows of.
        let into = unsafe { core::slice::from_raw_parts_mut(first.as_ptr().cast::<u8>(), bytes) };
        let mut got = 0;
        while got < bytes {
            match kernel::read_on(SCRIPT, &mut into[got..]) {
                0 => break,
                more => got += more,
            }
        }
        self.filled = got / 8;
        self.words += self.filled as u64;
    }
}

/// A script being run. Belongs to the stand-in whose turn it is.
pub struct Run {
    reader: Reader,
    head: Head,
    slots: Table<*mut c_void>,
    results: Table<u64>,
    statm: StatmFile,
    page_bytes: u64,
    pool: Pool,
    /// The driver's own part in the kernel's figures, but for what was there before it began.
    own_anon_bytes: u64,
    own_mapped_bytes: u64,
    begun_ns: u64,
    begun_ticks: u64,
    begun_faults: u64,
    measuring_ticks: u64,
    call_ticks: u64,
    calls: u64,
    refused: u64,
    threads_refused: u64,
    counts: bool,
    /// Of the thread whose turn it is, if system calls are counted.
    selector: *const Selector,
}

impl Run {
    /// Reads the head of the script, and takes all memory that the driver will need. `counts`: system
    /// calls are to be counted. `None`: there is no room, or this is no script.
    pub fn begin(counts: bool) -> Option<Run> {
        let mut reader = Reader::new()?;
        let head = Head::read(core::array::from_fn(|_| reader.next()))?;
        let slots = Table::new(usize::try_from(head.slots).ok()?)?;
        let words = usize::try_from(file_bytes(head.samples) / 8).ok()?;
        let results = Table::shared(RESULTS, words)?;
        let own = reader.buffer.bytes() + slots.bytes();
        let mut run = Run {
            reader,
            head,
            slots,
            results,
            statm: StatmFile::open()?,
            page_bytes: page_bytes(),
            pool: Pool::default(),
            own_anon_bytes: own,
            own_mapped_bytes: own,
            begun_ns: real_ns(libc::CLOCK_MONOTONIC),
            begun_ticks: 0,
            begun_faults: kernel::faults(),
            measuring_ticks: measuring_ticks(),
            call_ticks: 0,
            calls: 0,
            refused: 0,
            threads_refused: 0,
            counts: counts && dispatch::prepare(),
            selector: null(),
        };
        if !head.real_time {
            clock::begin();
        }
        run.begun_ticks = ticks();
        Some(run)
    }

    /// Stand-ins of the script.
    pub fn stand_ins(&self) -> u64 {
        self.head.stand_ins
    }

    /// The driver itself took memory: so much in memory, and so much address space.
    pub fn took(&mut self, anon_bytes: u64, mapped_bytes: u64) {
        self.own_anon_bytes += anon_bytes;
        self.own_mapped_bytes += mapped_bytes;
    }

    /// A thread could not be started: its steps are done by others.
    pub fn thread_refused(&mut self) {
        self.threads_refused += 1;
    }

    /// Whether system calls are counted.
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// They cannot be, here.
    pub fn cannot_count(&mut self) {
        self.counts = false;
    }

    /// Does steps until a stand-in's turn is over. `selector` is of the calling thread.
    pub fn go_on(&mut self, selector: &Selector) -> Halt {
        self.selector = if self.counts { selector } else { null() };
        dispatch::takes_turn(selector);
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
                    let block = self.take(slot);
                    // SAFETY: a block of this allocator that no slot holds any more, or null.
                    self.timed(|| unsafe { libc::free(block) });
                }
                Some(Op::Realloc) => self.realloc(slot, value.into(), 0, TO_THE_END),
                Some(Op::Large) => self.large(slot, value),
                Some(Op::Turn) => return Halt::Turn(value),
                Some(Op::End) => return Halt::End(value),
                Some(Op::Clock) => self.tell_time(script::elapsed_ns(word)),
                Some(Op::Sample) => self.sample(value),
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
                    let block = self.take(slot);
                    self.enter();
                    let begun = ticks();
                    self.pool.give_back(block, value);
                    self.count_call(begun);
                    self.leave();
                }
                Some(Op::Done) | None => return Halt::Done,
            }
        }
    }

    /// A call of the allocator, and the time that it takes.
    #[inline(always)]
    fn timed<R>(&mut self, call: impl FnOnce() -> R) -> R {
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

    /// Takes a block out of its slot; null where none is.
    #[inline]
    fn take(&mut self, slot: u32) -> *mut c_void {
        let Some(at) = self.slots.at(slot as usize) else { return null_mut() };
        // SAFETY: a slot of the table, which belongs to whoever's turn it is.
        unsafe { at.replace(null_mut()) }
    }

    /// Puts a new block into its slot, and writes to all of it.
    #[inline]
    fn place(&mut self, slot: u32, block: *mut c_void, bytes: u64) {
        self.place_part(slot, block, bytes, 0, TO_THE_END);
    }

    #[inline]
    fn place_part(&mut self, slot: u32, block: *mut c_void, bytes: u64, from: u32, to: u32) {
        self.refused += u64::from(block.is_null());
        let Some(at) = self.slots.at(slot as usize) else { return };
        // SAFETY: a slot of the table, which belongs to whoever's turn it is.
        unsafe { at.write(block) };
        // SAFETY: the block has these bytes, and is the driver's alone.
        unsafe { write_part(block.cast(), bytes, from, to) };
    }

    fn realloc(&mut self, slot: u32, bytes: u64, from: u32, to: u32) {
        let block = self.take(slot);
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
                let Some(at) = self.slots.at(slot as usize) else { return };
                // SAFETY: a slot of the table, and the block in it, which has these bytes.
                unsafe { write_part(at.read().cast(), bytes, from, to) };
            }
            None => {}
        }
    }

    fn tell_time(&mut self, elapsed_ns: u64) {
        if self.head.real_time {
            kernel::sleep_until(self.begun_ns + elapsed_ns);
        } else {
            clock::advance(elapsed_ns);
        }
    }

    fn sample(&mut self, number: u32) {
        let Some(now) = self.statm.read(self.page_bytes) else { return };
        let sample = Sample {
            anon_bytes: now.anon_bytes.saturating_sub(self.own_anon_bytes),
            mapped_bytes: now.mapped_bytes.saturating_sub(self.own_mapped_bytes),
            file_bytes: now.shared_bytes.saturating_sub(self.results.bytes()),
        };
        for (at, word) in sample.words().into_iter().enumerate() {
            self.tell(TOTALS + number as usize * Sample::WORDS + at, word);
        }
        self.tell(Total::Samples as usize, u64::from(number) + 1);
        self.tell_totals();
    }

    fn tell_totals(&self) {
        let elapsed_ns = real_ns(libc::CLOCK_MONOTONIC) - self.begun_ns;
        let elapsed_ticks = ticks().wrapping_sub(self.begun_ticks).max(1);
        let call_ticks = self.call_ticks.saturating_sub(self.calls * self.measuring_ticks);
        let call_ns = u128::from(call_ticks) * u128::from(elapsed_ns) / u128::from(elapsed_ticks);
        self.tell(Total::Words as usize, self.reader.words);
        self.tell(Total::Calls as usize, self.calls);
        self.tell(Total::CallNs as usize, call_ns as u64);
        self.tell(Total::ElapsedNs as usize, elapsed_ns);
        self.tell(Total::Faults as usize, kernel::faults() - self.begun_faults);
        self.tell(Total::Refused as usize, self.refused);
        self.tell(Total::ThreadsRefused as usize, self.threads_refused);
        let counted = if self.counts { dispatch::counted() + 1 } else { 0 };
        self.tell(Total::SystemCalls as usize, counted);
    }

    fn tell(&self, index: usize, value: u64) {
        if let Some(at) = self.results.at(index) {
            // SAFETY: a word of the results; whoever reads them may find an old value.
            unsafe { at.write_volatile(value) };
        }
    }

    /// The script was run to its end.
    pub fn finish(&mut self) {
        self.tell_totals();
        if let (Some(peak), Some(now)) =
            (kernel::greatest_resident_bytes(), self.statm.read(self.page_bytes))
        {
            let peak_bytes = peak.saturating_sub(now.shared_bytes + self.own_anon_bytes);
            self.tell(Total::PeakAnonBytes as usize, peak_bytes);
        }
        self.tell(Total::Done as usize, 1);
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

/// What measuring a call that does nothing takes: the least of many tries.
fn measuring_ticks() -> u64 {
    (0..1000)
        .map(|_| {
            let begun = ticks();
            ticks().wrapping_sub(begun)
        })
        .min()
        .unwrap_or(0)
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
