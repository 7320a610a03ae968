//! The stacks that a lane had lately, each as one list of words to compare.
//!
//! Programs allocate from a few places in turn. A stack that was walked is kept under the
//! address of the call and its stack pointer; when these come again, and each return address
//! is still where it was, it is the same stack: exactly, as last.rs argues. Only those are kept
//! that are not too deep.

use super::last::{Known, Last, Way};

/// Stacks that are kept, and words of each: one a frame, or two where frame pointers are used.
const STACKS: usize = 16;
const WORDS: usize = 36;
const PLACE_BITS: u32 = 16;

/// One stack. All zero: none.
#[repr(C)]
struct Recent {
    /// Where the innermost return address is.
    sp: u64,
    id: u32,
    /// What was loaded when it was walked.
    generation: u32,
    count: u32,
    reserved: u32,
    /// The caller's rbp, and which of its bits count: all or none.
    bp: u64,
    bp_mask: u64,
    /// Innermost first: where a word is, in words from `sp`, in the low 16 bits, and above them
    /// what it is: the address of code or of a place on the stack.
    words: [u64; WORDS],
}

impl Recent {
    /// Whether a call made at `sp` has this stack.
    #[inline(always)]
    fn is_of(&self, sp: u64, bp: u64, generation: u32) -> bool {
        let same = self.sp == sp && self.generation == generation;
        same && (self.bp ^ bp) & self.bp_mask == 0 && self.holds()
    }

    #[inline(always)]
    fn holds(&self) -> bool {
        // Inwards first: each word is read only when all before it hold, so that a walk would
        // read it.
        for kept in self.words.iter().take(self.count as usize) {
            let address = self.sp + u64::from(*kept as u16) * 8;
            // SAFETY: above a live stack pointer of the thread's own stack, where a walk read a
            // word. Volatile: the stack's owner writes there as it likes.
            let word = unsafe { (address as *const u64).read_volatile() };
            if word != kept >> PLACE_BITS {
                return false;
            }
        }
        true
    }
}

impl Recent {
    /// Sets the words that count, of frames with the innermost last. `None`: not all fit.
    fn fill(&mut self, sp: u64, frames: &[Known]) -> Option<()> {
        self.count = 0;
        for frame in frames.iter().rev() {
            frame.for_each_word(|address, word| {
                let place = u16::try_from(address.checked_sub(sp)? / 8).ok()?;
                if word >> (64 - PLACE_BITS) != 0 {
                    return None;
                }
                *self.words.get_mut(self.count as usize)? = word << PLACE_BITS | u64::from(place);
                self.count += 1;
                Some(())
            })?;
        }
        Some(())
    }
}

/// Bytes from the start of a lane's memory to what the event path needs of it, where that is written by
/// hand, and from the start of a stack there.
pub mod layout {
    use super::{Recent, Recents};
    use core::mem::offset_of;

    /// In the memory: the address of the stack that was found last; 0 = none.
    pub const CURRENT: usize = offset_of!(Recents, current);
    /// In a stack: where the innermost return address is.
    pub const SP: usize = offset_of!(Recent, sp);
    /// Its number, 32 bits.
    pub const ID: usize = offset_of!(Recent, id);
    /// What was loaded when it was walked, 32 bits.
    pub const GENERATION: usize = offset_of!(Recent, generation);
    /// How many words it has, 32 bits.
    pub const COUNT: usize = offset_of!(Recent, count);
    /// The caller's rbp.
    pub const BP: usize = offset_of!(Recent, bp);
    /// Which bits of that count.
    pub const BP_MASK: usize = offset_of!(Recent, bp_mask);
    /// The words: 16 bits of place, in words from the return address, and 48 of what is there.
    pub const WORDS: usize = offset_of!(Recent, words);
}

/// The stacks that a lane had lately. All zero: none.
#[repr(C)]
pub(super) struct Recents {
    /// The address of the one that was found or kept last; 0 = none.
    current: usize,
    /// Which of two places is used next.
    turn: usize,
    stacks: [Recent; STACKS],
}

/// The first of two neighbouring places for the stack of a call.
#[inline(always)]
fn place(ip: u64, sp: u64) -> usize {
    let mixed = (ip ^ sp << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) as usize % STACKS) & !1
}

impl Recents {
    /// Whether a call made at `sp` has the stack that was found last, with this number.
    #[inline(always)]
    pub(super) fn is_still(&self, sp: u64, bp: u64, id: u32, generation: u32) -> bool {
        if self.current == 0 {
            return false;
        }
        // SAFETY: the address of one of `stacks`, which stay where they are.
        let recent = unsafe { &*(self.current as *const Recent) };
        recent.id == id && recent.is_of(sp, bp, generation)
    }

    /// The number of the stack of a call made at `sp`, with return address `ip`, if it is here.
    #[inline(always)]
    pub(super) fn find(&mut self, ip: u64, sp: u64, bp: u64, generation: u32) -> Option<u32> {
        let first = place(ip, sp);
        for index in [first, first + 1] {
            let recent = &self.stacks[index];
            if recent.is_of(sp, bp, generation) {
                self.current = core::ptr::from_ref(recent) as usize;
                return Some(recent.id);
            }
        }
        None
    }

    /// Keeps the last stack if it can be; `sp` is where it was taken.
    pub(super) fn keep(&mut self, sp: u64, last: &Last) {
        self.current = 0;
        let frames = &last.frames[last.cut as usize..last.count as usize];
        let Some(innermost) = frames.last() else { return };
        self.turn ^= 1;
        let index = place(innermost.ip, sp) + self.turn;
        let recent = &mut self.stacks[index];
        recent.sp = 0;
        if recent.fill(sp, frames).is_none() {
            return;
        }
        (recent.sp, recent.id, recent.generation) = (sp, last.id, last.generation);
        let needs_bp = innermost.way.has(Way::NEEDS_BP);
        (recent.bp, recent.bp_mask) = (innermost.bp, if needs_bp { u64::MAX } else { 0 });
        self.current = core::ptr::from_ref(recent) as usize;
    }

    /// Forgets the one found last.
    pub(super) fn leave(&mut self) {
        self.current = 0;
    }

    /// Forgets all: another thread has another stack.
    pub(super) fn clear(&mut self) {
        self.current = 0;
        for recent in &mut self.stacks {
            recent.sp = 0;
        }
    }
}
