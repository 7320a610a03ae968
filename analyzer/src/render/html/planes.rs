//! The cells of all frames as bytes, a plane for each of these:
//!
//! ```text
//! fill   0 never used   1 given back   2 held, nothing live   3…34 live, from hardly to all
//! site   0 not known or nothing live   1… its number
//! kinds  low four bits: of age   high four bits: of size   0 nothing live
//! rest   low four bits: sixteenths of the cell that are held, less one   high: kind of thread
//! ```
//!
//! Each frame's planes are the difference (exclusive or) to the frame before, so that what does
//! not change is zeros, and packs to nothing.

use crate::measure::frames::{Frame, FrameCell, Frames};
use std::collections::BTreeMap;

const GIVEN_BACK: u8 = 1;
const EMPTY: u8 = 2;
const LEAST_LIVE: u8 = 3;
/// Steps from hardly live to all live.
const LIVE_STEPS: u16 = 31;

/// How many planes there are.
const PLANES: usize = 4;

/// All planes of all frames, frame by frame.
pub(super) fn of(frames: &Frames) -> Vec<u8> {
    let places = Places::of(frames);
    let length = places.cells * PLANES;
    let mut before = vec![0u8; length];
    let mut bytes = Vec::with_capacity(length * frames.frames.len());
    for frame in &frames.frames {
        let now = planes(frame, &places, length);
        bytes.extend(now.iter().zip(&before).map(|(now, before)| now ^ before));
        before = now;
    }
    bytes
}

fn planes(frame: &Frame, places: &Places, length: usize) -> Vec<u8> {
    let mut planes = vec![0u8; length];
    for cell in &frame.cells {
        let Some(place) = places.find(cell.number) else { continue };
        let most = cell.most;
        let held = (u16::from(cell.held) * 16 / 256) as u8;
        let bytes = [
            fill(cell),
            u8::try_from(most.site).unwrap_or(u8::MAX),
            most.age | most.size << 4,
            held | (most.thread as u8) << 4,
        ];
        for (plane, byte) in bytes.into_iter().enumerate() {
            planes[plane * places.cells + place] = byte;
        }
    }
    planes
}

fn fill(cell: &FrameCell) -> u8 {
    match (cell.held, cell.live) {
        (0, _) => GIVEN_BACK,
        (_, 0) => EMPTY,
        (_, live) => LEAST_LIVE + (u16::from(live) * LIVE_STEPS / 255) as u8,
    }
}

/// Which cell stands where: bands end to end.
struct Places {
    /// By number of the first cell: how many there are, and the place of the first.
    bands: BTreeMap<u64, (usize, usize)>,
    cells: usize,
}

impl Places {
    fn of(frames: &Frames) -> Places {
        let (mut bands, mut cells) = (BTreeMap::new(), 0);
        for band in &frames.bands {
            bands.insert(band.start / frames.cell_bytes, (band.cells, cells));
            cells += band.cells;
        }
        Places { bands, cells }
    }

    fn find(&self, number: u64) -> Option<usize> {
        let (start, (count, place)) = self.bands.range(..=number).next_back()?;
        let offset = usize::try_from(number - start).ok()?;
        (offset < *count).then_some(place + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Band;
    use crate::measure::frames::Most;

    #[test]
    fn what_does_not_change_is_zero() {
        let band = |start, cells| Band { start, cells, label: String::new() };
        let cell = |number, live, held, most| FrameCell { number, live, held, most };
        let frame = |cells| Frame { cells, ..Frame::default() };
        let nothing = Most::default();
        let most = Most { site: 3, thread: 8, size: 7, age: 2 };
        let older = Most { age: 3, ..most };
        let frames = Frames {
            page_bytes: 4096,
            cell_bytes: 4096,
            bands: vec![band(0x4000, 2), band(0x10_0000, 2)],
            frames: vec![
                frame(vec![cell(4, 255, 255, most), cell(0x100, 0, 255, nothing)]),
                frame(vec![
                    cell(4, 255, 255, older),
                    cell(0x100, 0, 0, nothing),
                    cell(0x300, 9, 9, most),
                ]),
            ],
            ..Frames::default()
        };
        let first = [34, 0, EMPTY, 0, 3, 0, 0, 0, 0x72, 0, 0, 0, 0x8f, 0, 15, 0];
        let second = [0, 0, EMPTY ^ GIVEN_BACK, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 15, 0];
        assert_eq!(of(&frames), [first, second].concat());
    }
}
