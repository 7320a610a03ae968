//! Size classes of the allocator, as far as the tracer asked.

use super::area::AreaBytes;
use super::source::Source;
use fragtrace_format::classes::{ENTRY_BYTES, Learnt, MAX_SIZE, STEPS, step};

/// Usable bytes by requested size.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    /// By steps of eight bytes; 0 = not known. Empty: of none.
    usable: Vec<u64>,
    /// Just what is asked for may be used.
    exact: bool,
}

impl Classes {
    pub(super) fn read(area: &AreaBytes, source: &Source) -> Classes {
        let bytes = area.read(source, 0, usize::try_from(area.bytes()).unwrap_or(0));
        let mut classes = Classes::default();
        for learnt in bytes.chunks_exact(ENTRY_BYTES).filter_map(Learnt::read) {
            classes.learn(learnt);
        }
        classes
    }

    /// Adds what was learnt.
    pub fn learn(&mut self, learnt: Learnt) {
        match learnt {
            Learnt::Exact => self.exact = true,
            Learnt::Class { size, usable } => {
                self.usable.resize(STEPS, 0);
                self.usable[step(size)..=step(usable.min(MAX_SIZE))].fill(usable);
            }
        }
    }

    /// Usable bytes of a block of that size; `None`: not known.
    #[inline]
    pub fn usable(&self, size: u64) -> Option<u64> {
        if self.exact {
            return Some(size);
        }
        let known = *self.usable.get(step(size.min(MAX_SIZE + 1)))?;
        (known > 0).then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_reaches_from_what_was_asked_to_what_may_be_used() {
        let mut classes = Classes::default();
        assert_eq!(classes.usable(100), None);
        classes.learn(Learnt::Class { size: 100, usable: 112 });
        assert_eq!(
            [96, 97, 104, 112, 113].map(|size| classes.usable(size)),
            [None, Some(112), Some(112), Some(112), None]
        );
        classes.learn(Learnt::Class { size: MAX_SIZE - 1, usable: 80 << 10 });
        assert_eq!(classes.usable(MAX_SIZE), Some(80 << 10));
        assert_eq!(classes.usable(MAX_SIZE + 1), None);
        classes.learn(Learnt::Exact);
        assert_eq!(classes.usable(17), Some(17));
    }
}
