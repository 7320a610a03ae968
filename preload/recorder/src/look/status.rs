//! Figures of the whole process: /proc/self/status, and smaps_rollup where that is cheap.

use super::{COST_SHARE, MAX_COST_NS};
use crate::sys;
use crate::text::{decimal, find};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::record::{Look, LookCause};

/// What the last reading of smaps_rollup cost, and when it was.
static ROLLUP_COST: AtomicU64 = AtomicU64::new(0);
static ROLLUP_TIME: AtomicU64 = AtomicU64::new(0);
/// Bytes in memory at that time: what it costs goes with them.
static ROLLUP_BYTES: AtomicU64 = AtomicU64::new(0);

/// The value in bytes of a line such as `VmSwap:   12 kB`.
fn kilobytes(text: &[u8], name: &[u8]) -> Option<u64> {
    let at = find(text, name)? + name.len();
    let rest = &text[at..];
    let start = rest.iter().position(u8::is_ascii_digit)?;
    decimal(&rest[start..]).map(|(value, _)| value << 10)
}

pub(super) fn read_status(text: &mut [u8], look: &mut Look) {
    let Ok(len) = sys::read_file(b"/proc/self/status\0", text) else { return };
    let text = &text[..len];
    look.rss_peak = kilobytes(text, b"VmHWM:");
    look.rss_anon = kilobytes(text, b"RssAnon:");
    look.rss_file = kilobytes(text, b"RssFile:");
    look.rss_shmem = kilobytes(text, b"RssShmem:");
    look.swapped = kilobytes(text, b"VmSwap:");
}

/// smaps_rollup walks all page tables: 13 to 30 ms per GiB. So it is read when it will be cheap,
/// by what it cost last, of as much memory as there was then; seldom enough, or the process ends.
pub(super) fn read_rollup(text: &mut [u8], look: &mut Look) {
    let begun_ns = look.monotonic_ns;
    let bytes = look.rss_anon.unwrap_or(0);
    let cost_ns = scaled(ROLLUP_COST.load(Relaxed), bytes, ROLLUP_BYTES.load(Relaxed));
    let due = begun_ns.saturating_sub(ROLLUP_TIME.load(Relaxed)) > cost_ns * COST_SHARE * 4;
    if look.cause != LookCause::Exit && (cost_ns > MAX_COST_NS / 2 || !due) {
        return;
    }
    let started_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
    let Ok(len) = sys::read_file(b"/proc/self/smaps_rollup\0", text) else { return };
    let text = &text[..len];
    look.lazyfree = kilobytes(text, b"LazyFree:");
    look.anon_huge = kilobytes(text, b"AnonHugePages:");
    let cost_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(started_ns);
    ROLLUP_COST.store(cost_ns, Relaxed);
    ROLLUP_TIME.store(begun_ns, Relaxed);
    ROLLUP_BYTES.store(bytes, Relaxed);
}

/// What `cost_ns` is for `bytes`, if it was for `of_bytes`.
fn scaled(cost_ns: u64, bytes: u64, of_bytes: u64) -> u64 {
    let scaled = u128::from(cost_ns) * u128::from(bytes) / u128::from(of_bytes.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_go_with_what_is_in_memory() {
        assert_eq!(scaled(100, 3 << 30, 1 << 30), 300);
        assert_eq!(scaled(100, 1 << 20, 1 << 21), 50);
        assert_eq!(scaled(0, 1 << 30, 0), 0, "not read yet");
        assert_eq!(scaled(u64::MAX, u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn kilobytes_are_bytes() {
        assert_eq!(kilobytes(b"VmRSS:\t  12 kB\nVmSwap:\t 3 kB\n", b"VmSwap:"), Some(3072));
        assert_eq!(kilobytes(b"VmRSS:\t  12 kB\n", b"VmSwap:"), None);
    }
}
