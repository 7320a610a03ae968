//! musl: groups of one size class (mallocng, from 1.2.1 on). Neither it nor the older malloc keeps
//! anything for one thread; what is free in groups, it does not tell.

use super::{Allocator, Caches};

pub(super) const KNOWN: Allocator =
    Allocator { name: "musl", keeps_sizes_apart: true, caches: Caches::NoneOfThreads };
