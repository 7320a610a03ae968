//! Which arena of glibc a heap is of. From outside all heaps of secondary arenas look alike: 64 MiB,
//! at multiples of that. But each begins with a pointer to its arena, and the arena itself lies in
//! its first heap, behind that heap's own beginning (malloc/arena.c, 2.10 to 2.43: `heap_info`,
//! `_int_new_arena`, `sysmalloc`):
//!
//! ```text
//!  heap at n × 64 MiB  ar_ptr │ prev │ size │ mprotect_size │ …   32 bytes, from 2.35 on 48
//!  first one           ───────────────────────────────────┐ then the arena itself
//!                      ar_ptr ────────────────────────────┘
//! ```
//!
//! Another thread may give a heap back while it is read, so the kernel copies the word. It is asked
//! for no page that the last scan did not find in memory: reading one would put it there.

use super::maps::{HEAP_BYTES, Known};
use super::pages::Pages;
use crate::sys;
use fragtrace_format::record::{self, LookPart};

/// Where the arena lies in its first heap.
const ARENA_AT: [u64; 2] = [32, 48];

/// Tells of heaps whose arena was not told yet, or another one; the bytes that it takes. What does
/// not fit waits for the next look.
pub(super) fn tell(heaps: &mut [Known], pages: &mut Pages, out: &mut [u8]) -> usize {
    let mut end = 0;
    for known in heaps {
        if !known.may_begin_a_heap() || !pages.has_in_memory(known.start) {
            continue;
        }
        let Some(first) = first_heap_of_arena(known.start).filter(|first| known.is_new(*first))
        else {
            continue;
        };
        let part = LookPart::ArenaHeap { start: known.start, first_heap: first };
        let Some(len) = record::encode(&part, &mut out[end..]) else { break };
        end += len;
        known.told_first_heap(first);
    }
    end
}

/// The first heap of the arena whose heap this is, if it is one.
fn first_heap_of_arena(heap: u64) -> Option<u64> {
    let mut word = [0; 8];
    let copied = sys::copy_from_self(heap as usize, &mut word) == Ok(word.len());
    let arena = u64::from_le_bytes(word);
    let is_one = copied && ARENA_AT.contains(&(arena % HEAP_BYTES)) && arena > HEAP_BYTES;
    is_one.then_some(arena & !(HEAP_BYTES - 1))
}
