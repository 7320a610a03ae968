//! musl: neither its old malloc nor mallocng (src/malloc, 1.1 and 1.2) keeps anything for one
//! thread. What is free in groups, it does not tell.

use super::Caches;

/// Nothing is cached.
pub(super) fn caches() -> Caches {
    Caches { thread_caches_bytes: Some(0), ..Caches::default() }
}
