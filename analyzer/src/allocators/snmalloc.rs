//! snmalloc: slabs of one size class; what another thread frees goes back to its owner in batches.

use super::{Allocator, Caches};

pub(super) const KNOWN: Allocator =
    Allocator { name: "snmalloc", keeps_sizes_apart: true, caches: Caches::Untold };
