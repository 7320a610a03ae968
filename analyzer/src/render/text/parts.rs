//! Where the heap has several parts: how much each kind holds, and how much of that is live.

use super::scale;
use crate::measure::Parts;
use std::collections::BTreeMap;

/// A kind of heap that holds less than this part is not worth a word.
const LEAST_PART: u64 = 20;

/// Heaps of one kind.
#[derive(Default)]
struct Kind {
    heaps: u64,
    live_bytes: u64,
    footprint_bytes: u64,
}

/// A line on the heaps, if several matter.
pub(super) fn line(parts: &Parts) -> Option<String> {
    let mut kinds: BTreeMap<&str, Kind> = BTreeMap::new();
    for heap in &parts.heaps {
        let kind = kinds.entry(heap.kind).or_default();
        kind.heaps += 1;
        kind.live_bytes += heap.live_bytes;
        kind.footprint_bytes += heap.footprint_bytes;
    }
    let all: u64 = kinds.values().map(|kind| kind.footprint_bytes).sum();
    kinds.retain(|_, kind| kind.footprint_bytes > all / LEAST_PART);
    if kinds.values().map(|kind| kind.heaps).sum::<u64>() < 2 {
        return None;
    }
    let words: Vec<String> = kinds
        .iter()
        .map(|(name, kind)| {
            let name =
                if kind.heaps > 1 { format!("{} {name}s", kind.heaps) } else { (*name).to_owned() };
            let (held, live) = (scale::bytes(kind.footprint_bytes), scale::bytes(kind.live_bytes));
            format!("{name} {held} ({live} live)")
        })
        .collect();
    Some(format!("By heap: {}.", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::HeapFacts;

    #[test]
    fn heaps_are_told_where_there_are_several() {
        let heap = |kind, footprint: u64, live: u64| HeapFacts {
            kind,
            footprint_bytes: footprint << 20,
            live_bytes: live << 20,
            ..HeapFacts::default()
        };
        let mut parts = Parts { heaps: vec![heap("brk heap", 100, 40)], ..Parts::default() };
        assert_eq!(line(&parts), None);
        parts.heaps.push(heap("arena heap", 1, 1));
        assert_eq!(line(&parts), None, "too little");
        parts.heaps.extend([heap("arena heap", 30, 2), heap("arena heap", 29, 1)]);
        assert_eq!(
            line(&parts).as_deref(),
            Some(
                "By heap: 3 arena heaps 60.0 MiB (4.00 MiB live), brk heap 100 MiB (40.0 MiB live)."
            )
        );
    }
}
