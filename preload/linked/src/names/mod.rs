//! The functions of each allocator, a file each. A new allocator is a new file and a line here.

pub mod jemalloc;
pub mod mimalloc;
pub mod operators;
pub mod rpmalloc;
pub mod snmalloc;
pub mod standard;
pub mod tcmalloc;

use crate::call::Call;
use core::ffi::CStr;

/// An allocator's public names.
#[derive(Debug)]
pub struct Names {
    /// What people call it.
    pub allocator: &'static str,
    /// The name that it goes by in texts, without the prefix.
    pub shown: &'static str,
    /// What its other functions' names begin with, the prefix included where it has one.
    pub code: &'static [&'static str],
    /// Names of which any tells that it is there; what stands before them is its prefix.
    pub tell_tale: &'static [&'static str],
    /// Whether builds choose the prefix; else names are just as they stand here.
    pub any_prefix: bool,
    /// Functions that acquire and release blocks, without the prefix.
    pub lists: &'static [List],
    /// Those of them that call no other of them, without the prefix: the recorder need not be told
    /// that they have begun.
    pub alone: &'static [&'static str],
    /// What tells the usable bytes of a block, without the prefix.
    pub usable_size: &'static [&'static str],
    /// What tells how much memory the allocator has, in its own words.
    pub statistics: Option<Statistics>,
}

/// Functions that say what an allocator knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    /// jemalloc's: figures by name (jemalloc(3), "MALLCTL NAMESPACE").
    Mallctl,
    /// mimalloc's: eight figures written through as many pointers (mimalloc.h).
    ProcessInfo,
}

impl Statistics {
    /// All of them.
    pub const ALL: [Statistics; 2] = [Statistics::Mallctl, Statistics::ProcessInfo];

    /// The function's name, without the prefix.
    pub const fn name(self) -> &'static CStr {
        match self {
            Statistics::Mallctl => c"mallctl",
            Statistics::ProcessInfo => c"mi_process_info",
        }
    }
}

impl Names {
    /// Whether it goes by any names but those of the C library.
    pub fn has_own_names(&self) -> bool {
        self.lists.iter().any(|list| list.scope == Scope::Own)
    }
}

/// Functions, and where their names count.
#[derive(Debug)]
pub struct List {
    /// Which names they are.
    pub scope: Scope,
    /// What they do.
    pub calls: &'static [Call],
}

/// Whose names they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nobody else's.
    Own,
    /// The C library's, with a prefix or not; without, libfragtrace.so has hooks by these names.
    Standard,
    /// C++'s, never with a prefix.
    Operators,
}

impl List {
    const fn own(calls: &'static [Call]) -> List {
        List { scope: Scope::Own, calls }
    }
}

/// All that are known, those with names of their own first.
pub const ALL: [&Names; 6] = [
    &jemalloc::NAMES,
    &mimalloc::NAMES,
    &snmalloc::NAMES,
    &rpmalloc::NAMES,
    &tcmalloc::NAMES,
    &standard::NAMES,
];
