//! What is known of where glibc puts its heaps (malloc/malloc.c and arena.c, 2.10 to 2.42).

/// HEAP_MAX_SIZE on 64 bit: twice DEFAULT_MMAP_THRESHOLD_MAX of 32 MiB.
pub const ARENA_HEAP_BYTES: u64 = 64 << 20;

/// Whether secondary arenas have heaps of [`ARENA_HEAP_BYTES`] at multiples of that. With
/// glibc.malloc.hugetlb of 2 or more they are four huge pages from 2.35 on, whose size no trace
/// tells: then only looks say where heaps are.
pub fn arena_heaps_are_known(allocator_env: &[String]) -> bool {
    let tunables = allocator_env.iter().filter_map(|line| line.strip_prefix("GLIBC_TUNABLES="));
    let mut settings = tunables.flat_map(|list| list.split(':'));
    settings.all(|setting| match setting.strip_prefix("glibc.malloc.hugetlb=") {
        Some(value) => matches!(value, "0" | "1"),
        None => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
