//! The page's cells are coloured by age, size and thread as the map's are: each cell has the kind
//! with most live bytes in it, found in another way. Its frames are of the blocks that were live then.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::measure::blame::{By, PinnedHeap, heap_at};
use fragtrace_analyzer::measure::frames::{FrameCell, SiteCharge, frames};
use fragtrace_analyzer::measure::{Cell, Kinds, KindsBy, NAMED, heap_pages};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::symbols::{Places, Rules, Symbols};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use support::{Builder, free, malloc};

const HEAP: u64 = 0x5555_5560_0000;
const PAGE: u64 = 4096;
const MOST_CELLS: usize = 1 << 20;

/// Blocks side by side: the thread of each, its size, and how long after the last it came.
fn heap(blocks: &[(u32, u64, u64)]) -> Trace {
    let mut builder = Builder::default();
    let (mut now, mut address) = (1000, HEAP + 16);
    for (thread, size, later) in blocks {
        now += later;
        builder.say(*thread, now, malloc(address, *size));
        address += chunk_bytes(*size);
    }
    builder.open()
}

fn symbols(trace: &Trace) -> Symbols<'_> {
    Symbols::new(trace, Places::default(), Rules::default())
}

/// By address: the label of the kind that the map has for each cell with blocks in it.
fn of_map(trace: &Trace, by: KindsBy) -> BTreeMap<u64, String> {
    let mut symbols = symbols(trace);
    let mut kinds = Kinds::new(by, trace, &mut symbols);
    let end_ns = trace.clock().time_ns(trace.last_stamp());
    let map = heap_pages(trace, end_ns, MOST_CELLS, Some(&mut kinds));
    let owners = map.owners.expect("kinds were asked for");
    let starts = map
        .bands
        .iter()
        .flat_map(|band| (0..band.cells as u64).map(|cell| band.start + cell * map.cell_bytes));
    let cells = starts.zip(&map.columns[0]).zip(&owners.columns[0]);
    let used = cells.filter(|((_, cell), kind)| matches!(cell, Cell::Used { .. }) && **kind > 0);
    used.map(|((start, _), kind)| (start, owners.labels[usize::from(*kind) - 1].clone())).collect()
}

/// By page: bytes of each thread's blocks on it.
fn by_thread(blocks: &[(u32, u64, u64)]) -> BTreeMap<u64, BTreeMap<u32, u64>> {
    let mut pages: BTreeMap<u64, BTreeMap<u32, u64>> = BTreeMap::new();
    let mut at = HEAP + 8;
    for (thread, size, _) in blocks {
        let end = at + chunk_bytes(*size);
        while at < end {
            let part = (at / PAGE * PAGE + PAGE).min(end) - at;
            *pages.entry(at / PAGE * PAGE).or_default().entry(*thread).or_default() += part;
            at += part;
        }
    }
    pages
}

fn chunk_bytes(size: u64) -> u64 {
    (size + 8).next_multiple_of(16).max(32)
}

/// Blocks that come and go in places of 48 bytes to 9 KiB: slowly, then thousands of them between two
/// frames, then slowly again.
fn coming_and_going(mut random: u64) -> Trace {
    const PLACES: u64 = 3000;
    const SLOWLY: u64 = 1000;
    let mut builder = Builder::default();
    let (mut live, mut now) = (vec![false; PLACES as usize], 1);
    let sizes = |place: u64| [24, 24, 24, 100, 9000][(place % 5) as usize];
    let group_bytes: u64 = (0..5).map(|place| chunk_bytes(sizes(place))).sum();
    for event in 0..12_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        now += if (2000..10_000).contains(&event) { 1 } else { SLOWLY };
        let place = random % PLACES;
        let before: u64 = (place / 5 * 5..place).map(|place| chunk_bytes(sizes(place))).sum();
        let address = HEAP + 16 + place / 5 * group_bytes + before;
        let taken = &mut live[place as usize];
        let said = if *taken { free(address) } else { malloc(address, sizes(place) - place % 3) };
        *taken = !*taken;
        builder.say(1, now, said);
    }
    builder.open()
}

/// What all blocks have live and pin, and how old what pins is, by a replay up to a moment: there are no
/// stacks, and one thread.
fn by_blame(trace: &Trace, at_ns: u64) -> SiteCharge {
    let (replay, mut symbols) = (heap_at(trace, at_ns), symbols(trace));
    let blame = PinnedHeap::new(trace, &replay, at_ns, By::Thread).blame(&mut symbols);
    // The allocator may be there, too.
    let site = blame.sites.iter().find(|site| site.live_blocks > 0).expect("the thread");
    SiteCharge {
        site: 0,
        pinned_bytes: site.pinned_bytes,
        sole_pinned_bytes: site.sole_pinned_bytes,
        unlock_bytes: site.unlock_bytes,
        pages: site.pages,
        live_bytes: site.live_bytes,
        live_blocks: site.live_blocks,
        age_ns: site.age_ns,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn frames_are_of_the_blocks_that_were_live_then(random in 1u64..) {
        let trace = coming_and_going(random);
        let mut symbols = symbols(&trace);
        let (_, page, ..) = frames(&trace, &mut symbols);
        prop_assert!(page.frames.len() > 200);
        for frame in page.frames.iter().skip(1).step_by(9).chain(page.frames.last()) {
            prop_assert_eq!(&frame.sites, &[by_blame(&trace, frame.time_ns)]);
        }
        for detail in page.details {
            let replay = heap_at(&trace, detail.at_ns);
            let mut blocks: Vec<_> =
                replay.blocks().iter().map(|(_, block)| (block.extent, block.size)).collect();
            blocks.sort_unstable_by_key(|(extent, _)| extent.start);
            let shown = detail.blocks.into_iter().map(|block| (block.extent, block.size));
            prop_assert!(shown.eq(blocks), "{}", detail.label);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cells_have_the_kinds_that_the_map_has(
        blocks in prop::collection::vec(
            (1..12u32, prop_oneof![4 => 0..300u64, 2 => 0..9000u64, 1 => 0..300_000u64], 0..500u64),
            1..200,
        )
    ) {
        let trace = heap(&blocks);
        let mut symbols = symbols(&trace);
        let (_, page, ..) = frames(&trace, &mut symbols);
        prop_assert_eq!(page.cell_bytes, PAGE);
        let last = page.frames.last().expect("the end");
        let cells: Vec<_> = last.cells.iter().filter(|cell| cell.most.size > 0).collect();
        for by in [KindsBy::Size, KindsBy::Age] {
            let label = |cell: &FrameCell| match by {
                KindsBy::Size => page.sizes.labels[usize::from(cell.most.size) - 1].clone(),
                _ => page.ages.labels[usize::from(cell.most.age) - 1].clone(),
            };
            let found: BTreeMap<u64, String> =
                cells.iter().map(|cell| (cell.number * PAGE, label(cell))).collect();
            prop_assert_eq!(found, of_map(&trace, by));
        }
        // Of several threads with as much any may be it.
        let pages = by_thread(&blocks);
        prop_assert_eq!(cells.len(), pages.len());
        for cell in cells {
            let threads = &pages[&(cell.number * PAGE)];
            let most = threads.values().max();
            let mut heaviest = threads.iter().filter(|(_, bytes)| Some(*bytes) == most);
            let named = page.named_threads.get(usize::from(cell.most.thread) - 1);
            let is_it = heaviest.any(|(thread, _)| match named {
                Some(named) => thread == named,
                None => !page.named_threads.contains(thread),
            });
            prop_assert!(is_it, "{threads:?}: {named:?}");
        }
        let threads: BTreeSet<u32> = blocks.iter().map(|block| block.0).collect();
        prop_assert_eq!(page.named_threads.len(), threads.len().min(NAMED));
        prop_assert_eq!(page.other_threads, threads.len().saturating_sub(NAMED) as u64);
    }
}
