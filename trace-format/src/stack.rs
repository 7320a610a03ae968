//! Call stacks: a table of frames, each of which names the frame that called it.
//!
//! The area is an array of entries; entry n (from 1 on) is frame n. A stack is named by its
//! innermost frame, and read by going from caller to caller, down to a frame that has none.
//! So each distinct stack stands there once, and stacks share what they have in common at
//! their roots. A caller's number is always lower than that of the frame that it called:
//! following callers ends.
//!
//! Entries are written once: the address last, so that one is there whole or not at all.
//!
//! ```text
//!  0  caller  u32   number of the calling frame; 0 = none
//!  4  kind    u32   bits 0–3: why there is no caller (see `Root`); bit 4: `address` is an
//!                   instruction that was interrupted by a signal, not a return address
//!  8  address u64   return address in this frame's function; 0 = the entry is not there
//! ```

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes of an entry.
pub const FRAME_BYTES: usize = 16;

const ROOT_MASK: u32 = 15;
const INTERRUPTED: u32 = 16;

/// Why a frame has no caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(u32)]
pub enum Root {
    /// The thread began here; or the frame has a caller.
    #[default]
    Begin = 0,
    /// The stack was deeper than asked for.
    Depth = 1,
    /// Its code has no unwind data, or data that makes no sense here: a JIT's, say.
    Unknown = 2,
    /// The table had no room for more.
    Full = 3,
}

impl Root {
    const fn from_number(number: u32) -> Root {
        match number {
            0 => Root::Begin,
            1 => Root::Depth,
            3 => Root::Full,
            _ => Root::Unknown,
        }
    }
}

/// A frame of a call stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Frame {
    /// Return address: the call is in front of it. Of an interrupted frame, the instruction.
    pub address: u64,
    /// Number of the calling frame; 0 = none.
    pub caller: u32,
    /// Why there is no caller.
    pub root: Root,
    /// A signal interrupted the function at `address`.
    pub interrupted: bool,
}

impl Frame {
    const fn kind(&self) -> u32 {
        self.root as u32 | if self.interrupted { INTERRUPTED } else { 0 }
    }

    /// Frame `number` of the table in `bytes`; `None` if it is not there, or damaged.
    pub fn read(bytes: &[u8], number: u32) -> Option<Frame> {
        let start = (number as usize).checked_sub(1)?.checked_mul(FRAME_BYTES)?;
        let entry = bytes.get(start..)?.get(..FRAME_BYTES)?;
        let word = |at: usize| {
            u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
        };
        let (caller, kind) = (word(0), word(4));
        let address = word(8) as u64 | (word(12) as u64) << 32;
        (address != 0 && caller < number).then_some(Frame {
            address,
            caller,
            root: Root::from_number(kind & ROOT_MASK),
            interrupted: kind & INTERRUPTED != 0,
        })
    }
}

/// An entry as the writer sees it in mapped memory.
#[derive(Debug, Default)]
#[repr(C)]
pub struct FrameCell {
    caller: AtomicU32,
    kind: AtomicU32,
    address: AtomicU64,
}

const _: () = assert!(size_of::<FrameCell>() == FRAME_BYTES);

impl FrameCell {
    /// Fills the entry. Each is filled once, by whoever took its number.
    pub fn fill(&self, frame: &Frame) {
        self.caller.store(frame.caller.to_le(), Ordering::Relaxed);
        self.kind.store(frame.kind().to_le(), Ordering::Relaxed);
        self.address.store(frame.address.to_le(), Ordering::Release);
    }

    /// What stands there; `None`: nothing yet.
    pub fn frame(&self) -> Option<Frame> {
        let address = u64::from_le(self.address.load(Ordering::Acquire));
        let kind = u32::from_le(self.kind.load(Ordering::Relaxed));
        (address != 0).then(|| Frame {
            address,
            caller: u32::from_le(self.caller.load(Ordering::Relaxed)),
            root: Root::from_number(kind & ROOT_MASK),
            interrupted: kind & INTERRUPTED != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_as_it_was_filled() {
        let cells = [FrameCell::default(), FrameCell::default(), FrameCell::default()];
        let root = Frame { address: 0x40_1234, root: Root::Depth, ..Frame::default() };
        let leaf = Frame { address: 0x7fff_0000_1111, caller: 1, interrupted: true, ..root };
        cells[0].fill(&root);
        cells[2].fill(&leaf);
        let mut bytes = [0; 3 * FRAME_BYTES];
        for (cell, out) in cells.iter().zip(bytes.chunks_exact_mut(FRAME_BYTES)) {
            out[..4].copy_from_slice(&cell.caller.load(Ordering::Relaxed).to_ne_bytes());
            out[4..8].copy_from_slice(&cell.kind.load(Ordering::Relaxed).to_ne_bytes());
            out[8..].copy_from_slice(&cell.address.load(Ordering::Relaxed).to_ne_bytes());
        }
        assert_eq!(Frame::read(&bytes, 1), Some(root));
        assert_eq!(Frame::read(&bytes, 2), None, "never filled");
        assert_eq!(Frame::read(&bytes, 3), Some(leaf));
        assert_eq!(cells.each_ref().map(FrameCell::frame), [Some(root), None, Some(leaf)]);
        assert_eq!(Frame::read(&bytes, 0), None);
        assert_eq!(Frame::read(&bytes, 4), None);
        // A frame that would be its own caller.
        bytes[2 * FRAME_BYTES] = 3;
        assert_eq!(Frame::read(&bytes, 3), None);
    }
}
