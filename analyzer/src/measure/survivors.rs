//! What is left at the end of the bursts that made the footprint grow: one pass over the live
//! blocks, by when they came.

use super::Step;
use super::blame::CallFacts;
use crate::read::Trace;
use crate::replay::Replay;
use crate::symbols::Symbols;
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;

/// Live blocks that came in the wave of one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survivors {
    /// How many.
    pub blocks: u64,
    /// What was asked for.
    pub live_bytes: u64,
    /// The site that most of these blocks are from: each may hold pages, whatever its size.
    pub site: CallFacts,
    /// How many are from there.
    pub site_blocks: u64,
}

impl Survivors {
    /// For each of `steps`, as the replay has the heap.
    pub fn of<'t>(
        trace: &'t Trace,
        replay: &Replay<'t>,
        steps: &[Step],
        symbols: &mut Symbols<'t>,
    ) -> Vec<Survivors> {
        let mut survivors = vec![Survivors::default(); steps.len()];
        let mut stacks: FxHashMap<(usize, u32), (u64, Stamp)> = FxHashMap::default();
        for (_, block) in replay.blocks().iter() {
            let birth_ns = trace.clock().time_ns(block.birth);
            let Some(step) = steps.partition_point(|step| step.start_ns < birth_ns).checked_sub(1)
            else {
                continue;
            };
            if birth_ns > steps[step].end_ns {
                continue;
            }
            survivors[step].blocks += 1;
            survivors[step].live_bytes += block.size;
            let of_stack = stacks.entry((step, block.stack)).or_insert((0, block.birth));
            of_stack.0 += 1;
            of_stack.1 = of_stack.1.max(block.birth);
        }
        name(&mut survivors, &stacks, symbols);
        survivors
    }
}

/// Adds the sites: stacks of one function count together.
fn name<'t>(
    survivors: &mut [Survivors],
    stacks: &FxHashMap<(usize, u32), (u64, Stamp)>,
    symbols: &mut Symbols<'t>,
) {
    let mut sites: FxHashMap<(usize, String), (u64, CallFacts)> = FxHashMap::default();
    for ((step, stack), (blocks, stamp)) in stacks {
        let site = symbols.site(*stack, *stamp);
        let site = site.map(|site| CallFacts::of(site.call(), symbols.modules()));
        let site = site.unwrap_or_default();
        sites.entry((*step, site.name())).or_insert((0, site)).0 += blocks;
    }
    let mut sites: Vec<_> = sites.into_iter().collect();
    sites.sort_by(|(one, _), (other, _)| one.cmp(other));
    for ((step, _), (blocks, site)) in sites {
        let step = &mut survivors[step];
        if blocks > step.site_blocks {
            (step.site, step.site_blocks) = (site, blocks);
        }
    }
}
