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

/// Bytes that a lane has for its last stack.
pub(super) const LAST_BYTES: usize = 16 << 10;
const HEAD_BYTES: usize = 64;
/// Frames of a last stack and of a walk together.
pub(super) const FRAMES: usize = (LAST_BYTES - HEAD_BYTES) / size_of::<Known>();

/// What is known of a frame, besides its registers.
pub(super) mod flag {
    /// A signal interrupted the function here.
    pub(in super::super) const INTERRUPTED: u32 = 1;
    /// Its own rule goes by rbp.
    pub(in super::super) const USES_BP: u32 = 2;
    /// Its rule, or that of a frame further out, goes by its rbp.
    pub(in super::super) const NEEDS_BP: u32 = 4;
    /// Its rbp was read, from `bp_at`.
    pub(in super::super) const BP_READ: u32 = 8;
    /// Its sp was read, from `sp_at`.
    pub(in super::super) const SP_READ: u32 = 16;
    /// All was read from where the kernel put it: sp, with the instruction behind.
    pub(in super::super) const BY_KERNEL: u32 = 32;
    /// How it was come to cannot be told here.
    pub(in super::super) const OPAQUE: u32 = 64;
    /// All that says how the frame was come to, other than by its return address.
    pub(in super::super) const WAY: u32 = BP_READ | SP_READ | BY_KERNEL | OPAQUE;
}

/// A frame: where it is, and how it was come to from the one that it called.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Known {
    /// Return address, or the instruction that was interrupted.
    pub(super) ip: u64,
    pub(super) sp: u64,
    pub(super) bp: u64,
    /// In the stack table; 0 = none yet.
    pub(super) number: u32,
    pub(super) flags: u32,
    /// Where words were read, in bytes from `sp`; see the flags.
    pub(super) bp_at: i32,
    pub(super) sp_at: i32,
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
        if self.flags & flag::WAY == 0 {
            // SAFETY: by the caller: the return address stands below the frame's sp.
            return unsafe { word(self.sp - 8) } == self.ip;
        }
        // SAFETY: by the caller.
        unsafe { self.holds_all() }
    }

    /// # Safety
    /// As [`Known::holds`].
    #[inline(always)]
    unsafe fn holds_all(&self) -> bool {
        let has = |bit| self.flags & bit != 0;
        let at = |offset: i32| self.sp.wrapping_add_signed(offset.into());
        if has(flag::OPAQUE) {
            return false;
        }
        let ip_at = if has(flag::BY_KERNEL) { at(self.sp_at) + 8 } else { self.sp - 8 };
        // SAFETY: by the caller; the offsets are where the words were read.
        unsafe {
            (!has(flag::SP_READ) || word(at(self.sp_at)) == self.sp)
                && word(ip_at) == self.ip
                && (!has(flag::BP_READ) || !has(flag::NEEDS_BP) || word(at(self.bp_at)) == self.bp)
        }
    }

    /// Whether a walk that is at `other` is at this frame.
    #[inline(always)]
    pub(super) fn is_at(&self, other: &Known) -> bool {
        self.sp == other.sp
            && self.ip == other.ip
            && (self.flags ^ other.flags) & flag::INTERRUPTED == 0
            && (self.flags & flag::NEEDS_BP == 0 || self.bp == other.bp)
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
}

const _: () = assert!(size_of::<Last>() <= LAST_BYTES);
const _: () = assert!(core::mem::offset_of!(Last, frames) == HEAD_BYTES);

impl Last {
    /// Forgets the stack.
    pub(super) fn clear(&mut self) {
        (self.id, self.count, self.numbered) = (0, 0, 0);
    }

    /// Whether a call made at `sp` (where its return address is) with this `bp` has the same
    /// stack as the last one, as far as that is recorded.
    #[inline(always)]
    pub(super) fn is_still(&self, sp: u64, bp: u64, generation: u32) -> bool {
        let count = self.count as usize;
        if count == 0 || count > FRAMES || self.generation != generation {
            return false;
        }
        let innermost = &self.frames[count - 1];
        let bp_counts = innermost.flags & flag::NEEDS_BP != 0;
        if innermost.sp != sp + 8 || bp_counts && innermost.bp != bp {
            return false;
        }
        // Inwards first: each word is read only when all before it hold, so that the walk itself
        // would read it.
        // SAFETY: frames that are kept were walked on the thread's own stack.
        self.frames[..count]
            .iter()
            .skip(self.cut as usize)
            .rev()
            .all(|known| unsafe { known.holds() })
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

    /// Puts the `new` frames, which stand behind the `count` known ones with the innermost
    /// first, on top of those that are `kept`. `way`: how the innermost kept one was come to.
    pub(super) fn replace(&mut self, kept: usize, new: usize, way: &Known) {
        let count = self.count as usize;
        self.frames[count..count + new].reverse();
        self.frames.copy_within(count..count + new, kept);
        self.count = (kept + new) as u32;
        self.numbered = self.numbered.min(kept as u32);
        if kept > 0 {
            // Its caller's rbp is the same, or does not count; where it came from may differ.
            let known = &mut self.frames[kept - 1];
            known.flags = known.flags & !flag::WAY | way.flags & flag::WAY;
            (known.bp, known.bp_at, known.sp_at) = (way.bp, way.bp_at, way.sp_at);
        }
        for index in kept..kept + new {
            let outer =
                index.checked_sub(1).map_or(flag::BP_READ, |outer| self.frames[outer].flags);
            let passed_on = outer & (flag::BP_READ | flag::NEEDS_BP) == flag::NEEDS_BP;
            let known = &mut self.frames[index];
            if passed_on || known.flags & flag::USES_BP != 0 {
                known.flags |= flag::NEEDS_BP;
            }
        }
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
