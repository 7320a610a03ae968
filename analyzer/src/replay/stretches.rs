//! What is counted by stretches of the address space, of one power of two of bytes each.

use rustc_hash::FxHashMap;

/// Places of stretches that are remembered, by their lowest bits: threads take turns in their own ones.
const REMEMBERED: usize = 64;

/// A value for each stretch that was asked for, by number.
#[derive(Debug, Clone)]
pub(super) struct Stretches<T> {
    values: Vec<T>,
    places: FxHashMap<u64, u32>,
    last: [(u64, u32); REMEMBERED],
}

impl<T> Default for Stretches<T> {
    fn default() -> Stretches<T> {
        let last = [(u64::MAX, 0); REMEMBERED];
        Stretches { values: Vec::new(), places: FxHashMap::default(), last }
    }
}

impl<T: Default> Stretches<T> {
    /// The value of a stretch.
    #[inline]
    pub fn of(&mut self, number: u64) -> &mut T {
        let (remembered, place) = self.last[number as usize % REMEMBERED];
        let place = if remembered == number { place } else { self.find(number) };
        &mut self.values[place as usize]
    }

    #[inline(never)]
    fn find(&mut self, number: u64) -> u32 {
        let place = *self.places.entry(number).or_insert_with(|| {
            self.values.push(T::default());
            self.values.len() as u32 - 1
        });
        self.last[number as usize % REMEMBERED] = (number, place);
        place
    }

    /// The same, if it was asked for before.
    pub fn get(&self, number: u64) -> Option<&T> {
        self.places.get(&number).map(|place| &self.values[*place as usize])
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Stretches::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stretch_has_its_own_value() {
        let mut stretches = Stretches::<u64>::default();
        for round in 1..=3 {
            for number in (0..10).map(|at| at * REMEMBERED as u64 + at % 3) {
                *stretches.of(number) += number;
                assert_eq!(stretches.get(number), Some(&(round * number)));
            }
        }
        assert_eq!(stretches.get(1), None);
        stretches.clear();
        assert_eq!(stretches.get(0), None);
        assert_eq!(*stretches.of(0), 0);
    }
}
