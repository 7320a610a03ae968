//! Which pages of another process are in memory.
//!
//! /proc/PID/pagemap counts the shared zero page as present, and from outside it cannot be
//! told apart; smaps does not count it. So a mapping is only told of where both agree.

use fragtrace_format::pages::{TILE_PAGES, TilePages, TileWriter};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;

const PAGE: u64 = 4096;
const TILE_BYTES: u64 = TILE_PAGES * PAGE;
/// Mappings that are larger, reserved and hardly used, would take seconds to read.
const MAX_MAPPING: u64 = 64 << 30;
/// Tiles of one mapping take at most this much in a look.
const MAX_TILES: usize = 1 << 20;

/// Tiles as they were told last.
#[derive(Debug, Default)]
pub(super) struct Pages {
    told: BTreeMap<u64, TilePages>,
}

impl Pages {
    /// The ranges that could be scanned, with the tiles that changed.
    pub(super) fn scan(
        &mut self,
        pid: u32,
        ranges: impl Iterator<Item = Range<u64>>,
    ) -> Vec<(Range<u64>, Box<[u8]>)> {
        let mut room = vec![0; MAX_TILES];
        let Ok(pagemap) = File::open(format!("/proc/{pid}/pagemap")) else { return Vec::new() };
        let resident = fs::read_to_string(format!("/proc/{pid}/smaps"))
            .map(|smaps| resident_bytes(&smaps))
            .unwrap_or_default();
        ranges
            .filter(|range| range.end - range.start <= MAX_MAPPING)
            .filter_map(|range| {
                let found = read(&pagemap, &range)?;
                let pages: u32 =
                    found.values().flat_map(|tile| tile.resident).map(u64::count_ones).sum();
                let bytes = u64::from(pages) * PAGE;
                (resident.get(&range.start) == Some(&bytes))
                    .then(|| self.tell(range, &found, &mut room))?
            })
            .collect()
    }

    /// What is new of a range. `None`: there is no room for it. A process may have tens of
    /// thousands of mappings, so what is told of each takes as much as it says.
    fn tell(
        &mut self,
        range: Range<u64>,
        found: &BTreeMap<u64, TilePages>,
        room: &mut [u8],
    ) -> Option<(Range<u64>, Box<[u8]>)> {
        let first = range.start / TILE_BYTES;
        let mut writer = TileWriter::new(room, first);
        for tile in first..range.end.div_ceil(TILE_BYTES) {
            let mut now = found.get(&tile).copied().unwrap_or_default();
            let told = self.told.get(&tile).copied().unwrap_or_default();
            // Pages of the tile that lie in other mappings are as they were.
            for page in 0..TILE_PAGES {
                let address = tile * TILE_BYTES + page * PAGE;
                let (word, bit) = ((page / 64) as usize, 1 << (page % 64));
                if !range.contains(&address) && told.resident[word] & bit != 0 {
                    now.resident[word] |= bit;
                }
            }
            if now != told {
                if !writer.put(tile, &now) {
                    return None;
                }
                self.told.insert(tile, now);
            }
        }
        let len = writer.len();
        Some((range, room[..len].into()))
    }
}

/// The pages of a range that are present, by tile.
fn read(pagemap: &File, range: &Range<u64>) -> Option<BTreeMap<u64, TilePages>> {
    const PRESENT: u64 = 1 << 63;
    let mut found: BTreeMap<u64, TilePages> = BTreeMap::new();
    let mut words = vec![0; ((range.end - range.start) / PAGE * 8).min(64 << 10) as usize];
    let mut at = range.start;
    while at < range.end {
        let bytes = ((range.end - at) / PAGE * 8).min(words.len() as u64) as usize;
        pagemap.read_exact_at(&mut words[..bytes], at / PAGE * 8).ok()?;
        for word in words[..bytes].chunks_exact(8) {
            if u64::from_le_bytes(word.try_into().ok()?) & PRESENT != 0 {
                let page = at / PAGE % TILE_PAGES;
                let tile = found.entry(at / TILE_BYTES).or_default();
                tile.resident[(page / 64) as usize] |= 1 << (page % 64);
            }
            at += PAGE;
        }
    }
    Some(found)
}

/// By their starts, what smaps says of mappings: bytes in memory.
fn resident_bytes(smaps: &str) -> BTreeMap<u64, u64> {
    let mut resident = BTreeMap::new();
    let mut start = None;
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or("");
        if let Some((from, _)) = first.split_once('-') {
            start = u64::from_str_radix(from, 16).ok();
        } else if first == "Rss:"
            && let Some(start) = start
            && let Some(kilobytes) = line.split_whitespace().nth(1)
        {
            resident.insert(start, kilobytes.parse::<u64>().unwrap_or(0) << 10);
        }
    }
    resident
}

#[cfg(test)]
mod tests {
    use super::*;
    use fragtrace_format::pages::Tiles;

    #[test]
    fn smaps_are_read_by_mapping() {
        let text = "1000-3000 rw-p 00000000 00:00 0     [heap]\nSize: 8 kB\nRss:   4 kB\n\
                    7f00000000-7f00001000 rw-p 00000000 00:00 0 \nRss: 0 kB\n";
        assert_eq!(resident_bytes(text), BTreeMap::from([(0x1000, 4096), (0x7f_0000_0000, 0)]));
    }

    #[test]
    fn what_is_told_is_told_once_and_leaves_neighbours_alone() {
        let mut pages = Pages::default();
        let tile =
            |resident: u64| TilePages { resident: [resident, 0, 0, 0, 0, 0, 0, 0], huge: false };
        // Two mappings in one tile: pages 0 to 3, and 4 to 7.
        let (low, high) = (0..4 * PAGE, 4 * PAGE..8 * PAGE);
        let found = |resident| BTreeMap::from([(0, tile(resident))]);
        let mut room = vec![0xff; 1000];
        let mut tell = |range: &Range<u64>, found: &BTreeMap<u64, TilePages>| {
            let told = pages.tell(range.clone(), found, &mut room);
            Tiles::new(&told.expect("not much").1, 0).collect::<Vec<_>>()
        };
        assert_eq!(tell(&low, &found(0b0011)), [(0, tile(0b0011))]);
        assert_eq!(tell(&high, &found(0b1000_0000)), [(0, tile(0b1000_0011))]);
        assert_eq!(tell(&low, &found(0b0011)), []);
        assert_eq!(tell(&low, &found(0)), [(0, tile(0b1000_0000))]);
        assert_eq!(tell(&high, &BTreeMap::new()), [(0, tile(0))]);
    }
}
