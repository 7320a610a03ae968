//! What to do: lines to write and variables to set, for the allocator at hand.

use crate::measure::TraceFacts;
use serde_json::Value;
use std::collections::BTreeMap;

/// What to do, for each kind of program.
pub(super) struct Remedy {
    pub c: String,
    pub rust: String,
    /// Without changing the program.
    pub setting: Option<String>,
}

impl Remedy {
    /// A line each.
    pub fn text(&self) -> String {
        let mut text = format!("C/C++: {}\nRust: {}", self.c, self.rust);
        if let Some(setting) = &self.setting {
            text += &format!("\nWithout a change to the code: {setting}");
        }
        text
    }
}

/// How to find out on the same trace what a change would save, before it is made.
pub(super) fn to_try(id: &str, evidence: &BTreeMap<&'static str, Value>) -> Option<String> {
    let site = evidence.get("site").or_else(|| evidence.get("sites")?.get(0));
    let function = site.and_then(|site| site["function"].as_str());
    let of_site = |option: &str| Some(format!(" {option} '{}'", function?));
    let option = match id {
        "pinned-pages" | "top-pinned" | "rss-stairs" => of_site("--pool")?,
        "churn" | "realloc-ladder" => of_site("--reuse")?,
        "cross-thread-free" => " --same-thread-free".into(),
        "cached-free-chunks" => " --allocators glibc:tcache_count=0+mxfast=0".into(),
        "retained-after-burst"
        | "arena-proliferation"
        | "size-class-slop"
        | "address-growth"
        | "threshold-ratchet" => String::new(),
        _ => return None,
    };
    Some(format!("What that would save, tried on this trace: fragtrace shootout TRACE{option}"))
}

/// Allocators that remedies differ for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allocator {
    Glibc,
    /// With the variable that the build reads.
    Jemalloc(&'static str),
    Mimalloc,
    Other,
}

impl Allocator {
    pub fn of(trace: &TraceFacts, glibc: bool) -> Allocator {
        let path = trace.allocator.as_deref().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or(path);
        if glibc {
            Allocator::Glibc
        } else if name.contains("jemalloc") {
            // jemalloc(3): the prefix of its functions, in capitals, is that of the variable.
            Allocator::Jemalloc(match name {
                _ if name.ends_with("_rjem_malloc") => "_RJEM_MALLOC_CONF",
                _ if name.ends_with("je_malloc") => "JE_MALLOC_CONF",
                _ => "MALLOC_CONF",
            })
        } else if name.contains("mimalloc") {
            Allocator::Mimalloc
        } else {
            Allocator::Other
        }
    }
}

/// What has glibc merge small chunks as soon as they are freed.
pub(super) const CACHES_OFF: &str = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:\
                                     glibc.malloc.mxfast=0 turns thread caches and fast bins off, at \
                                     some cost in speed";

/// How to have unused memory given back.
pub(super) fn give_back(allocator: Allocator) -> Remedy {
    let (c, rust, setting) = match allocator {
        Allocator::Glibc => (
            "call `malloc_trim(0);` (#include <malloc.h>) when the burst is over, for instance \
             after each large request or from an idle timer.",
            "call `unsafe { libc::malloc_trim(0) };` at the same place.",
            Some(
                "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072 \
                 keeps both thresholds from rising; it helps for blocks of 128 KiB and more, and \
                 for what lies at the top of the heap."
                    .to_owned(),
            ),
        ),
        Allocator::Jemalloc(variable) => (
            "call `mallctl(\"arena.4096.purge\", NULL, NULL, NULL, 0);` when the burst is over.",
            "with tikv-jemalloc-ctl, write `arena.4096.purge` at the same place; there the variable \
             below is _RJEM_MALLOC_CONF.",
            Some(format!("{variable}=background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0")),
        ),
        Allocator::Mimalloc => (
            "call `mi_collect(true);` when the burst is over.",
            "call `unsafe { libmimalloc_sys::mi_collect(true) };` at the same place.",
            Some("MIMALLOC_PURGE_DELAY=0 (before 2.1: MIMALLOC_RESET_DELAY=0)".to_owned()),
        ),
        Allocator::Other => (
            "see how this allocator is told to give memory back.",
            "the same.",
            None,
        ),
    };
    Remedy { c: c.to_owned(), rust: rust.to_owned(), setting }
}
