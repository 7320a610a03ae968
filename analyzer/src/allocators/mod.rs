//! What is known of allocators by their kind: a file each. A new one is a file, and a line in [`ALL`].
//!
//! Stages ask here and keep no lists of their own. Elsewhere stands only what is made of a trace
//! with it (`measure/places`), what to do about an illness (`diagnose/remedy`), how a shootout finds
//! and sets them (`shootout/allocators`), and how their functions are hooked (`preload/linked`).

pub mod glibc;
mod jemalloc;
mod mimalloc;
mod musl;
mod snmalloc;
mod tcmalloc;

/// An allocator other than glibc's, of which blocks and heaps are known as far as it was asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Allocator {
    /// What its library's name has in it.
    pub name: &'static str,
    /// Blocks of different sizes never take each other's places: each slab, span or group is of one
    /// size class.
    pub keeps_sizes_apart: bool,
    /// What it lets be told of free blocks that it keeps.
    pub caches: Caches,
}

/// Free blocks that an allocator keeps for a thread, or in its slabs.
#[derive(Debug, PartialEq, Eq)]
pub enum Caches {
    /// Nothing is kept for one thread alone.
    NoneOfThreads,
    /// Its own figures tell, by these names: what it has handed out or cached, by size class, and the
    /// pages that this lies on.
    AsItSays {
        /// Blocks, and what is cached.
        allocated: &'static str,
        /// Their pages.
        active: &'static str,
    },
    /// It does not tell.
    Untold,
}

const ALL: [&Allocator; 5] =
    [&jemalloc::KNOWN, &mimalloc::KNOWN, &tcmalloc::KNOWN, &snmalloc::KNOWN, &musl::KNOWN];

/// Figures by which allocators say what they keep for themselves.
pub const OWN_BYTES: [&str; 1] = [jemalloc::METADATA];

impl Allocator {
    /// The one of a library, by its path.
    pub fn of_library(path: &str) -> Option<&'static Allocator> {
        let name = path.rsplit('/').next().unwrap_or(path);
        ALL.into_iter().find(|known| name.contains(known.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocator_is_known_by_its_librarys_name() {
        let name = |path| Allocator::of_library(path).map(|known| known.name);
        assert_eq!(name("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"), Some("jemalloc"));
        assert_eq!(name("libtcmalloc_minimal.so.4"), Some("tcmalloc"));
        assert_eq!(name("/lib/ld-musl-x86_64.so.1"), Some("musl"));
        assert_eq!(name("/opt/mimalloc/libc.so.6"), None, "folders say nothing");
        assert!(ALL.iter().all(|known| name(known.name) == Some(known.name)));
    }
}
