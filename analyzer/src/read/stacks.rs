//! Call stacks, as the trace keeps them: frames that name their callers.
//!
//! Only commands that show call sites need them, so the area is read when they ask. What a
//! stack names may be damaged: it is followed as far as it makes sense, and no further than
//! a tracer would write.

use fragtrace_format::stack::{FRAME_BYTES, Frame};
use std::borrow::Cow;

/// More frames than a tracer keeps of one stack (256, and some that it notes by the way).
const MOST_FRAMES: usize = 1 << 10;

/// All frames of a trace.
#[derive(Debug, Clone, Default)]
pub struct Stacks<'t> {
    bytes: Cow<'t, [u8]>,
}

impl<'t> Stacks<'t> {
    pub(super) fn new(bytes: Cow<'t, [u8]>) -> Stacks<'t> {
        Stacks { bytes }
    }

    /// Whether the trace holds no frame at all.
    pub fn is_empty(&self) -> bool {
        let frames = self.bytes.chunks_exact(FRAME_BYTES);
        !frames.into_iter().any(|frame| frame.iter().any(|byte| *byte != 0))
    }

    /// A frame by its number; `None` if it is not there.
    pub fn frame(&self, number: u32) -> Option<Frame> {
        Frame::read(&self.bytes, number)
    }

    /// All frames, in the order in which they came, up to the first that is damaged.
    pub fn all(&self) -> impl Iterator<Item = Frame> {
        (1..).map_while(|number| self.frame(number))
    }

    /// The frames of a stack, innermost first. None for a stack that is not known.
    pub fn frames(&self, stack: u32) -> impl Iterator<Item = Frame> {
        let first = self.frame(stack);
        std::iter::successors(first, |frame| self.frame(frame.caller)).take(MOST_FRAMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(caller: u32, address: u64) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        bytes[..4].copy_from_slice(&caller.to_le_bytes());
        bytes[8..].copy_from_slice(&address.to_le_bytes());
        bytes
    }

    #[test]
    fn a_stack_is_its_innermost_frame_and_all_callers() {
        let bytes = [entry(0, 10), entry(1, 20), entry(1, 30), entry(3, 40)].concat();
        let stacks = Stacks::new(bytes.into());
        let of = |stack| stacks.frames(stack).map(|frame| frame.address).collect::<Vec<u64>>();
        assert_eq!(of(4), [40, 30, 10]);
        assert_eq!(of(2), [20, 10]);
        assert!(of(0).is_empty() && of(5).is_empty() && of(u32::MAX).is_empty());
        assert!(!stacks.is_empty() && Stacks::default().is_empty());
        assert!(Stacks::new(vec![0; 64].into()).is_empty());
    }

    #[test]
    fn a_stack_deeper_than_any_tracer_writes_is_cut() {
        let bytes: Vec<u8> = (0..5000).flat_map(|caller| entry(caller, 7)).collect();
        assert_eq!(Stacks::new(bytes.into()).frames(5000).count(), MOST_FRAMES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_stacks_that_end(
            bytes in prop::collection::vec(any::<u8>(), 0..400), stack in 0..40u32
        ) {
            prop_assert!(Stacks::new(bytes.into()).frames(stack).count() <= 25);
        }
    }
}
