//! tcmalloc (gperftools 2.x): spans of one size class, a cache for each thread. It is not asked.

use super::{Allocator, Caches};

pub(super) const KNOWN: Allocator =
    Allocator { name: "tcmalloc", keeps_sizes_apart: true, caches: Caches::Untold };
