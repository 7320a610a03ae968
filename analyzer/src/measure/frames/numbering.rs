//! Which sites and threads are told apart in all frames: those with most, as a byte a cell and a
//! legend can hold.

use super::super::SiteNumbers;
use super::super::kinds::NAMED;
use super::Frames;
use crate::replay::Replay;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Sites that are told apart in all; the others are one more.
const MOST_SITES: usize = 254;

impl Frames {
    /// Gives the threads with most the kinds from 1 on; the others share one more.
    pub(super) fn number_threads(&mut self, threads: &[u32], weights: &[u64]) {
        let mut order: Vec<usize> = (0..threads.len()).collect();
        order.sort_by_key(|at| (Reverse(weights[*at]), threads[*at]));
        let mut kinds = vec![NAMED as u16 + 1; threads.len()];
        for (rank, at) in order.iter().take(NAMED).enumerate() {
            kinds[*at] = rank as u16 + 1;
            self.named_threads.push(threads[*at]);
        }
        self.other_threads = threads.len().saturating_sub(NAMED) as u64;
        let cells = self.frames.iter_mut().flat_map(|frame| &mut frame.cells);
        // Where only the allocator's own data are, nobody's blocks are.
        for cell in cells.filter(|cell| cell.most.size > 0) {
            // There are as many numbers as a cell can hold, and then one for the rest.
            let kind = kinds.get(usize::from(cell.most.thread));
            cell.most.thread = kind.copied().unwrap_or(NAMED as u16 + 1);
        }
    }

    /// Finds the names of the threads that are shown.
    pub(super) fn name_threads(&mut self, replay: &Replay<'_>) {
        let blocks = self.details.iter().flat_map(|detail| &detail.blocks);
        let mut shown: BTreeSet<u32> = blocks.map(|block| block.thread).collect();
        shown.extend(&self.named_threads);
        let name = |thread: u32| Some((thread, replay.sources().thread_name(thread)?.to_owned()));
        self.threads = shown.into_iter().filter_map(name).collect();
    }

    /// Gives the sites with most the numbers from 1 on; 0 stays what is not known.
    pub(super) fn number_sites(&mut self, numbers: &SiteNumbers, weights: &[u64]) {
        let mut order: Vec<u32> = (1..numbers.count() as u32).collect();
        let weight = |site: &u32| weights.get(*site as usize).copied().unwrap_or(0);
        order.sort_by_key(|site| (Reverse(weight(site)), *site));
        order.truncate(MOST_SITES);
        self.other_sites = order.len() as u32 + 1;
        self.other_sites_count = (numbers.count() - 1 - order.len()) as u64;
        let mut renumbered = vec![self.other_sites; numbers.count()];
        renumbered[0] = 0;
        for (at, site) in order.iter().enumerate() {
            renumbered[*site as usize] = at as u32 + 1;
        }
        let new = |site: u32| renumbered.get(site as usize).copied().unwrap_or(0);
        for frame in &mut self.frames {
            for cell in &mut frame.cells {
                cell.most.site = new(cell.most.site.into()) as u16;
            }
            // Those that have no number of their own are among the rest.
            frame.sites.iter_mut().for_each(|charge| charge.site = new(charge.site));
            let before = frame.sites.len();
            frame.sites.retain(|charge| charge.site != self.other_sites);
            frame.more_sites += (before - frame.sites.len()) as u64;
        }
        for block in self.details.iter_mut().flat_map(|detail| &mut detail.blocks) {
            block.site = new(block.site);
        }
        self.sites = std::iter::once(Vec::new())
            .chain(order.iter().map(|site| numbers.calls(*site).to_vec()))
            .collect();
    }
}
