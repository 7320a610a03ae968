//! What an allocator's own figures tell: what is handed out or cached, by size class, and the pages
//! that this lies on.

use super::Caches;
use crate::replay::Replay;

/// As it said when it was asked last, beside what was usable at that moment. What it takes for
/// itself from its own arenas (jemalloc some 64 KiB) counts as cached. `allocated`, `active`: the
/// names of its figures.
pub(super) fn caches(
    replay: &Replay<'_>,
    (allocated, active): (&str, &str),
    asked_age_ns: Option<u64>,
) -> Option<Caches> {
    let view = replay.allocator_view()?;
    let figure = |name: &str| {
        let mut figures = view.figures.iter();
        figures.find(|(known, _)| &**known == name).map(|(_, bytes)| *bytes)
    };
    let (allocated, active) = (figure(allocated)?, figure(active)?);
    let cached = allocated.saturating_sub(replay.usable_when_asked()?);
    let bins = active.saturating_sub(allocated);
    Some(Caches {
        thread_caches_bytes: Some(cached),
        bins_bytes: Some(bins),
        caches_and_bins_bytes: Some(cached + bins),
        asked_age_ns,
    })
}
