//! Which words of a stack can be read.
//!
//! A thread's own stack stays mapped while the thread runs, from the stack pointer up to a
//! top that is known: glibc and musl put the thread's control block right above it, and the
//! kernel says where the first thread's begins. Whether all in between is readable is asked
//! of the kernel, a page at a time, once; after that the words there are simply read.
//!
//! Any other stack (a coroutine's, an alternate signal stack) may be unmapped while its
//! addresses are still remembered. Its pages are asked for again each time.

use crate::arch::thread_pointer;
use crate::{sys, text};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

const PAGE: u64 = 4096;
/// A stack pointer further than this below a known stack is on another one.
const MAX_REACH: u64 = 16 << 20;
/// Without the kernel's word: a smaller step down the stack is believed.
const BELIEVED_REACH: u64 = 256 << 10;
/// Pages that one walk may ask for.
const MAX_PROBES: u32 = 512;

/// Where the first thread's stack begins; 0 = not known.
static MAIN_TOP: AtomicU64 = AtomicU64::new(0);

/// Finds out where the first thread's stack begins.
pub(super) fn start() {
    let mut stat = [0; 1024];
    let Ok(len) = sys::read_file(b"/proc/self/stat\0", &mut stat) else { return };
    MAIN_TOP.store(start_of_stack(&stat[..len]).unwrap_or(0) & !7, Relaxed);
}

/// Field 28 of /proc/self/stat (proc(5)); the second one is a name in brackets, which may
/// hold anything.
fn start_of_stack(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let field = stat.get(name_end + 2..)?.split(|byte| *byte == b' ').nth(28 - 3)?;
    text::decimal(field).map(|(value, _)| value)
}

/// A thread's own stack: what of it is known to be readable. All zero: nothing.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Own {
    low: u64,
    top: u64,
}

impl Own {
    #[inline(always)]
    fn contains(&self, address: u64) -> bool {
        address >= self.low && address < self.top
    }

    /// Makes the range reach down to `sp`, a live stack pointer. False: that is elsewhere.
    #[inline(always)]
    fn reach(&mut self, sp: u64) -> bool {
        self.contains(sp) || self.extend(sp)
    }

    #[cold]
    #[inline(never)]
    fn extend(&mut self, sp: u64) -> bool {
        let page = sp & !(PAGE - 1);
        if self.top != 0 {
            let reached = sp < self.low && spans(page, self.low);
            if reached {
                self.low = page;
            }
            return reached;
        }
        for top in [thread_pointer() as u64 & !7, MAIN_TOP.load(Relaxed)] {
            if sp < top && spans(page, top) {
                *self = Own { low: page, top };
                return true;
            }
        }
        false
    }
}

/// Whether all is readable from a page that is up to an address. Asked upwards: below a stack
/// that grows the question itself would make it grow.
fn spans(page: u64, end: u64) -> bool {
    if sys::forbidden() {
        return end - page <= BELIEVED_REACH;
    }
    end - page <= MAX_REACH
        && (page + PAGE..end).step_by(PAGE as usize).all(|page| sys::is_readable(page as usize))
}

/// Reads the words of one stack.
pub(super) struct Words {
    own: Own,
    /// Other pages that were found readable, from and to.
    other: (u64, u64),
    probes: u32,
    /// All that was read lies on the thread's own stack.
    pub(super) all_own: bool,
}

impl Words {
    /// For a walk that begins at `sp`, a live stack pointer.
    #[inline(always)]
    pub(super) fn new(own: &mut Own, sp: u64) -> Words {
        let all_own = own.reach(sp);
        Words { own: *own, other: (0, 0), probes: 0, all_own }
    }

    /// The word at an address, if that can be read.
    #[inline(always)]
    pub(super) fn at(&mut self, address: u64) -> Option<u64> {
        // `low` and `top` are multiples of 8, as the address must be: a word is inside as a
        // whole if its first byte is.
        if address & 7 == 0 && self.own.contains(address) || self.probe(address) {
            // SAFETY: readable, as `Own` and `probe` found; aligned.
            return Some(unsafe { (address as *const u64).read_volatile() });
        }
        None
    }

    #[cold]
    #[inline(never)]
    fn probe(&mut self, address: u64) -> bool {
        self.all_own = false;
        if address & 7 != 0 || address == 0 {
            return false;
        }
        let (low, high) = self.other;
        if address >= low && address < high {
            return true;
        }
        let page = address & !(PAGE - 1);
        self.probes += 1;
        if self.probes > MAX_PROBES || !sys::is_readable(page as usize) {
            return false;
        }
        self.other = if page == high { (low, page + PAGE) } else { (page, page + PAGE) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_begins_where_the_kernel_says() {
        let stat = b"42 (a (b) c) R 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 100 2000 30 \
                     18446744073709551615 1 2 140737488347120 0 0";
        assert_eq!(start_of_stack(stat), Some(140737488347120));
        assert_eq!(start_of_stack(b"42 (a) R 1"), None);
    }

    #[test]
    fn words_are_read_where_they_can_be() {
        let word = 0x1234_5678_9abc_def0_u64;
        let address = &raw const word as u64;
        let mut own = Own::default();
        let mut words = Words::new(&mut own, address & !15);
        assert_eq!(words.at(address), Some(word));
        assert_eq!(words.at(address + 1), None, "not aligned");
        assert_eq!(words.at(8), None);
        assert_eq!(words.at(u64::MAX - 7), None);
        assert!(!words.all_own);
    }
}
