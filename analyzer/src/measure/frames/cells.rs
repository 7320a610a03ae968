//! The address space of one frame in cells: how full each is, and what most of it has in common.
//!
//! Cells are pages as long as there are not too many of them; then two become one, in all
//! frames that were taken before as well.

use super::super::blame::Piece;
use super::super::kinds::age_kind;
use super::traits::Traits;
use crate::replay::AddressSpace;
use fragtrace_format::Stamp;
use rayon::prelude::*;

/// What most live bytes of a cell have in common, each figure by itself; 0 where nothing is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Most {
    /// The site.
    pub site: u16,
    /// The thread's number; once all frames are taken, its kind.
    pub thread: u16,
    /// The kind of size.
    pub size: u8,
    /// The kind of age at the moment of the frame.
    pub age: u8,
}

/// One cell that ever held a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameCell {
    /// Its address divided by the size of a cell.
    pub number: u64,
    /// Share of the held part that blocks cover: 0 (nothing) to 255 (all).
    pub live: u8,
    /// Share of the cell in the footprint: 0 (given back) to 255 (all).
    pub held: u8,
    /// Whose its live bytes are, how large and how old.
    pub most: Most,
}

/// What tells a block's kinds by its number and its birth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling<'a> {
    /// By the key of a piece.
    pub traits: &'a [Traits],
    /// The frame's moment.
    pub now: Stamp,
    /// How long the window is that ages are parts of.
    pub window: Stamp,
}

/// More kinds than sizes or ages have.
const KINDS: usize = 16;
/// Cells in a row whose blocks one thread looks at.
const CELLS_AT_ONCE: usize = 1 << 11;

/// Sums of a cell while it is gathered.
#[derive(Clone, Copy)]
struct Sums {
    number: u64,
    touched: u64,
    live: u64,
}

/// The cells of the space as it is now, in order; `pieces` are the live blocks in order of
/// address, with the numbers of their traits.
pub(super) fn gather(
    space: &AddressSpace,
    pieces: &[Piece],
    telling: Telling<'_>,
    cell_bytes: u64,
) -> Vec<FrameCell> {
    let mut sums: Vec<Sums> = Vec::new();
    space.for_each_stretch(0..u64::MAX, |stretch| {
        let (end, whole) = (stretch.start + stretch.bytes, stretch.bytes);
        let mut at = stretch.start;
        while at < end {
            let number = at / cell_bytes;
            let part = ((number + 1) * cell_bytes).min(end) - at;
            if sums.last().is_none_or(|last| last.number != number) {
                sums.push(Sums { number, touched: 0, live: 0 });
            }
            if let Some(last) = sums.last_mut() {
                last.touched += if stretch.touched { part } else { 0 };
                last.live += if part == whole {
                    stretch.live_bytes
                } else {
                    (u128::from(stretch.live_bytes) * u128::from(part) / u128::from(whole)) as u64
                };
            }
            at += part;
        }
    });
    let in_a_row = |sums: &[Sums]| {
        let from = sums.first().map_or(0, |sums| sums.number * cell_bytes);
        let before = pieces.partition_point(|piece| piece.extent.end <= from);
        let mut owners = Owners::new(&pieces[before..], telling, cell_bytes);
        let share = |part: u64, whole: u64| (part.min(whole) * 255 / whole.max(1)) as u8;
        let cell = |sums: &Sums| {
            let Sums { number, touched, live } = *sums;
            let held = share(touched, cell_bytes).max(u8::from(touched > 0));
            let live = share(live, touched).max(u8::from(live > 0 && touched > 0));
            let most = if live > 0 { owners.of(number) } else { Most::default() };
            FrameCell { number, live, held, most }
        };
        sums.iter().map(cell).collect::<Vec<_>>()
    };
    sums.par_chunks(CELLS_AT_ONCE).flat_map_iter(in_a_row).collect()
}

/// Makes one cell of two.
pub(super) fn coarsen(cells: &mut Vec<FrameCell>) {
    let mut coarse: Vec<FrameCell> = Vec::with_capacity(cells.len() / 2 + 1);
    let mut cells_iter = std::mem::take(cells).into_iter().peekable();
    while let Some(one) = cells_iter.next() {
        let number = one.number / 2;
        let other = cells_iter.next_if(|next| next.number / 2 == number);
        let nothing = FrameCell { number, live: 0, held: 0, most: Most::default() };
        let other = other.unwrap_or(nothing);
        let live = |cell: &FrameCell| u32::from(cell.live) * u32::from(cell.held);
        let held = u32::from(one.held) + u32::from(other.held);
        let both = live(&one) + live(&other);
        let most = if live(&one) >= live(&other) { one.most } else { other.most };
        coarse.push(FrameCell {
            number,
            live: (both / held.max(1)).max(u32::from(both > 0)) as u8,
            held: held.div_ceil(2) as u8,
            most,
        });
    }
    *cells = coarse;
}

/// Finds what most bytes of one cell after the other have in common.
struct Owners<'a> {
    pieces: &'a [Piece],
    telling: Telling<'a>,
    cell_bytes: u64,
    keys: Tally,
    sites: Tally,
    threads: Tally,
}

impl<'a> Owners<'a> {
    fn new(pieces: &'a [Piece], telling: Telling<'a>, cell_bytes: u64) -> Self {
        let (keys, sites, threads) = Default::default();
        Owners { pieces, telling, cell_bytes, keys, sites, threads }
    }

    /// Of a cell; numbers must rise from call to call.
    fn of(&mut self, number: u64) -> Most {
        let (start, end) = (number * self.cell_bytes, (number + 1) * self.cell_bytes);
        while let Some((first, rest)) = self.pieces.split_first()
            && first.extent.end <= start
        {
            self.pieces = rest;
        }
        let Telling { traits, now, window } = self.telling;
        let age = |piece: &Piece| age_kind(now.saturating_sub(piece.birth), window);
        // Many a cell has one block alone: nothing is to be counted then.
        if let [only, rest @ ..] = self.pieces
            && rest.first().is_none_or(|next| next.extent.start >= end)
            && only.extent.start < end
        {
            let Traits { site, thread, size } = traits[only.key as usize];
            return Most { site: capped(site), thread: capped(thread), size, age: age(only) };
        }
        let (mut sizes, mut ages) = ([0u64; KINDS], [0u64; KINDS]);
        for piece in self.pieces.iter().take_while(|piece| piece.extent.start < end) {
            let bytes = piece.extent.end.min(end).saturating_sub(piece.extent.start.max(start));
            self.keys.add(piece.key, bytes);
            ages[usize::from(age(piece))] += bytes;
        }
        for (key, bytes) in self.keys.drain() {
            let Traits { site, thread, size } = traits[key as usize];
            self.sites.add(site, bytes);
            self.threads.add(thread, bytes);
            sizes[usize::from(size)] += bytes;
        }
        Most {
            site: capped(self.sites.take_most()),
            thread: capped(self.threads.take_most()),
            size: most(&sizes),
            age: most(&ages),
        }
    }
}

/// A number as far as a cell can hold it.
fn capped(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// The kind with most bytes, the lowest of several; 0 if none has any.
fn most(kinds: &[u64]) -> u8 {
    let heaviest = kinds.iter().enumerate().rev().max_by_key(|(_, bytes)| **bytes);
    heaviest.filter(|(_, bytes)| **bytes > 0).map_or(0, |(kind, _)| kind as u8)
}

/// Bytes by number, of which a cell meets few.
#[derive(Debug, Default)]
struct Tally {
    bytes: Vec<u64>,
    met: Vec<u32>,
}

impl Tally {
    fn add(&mut self, number: u32, bytes: u64) {
        let at = number as usize;
        if at >= self.bytes.len() {
            self.bytes.resize(at + 1, 0);
        }
        if self.bytes[at] == 0 {
            self.met.push(number);
        }
        self.bytes[at] += bytes;
    }

    /// All that were met, in order; then none is.
    fn drain(&mut self) -> impl Iterator<Item = (u32, u64)> {
        let bytes = &mut self.bytes;
        self.met.drain(..).map(|number| (number, std::mem::take(&mut bytes[number as usize])))
    }

    /// The number with most bytes, of several the one that was met first; 0 if none has any.
    fn take_most(&mut self) -> u32 {
        let mut most = (0, 0);
        for (number, bytes) in self.drain() {
            if bytes > most.1 {
                most = (number, bytes);
            }
        }
        most.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cells_become_one_of_the_same_bytes() {
        let cell = |number, live, held, site| FrameCell {
            number,
            live,
            held,
            most: Most { site, ..Most::default() },
        };
        let mut cells =
            vec![cell(4, 255, 255, 7), cell(5, 10, 255, 8), cell(9, 0, 0, 0), cell(10, 8, 255, 3)];
        coarsen(&mut cells);
        assert_eq!(cells, [cell(2, 132, 255, 7), cell(4, 0, 0, 0), cell(5, 8, 128, 3)]);
    }

    #[test]
    fn what_has_most_bytes_has_the_cell() {
        let piece =
            |start, end, birth, key| Piece { extent: start..end, birth, key, ..Piece::default() };
        let traits = |site, thread, size| Traits { site, thread, size };
        let traits =
            [traits(0, 0, 0), traits(1, 0, 3), traits(2, 0, 1), traits(2, 1, 2), traits(5, 2, 6)];
        // In the first cell site 2 has 130 bytes, thread 0 has 150, kind 3 of size has 100.
        let pieces = [
            piece(0, 100, 900, 1),
            piece(100, 150, 10, 2),
            piece(200, 280, 10, 3),
            piece(4000, 12_000, 990, 4),
        ];
        let telling = Telling { traits: &traits, now: 1000, window: 1000 };
        let mut owners = Owners::new(&pieces, telling, 4096);
        let most = |site, thread, size, age| Most { site, thread, size, age };
        let last = most(5, 2, 6, age_kind(10, 1000));
        assert_eq!(owners.of(0), most(2, 0, 3, age_kind(990, 1000)));
        assert_eq!([owners.of(1), owners.of(2)], [last, last]);
        assert_eq!(owners.of(3), Most::default());
    }
}
