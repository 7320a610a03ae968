//! Modules: the objects that the loader mapped, and when each was there.
//!
//! The tracer notes an object when it first meets it and when it finds it gone, both some
//! time after the fact. So an address belongs to the object that was on record there at its
//! moment, and else to the one that was there closest to it in time.

use super::area::AreaBytes;
use super::source::Source;
use fragtrace_format::Stamp;
use fragtrace_format::record::{self, ModuleEvent};
use std::ops::Range;

/// More records than fit in the 1 MiB that the area has.
const MOST_RECORDS: u32 = 1 << 16;

/// A loaded object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// When it was on record.
    pub seen: Range<Stamp>,
    /// The addresses of its segments.
    pub addresses: Range<u64>,
    /// What the loader added to the addresses in the file.
    pub bias: u64,
    /// The bytes of its GNU build-id; empty = it has none.
    pub build_id: Box<[u8]>,
    /// As the loader names it.
    pub path: Box<str>,
}

impl Module {
    /// How far outside of its time a moment is.
    fn distance(&self, stamp: Stamp) -> u64 {
        match stamp {
            _ if stamp < self.seen.start => self.seen.start - stamp,
            _ => stamp.saturating_sub(self.seen.end),
        }
    }
}

/// All objects that ever were loaded.
#[derive(Debug, Clone, Default)]
pub struct Modules {
    /// In the order in which they were met.
    list: Vec<Module>,
}

impl Modules {
    pub(super) fn read(area: &AreaBytes, source: &Source, damage: &mut Vec<String>) -> Modules {
        let mut modules = Modules::default();
        let mut left = MOST_RECORDS;
        area.for_each_record(source, "module", damage, |payload| {
            let Some(rest) = left.checked_sub(1) else { return };
            left = rest;
            if let Some((event, _)) = record::decode::<ModuleEvent<'_>>(payload) {
                modules.note(&event);
            }
        });
        modules
    }

    fn note(&mut self, event: &ModuleEvent<'_>) {
        match event {
            ModuleEvent::Loaded(module) => {
                let end = module.start.saturating_add(module.bytes);
                let addresses = module.start..end;
                // Whatever was there is not any more.
                self.end(module.stamp, |known| {
                    known.addresses.start < end && module.start < known.addresses.end
                });
                self.list.push(Module {
                    seen: module.stamp..Stamp::MAX,
                    addresses,
                    bias: module.bias,
                    build_id: module.build_id.into(),
                    path: module.path.into(),
                });
            }
            ModuleEvent::Gone { stamp, start } => {
                self.end(*stamp, |known| known.addresses.start == *start);
            }
        }
    }

    fn end(&mut self, stamp: Stamp, which: impl Fn(&Module) -> bool) {
        let there = |module: &&mut Module| module.seen.end == Stamp::MAX && which(module);
        for module in self.list.iter_mut().filter(there) {
            module.seen.end = stamp.max(module.seen.start);
        }
    }

    /// How many there are: their numbers are below that.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The module with a number, as [`Modules::at`] gives it.
    pub fn get(&self, number: usize) -> Option<&Module> {
        self.list.get(number)
    }

    /// The number of the module that an address belonged to at a moment.
    pub fn at(&self, address: u64, stamp: Stamp) -> Option<usize> {
        let there = |(_, module): &(usize, &Module)| module.addresses.contains(&address);
        let all = self.list.iter().enumerate().filter(there);
        // Of two that are as close, the later one: its time begins where the other's ended.
        all.rev().min_by_key(|(_, module)| module.distance(stamp)).map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(stamp: Stamp, start: u64, path: &'static str) -> ModuleEvent<'static> {
        ModuleEvent::Loaded(record::Module {
            stamp,
            start,
            bytes: 0x1000,
            path,
            ..record::Module::default()
        })
    }

    fn modules(events: &[ModuleEvent<'_>]) -> Modules {
        let mut modules = Modules::default();
        for event in events {
            modules.note(event);
        }
        modules
    }

    #[test]
    fn an_address_belongs_to_what_was_there_then() {
        let modules = modules(&[
            loaded(0, 0x1000, "exe"),
            loaded(10, 0x8000, "one.so"),
            ModuleEvent::Gone { stamp: 20, start: 0x8000 },
            loaded(30, 0x8800, "two.so"),
        ]);
        let at = |address, stamp| {
            modules.at(address, stamp).and_then(|number| modules.get(number)).map(|m| &*m.path)
        };
        assert_eq!(at(0x1fff, 99), Some("exe"));
        assert_eq!(at(0x2000, 99), None);
        assert_eq!(at(0x8900, 15), Some("one.so"));
        assert_eq!(at(0x8900, 5), Some("one.so"), "it was loaded before it was met");
        assert_eq!(at(0x8900, 22), Some("one.so"));
        assert_eq!(at(0x8900, 28), Some("two.so"));
        assert_eq!(at(0x8900, 99), Some("two.so"));
        assert_eq!(at(0x8100, 99), Some("one.so"), "nothing else was ever there");
    }

    #[test]
    fn what_is_loaded_over_another_ends_it() {
        let modules = modules(&[loaded(0, 0x1000, "one"), loaded(50, 0x1800, "two")]);
        assert_eq!(modules.at(0x1900, 49), Some(0));
        assert_eq!(modules.at(0x1900, 50), Some(1));
    }
}
