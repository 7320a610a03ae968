//! Whether an allocator runs threads of its own. These call nothing that is on record while they find
//! nothing to do, so it is told by how they come: the loader takes a block for a new thread's variables,
//! and the call stack of that block leads through the allocator, which nothing else's does.

use crate::read::{Modules, Trace};
use crate::replay::Replay;
use fragtrace_format::Stamp;

/// Whether the recorded allocator has started a thread. `replay`: to the end.
pub fn starts_threads(trace: &Trace, replay: &Replay<'_>) -> bool {
    let (stacks, modules) = (trace.stacks(), trace.modules());
    let last = trace.last_stamp();
    let allocator = file(&trace.process().allocator);
    replay.sources().allocs().any(|(stack, _)| {
        let calls = stacks.frames(stack).map(|frame| object(modules, frame.address, last));
        comes_for_a_thread(calls, allocator)
    })
}

/// The file name of an object: folders have several names.
fn file(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn object(modules: &Modules, address: u64, stamp: Stamp) -> Option<&str> {
    Some(file(&modules.get(modules.at(address, stamp)?)?.path))
}

/// `calls`: the objects that a block's call stack leads through, innermost first.
fn comes_for_a_thread<'m>(mut calls: impl Iterator<Item = Option<&'m str>>, of: &str) -> bool {
    let is_loader = |file: &str| file.starts_with("ld-");
    calls.next().flatten().is_some_and(is_loader) && calls.flatten().any(|file| file == of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_the_loaders_for_the_allocator_is_a_threads() {
        const JEMALLOC: &str = "libjemalloc.so.2";
        let comes = |calls: &[&'static str]| {
            comes_for_a_thread(calls.iter().map(|path| Some(*path)), JEMALLOC)
        };
        let (loader, libc) = ("ld-linux-x86-64.so.2", "libc.so.6");
        assert!(comes(&[loader, libc, JEMALLOC, "server"]));
        assert!(!comes(&[loader, libc, "server"]), "the program's own");
        assert!(!comes(&[libc, JEMALLOC, "server"]));
        assert!(!comes(&["server"]));
    }
}
