//! The last stack of a lane, kept so that the next one need not be walked.
//!
//! How a frame is left is a function of where it is (ip, sp, and where unwind data go by it,
//! rbp) and of the words read from the stack on the way. So a walk that comes to a frame of
//! the last stack, and finds the words behind it as they were, knows the rest: exactly, for
//! one load and one compare a word. In most programs that is all frames but a few.
//!
//! ```text
//! frames   0 ─────────── kept ─ … ─ count │ new ones, innermost first
//!          root                  innermost │ (turned around and moved down to `kept`)
//! ```
//!
//! rbp counts only where a frame further out goes by it before it is loaded again: elsewhere
//! it is any value of the program's, and its word changes without meaning anything.

use super::bounds::Own;
use fragtrace_format::stack::Root;

/// Frames of a last stack and of a walk together.
pub(super) const FRAMES: usize = 280;
/// Numbers that are remembered.
const NUMBERS: usize = 128;

/// How a frame was come to from the one that it called, and what its own rule goes by.
///
/// ```text
/// bit 31        20 19         8 7      0
///    ┌────────────┬────────────┬────────┐
///    │ rbp        │ sp         │ flags  │   where words were read, in words below the frame's sp
///    └────────────┴────────────┴────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub(super) struct Way(u32);

impl Way {
    /// From one that was called, with nothing but the return address read.
    pub(super) const PLAIN: Way = Way(0);
    /// A signal interrupted the function here: all was read from where the kernel put it.
    pub(super) const INTERRUPTED: Way = Way(1);
    /// Its own rule goes by rbp.
    pub(super) const USES_BP: Way = Way(2);
    /// Its rule, or that of a frame further out, goes by its rbp.
    pub(super) const NEEDS_BP: Way = Way(4);
    /// Its rbp was read.
    const BP_READ: Way = Way(8);
    /// Its sp was read.
    const SP_READ: Way = Way(16);
    /// How it was come to cannot be told here.
    const OPAQUE: Way = Way(64);
    /// More words count than its return address.
    const MORE: Way = Way(128);
    /// All that says how the frame was come to, other than by its return address.
    const READ: Way = Way(!(1 | 2 | 4));
    const FIELD: u32 = (1 << 12) - 1;

    #[inline(always)]
    pub(super) const fn with(self, other: Way) -> Way {
        Way(self.0 | other.0)
    }

    #[inline(always)]
    pub(super) const fn has(self, other: Way) -> bool {
        self.0 & other.0 != 0
    }

    /// rbp was read so many bytes below the frame's sp.
    #[inline(always)]
    pub(super) const fn bp_read(self, below: u64) -> Way {
        self.read(Way::BP_READ, below, 20)
    }

    /// sp was read so many bytes below itself.
    pub(super) const fn sp_read(self, below: u64) -> Way {
        self.read(Way::SP_READ, below, 8)
    }

    #[inline(always)]
    const fn read(self, what: Way, below: u64, shift: u32) -> Way {
        let words = below / 8;
        if !below.is_multiple_of(8) || words > Way::FIELD as u64 {
            return self.with(Way::OPAQUE);
        }
        Way(self.0 | what.0 | (words as u32) << shift)
    }

    #[inline(always)]
    fn bp_below(self) -> u64 {
        (self.0 >> 20) as u64 * 8
    }

    fn sp_below(self) -> u64 {
        (self.0 >> 8 & Way::FIELD) as u64 * 8
    }

    /// Notes whether more words count than the return address: rbp's if it was read and needed.
    #[inline(always)]
    fn noted(self) -> Way {
        let more = self.checks_bp() || self.has(Way::SP_READ.with(Way::OPAQUE));
        if more { self.with(Way::MORE) } else { self }
    }

    /// Whether the word of rbp counts.
    #[inline(always)]
    fn checks_bp(self) -> bool {
        self.has(Way::BP_READ) && self.has(Way::NEEDS_BP)
    }

    /// Whether the frame called by this one needs rbp, and has it from this one.
    #[inline(always)]
    fn passes_need_on(self) -> bool {
        self.0 & (Way::BP_READ.0 | Way::NEEDS_BP.0) == Way::NEEDS_BP.0
    }
}

/// A frame.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Known {
    /// Return address, or the instruction that was interrupted.
    pub(super) ip: u64,
    pub(super) sp: u64,
    pub(super) bp: u64,
    pub(super) way: Way,
    /// In the stack table; 0 = none yet.
    pub(super) number: u32,
}

/// A frame of the stack table that was met before. All zero: none.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Numbered {
    ip: u64,
    caller: u32,
    number: u32,
}

/// # Safety
/// A readable word.
#[inline(always)]
unsafe fn word(address: u64) -> u64 {
    // SAFETY: by the caller. Volatile: the stack's owner writes there as it likes.
    unsafe { (address as *const u64).read_volatile() }
}

impl Known {
    /// Whether the words through which this frame was come to are what they were.
    ///
    /// # Safety
    /// The words are on the thread's own stack, above its stack pointer: in a walk that came
    /// to the frame called by this one, they are what that walk would read.
    #[inline(always)]
    unsafe fn holds(&self) -> bool {
        // SAFETY: by the caller: the return address stands below the frame's sp.
        let usual = || unsafe { word(self.sp - 8) } == self.ip;
        // SAFETY: by the caller.
        if self.way.has(Way::MORE) { unsafe { self.all_holds() } } else { usual() }
    }

    /// # Safety
    /// As [`Known::holds`].
    #[inline(never)]
    unsafe fn all_holds(&self) -> bool {
        self.for_each_word(|address, expected| {
            // SAFETY: by the caller.
            (unsafe { word(address) } == expected).then_some(())
        })
        .is_some()
    }

    /// Hands the address and value of each word through which the frame was come to, and which
    /// counts, to `visit`, until that says `None`. `None` also if they cannot be told.
    #[inline(always)]
    pub(super) fn for_each_word(
        &self,
        mut visit: impl FnMut(u64, u64) -> Option<()>,
    ) -> Option<()> {
        let way = self.way;
        if way.has(Way::OPAQUE) {
            return None;
        }
        let sp_at = self.sp - way.sp_below();
        visit(if way.has(Way::INTERRUPTED) { sp_at + 8 } else { self.sp - 8 }, self.ip)?;
        if way.has(Way::MORE) {
            if way.has(Way::SP_READ) {
                visit(sp_at, self.sp)?;
            }
            if way.checks_bp() {
                visit(self.sp - way.bp_below(), self.bp)?;
            }
        }
        Some(())
    }

    /// Whether a walk that is at `other` is at this frame.
    #[inline(always)]
    pub(super) fn is_at(&self, other: &Known) -> bool {
        self.sp == other.sp
            && self.ip == other.ip
            && self.way.has(Way::INTERRUPTED) == other.way.has(Way::INTERRUPTED)
            && (!self.way.has(Way::NEEDS_BP) || self.bp == other.bp)
    }

    /// A copy, word by word: in one piece it would wait for the stores of its parts.
    #[inline(always)]
    fn copied(&self) -> Known {
        let word = |field: &u64| {
            // SAFETY: a reference can be read.
            unsafe { core::ptr::from_ref(field).read_volatile() }
        };
        Known {
            ip: word(&self.ip),
            sp: word(&self.sp),
            bp: word(&self.bp),
            way: self.way,
            number: 0,
        }
    }
}

/// A lane's last stack. All zero: none.
#[repr(C)]
pub(super) struct Last {
    /// Number of the whole stack; 0 = none.
    pub(super) id: u32,
    /// Frames, from the root on.
    pub(super) count: u32,
    /// Frames at the root that are left out of the stack as it is recorded.
    pub(super) cut: u32,
    /// Frames from `cut` up to here have their numbers.
    pub(super) numbered: u32,
    /// What was loaded when it was walked.
    pub(super) generation: u32,
    /// Why the first frame has no caller.
    pub(super) root: Root,
    pub(super) own: Own,
    reserved: [u64; 3],
    pub(super) frames: [Known; FRAMES],
    /// Numbers of frames by caller and address, so that the table, which all threads share and
    /// which is large, is seldom asked.
    numbers: [Numbered; NUMBERS],
}

impl Last {
    /// Forgets the stack.
    pub(super) fn clear(&mut self) {
        (self.id, self.count, self.numbered) = (0, 0, 0);
    }

    /// Whether a call made at `sp` (where its return address is) with this `bp` has the same
    /// stack as the last one, as far as that is recorded.
    pub(super) fn is_still(&self, sp: u64, bp: u64, generation: u32) -> bool {
        let count = self.count as usize;
        if count == 0 || count > FRAMES || self.generation != generation {
            return false;
        }
        let innermost = &self.frames[count - 1];
        let bp_counts = innermost.way.has(Way::NEEDS_BP);
        if innermost.sp != sp + 8 || bp_counts && innermost.bp != bp {
            return false;
        }
        // Inwards first: each word is read only when all before it hold, so that the walk itself
        // would read it.
        let mut frames = self.frames[..count].iter().skip(self.cut as usize).rev();
        // SAFETY: frames that are kept were walked on the thread's own stack.
        frames.all(|known| unsafe { known.holds() })
    }

    /// How many of the frames below `count`, counted from the root, hold, when a walk has come
    /// to the last of these: all of them; or the walk goes on until it meets one of those that
    /// are left.
    pub(super) fn holding(&self, count: usize) -> Result<(), usize> {
        for index in (0..count - 1).rev() {
            // SAFETY: as in `is_still`.
            if !unsafe { self.frames[index].holds() } {
                return Err(index);
            }
        }
        Ok(())
    }

    /// The number of a frame that has a caller and no more to say than its address, from memory
    /// or from what `ask` answers, 0 = none.
    #[inline(always)]
    pub(super) fn number(&mut self, ip: u64, caller: u32, ask: impl FnOnce() -> u32) -> u32 {
        let mixed = (ip ^ u64::from(caller) << 24).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let entry = &mut self.numbers[(mixed >> 32) as usize % NUMBERS];
        if entry.ip != ip || entry.caller != caller {
            *entry = Numbered { ip, caller, number: ask() };
            if entry.number == 0 {
                *entry = Numbered::default();
            }
        }
        entry.number
    }

    /// Puts the `new` frames, which stand behind the `count` known ones with the innermost
    /// first, on top of those that are `kept`. `way`: how the innermost kept one was come to.
    pub(super) fn replace(&mut self, kept: usize, new: usize, way: &Known) {
        let count = self.count as usize;
        let mut outer = Way::PLAIN;
        if kept > 0 {
            // What it is come to from has changed; its caller's rbp is the same, or does not count.
            let known = &mut self.frames[kept - 1];
            known.way = Way(known.way.0 & !Way::READ.0 | way.way.0 & Way::READ.0).noted();
            known.bp = way.bp;
            outer = known.way;
        }
        let overlaps = kept + new > count;
        if overlaps {
            self.frames[count..count + new].reverse();
        }
        for index in 0..new {
            let from = if overlaps { count + index } else { count + new - 1 - index };
            let mut known = self.frames[from].copied();
            let needs = known.way.has(Way::USES_BP) || outer.passes_need_on();
            known.way = known.way.with(if needs { Way::NEEDS_BP } else { Way::PLAIN }).noted();
            outer = known.way;
            self.frames[kept + index] = known;
        }
        self.count = (kept + new) as u32;
        self.numbered = self.numbered.min(kept as u32);
    }

    /// Drops frames at the root, to make room.
    pub(super) fn drop_outer(&mut self, frames: usize) {
        let count = self.count as usize;
        self.frames.copy_within(frames..count, 0);
        self.count = (count - frames) as u32;
        self.numbered = 0;
        self.root = Root::Depth;
    }
}
