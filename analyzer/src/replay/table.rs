//! The live blocks by address, in places of two.
//!
//! With millions of blocks a look-up waits for memory, so a place is one cache line, and neighbours of
//! the heap lie side by side. Who finds no room in its place goes to the next one that has some, and
//! each full place on the way counts who went past it: who finds no block there, and a count of none,
//! need not look further. A block that goes leaves room, and that is all: nothing moves up behind it.

use super::entry::Entry;
use super::fetch::fetch;
use super::huge;
use rayon::prelude::*;
use std::hint::select_unpredictable;

/// Bytes of heap whose blocks lie side by side, as a power of two.
const GROUP_SHIFT: u32 = 7;
/// Bytes of heap whose blocks have the same place, as a power of two.
const PLACE_SHIFT: u32 = 6;
const GROUP_PLACES: usize = 1 << (GROUP_SHIFT - PLACE_SHIFT);
const LEAST_SHIFT: u32 = 6;

/// One entry in so many is taken at least, after [`Table::shrink`].
const LEAST_FULL: usize = 16;

/// Entries of a place: a cache line.
const PLACE_ENTRIES: usize = 64 / size_of::<Entry>();

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Place([Entry; PLACE_ENTRIES]);

const _: () = assert!(PLACE_ENTRIES == 2 && size_of::<Place>() == 64);

impl Place {
    const EMPTY: Place = Place([Entry::NONE; PLACE_ENTRIES]);

    /// Which of its entries is the one of an address.
    #[inline(always)]
    fn find(&self, address: u64) -> Option<usize> {
        let [first, second] = &self.0;
        let is_second = second.address == address;
        (is_second | (first.address == address)).then_some(usize::from(is_second))
    }

    /// One of its entries, which is free if any is.
    #[inline(always)]
    fn room(&mut self) -> &mut Entry {
        let [first, second] = &mut self.0;
        select_unpredictable(first.is_some(), second, first)
    }
}

/// The place of an address in a table whose hashes are shifted so far to number a group.
#[inline(always)]
fn home(address: u64, shift: u32) -> usize {
    /// 2⁶⁴ divided by the golden ratio: spreads numbers in a row (Knuth, volume 3, 6.4).
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let group = (address >> GROUP_SHIFT).wrapping_mul(SPREAD) >> shift;
    group as usize * GROUP_PLACES + (address >> PLACE_SHIFT) as usize % GROUP_PLACES
}

/// Groups that one thread spreads at a time, as a table grows.
const SPREAD_GROUPS: usize = 1 << 14;

/// Fills places, from number `2 * first` on in a table that has become twice as large, with what lay in half
/// as many, from number `first` on. Back come the entries that were not in their own place.
fn spread_all(shift: u32, first: usize, from: &[Place], to: &mut [Place]) -> Vec<Entry> {
    let part = SPREAD_GROUPS * GROUP_PLACES;
    if from.len() <= part {
        return spread(shift, first, from, to);
    }
    let parts = from.par_chunks(part).zip(to.par_chunks_mut(2 * part)).enumerate();
    let spread = |(number, (from, to))| spread(shift, first + number * part, from, to);
    parts.flat_map_iter(spread).collect()
}

fn spread(shift: u32, first: usize, from: &[Place], to: &mut [Place]) -> Vec<Entry> {
    let mut astray = Vec::new();
    to.fill(Place::EMPTY);
    for (number, place) in from.iter().enumerate() {
        for entry in place.0.into_iter().filter(Entry::is_some) {
            let home = home(entry.address, shift);
            // Of half as many groups its own was half of what it is now.
            let before = home / GROUP_PLACES / 2 * GROUP_PLACES + home % GROUP_PLACES;
            match to.get_mut(home.wrapping_sub(2 * first)) {
                Some(place) if before == first + number => *place.room() = entry,
                _ => astray.push(entry),
            }
        }
    }
    astray
}

/// The live blocks, each with its address.
#[derive(Debug)]
pub(super) struct Table {
    places: Vec<Place>,
    /// How many went past each place. Those of which it is not known any more count for good.
    past: Vec<u8>,
    count: usize,
    /// By how much a hash is shifted to number a group.
    shift: u32,
}

impl Default for Table {
    fn default() -> Table {
        Table::of_groups(LEAST_SHIFT)
    }
}

/// A copy has room for what is there, not for what was.
impl Clone for Table {
    fn clone(&self) -> Table {
        let mut copy = Table::default();
        while copy.count_at_most() < self.count {
            copy = Table::of_groups(u64::BITS - copy.shift + 1);
        }
        for entry in self.iter() {
            copy.insert(*entry);
        }
        copy
    }
}

impl Table {
    fn of_groups(bits: u32) -> Table {
        let count = GROUP_PLACES << bits;
        let places = huge::filled(Place::EMPTY, count);
        Table { places, past: huge::filled(0, count), count: 0, shift: u64::BITS - bits }
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().flat_map(|place| &place.0).filter(|entry| entry.is_some())
    }

    /// The place of an address.
    #[inline(always)]
    fn home(&self, address: u64) -> usize {
        home(address, self.shift)
    }

    #[inline]
    fn next(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    /// Begins to fetch what is needed to look for an address.
    #[inline]
    pub fn foresee(&self, address: u64) {
        let home = self.home(address);
        fetch(&self.places[home]);
        fetch(&self.past[home]);
    }

    /// Place and index of an entry.
    #[inline(always)]
    fn find(&self, address: u64) -> Option<(usize, usize)> {
        let home = self.home(address);
        match self.places[home].find(address) {
            Some(index) => Some((home, index)),
            None if self.past[home] == 0 => None,
            None => self.find_past(home, address),
        }
    }

    #[inline(never)]
    fn find_past(&self, home: usize, address: u64) -> Option<(usize, usize)> {
        let mut place = home;
        while self.past[place] > 0 {
            place = self.next(place);
            if let Some(index) = self.places[place].find(address) {
                return Some((place, index));
            }
            // All that there are went past a place.
            if place == home {
                break;
            }
        }
        None
    }

    /// The entry of an address. [`Entry::NONE`] is never there.
    #[inline]
    pub fn get(&self, address: u64) -> Option<&Entry> {
        let (place, index) = self.find(address)?;
        Some(&self.places[place].0[index]).filter(|entry| entry.is_some())
    }

    /// Adds an entry; the one of that address before, if any. [`Entry::NONE`] is never there.
    #[inline]
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        if !entry.is_some() {
            return None;
        }
        match self.find(entry.address) {
            Some((place, index)) => {
                Some(std::mem::replace(&mut self.places[place].0[index], entry))
            }
            None => {
                self.put(entry);
                None
            }
        }
    }

    /// Adds an entry, if there is none of its address. False: nothing was done.
    #[inline(always)]
    pub fn insert_new(&mut self, entry: Entry) -> bool {
        if self.find(entry.address).is_some() {
            return false;
        }
        self.put(entry);
        true
    }

    /// Adds an entry of which there is none.
    #[inline(always)]
    fn put(&mut self, entry: Entry) {
        let home = self.home(entry.address);
        let place = if self.places[home].room().is_some() { self.place_past(home) } else { home };
        *self.places[place].room() = entry;
        self.count += 1;
        if self.count > self.count_at_most() {
            self.grow();
        }
    }

    /// The first place with room behind one that has none, for an entry that goes past all between.
    #[inline(never)]
    fn place_past(&mut self, home: usize) -> usize {
        let mut place = home;
        while self.places[place].room().is_some() {
            self.past[place] = self.past[place].saturating_add(1);
            place = self.next(place);
        }
        place
    }

    /// After most entries went it takes long to go through the places of all: makes room for what is
    /// there only.
    pub fn shrink(&mut self) {
        let entries = self.places.len() * PLACE_ENTRIES;
        if entries / LEAST_FULL > self.count.max((GROUP_PLACES * PLACE_ENTRIES) << LEAST_SHIFT) {
            *self = self.clone();
        }
    }

    /// With more entries it grows.
    #[inline]
    fn count_at_most(&self) -> usize {
        self.places.len() * PLACE_ENTRIES / 2
    }

    /// Makes it twice as large, where it is: a group becomes two, neither of which comes before it, and
    /// no other group becomes one of these. So the upper half goes behind all that there was, then what is
    /// left goes where that came from, and so on, each half by all processors.
    #[cold]
    fn grow(&mut self) {
        let before = self.places.len();
        self.past.fill(0);
        huge::grow(&mut self.past, 0, 2 * before);
        huge::grow(&mut self.places, Place::EMPTY, 2 * before);
        self.shift -= 1;
        let mut astray = Vec::new();
        let mut end = before;
        while end > GROUP_PLACES {
            let half = end / 2;
            let (below, above) = self.places.split_at_mut(end);
            let (from, to) = (&below[half..], &mut above[..end]);
            astray.extend(spread_all(self.shift, half, from, to));
            end = half;
        }
        // The first group becomes itself and the second one.
        let first = self.places[..GROUP_PLACES].to_vec();
        astray.extend(spread_all(self.shift, 0, &first, &mut self.places[..2 * GROUP_PLACES]));
        self.count -= astray.len();
        for entry in astray {
            self.put(entry);
        }
    }

    /// Takes an entry out.
    #[inline]
    pub fn remove(&mut self, address: u64) -> Option<Entry> {
        self.remove_if(address, |_| true)
    }

    /// Takes an entry out, if it is such a one.
    #[inline(always)]
    pub fn remove_if(&mut self, address: u64, is: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let (place, index) = self.find(address)?;
        let removed = self.places[place].0[index];
        if !removed.is_some() || !is(&removed) {
            return None;
        }
        self.places[place].0[index] = Entry::NONE;
        self.count -= 1;
        let home = self.home(address);
        if place != home {
            self.leave_past(home, place);
        }
        Some(removed)
    }

    /// One that had gone past some places is gone.
    #[inline(never)]
    fn leave_past(&mut self, home: usize, place: usize) {
        let mut at = home;
        while at != place {
            self.past[at] -= u8::from(self.past[at] < u8::MAX);
            at = self.next(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::block::Block;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(address: u64, birth: u64) -> Entry {
        let (size, usable, extent) = (24, Some(24), address.wrapping_sub(8)..address + 24);
        let block = Block { size, usable, extent, birth, thread: 1, stack: 2, own_mapping: false };
        Entry::pack(address, &block)
    }

    proptest! {
        /// Also where blocks are crowded, at the ends of the table and beyond.
        #[test]
        fn a_table_is_a_map(
            steps in prop::collection::vec((0u64..600, 0u32..3, any::<bool>()), 1..2000)
        ) {
            let (mut table, mut known) = (Table::default(), BTreeMap::new());
            for (number, (slot, scale, add)) in steps.into_iter().enumerate() {
                let address = 0x7fff_0000 + (slot << (4 + 4 * scale));
                if add {
                    let fresh = entry(address, number as u64);
                    prop_assert_eq!(table.insert(fresh), known.insert(address, fresh));
                } else {
                    prop_assert_eq!(table.remove(address), known.remove(&address));
                }
                prop_assert_eq!(table.len(), known.len());
                prop_assert_eq!(table.get(address), known.get(&address));
            }
            let mut all: Vec<Entry> = table.iter().copied().collect();
            all.sort_by_key(|entry| entry.address);
            prop_assert!(all.iter().eq(known.values()));
            let copy = table.clone();
            prop_assert_eq!(copy.len(), known.len());
            prop_assert!(known.values().all(|entry| copy.get(entry.address) == Some(entry)));
            for (address, entry) in &known {
                prop_assert_eq!(table.get(*address), Some(entry));
            }
        }
    }

    #[test]
    fn what_is_left_of_many_blocks_takes_little_room() {
        let mut table = Table::default();
        let address = |number: u64| 0x7fff_0000 + number * 0x30;
        for number in 0..100_000 {
            table.insert(entry(address(number), number));
        }
        let places = table.places.len();
        table.shrink();
        assert_eq!(table.places.len(), places, "there is no need to");
        for number in 1_000..100_000 {
            table.remove(address(number));
        }
        table.shrink();
        assert!(table.places.len() < places / 16);
        assert_eq!(table.len(), 1_000);
        for number in 0..1_000 {
            assert_eq!(table.get(address(number)), Some(&entry(address(number), number)));
        }
    }

    #[test]
    fn there_is_no_block_at_the_last_byte() {
        let mut table = Table::default();
        assert_eq!(table.insert(Entry::NONE), None);
        assert_eq!((table.len(), table.get(u64::MAX)), (0, None));
        assert_eq!(table.remove(u64::MAX), None);
    }
}
