//! Blame: which code pins how much memory, at one moment.
//!
//! Live blocks are first charged by call stack (or thread), then by what the stacks have in
//! common: the site that they allocate at, or its object. How a page's unused bytes are
//! divided is in [`pins`]; which call of a stack is its site, in [`crate::symbols`].

mod facts;
mod held;
mod keys;
mod pins;

pub use facts::{Blame, By, COHORTS, CallFacts, SiteFacts, Weight};
pub use held::Held;
pub use pins::{Charge, Charges, Piece, Pins};

use super::moment::end_ns;
use crate::read::{Modules, Trace};
use crate::replay::Replay;
use crate::symbols::{Site, Symbols};
use fragtrace_format::Stamp;
use keys::{Key, Keys, Sum};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::rc::Rc;

pub use super::playback::heap_at;

/// The heap at one moment, ready to be blamed on somebody.
#[derive(Debug)]
pub struct PinnedHeap<'r, 't> {
    trace: &'t Trace,
    replay: &'r Replay<'t>,
    at_ns: u64,
    by: By,
    keys: Keys,
    pins: Pins,
}

impl<'r, 't> PinnedHeap<'r, 't> {
    /// The heap as it is in the replay, which stands at `at_ns`, to be charged to `by`.
    pub fn new(trace: &'t Trace, replay: &'r Replay<'t>, at_ns: u64, by: By) -> Self {
        let window = trace.window_start()..trace.clock().stamp_at(at_ns);
        let (keys, pieces) = keys::collect(replay, by == By::Thread, &window);
        let page_bytes = trace.process().page_bytes;
        let held = Held::of(replay.space(), page_bytes);
        let pins = Pins::new(pieces, held, replay.space().heads(), page_bytes);
        PinnedHeap { trace, replay, at_ns, by, keys, pins }
    }

    /// At the end of the trace.
    pub fn at_end(trace: &'t Trace, replay: &'r Replay<'t>, by: By) -> Self {
        PinnedHeap::new(trace, replay, end_ns(trace), by)
    }

    /// A moment at which the stack of a key was there.
    fn stamp_of(&self, key: &Key) -> Stamp {
        key.newest.unwrap_or_else(|| self.trace.clock().stamp_at(self.at_ns))
    }

    fn site(&self, key: &Key, symbols: &mut Symbols<'t>) -> Option<Site> {
        symbols.site(key.id, self.stamp_of(key))
    }

    /// What each key pins, by itself.
    fn by_key(&self) -> Charges {
        let each: Vec<u32> = (0..self.keys.list.len() as u32).collect();
        self.pins.charge(&each, each.len())
    }

    /// The number of each stack, or thread, and what it pins.
    pub fn pinned_by_key(&self) -> Vec<(u32, u64)> {
        let charges = self.by_key().groups;
        self.keys.list.iter().zip(charges).map(|(key, of)| (key.id, of.pinned_bytes)).collect()
    }

    /// Puts the keys that have their site in common together; the groups of all keys, and
    /// how many there are.
    fn group(&self, symbols: &mut Symbols<'t>) -> (Vec<u32>, usize) {
        let mut numbers: FxHashMap<Common, u32> = FxHashMap::default();
        let mut groups = Vec::with_capacity(self.keys.list.len());
        for key in &self.keys.list {
            let common = match self.by {
                By::Stack | By::Thread => Common::Number(key.id),
                By::Function => Common::function(self.site(key, symbols), symbols.modules()),
                By::Module => Common::module(self.site(key, symbols), symbols.modules()),
            };
            let next = numbers.len() as u32;
            groups.push(*numbers.entry(common).or_insert(next));
        }
        (groups, numbers.len())
    }

    /// Charges the waste to whoever is asked for. Of a trace without stacks nothing is said
    /// of sites.
    pub fn blame(&self, symbols: &mut Symbols<'t>) -> Blame {
        let by_key = self.by_key();
        let mut blame = Blame {
            at_ns: self.at_ns,
            pinned_waste_bytes: by_key.waste_bytes,
            releasable_bytes: by_key.releasable_bytes,
            sites: Vec::new(),
            held_bytes: self.pins.held_bytes(),
            resident: self.pins.are_resident(),
        };
        if self.by != By::Thread && !symbols.any_stacks() {
            return blame;
        }
        let (groups, count) = self.group(symbols);
        let charges = self.pins.charge(&groups, count).groups;
        let sums = keys::sums(&self.keys.list, &groups, &by_key.groups, count);
        let order = most_first(&charges, &sums);
        let in_turn = self.unlocked_in_turn(&groups, &order, count);
        let sites = order.iter().zip(in_turn).map(|(group, unlock_cumulative_bytes)| {
            let (charge, sum) = (&charges[*group as usize], &sums[*group as usize]);
            let facts = self.describe(&self.keys.list[sum.leader as usize], symbols);
            SiteFacts {
                allocs: (self.by != By::Thread).then_some(sum.allocs),
                live_bytes: sum.live_bytes,
                live_blocks: sum.live_blocks,
                pinned_bytes: charge.pinned_bytes,
                sole_pinned_bytes: charge.sole_pinned_bytes,
                unlock_bytes: charge.unlock_bytes,
                age_ns: self.age_ns(charge),
                unlock_cumulative_bytes,
                pages: charge.pages,
                cohorts: sum.cohorts,
                slop_bytes: sum.slop_bytes,
                ..facts
            }
        });
        blame.sites = sites.collect();
        add_allocator(&mut blame.sites, &by_key.heads);
        blame
    }

    fn unlocked_in_turn(&self, groups: &[u32], order: &[u32], count: usize) -> Vec<u64> {
        let mut place_of_group = vec![0; count];
        for (place, group) in order.iter().enumerate() {
            place_of_group[*group as usize] = place as u32;
        }
        let places: Vec<u32> = groups.iter().map(|group| place_of_group[*group as usize]).collect();
        self.pins.unlocked_in_turn(&places, order.len())
    }

    fn age_ns(&self, charge: &Charge) -> Option<u64> {
        let clock = self.trace.clock();
        Some(self.at_ns.saturating_sub(clock.time_ns(charge.mean_birth()?)))
    }

    /// Who a group is, told by the key that pins most in it.
    fn describe(&self, leader: &Key, symbols: &mut Symbols<'t>) -> SiteFacts {
        if self.by == By::Thread {
            let name = self.replay.sources().thread_name(leader.id).map(str::to_owned);
            let thread = Some(leader.id);
            return SiteFacts { thread, thread_name: name, ..SiteFacts::default() };
        }
        let calls = self.site(leader, symbols).map_or(Vec::new(), |site| site.calls);
        let stack: Vec<CallFacts> =
            calls.iter().map(|call| CallFacts::of(call, symbols.modules())).collect();
        let mut site = stack.first().cloned().unwrap_or_default();
        if self.by == By::Module {
            let CallFacts { module, build_id, .. } = site;
            site = CallFacts { module, build_id, ..CallFacts::default() };
        }
        SiteFacts { site, stack, ..SiteFacts::default() }
    }

    /// All stacks with what they weigh, root first: what flame graphs are made of. Nothing
    /// is left out, neither what a site passes over nor stacks that are not known.
    pub fn folded(&self, weight: Weight, symbols: &mut Symbols<'t>) -> Vec<(Vec<CallFacts>, u64)> {
        let charges = self.by_key();
        let weigh = |(key, charge): (&Key, &Charge)| match weight {
            Weight::Pinned => charge.pinned_bytes,
            Weight::Live => key.live_bytes,
            Weight::Allocs => key.allocs,
            Weight::Slop => key.slop_bytes,
        };
        let weights: Vec<u64> = self.keys.list.iter().zip(&charges.groups).map(weigh).collect();
        let keys = self.keys.list.iter().zip(weights).filter(|(_, weight)| *weight > 0);
        keys.map(|(key, weight)| {
            let calls = symbols.calls(key.id, self.stamp_of(key));
            (
                calls.iter().rev().map(|call| CallFacts::of(call, symbols.modules())).collect(),
                weight,
            )
        })
        .collect()
    }
}

/// Adds what the allocator pins itself, which is no site's doing and goes by no name.
fn add_allocator(sites: &mut Vec<SiteFacts>, heads: &Charge) {
    if heads.pinned_bytes == 0 {
        return;
    }
    let place = sites.partition_point(|site| site.pinned_bytes >= heads.pinned_bytes);
    let before = sites[..place].last();
    let own = SiteFacts {
        pinned_bytes: heads.pinned_bytes,
        sole_pinned_bytes: heads.sole_pinned_bytes,
        unlock_cumulative_bytes: before.map_or(0, |site| site.unlock_cumulative_bytes),
        pages: heads.pages,
        ..SiteFacts::default()
    };
    sites.insert(place, own);
}

/// The groups that have live blocks, most pinned first.
fn most_first(charges: &[Charge], sums: &[Sum]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..sums.len() as u32).collect();
    order.retain(|group| sums[*group as usize].live_blocks > 0);
    order.sort_by_key(|group| {
        let (charge, sum) = (&charges[*group as usize], &sums[*group as usize]);
        (Reverse((charge.pinned_bytes, charge.unlock_bytes, sum.live_bytes)), *group)
    });
    order
}

/// What the keys of a group have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Common {
    Number(u32),
    Function { function: Rc<str>, file: Option<Rc<str>>, module: Option<Rc<str>> },
    Address { module: Option<Rc<str>>, offset: u64 },
    Module(Option<Rc<str>>),
    Unknown,
}

impl Common {
    fn function(site: Option<Site>, modules: &Modules) -> Common {
        let Some(site) = site else { return Common::Unknown };
        let call = site.call().clone();
        let module = CallFacts::of(&call, modules).module;
        match call.function {
            Some(function) => Common::Function { function, file: call.file, module },
            None => Common::Address { module, offset: call.offset },
        }
    }

    fn module(site: Option<Site>, modules: &Modules) -> Common {
        site.map_or(Common::Unknown, |site| {
            Common::Module(CallFacts::of(site.call(), modules).module)
        })
    }
}
