//! Where the free bytes are, in a sentence or two; `--details` has the figures one by one.

use super::scale;
use crate::measure::{AllocatorPlaces, FreePlaces};

/// As the program sees holes, and as the allocator could use them. `None`: nothing is free, or
/// nothing of it is known.
pub(super) fn line(places: &FreePlaces) -> Option<String> {
    let holes = &places.as_holes;
    let mut seen = Vec::new();
    let mut add = |bytes: Option<u64>, where_: &str| {
        seen.extend(
            bytes.filter(|bytes| *bytes > 0).map(|bytes| scale::bytes(bytes) + " " + where_),
        );
    };
    add(holes.beside_blocks_bytes, "beside live blocks");
    add(holes.empty_pages_bytes, "on whole pages in memory");
    add(holes.absent_pages_bytes, "on pages not in memory");
    if seen.is_empty() {
        return None;
    }
    Some(format!("Of what is free, {}. {}", listed(&seen), as_allocator(&places.as_allocator)))
}

fn as_allocator(places: &AllocatorPlaces) -> String {
    let mut kept = Vec::new();
    if let Some(top) = places.top_bytes {
        let in_memory = places.top_resident_bytes.map_or("an unknown part".into(), scale::bytes);
        // Small chunks that are kept apart may lie between the last block and what malloc.c calls top.
        let what = match places.bins_bytes {
            Some(_) => "at the top of heaps",
            None => "behind the last blocks of heaps, as top or kept apart there",
        };
        kept.push(format!("{} {what} ({in_memory} of it in memory)", scale::bytes(top)));
    }
    match (places.thread_caches_bytes, places.bins_bytes, places.caches_and_bins_bytes) {
        (Some(cached), Some(bins), _) => {
            kept.push(scale::bytes(cached) + " in thread caches");
            kept.push(scale::bytes(bins) + " in bins");
        }
        (_, _, Some(both)) => {
            kept.push(scale::bytes(both) + " in thread caches and bins, which it keeps to itself");
        }
        _ => kept.push("an unknown part in caches and bins".into()),
    }
    let mut text = format!("The allocator has {}", listed(&kept));
    if let (Some(dirty), Some(purged)) = (places.dirty_bytes, places.purged_bytes)
        && dirty + purged > 0
    {
        text += &format!(
            "; {} of it are whole pages in memory, {} pages that are not",
            scale::bytes(dirty),
            scale::bytes(purged)
        );
        text += if places.top_bytes.is_some() { ", the top left out." } else { "." };
    } else {
        text.push('.');
    }
    text
}

/// "a, b and c".
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::HolePlaces;

    const MIB: u64 = 1 << 20;

    fn places(as_allocator: AllocatorPlaces) -> FreePlaces {
        let as_holes = HolePlaces {
            beside_blocks_bytes: Some(3 * MIB),
            empty_pages_bytes: Some(2 * MIB),
            absent_pages_bytes: Some(0),
        };
        FreePlaces { as_holes, as_allocator }
    }

    #[test]
    fn what_is_not_known_is_said_to_be_so() {
        assert_eq!(line(&FreePlaces::default()), None);
        assert_eq!(
            line(&places(AllocatorPlaces::default())).as_deref(),
            Some(
                "Of what is free, 3.00 MiB beside live blocks and 2.00 MiB on whole pages in \
                 memory. The allocator has an unknown part in caches and bins."
            )
        );
        let glibc = AllocatorPlaces {
            caches_and_bins_bytes: Some(4 * MIB),
            dirty_bytes: Some(MIB),
            purged_bytes: Some(7 * MIB),
            top_bytes: Some(2 * MIB),
            top_resident_bytes: Some(MIB),
            ..AllocatorPlaces::default()
        };
        assert_eq!(
            line(&places(glibc)).as_deref(),
            Some(
                "Of what is free, 3.00 MiB beside live blocks and 2.00 MiB on whole pages in \
                 memory. The allocator has 2.00 MiB behind the last blocks of heaps, as top or \
                 kept apart there (1.00 MiB of it in memory) and 4.00 MiB in thread caches and \
                 bins, which it keeps to itself; 1.00 MiB of it are whole pages in memory, 7.00 \
                 MiB pages that are not, the top left out."
            )
        );
        let without_caches = AllocatorPlaces { bins_bytes: Some(0), ..glibc };
        let text = line(&places(without_caches)).unwrap_or_default();
        assert!(text.contains("has 2.00 MiB at the top of heaps (1.00 MiB"), "{text}");
    }
}
