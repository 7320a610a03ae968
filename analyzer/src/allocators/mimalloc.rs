//! mimalloc (1.x to 3.x): pages of one size class, with free lists of their own. It tells what it has
//! committed, not what of that is free.

use super::{Allocator, Caches};

pub(super) const KNOWN: Allocator =
    Allocator { name: "mimalloc", keeps_sizes_apart: true, caches: Caches::Untold };
