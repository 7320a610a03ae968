//! The address space of one frame in cells: how full each is, and whose most of it is.
//!
//! Cells are pages as long as there are not too many of them; then two become one, in all
//! frames that were taken before as well.

use super::super::blame::Piece;
use crate::replay::AddressSpace;

/// One cell that ever held a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameCell {
    /// Its address divided by the size of a cell.
    pub number: u64,
    /// Share of the held part that blocks cover: 0 (nothing) to 255 (all).
    pub live: u8,
    /// Share of the cell in the footprint: 0 (given back) to 255 (all).
    pub held: u8,
    /// The site with most live bytes in it; 0 also where nothing is live.
    pub site: u16,
}

/// Sums of a cell while it is gathered.
#[derive(Clone, Copy)]
struct Sums {
    number: u64,
    touched: u64,
    live: u64,
}

/// The cells of the space as it is now, in order; `pieces` are the live blocks in order of
/// address, with their sites.
pub(super) fn gather(space: &AddressSpace, pieces: &[Piece], cell_bytes: u64) -> Vec<FrameCell> {
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
                let live = u128::from(stretch.live_bytes) * u128::from(part) / u128::from(whole);
                last.live += live as u64;
            }
            at += part;
        }
    });
    let mut owners = Owners::new(pieces, cell_bytes);
    let cell = |sums: Sums| {
        let share = |part: u64, whole: u64| (part.min(whole) * 255 / whole.max(1)) as u8;
        let live = share(sums.live, sums.touched).max(u8::from(sums.live > 0 && sums.touched > 0));
        let held = share(sums.touched, cell_bytes).max(u8::from(sums.touched > 0));
        let site = if live > 0 { owners.of(sums.number) } else { 0 };
        FrameCell { number: sums.number, live, held, site }
    };
    sums.into_iter().map(cell).collect()
}

/// Makes one cell of two.
pub(super) fn coarsen(cells: &mut Vec<FrameCell>) {
    let mut coarse: Vec<FrameCell> = Vec::with_capacity(cells.len() / 2 + 1);
    let mut cells_iter = std::mem::take(cells).into_iter().peekable();
    while let Some(one) = cells_iter.next() {
        let number = one.number / 2;
        let other = cells_iter.next_if(|next| next.number / 2 == number);
        let nothing = FrameCell { number, live: 0, held: 0, site: 0 };
        let other = other.unwrap_or(nothing);
        let live = |cell: &FrameCell| u32::from(cell.live) * u32::from(cell.held);
        let held = u32::from(one.held) + u32::from(other.held);
        let both = live(&one) + live(&other);
        let site = if live(&one) >= live(&other) { one.site } else { other.site };
        coarse.push(FrameCell {
            number,
            live: (both / held.max(1)).max(u32::from(both > 0)) as u8,
            held: held.div_ceil(2) as u8,
            site,
        });
    }
    *cells = coarse;
}

/// Finds the site with most bytes of one cell after the other.
struct Owners<'a> {
    pieces: &'a [Piece],
    cell_bytes: u64,
    shares: Vec<(u32, u64)>,
}

impl<'a> Owners<'a> {
    fn new(pieces: &'a [Piece], cell_bytes: u64) -> Self {
        Owners { pieces, cell_bytes, shares: Vec::new() }
    }

    /// Of a cell; numbers must rise from call to call.
    fn of(&mut self, number: u64) -> u16 {
        let (start, end) = (number * self.cell_bytes, (number + 1) * self.cell_bytes);
        while let Some((first, rest)) = self.pieces.split_first()
            && first.extent.end <= start
        {
            self.pieces = rest;
        }
        self.shares.clear();
        for piece in self.pieces.iter().take_while(|piece| piece.extent.start < end) {
            let bytes = piece.extent.end.min(end).saturating_sub(piece.extent.start.max(start));
            match self.shares.iter_mut().find(|(site, _)| *site == piece.key) {
                Some((_, sum)) => *sum += bytes,
                None => self.shares.push((piece.key, bytes)),
            }
        }
        let most = self.shares.iter().rev().max_by_key(|(_, bytes)| *bytes);
        most.map_or(0, |(site, _)| u16::try_from(*site).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cells_become_one_of_the_same_bytes() {
        let cell = |number, live, held, site| FrameCell { number, live, held, site };
        let mut cells =
            vec![cell(4, 255, 255, 7), cell(5, 10, 255, 8), cell(9, 0, 0, 0), cell(10, 8, 255, 3)];
        coarsen(&mut cells);
        assert_eq!(cells, [cell(2, 132, 255, 7), cell(4, 0, 0, 0), cell(5, 8, 128, 3)]);
    }

    #[test]
    fn the_site_with_most_bytes_has_the_cell() {
        let piece = |start, end, key| Piece { extent: start..end, birth: 0, key };
        let pieces =
            [piece(0, 100, 1), piece(100, 150, 2), piece(200, 280, 2), piece(4000, 12_000, 5)];
        let mut owners = Owners::new(&pieces, 4096);
        assert_eq!([owners.of(0), owners.of(1), owners.of(2), owners.of(3)], [2, 5, 5, 0]);
    }
}
