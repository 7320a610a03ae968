//! Unwind rules in one word each, and the cache of those that were worked out.
//!
//! A rule says how the frame at one instruction is left. Nearly all code needs one of the
//! few forms below; what has another form ends a stack.
//!
//! ```text
//! bit 22   20 19            8 7             0
//!    ┌───────┬───────────────┬───────────────┐
//!    │ form  │ CFA, words    │ rbp, words    │   rbp: 0 = unchanged, n = saved at CFA − 8n
//!    └───────┴───────────────┴───────────────┘
//! ```
//!
//! The cache is shared by all threads. An entry is one word, so no lock is needed:
//!
//! ```text
//! bit 63                          30 29        23 22      0
//!    ┌──────────────────────────────┬────────────┬─────────┐
//!    │ rest of the address          │ generation │ rule    │
//!    └──────────────────────────────┴────────────┴─────────┘
//! ```
//!
//! Addresses within 64 KiB of code have entries next to each other: a small program touches
//! few pages of the cache. The generation goes up when an object is unloaded, so that what
//! was worked out for it is not found any more.

use super::cfi::{Place, Row};
use super::expression::Value;
use super::modules;
use crate::file::{self, Private};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

const SET_BITS: u32 = 13;
const WAYS: usize = 2;
const SLOTS: usize = WAYS << SET_BITS;
/// Bytes of memory for the cache.
pub(super) const CACHE_BYTES: usize = SLOTS * 8;
const RULE_BITS: u32 = 23;
const GENERATION_BITS: u32 = 7;
const TAG_SHIFT: u32 = RULE_BITS + GENERATION_BITS;
const BLOCK_BITS: u32 = 16;
/// Code of programs lies below; what lies above is the kernel's, or no address.
pub(super) const CODE_END: u64 = 1 << 47;

const SP: u32 = 1;
const BP: u32 = 2;
const REALIGNED: u32 = 3;
const BEGIN: u32 = 4;
const UNKNOWN: u32 = 5;
const SIGNAL: u32 = 6;
const LARGE: u32 = 7;

const FORM_SHIFT: u32 = 20;
const CFA_SHIFT: u32 = 8;
const CFA_MAX: u32 = (1 << 12) - 1;
const BP_MAX: u32 = (1 << 8) - 1;
/// A large frame: rbp in the lowest three bits, the CFA above.
const LARGE_SHIFT: u32 = 3;
const LARGE_CFA_MAX: u32 = (1 << 17) - 1;
const LARGE_BP_MAX: u32 = (1 << LARGE_SHIFT) - 1;

/// How the frame at one instruction is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// It ends so many bytes above the stack pointer; rbp is saved so many bytes below its
    /// end, 0 = it is unchanged.
    Sp { cfa: u64, bp: u64 },
    /// Likewise, above rbp.
    Bp { cfa: u64, bp: u64 },
    /// Its end stands so many bytes below rbp, where the caller's rbp is.
    Realigned { below: u64 },
    /// The kernel made it, to call a signal handler.
    Signal,
    /// Nobody called: the thread begins here.
    Begin,
    /// Nothing says how, or nothing that is understood here.
    Unknown,
}

/// A rule as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed(u32);

/// The two forms that nearly all frames have, without a branch between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plain {
    /// It ends so many bytes above rbp, rather than the stack pointer.
    pub(super) by_bp: bool,
    pub(super) cfa: u64,
    /// 0 = rbp is unchanged; otherwise saved so many bytes below the end.
    pub(super) bp: u64,
}

impl Packed {
    const fn new(form: u32, low: u32) -> Packed {
        Packed(form << FORM_SHIFT | low)
    }

    /// That there is no rule, as of so many loaded objects.
    fn unknown(loads: u32) -> Packed {
        Packed::new(UNKNOWN, loads & ((1 << FORM_SHIFT) - 1))
    }

    const SIGNAL: Packed = Packed::new(SIGNAL, 0);

    /// The rule, if it has one of the two usual forms.
    #[inline(always)]
    pub(super) fn plain(self) -> Option<Plain> {
        let form = self.0 >> FORM_SHIFT;
        let (cfa, bp) = (self.0 >> CFA_SHIFT & CFA_MAX, self.0 & BP_MAX);
        let by_bp = form == BP;
        (form == SP || by_bp).then_some(Plain { by_bp, cfa: cfa as u64 * 8, bp: bp as u64 * 8 })
    }

    pub(super) fn rule(self) -> Rule {
        let low = self.0 & ((1 << FORM_SHIFT) - 1);
        let bytes = |words: u32| u64::from(words) * 8;
        let (cfa, bp) = (bytes(low >> CFA_SHIFT), bytes(low & BP_MAX));
        match self.0 >> FORM_SHIFT {
            SP => Rule::Sp { cfa, bp },
            BP => Rule::Bp { cfa, bp },
            REALIGNED => Rule::Realigned { below: cfa },
            BEGIN => Rule::Begin,
            SIGNAL => Rule::Signal,
            LARGE => Rule::Sp { cfa: bytes(low >> LARGE_SHIFT), bp: bytes(low & LARGE_BP_MAX) },
            _ => Rule::Unknown,
        }
    }

    /// The rule that a row of unwind data comes to; `None`: it has no form here.
    fn from_row(row: &Row) -> Option<Packed> {
        if row.return_address == Place::Nowhere {
            return Some(Packed::new(BEGIN, 0));
        }
        if row.signal || row.return_address != Place::At(-8) {
            return None;
        }
        let words = |bytes: i64| (bytes % 8 == 0).then(|| u32::try_from(bytes / 8).ok())?;
        if let Some(Value::AtBp(offset)) = row.cfa {
            let below = words(offset.checked_neg()?)?;
            let fits = row.bp == Place::AtBp(0) && below <= CFA_MAX;
            return fits.then(|| Packed::new(REALIGNED, below << CFA_SHIFT));
        }
        let bp = match row.bp {
            Place::Same | Place::Nowhere => 0,
            Place::At(offset) if offset < 0 => words(offset.checked_neg()?)?,
            _ => return None,
        };
        let (form, cfa) = match row.cfa? {
            Value::Sp(offset) => (SP, words(offset)?),
            Value::Bp(offset) => (BP, words(offset)?),
            _ => return None,
        };
        if cfa <= CFA_MAX && bp <= BP_MAX {
            return Some(Packed::new(form, cfa << CFA_SHIFT | bp));
        }
        let large = form == SP && cfa <= LARGE_CFA_MAX && bp <= LARGE_BP_MAX;
        large.then(|| Packed::new(LARGE, cfa << LARGE_SHIFT | bp))
    }
}

fn cache() -> &'static [AtomicU64; SLOTS] {
    // SAFETY: `start` mapped so much there, for good, zeroed; nothing else is there.
    unsafe { &*(file::private_start(Private::Rules) as *const [AtomicU64; SLOTS]) }
}

/// Maps the cache. False: there is no memory.
pub(super) fn start() -> bool {
    file::map_private(file::private_start(Private::Rules), CACHE_BYTES)
}

/// Whether a generation's number in the cache was used before.
pub(super) fn comes_again(generation: u32) -> bool {
    generation & ((1 << GENERATION_BITS) - 1) == 0
}

/// Empties the cache: before a generation's number comes again.
pub(super) fn wipe() {
    for slot in cache() {
        slot.store(0, Relaxed);
    }
}

/// Where an address has its entries, and what these begin with.
#[inline(always)]
fn place(pc: u64, generation: u32) -> (usize, u64) {
    let block = pc >> BLOCK_BITS;
    // Blocks start at places far from each other.
    let set = (pc >> 3).wrapping_add(block.wrapping_mul(0x9e5)) & ((1 << SET_BITS) - 1);
    let rest = block << 3 | pc & 7;
    let generation = u64::from(generation) & ((1 << GENERATION_BITS) - 1);
    (set as usize * WAYS, rest << GENERATION_BITS | generation)
}

/// The rule for the instruction at `pc`.
#[inline(always)]
pub(super) fn at(pc: u64, generation: u32) -> Packed {
    if pc >= CODE_END {
        return Packed::unknown(0);
    }
    let (first, head) = place(pc, generation);
    let cache = cache();
    for way in 0..WAYS {
        let entry = cache[first + way].load(Relaxed);
        if entry >> RULE_BITS == head {
            let packed = Packed((entry & ((1 << RULE_BITS) - 1)) as u32);
            if packed.0 >> FORM_SHIFT != UNKNOWN || packed == Packed::unknown(modules::loads()) {
                return packed;
            }
        }
    }
    work_out(pc, generation)
}

#[cold]
#[inline(never)]
fn work_out(pc: u64, generation: u32) -> Packed {
    let packed = match modules::row(pc) {
        modules::Found::Row(row) => Packed::from_row(&row),
        modules::Found::SignalReturn => Some(Packed::SIGNAL),
        modules::Found::Nothing => None,
        modules::Found::NothingYet => return Packed::unknown(0),
    };
    let packed = packed.unwrap_or(Packed::unknown(modules::loads()));
    let (first, head) = place(pc, generation);
    // The generation may have gone up meanwhile: then this entry is not found, as it should.
    let cache = cache();
    cache[first + 1].store(cache[first].load(Relaxed), Relaxed);
    cache[first].store(head << RULE_BITS | u64::from(packed.0), Relaxed);
    packed
}

const _: () = assert!(TAG_SHIFT + (47 - BLOCK_BITS) + 3 == 64);

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cfa: Value, bp: Place) -> Row {
        Row { cfa: Some(cfa), bp, return_address: Place::At(-8), signal: false }
    }

    #[test]
    fn rules_survive_packing() {
        for (row, rule) in [
            (row(Value::Sp(8), Place::Same), Rule::Sp { cfa: 8, bp: 0 }),
            (row(Value::Sp(32760), Place::At(-2040)), Rule::Sp { cfa: 32760, bp: 2040 }),
            (row(Value::Sp(1_000_000), Place::At(-56)), Rule::Sp { cfa: 1_000_000, bp: 56 }),
            (row(Value::Bp(16), Place::At(-16)), Rule::Bp { cfa: 16, bp: 16 }),
            (row(Value::AtBp(-8), Place::AtBp(0)), Rule::Realigned { below: 8 }),
        ] {
            assert_eq!(Packed::from_row(&row).map(Packed::rule), Some(rule));
        }
    }

    #[test]
    fn what_has_no_form_is_none() {
        for row in [
            row(Value::Sp(12), Place::Same),
            row(Value::Sp(-8), Place::Same),
            row(Value::Sp(1 << 21), Place::Same),
            row(Value::Sp(1_000_000), Place::At(-64)),
            row(Value::Bp(16), Place::AtBp(0)),
            Row { return_address: Place::At(0), ..row(Value::Sp(8), Place::Same) },
            Row { cfa: None, ..row(Value::Sp(8), Place::Same) },
        ] {
            assert_eq!(Packed::from_row(&row), None, "{row:?}");
        }
    }

    #[test]
    fn no_two_addresses_share_place_and_tag() {
        let near = |pc: u64| [pc, pc ^ 1, pc + 8, pc ^ 1 << 16, pc ^ 1 << 30, pc ^ 1 << 46];
        for pc in near(0x5555_1234_5678) {
            for other in near(0x5555_1234_5678) {
                assert_eq!(pc == other, place(pc, 3) == place(other, 3));
            }
        }
        assert_ne!(place(1 << 40, 1), place(1 << 40, 2));
    }
}
