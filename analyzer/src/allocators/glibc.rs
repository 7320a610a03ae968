//! glibc (malloc/malloc.c and arena.c, 2.10 to 2.43): how blocks lie, where heaps are, and what its
//! tunables change of that.

/// A block's size word is the 8 bytes in front of it. What malloc.c calls a chunk begins 8 bytes
/// earlier, but these are the last of the block below, which may use them.
pub const HEADER_BYTES: u64 = 8;
const LEAST_USABLE: u64 = 24;

/// request2size: the chunk is the request and its size word, rounded up to 16, and at least 32; all
/// but the size word is the program's. Of sizes below 2⁶³.
#[inline]
pub fn usable(size: u64) -> u64 {
    let chunk = (size + HEADER_BYTES + 15) & !15;
    (chunk - HEADER_BYTES).max(LEAST_USABLE)
}

/// HEAP_MAX_SIZE on 64 bit: twice DEFAULT_MMAP_THRESHOLD_MAX of 32 MiB.
pub const ARENA_HEAP_BYTES: u64 = 64 << 20;

/// Whether secondary arenas have heaps of [`ARENA_HEAP_BYTES`] at multiples of that. With
/// glibc.malloc.hugetlb of 2 or more they are four huge pages from 2.35 on, whose size no trace
/// tells: then only looks say where heaps are.
pub fn arena_heaps_are_known(allocator_env: &[String]) -> bool {
    settings(allocator_env).all(|setting| match setting.strip_prefix("hugetlb=") {
        Some(value) => matches!(value, "0" | "1"),
        None => true,
    })
}

/// Whether the environment turned thread caches off.
pub fn has_no_thread_caches(allocator_env: &[String]) -> bool {
    settings(allocator_env).any(|setting| setting == "tcache_count=0")
}

/// Whether the environment turned fast bins off.
pub fn has_no_fast_bins(allocator_env: &[String]) -> bool {
    settings(allocator_env).any(|setting| setting == "mxfast=0")
}

/// The tunables of malloc in the environment, as NAME=value.
fn settings(allocator_env: &[String]) -> impl Iterator<Item = &str> {
    let tunables = allocator_env.iter().filter_map(|line| line.strip_prefix("GLIBC_TUNABLES="));
    tunables.flat_map(|list| list.split(':')).filter_map(|one| one.strip_prefix("glibc.malloc."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_sizes() {
        let known = [(0, 24), (1, 24), (24, 24), (25, 40), (40, 40), (41, 56), (4096, 4104)];
        for (size, bytes) in known {
            assert_eq!(usable(size), bytes, "of {size}");
        }
    }

    #[test]
    fn thread_caches_are_known_to_be_empty_only_where_they_are_off() {
        let off = |tunables: &str| has_no_thread_caches(&[format!("GLIBC_TUNABLES={tunables}")]);
        assert!(off("glibc.malloc.mxfast=0:glibc.malloc.tcache_count=0"));
        assert!(!off("glibc.malloc.tcache_count=07"));
        assert!(!has_no_thread_caches(&["MALLOC_ARENA_MAX=1".into()]));
    }

    #[test]
    fn huge_pages_of_its_own_choice_move_the_heaps_of_arenas() {
        let known = |tunables: &str| {
            arena_heaps_are_known(&[
                "MALLOC_ARENA_MAX=2".into(),
                format!("GLIBC_TUNABLES={tunables}"),
            ])
        };
        assert!(known("") && known("glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=0"));
        assert!(!known("glibc.malloc.tcache_count=0:glibc.malloc.hugetlb=2"));
        assert!(!known("glibc.malloc.hugetlb=0x200000"));
        assert!(arena_heaps_are_known(&[]));
    }
}
