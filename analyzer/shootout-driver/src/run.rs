//! A run of a script: the memory that it needs, and what is found out in it.

use crate::calls::{Caller, Halt};
use crate::clock;
use crate::dispatch::{self, Selector};
use crate::kernel::{self, StatmFile, real_ns, ticks};
use crate::memory::{Table, page_bytes};
use crate::reader::Reader;
use crate::results::{Sample, TOTALS, Total, file_bytes};
use crate::script::Head;
use crate::slots::Slots;
use core::ptr::null;

/// The file for the results.
const RESULTS: i32 = 1;
/// Words of the script that are read at once; of one that runs freely, among many.
const BUFFER_WORDS: usize = 32 << 10;
const FREE_BUFFER_WORDS: usize = 2 << 10;

/// A script being run. Belongs to the stand-in whose turn it is.
pub struct Run {
    caller: Caller,
    head: Head,
    slots: Slots,
    results: Table<u64>,
    statm: StatmFile,
    page_bytes: u64,
    /// The driver's own part in the kernel's figures, but for what was there before it began.
    own_anon_bytes: u64,
    own_mapped_bytes: u64,
    begun_ns: u64,
    begun_ticks: u64,
    begun_faults: u64,
    measuring_ticks: u64,
    threads_refused: u64,
    counts: bool,
    /// What others did who ran freely: words, calls, and those that were refused.
    others: [u64; 3],
}

impl Run {
    /// Reads the head of the script, and takes all memory that the driver will need. `counts`: system
    /// calls are to be counted. `None`: there is no room, or this is no script.
    pub fn begin(counts: bool) -> Option<Run> {
        let mut reader = Reader::new(0, BUFFER_WORDS)?;
        let head = Head::read(core::array::from_fn(|_| reader.next()))?;
        let slots = Slots::new(usize::try_from(head.slots).ok()?, head.directory > 0)?;
        let words = usize::try_from(file_bytes(head.samples) / 8).ok()?;
        let results = Table::shared(RESULTS, words)?;
        let own = reader.bytes() + slots.bytes();
        let begun_ns = real_ns(libc::CLOCK_MONOTONIC);
        let mut run = Run {
            caller: Caller::new(reader, slots, head.real_time.then_some(begun_ns)),
            head,
            slots,
            results,
            statm: StatmFile::open()?,
            page_bytes: page_bytes(),
            own_anon_bytes: own,
            own_mapped_bytes: own,
            begun_ns,
            begun_ticks: 0,
            begun_faults: 0,
            measuring_ticks: measuring_ticks(),
            threads_refused: 0,
            counts: counts && dispatch::prepare(),
            others: [0; 3],
        };
        if !head.real_time {
            clock::begin();
        }
        run.start_counting();
        Some(run)
    }

    /// What was before does not count.
    pub fn start_counting(&mut self) {
        self.begun_ns = real_ns(libc::CLOCK_MONOTONIC);
        self.begun_faults = kernel::faults();
        self.begun_ticks = ticks();
    }

    /// Stand-ins of the script.
    pub fn stand_ins(&self) -> u64 {
        self.head.stand_ins
    }

    /// Whether they run freely.
    pub fn is_free(&self) -> bool {
        self.head.directory > 0
    }

    /// The caller of a stand-in that runs freely. `None`: there is no room.
    pub fn free_caller(&mut self, stand_in: u64) -> Option<Caller> {
        let mut reader = Reader::new(self.head.directory + stand_in, FREE_BUFFER_WORDS)?;
        let first = reader.next();
        reader.go_to(first);
        self.took(reader.bytes(), reader.bytes());
        let begun_ns = self.head.real_time.then_some(self.begun_ns);
        Some(Caller::new(reader, self.slots, begun_ns))
    }

    /// What such a caller did counts in the totals.
    pub fn add(&mut self, caller: &Caller) {
        let done = [caller.words(), caller.calls(), caller.refused()];
        for (sum, more) in self.others.iter_mut().zip(done) {
            *sum += more;
        }
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
        self.caller.select(if self.counts { selector } else { null() });
        dispatch::takes_turn(selector);
        loop {
            match self.caller.go_on() {
                Halt::Sample(number) => self.sample(number),
                halt => return halt,
            }
        }
    }

    /// Reads the kernel's figures.
    pub fn sample(&mut self, number: u32) {
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
        let caller = &self.caller;
        let [words, calls, refused] = self.others;
        let elapsed_ns = real_ns(libc::CLOCK_MONOTONIC) - self.begun_ns;
        let elapsed_ticks = ticks().wrapping_sub(self.begun_ticks).max(1);
        let call_ticks = caller.call_ticks().saturating_sub(caller.calls() * self.measuring_ticks);
        let call_ns = u128::from(call_ticks) * u128::from(elapsed_ns) / u128::from(elapsed_ticks);
        self.tell(Total::Words as usize, words + caller.words());
        self.tell(Total::Calls as usize, calls + caller.calls());
        self.tell(Total::CallNs as usize, call_ns as u64);
        self.tell(Total::ElapsedNs as usize, elapsed_ns);
        self.tell(Total::Faults as usize, kernel::faults() - self.begun_faults);
        self.tell(Total::Refused as usize, refused + caller.refused());
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
