//! Single blocks at one moment. Of a heap with too many of them those on the pages with most
//! unused bytes are kept: the pages that one wants to look into.

use super::super::blame::Piece;
use super::traits::TraitsMet;
use crate::read::Trace;
use std::cmp::Reverse;
use std::ops::Range;

/// Blocks that are kept of one moment.
const MOST_BLOCKS: usize = 60_000;

/// A live block as pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetailBlock {
    /// The addresses that it takes, header and slop included.
    pub extent: Range<u64>,
    /// What the program asked for.
    pub size: u64,
    /// Number of its site.
    pub site: u32,
    /// The thread that acquired it.
    pub thread: u32,
    /// How long it has been there.
    pub age_ns: u64,
}

/// The blocks of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// The moment, in nanoseconds since the start.
    pub at_ns: u64,
    /// What moment it is, in words.
    pub label: &'static str,
    /// In order of address.
    pub blocks: Vec<DetailBlock>,
    /// How many there were.
    pub all_blocks: u64,
    /// Pages of which all blocks are here, as ranges of page numbers; `None`: of all pages.
    pub whole_pages: Option<Vec<Range<u64>>>,
}

impl Detail {
    /// The blocks of a moment; `sizes` are by their numbers.
    pub(super) fn of(
        trace: &Trace,
        (at_ns, label): (u64, &'static str),
        (pieces, sizes): (&[Piece], &[u64]),
        traits: &TraitsMet,
    ) -> Detail {
        let clock = trace.clock();
        let block = |piece: &Piece| {
            let of = traits.list()[piece.key as usize];
            DetailBlock {
                extent: piece.extent.clone(),
                size: sizes[piece.number as usize],
                site: of.site,
                thread: traits.threads()[of.thread as usize],
                age_ns: at_ns.saturating_sub(clock.time_ns(piece.birth)),
            }
        };
        let all_blocks = pieces.len() as u64;
        if pieces.len() <= MOST_BLOCKS {
            let blocks = pieces.iter().map(block).collect();
            return Detail { at_ns, label, blocks, all_blocks, whole_pages: None };
        }
        let (kept, whole_pages) = on_sparse_pages(pieces, trace.process().page_bytes);
        let blocks = kept.into_iter().map(block).collect();
        Detail { at_ns, label, blocks, all_blocks, whole_pages: Some(whole_pages) }
    }
}

/// The blocks of the pages with most unused bytes; the pages of which all are there.
fn on_sparse_pages(pieces: &[Piece], page_bytes: u64) -> (Vec<&Piece>, Vec<Range<u64>>) {
    /// A page: its number, unused bytes, and its blocks.
    struct Page {
        number: u64,
        unused: u64,
        blocks: Range<usize>,
    }
    let mut pages: Vec<Page> = Vec::new();
    for (index, Piece { extent, .. }) in pieces.iter().enumerate() {
        // Pages that a block fills alone have nothing unused: only its ends matter.
        let ends = [extent.start / page_bytes, (extent.end - 1) / page_bytes];
        for number in &ends[..1 + usize::from(ends[0] != ends[1])] {
            let start = number * page_bytes;
            let part = extent.end.min(start + page_bytes) - extent.start.max(start);
            match pages.last_mut() {
                Some(last) if last.number == *number => {
                    last.unused = last.unused.saturating_sub(part);
                    last.blocks.end = index + 1;
                }
                _ => pages.push(Page {
                    number: *number,
                    unused: page_bytes.saturating_sub(part),
                    blocks: index..index + 1,
                }),
            }
        }
    }
    pages.sort_unstable_by_key(|page| (Reverse(page.unused), page.number));
    let mut is_kept = vec![false; pieces.len()];
    let (mut count, mut numbers) = (0, Vec::new());
    for page in &pages {
        if count + page.blocks.len() > MOST_BLOCKS {
            break;
        }
        for keep in &mut is_kept[page.blocks.clone()] {
            count += usize::from(!std::mem::replace(keep, true));
        }
        numbers.push(page.number);
    }
    let kept = pieces.iter().zip(is_kept).filter_map(|(piece, is_kept)| is_kept.then_some(piece));
    numbers.sort_unstable();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    (kept.collect(), ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_blocks_those_on_sparse_pages_are_kept() {
        let piece =
            |start: u64, bytes: u64| Piece { extent: start..start + bytes, ..Piece::default() };
        // 1,000 full pages of 128 blocks, then 10 pages with one block each.
        let mut pieces: Vec<Piece> = (0..128_000).map(|i| piece(i * 32, 32)).collect();
        pieces.extend((0..10).map(|page| piece((2000 + page) * 4096, 32)));
        let (kept, whole) = on_sparse_pages(&pieces, 4096);
        assert!(kept.len() <= MOST_BLOCKS && kept.len() > MOST_BLOCKS - 200);
        assert!(whole.contains(&(2000..2010)), "{whole:?}");
        assert_eq!(kept.iter().filter(|piece| piece.extent.start >= 2000 * 4096).count(), 10);
    }
}
