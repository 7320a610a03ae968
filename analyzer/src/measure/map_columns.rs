//! The columns of the heap map, taken on the way: before it is known where blocks will ever lie, and so
//! what the axis is.
//!
//! Cells begin as small as a page. When there are more of them than the map can have, two and two are
//! taken together, in all columns; their sums are those of the larger cell. So memory is bounded, and in
//! the end cells are as small as those of the axis or smaller, and add up to them.

use super::analyze::Observe;
use super::heap_map::{Sums, add_to_cells};
use super::{Cell, HeapMap};
use crate::replay::{AddressSpace, Heap};
use rustc_hash::FxHashMap;

/// More than `rows` cells that ever held a block, by twice the bands that there are, mean that the axis has
/// larger ones: each band begins and ends in the middle of one at most. There are hardly more.
const MOST_BANDS: usize = 1000;

/// Columns, as they are taken.
#[derive(Debug)]
pub(super) struct MapColumns {
    rows: usize,
    cell_bytes: u64,
    /// Which place in a column a cell has, by its address in cells.
    places: FxHashMap<u64, usize>,
    /// Whether a cell ever held a block, by place; and how many did.
    ever: Vec<bool>,
    ever_held: usize,
    times_ns: Vec<u64>,
    /// A shorter one is zero behind its end.
    columns: Vec<Vec<Sums>>,
}

impl<'t> Observe<'t> for &mut MapColumns {
    fn heap(&mut self, time_ns: u64, heap: &Heap<'t>) {
        self.take(time_ns, heap.space());
    }
}

impl MapColumns {
    /// No column yet, of a map of at most about so many rows.
    pub(super) fn new(page_bytes: u64, rows: usize) -> MapColumns {
        MapColumns {
            rows: rows.max(1),
            cell_bytes: page_bytes,
            places: FxHashMap::default(),
            ever: Vec::new(),
            ever_held: 0,
            times_ns: Vec::new(),
            columns: Vec::new(),
        }
    }

    /// Takes the heap as it is at a moment.
    pub(super) fn take(&mut self, time_ns: u64, space: &AddressSpace) {
        self.times_ns.push(time_ns);
        self.columns.push(vec![Sums::default(); self.ever.len()]);
        let mut last = None;
        space.for_each_used_stretch(|stretch| {
            // One stretch alone may be terabytes, as damage says.
            let most = self.most_cells();
            while self.ever.len() > most || stretch.bytes / self.cell_bytes > most as u64 {
                self.coarsen();
                last = None;
            }
            add_to_cells(&stretch, self.cell_bytes, |cell, part| {
                let place = match last {
                    Some((known, place)) if known == cell => place,
                    _ => self.place_of(cell),
                };
                last = Some((cell, place));
                if part.ever > 0 && !self.ever[place] {
                    self.ever[place] = true;
                    self.ever_held += 1;
                }
                if let Some(column) = self.columns.last_mut() {
                    column[place].add(part);
                }
            });
        });
        while self.ever_held > self.rows + 2 * MOST_BANDS {
            self.coarsen();
        }
    }

    /// Cells in memory, with those where no block ever lay.
    fn most_cells(&self) -> usize {
        4 * (self.rows + 2 * MOST_BANDS)
    }

    fn place_of(&mut self, cell: u64) -> usize {
        let next = self.ever.len();
        let place = *self.places.entry(cell).or_insert(next);
        if place == next {
            self.ever.push(false);
        }
        if let Some(column) = self.columns.last_mut()
            && column.len() <= place
        {
            column.resize(place + 1, Sums::default());
        }
        place
    }

    /// Makes cells twice as large.
    fn coarsen(&mut self) {
        self.cell_bytes *= 2;
        let mut places = FxHashMap::default();
        let mut ever = Vec::new();
        let mut moved = vec![0; self.ever.len()];
        for (cell, place) in &self.places {
            let next = ever.len();
            let to = *places.entry(cell / 2).or_insert(next);
            if to == next {
                ever.push(false);
            }
            ever[to] |= self.ever[*place];
            moved[*place] = to;
        }
        for column in &mut self.columns {
            let mut sums = vec![Sums::default(); ever.len()];
            for (part, to) in column.iter().zip(&moved) {
                sums[*to].add(*part);
            }
            *column = sums;
        }
        self.ever_held = ever.iter().filter(|ever| **ever).count();
        (self.places, self.ever) = (places, ever);
    }

    /// The columns on an axis. `None`: its cells are smaller.
    pub(super) fn on(self, axis: &HeapMap) -> Option<HeapMap> {
        if axis.cell_bytes < self.cell_bytes {
            return None;
        }
        let parts = axis.cell_bytes / self.cell_bytes;
        // The places of the parts of each cell.
        let cells = axis.bands.iter().flat_map(|band| {
            let first = band.start / self.cell_bytes;
            (0..band.cells as u64).map(move |cell| first + cell * parts)
        });
        let places_of = |first| (first..first + parts).filter_map(|part| self.places.get(&part));
        let cells: Vec<Vec<usize>> =
            cells.map(|first| places_of(first).copied().collect()).collect();
        let cell_of = |column: &[Sums], places: &[usize]| -> Cell {
            let mut sums = Sums::default();
            for part in places.iter().filter_map(|place| column.get(*place)) {
                sums.add(*part);
            }
            sums.into()
        };
        let columns = self.columns.iter();
        let columns =
            columns.map(|column| cells.iter().map(|cell| cell_of(column, cell)).collect());
        Some(HeapMap { columns: columns.collect(), times_ns: self.times_ns, ..axis.clone() })
    }
}
