//! How the program uses its allocator, with names: what the replay counted by stack and address
//! ([`crate::replay::Habits`]), put together by site.

use super::blame::CallFacts;
use super::shape::HeapPart;
use crate::read::Trace;
use crate::replay::Replay;
use crate::symbols::Symbols;
use fragtrace_format::Stamp;
use rustc_hash::{FxHashMap, FxHashSet};

/// Blocks of which no more than this are live at once come and go.
const MOST_AT_ONCE: u32 = 64;
/// Stacks with fewer blocks are not looked at: their names cost more than they tell.
const LEAST_ALLOCS: u64 = 1000;

/// What diagnoses ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// The site with most blocks of one size of which few are live at once.
    pub churn: Option<Churn>,
    /// Pages given back and taken again.
    pub refilled: Refilled,
    /// Holes that live blocks left behind when realloc moved them up.
    pub ladder: Ladder,
    /// Heaps of arenas in which most is freed by other threads than acquired it.
    pub crossed: Crossed,
    /// For whom the heap grew most although a hole would have held the block.
    pub grown_by: Option<CallFacts>,
    /// Bytes of the holes that would have held its block, when these were most, as far as was looked.
    pub grown_beside_bytes: u64,
    /// Who had the most live at once that is gone now, and how much of it.
    pub emptied: Option<(CallFacts, u64)>,
    /// Who acquired the mapped block whose free raised glibc's thresholds furthest.
    pub raised_by: Option<CallFacts>,
}

/// Blocks that come and go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Churn {
    /// Where.
    pub site: CallFacts,
    /// Their size.
    pub size: u64,
    /// How many, at least.
    pub allocs: u64,
    /// How many were live at once from one call stack, at the most.
    pub most_live: u32,
}

/// Pages that were given back and taken again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refilled {
    /// How much, each time counted.
    pub bytes: u64,
    /// How often.
    pub times: u64,
    /// Whose blocks took most of it.
    pub site: Option<CallFacts>,
    /// How much.
    pub site_bytes: u64,
}

/// Holes on the way of blocks that are still live.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ladder {
    /// Their bytes.
    pub bytes: u64,
    /// How many.
    pub holes: u64,
    /// How many blocks left them.
    pub blocks: u64,
    /// Where most of it was reallocated last.
    pub site: Option<CallFacts>,
}

/// Heaps of arenas in which most of what is freed is freed by others; of allocators other than
/// glibc's, stretches of their memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crossed {
    /// How many heaps.
    pub heaps: u64,
    /// Their pages without a live byte.
    pub empty_bytes: u64,
    /// Bytes freed in them.
    pub freed_bytes: u64,
    /// Of these, by another thread than acquired them.
    pub crossed_bytes: u64,
    /// Where most of these were acquired.
    pub site: Option<CallFacts>,
    /// The thread that acquired the last of them, and the one that freed it.
    pub threads: Option<(u32, u32)>,
    /// When the last of them was freed.
    pub last_ns: u64,
}

impl Usage {
    pub(super) fn of<'t>(
        trace: &Trace,
        replay: &Replay<'t>,
        arenas: &[HeapPart],
        symbols: &mut Symbols<'t>,
    ) -> Usage {
        let reclaim = replay.reclaim();
        let (stack, birth) = reclaim.raised_by;
        let raised = (reclaim.largest_mapped_freed > 0).then(|| site(stack, birth, symbols));
        Usage {
            churn: churn(replay, symbols),
            refilled: refilled(replay, symbols),
            ladder: ladder(replay, symbols),
            crossed: crossed(trace, replay, arenas, symbols),
            grown_by: grown_by(replay, symbols),
            grown_beside_bytes: replay.space().growth_despite_fit().beside_bytes,
            emptied: emptied(replay, symbols),
            raised_by: raised,
        }
    }
}

/// A stack's site; without a name where it is not known.
fn site<'t>(stack: u32, stamp: Stamp, symbols: &mut Symbols<'t>) -> CallFacts {
    let site = symbols.site(stack, stamp);
    site.map(|site| CallFacts::of(site.call(), symbols.modules())).unwrap_or_default()
}

/// The site that weighs most, of stacks with their weights; stacks of one site weigh together.
fn heaviest<'t>(
    stacks: impl Iterator<Item = (u32, Stamp, u64)>,
    symbols: &mut Symbols<'t>,
) -> Option<(CallFacts, u64)> {
    let mut sites: FxHashMap<String, (CallFacts, u64)> = FxHashMap::default();
    for (stack, stamp, weight) in stacks {
        let site = site(stack, stamp, symbols);
        sites.entry(site.name()).or_insert((site, 0)).1 += weight;
    }
    let heaviest = sites.into_iter().max_by(|(name, (_, weight)), (other_name, (_, other))| {
        weight.cmp(other).then_with(|| other_name.cmp(name))
    });
    heaviest.map(|(_, found)| found)
}

fn churn<'t>(replay: &Replay<'t>, symbols: &mut Symbols<'t>) -> Option<Churn> {
    let mut sites: FxHashMap<(String, u64), Churn> = FxHashMap::default();
    for (stack, turnover, stamp) in replay.habits().turnover() {
        if turnover.allocs < LEAST_ALLOCS || turnover.most_live > MOST_AT_ONCE {
            continue;
        }
        let site = site(stack, stamp, symbols);
        let size = turnover.size;
        let churn = sites.entry((site.name(), size)).or_default();
        (churn.site, churn.size) = (site, size);
        churn.allocs += turnover.allocs;
        churn.most_live = churn.most_live.max(turnover.most_live);
    }
    sites.into_values().max_by_key(|churn| (churn.allocs, churn.size))
}

fn refilled<'t>(replay: &Replay<'t>, symbols: &mut Symbols<'t>) -> Refilled {
    let mut all = Refilled::default();
    for (_, refilled) in replay.taken().refills() {
        all.bytes += refilled.bytes;
        all.times += refilled.times;
    }
    let stacks = replay.taken().refills().map(|(stack, of)| (stack, of.birth, of.bytes));
    if let Some((site, bytes)) = heaviest(stacks, symbols) {
        (all.site, all.site_bytes) = (Some(site), bytes);
    }
    all
}

/// Of stacks that never had much, none can be the one.
const LEAST_EMPTIED_BYTES: u64 = 64 << 10;

fn emptied<'t>(replay: &Replay<'t>, symbols: &mut Symbols<'t>) -> Option<(CallFacts, u64)> {
    let fallen = replay.habits().fallen().filter(|(_, bytes, _)| *bytes >= LEAST_EMPTIED_BYTES);
    let stacks = fallen.map(|(stack, bytes, birth)| (stack, birth, bytes));
    heaviest(stacks, symbols).filter(|(site, _)| *site != CallFacts::default())
}

fn grown_by<'t>(replay: &Replay<'t>, symbols: &mut Symbols<'t>) -> Option<CallFacts> {
    let stacks = replay.taken().growth().map(|(stack, of)| (stack, of.birth, of.bytes));
    heaviest(stacks, symbols).map(|(site, _)| site)
}

fn ladder<'t>(replay: &Replay<'t>, symbols: &mut Symbols<'t>) -> Ladder {
    let mut rungs: Vec<_> = replay.habits().rungs().collect();
    rungs.retain(|(_, (address, birth))| {
        replay.blocks().get(*address).is_some_and(|top| top.birth == *birth)
    });
    if rungs.is_empty() {
        return Ladder::default();
    }
    rungs.sort_unstable_by_key(|(extent, _)| (extent.start, extent.end));
    let mut live: Vec<(u64, u64)> =
        replay.blocks().iter().map(|(_, block)| (block.extent.start, block.extent.end)).collect();
    live.sort_unstable();
    let mut ladder = Ladder::default();
    let mut tops = FxHashSet::default();
    let mut stacks: FxHashMap<u32, (Stamp, u64)> = FxHashMap::default();
    let mut reached = 0;
    for (extent, (address, birth)) in rungs {
        // The first live block that ends behind the start; blocks do not overlap.
        let next = live.partition_point(|(_, end)| *end <= extent.start);
        let taken = live.get(next).is_some_and(|(start, _)| *start < extent.end);
        let bytes = extent.end.saturating_sub(extent.start.max(reached));
        if taken || bytes == 0 {
            continue;
        }
        reached = extent.end;
        ladder.bytes += bytes;
        ladder.holes += 1;
        tops.insert(address);
        if let Some(top) = replay.blocks().get(address) {
            stacks.entry(top.stack).or_insert((birth, 0)).1 += bytes;
        }
    }
    ladder.blocks = tops.len() as u64;
    let stacks = stacks.into_iter().map(|(stack, (birth, bytes))| (stack, birth, bytes));
    ladder.site = heaviest(stacks, symbols).map(|(site, _)| site);
    ladder
}

/// Pages without a live byte, by the stretch of address space that frees are counted for.
fn empty_by_stretch(replay: &Replay<'_>, arenas: &[HeapPart]) -> FxHashMap<u64, u64> {
    if replay.is_glibc() {
        return arenas.iter().map(|heap| (heap.start, heap.empty_bytes)).collect();
    }
    let mut empty = FxHashMap::default();
    let bytes = replay.habits().stretch_bytes();
    for (region, _) in replay.space().heap_regions() {
        replay.space().for_each_stretch(region, |stretch| {
            let mut start = stretch.start;
            let end = stretch.start + stretch.bytes;
            while stretch.resident && stretch.live_bytes == 0 && start < end {
                let next = (start / bytes + 1) * bytes;
                *empty.entry(start / bytes * bytes).or_default() += next.min(end) - start;
                start = next;
            }
        });
    }
    empty
}

fn crossed<'t>(
    trace: &Trace,
    replay: &Replay<'t>,
    arenas: &[HeapPart],
    symbols: &mut Symbols<'t>,
) -> Crossed {
    let habits = replay.habits();
    let mut all = Crossed::default();
    let mut empty = empty_by_stretch(replay, arenas);
    empty.retain(|start, _| {
        let freed = habits.freed_in(*start);
        freed.crossed_bytes > freed.bytes / 2
    });
    for (start, empty_bytes) in &empty {
        let freed = habits.freed_in(*start);
        all.heaps += 1;
        all.empty_bytes += empty_bytes;
        all.freed_bytes += freed.bytes;
        all.crossed_bytes += freed.crossed_bytes;
        all.last_ns = all.last_ns.max(trace.clock().time_ns(freed.crossed_last));
    }
    let here = || habits.crossings().filter(|(start, ..)| empty.contains_key(start));
    let most = here().max_by_key(|(start, stack, crossed)| (crossed.bytes, *start, *stack));
    all.threads = most.map(|(.., crossed)| (crossed.acquired_by, crossed.freed_by));
    let stacks = here().map(|(_, stack, crossed)| (stack, crossed.birth, crossed.bytes));
    all.site = heaviest(stacks, symbols).map(|(site, _)| site);
    all
}
