//! Which pages are in memory: the tiles of a [`Scan`](crate::record::Scan).
//!
//! A tile is 512 pages at an address that is a multiple of their bytes: with pages of 4 KiB
//! the 2 MiB that one huge page takes. A scan lists the tiles of its range that changed since
//! the record before named them; tiles never named have no page in memory.
//!
//! ```text
//! each tile   step   LEB128   tiles left out since the last one (from the range's first on)
//!             kind   u8       0 none in memory, 1 all, 2 some; bit 2: huge pages among them
//!             pages  64 byte  of kind 2: a bit a page, lowest first
//! ```

/// Pages of a tile.
pub const TILE_PAGES: u64 = 512;
/// The most that a tile takes.
pub const MAX_TILE_BYTES: usize = 10 + 1 + 64;

const NONE: u8 = 0;
const ALL: u8 = 1;
const SOME: u8 = 2;
const HUGE: u8 = 4;

/// The pages of a tile that are in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TilePages {
    /// A bit a page.
    pub resident: [u64; 8],
    /// Whether there are huge pages among them.
    pub huge: bool,
}

impl TilePages {
    /// Whether no page is in memory.
    pub fn is_empty(&self) -> bool {
        self.resident == [0; 8]
    }
}

/// Writes tiles into a buffer, in rising order.
#[derive(Debug)]
pub struct TileWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    next: u64,
}

impl<'a> TileWriter<'a> {
    /// `first`: the number of the tile in which the scan's range begins.
    pub fn new(out: &'a mut [u8], first: u64) -> Self {
        TileWriter { out, len: 0, next: first }
    }

    /// Adds a tile. False: there is no room, and nothing was written.
    pub fn put(&mut self, number: u64, pages: &TilePages) -> bool {
        if !self.has_room() || number < self.next {
            return false;
        }
        let mut step = number - self.next;
        while step >= 0x80 {
            self.push(&[step as u8 | 0x80]);
            step >>= 7;
        }
        self.push(&[step as u8]);
        let huge = if pages.huge { HUGE } else { 0 };
        match pages.resident {
            [0, 0, 0, 0, 0, 0, 0, 0] => self.push(&[NONE]),
            resident if resident == [u64::MAX; 8] => self.push(&[ALL | huge]),
            resident => {
                self.push(&[SOME | huge]);
                for word in resident {
                    self.push(&word.to_le_bytes());
                }
            }
        }
        self.next = number + 1;
        true
    }

    fn push(&mut self, bytes: &[u8]) {
        self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Whether another tile fits.
    pub fn has_room(&self) -> bool {
        self.out.len() - self.len >= MAX_TILE_BYTES
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no tile was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Reads tiles: their numbers and pages. Ends at the first that makes no sense.
#[derive(Debug, Clone)]
pub struct Tiles<'a> {
    bytes: &'a [u8],
    next: u64,
}

impl<'a> Tiles<'a> {
    /// `first`: the number of the tile in which the scan's range begins.
    pub fn new(bytes: &'a [u8], first: u64) -> Self {
        Tiles { bytes, next: first }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn step(&mut self) -> Option<u64> {
        let mut step = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            step |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(step);
            }
        }
        None
    }
}

impl Iterator for Tiles<'_> {
    type Item = (u64, TilePages);

    fn next(&mut self) -> Option<(u64, TilePages)> {
        let number = self.step()?.checked_add(self.next)?;
        let kind = self.byte()?;
        let resident = match kind & !HUGE {
            NONE => [0; 8],
            ALL => [u64::MAX; 8],
            SOME => {
                let (pages, rest) = self.bytes.split_at_checked(64)?;
                self.bytes = rest;
                let mut resident = [0; 8];
                for (word, raw) in resident.iter_mut().zip(pages.chunks_exact(8)) {
                    *word = u64::from_le_bytes(raw.try_into().unwrap_or([0; 8]));
                }
                resident
            }
            _ => return None,
        };
        self.next = number.checked_add(1)?;
        Some((number, TilePages { resident, huge: kind & HUGE != 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_read_as_they_were_written() {
        let some = TilePages { resident: [1, 2, 3, 4, 5, 6, 7, u64::MAX], huge: false };
        let all = TilePages { resident: [u64::MAX; 8], huge: true };
        let tiles = [(1000, some), (1001, all), (9_000_000, TilePages::default()), (1 << 40, some)];
        let mut buffer = [0; 512];
        let mut writer = TileWriter::new(&mut buffer, 990);
        for (number, pages) in &tiles {
            assert!(writer.put(*number, pages));
        }
        assert!(!writer.put(5, &some), "tiles rise");
        let len = writer.len();
        assert!(Tiles::new(&buffer[..len], 990).eq(tiles));
        for cut in 0..len {
            assert!(Tiles::new(&buffer[..cut], 990).count() < tiles.len());
        }
    }

    #[test]
    fn without_room_nothing_is_written() {
        let mut buffer = [0; MAX_TILE_BYTES - 1];
        let mut writer = TileWriter::new(&mut buffer, 0);
        assert!(!writer.put(0, &TilePages::default()));
        assert!(writer.is_empty());
    }
}
