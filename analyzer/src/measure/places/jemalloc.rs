//! jemalloc's own statistics: `stats.allocated` counts blocks and what threads' caches hold,
//! `stats.active` the pages that these lie on.

use super::Caches;
use crate::replay::Replay;

/// As it said when it was asked last, beside what was usable at that moment. What it takes for
/// itself from its own arenas, some 64 KiB, counts as cached.
pub(super) fn caches(replay: &Replay<'_>, asked_age_ns: Option<u64>) -> Option<Caches> {
    let view = replay.allocator_view()?;
    let figure = |name: &str| {
        let mut figures = view.figures.iter();
        figures.find(|(known, _)| &**known == name).map(|(_, bytes)| *bytes)
    };
    let (allocated, active) = (figure("stats.allocated")?, figure("stats.active")?);
    let cached = allocated.saturating_sub(replay.usable_when_asked()?);
    let bins = active.saturating_sub(allocated);
    Some(Caches {
        thread_caches_bytes: Some(cached),
        bins_bytes: Some(bins),
        caches_and_bins_bytes: Some(cached + bins),
        asked_age_ns,
    })
}
