//! jemalloc (5.x): slabs of one size class, arenas, a cache for each thread. It tells of itself
//! through `mallctl` (jemalloc(3)).

use super::{Allocator, Caches};

pub(super) const KNOWN: Allocator = Allocator {
    name: "jemalloc",
    keeps_sizes_apart: true,
    caches: Caches::AsItSays { allocated: "stats.allocated", active: "stats.active" },
};

/// What it keeps for itself.
pub(super) const METADATA: &str = "stats.metadata";
