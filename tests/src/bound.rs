//! How large a trace may become: the bound that docs/trace-format.md states, area by area.

const KIB: u64 = 1 << 10;
const HEADER_AND_DESCRIPTION: u64 = 32 * KIB;
const MODULES: u64 = 1024 * KIB;
const CLASSES: u64 = 64 * KIB;
/// Of the base table, room for those to come included.
const BYTES_A_BLOCK: u64 = 60;

/// The most bytes of a trace whose process had so many threads at once, and so many live blocks.
pub fn most_bytes(ring: u64, threads: u64, blocks: u64) -> u64 {
    let chunk = (ring / 64).clamp(KIB, 64 * KIB);
    let events = ring.max(2 * threads * chunk);
    let base = BYTES_A_BLOCK * blocks + 16 * KIB;
    let looks = (ring / 16).max(256 * KIB);
    let names = (ring / 64).max(4 * KIB);
    let regions = (ring / 64).max(64 * KIB);
    let stacks = (ring / 8).max(256 * KIB);
    HEADER_AND_DESCRIPTION + events + base + looks + names + regions + stacks + MODULES + CLASSES
}
