//! The figures of a moment: all are known on glibc, they agree with the program's own sums and
//! with the kernel, and with each other.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_near, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::traced::Traced;
use std::sync::LazyLock;

/// Known at any time on glibc.
const KNOWN: [&str; 24] = [
    "time_ns",
    "live_bytes",
    "live_blocks",
    "usable_bytes",
    "heap_reserved_bytes",
    "heap_mapped_bytes",
    "footprint_bytes",
    "rss_bytes",
    "tracer_resident_bytes",
    "swapped_bytes",
    "lazyfree_bytes",
    "huge_bytes",
    "smaps_age_ns",
    "metadata_bytes",
    "free_bytes",
    "hole_count",
    "largest_hole_bytes",
    "external_index_ratio",
    "high_water_bytes",
    "growth_despite_fit_bytes",
    "growth_despite_fit_count",
    "cross_thread_frees",
    "arena_count",
    "region_count",
];

/// What follows from scans of pages: known once all of the memory was scanned.
const FROM_RESIDENCY: [&str; 6] = [
    "heap_resident_bytes",
    "residency_age_ns",
    "releasable_bytes",
    "fragmentation_ratio",
    "pinned_waste_bytes",
    "page_live_histogram",
];

/// Pages that become resident between the program's reading and its end.
const RESIDENT_SLACK_BYTES: u64 = 32 << 10;

/// The program's pages that differ from run to run: the stack, relocated pages, libc's data.
const SLACK_BYTES: u64 = 512 << 10;

/// One run for all tests: at its peak it waits for looks.
fn state() -> &'static (Answers, Report) {
    static STATE: LazyLock<(Answers, Report)> = LazyLock::new(|| {
        let traced = Traced::run_well(command(program("state")));
        let report = traced.report();
        report.assert_complete();
        (Answers::of(&traced.outcome), report)
    });
    &STATE
}

#[test]
fn every_figure_is_known_on_glibc() {
    let (_, report) = state();
    for moment in ["end", "peak", "peak_footprint"] {
        for key in KNOWN.iter().chain(&FROM_RESIDENCY) {
            let value = report.value(&format!("/{moment}/{key}"));
            assert!(!value.is_null(), "{moment}.{key} is null");
        }
    }
}

#[test]
fn every_figure_of_the_series_is_there_and_time_goes_forward() {
    let (_, report) = state();
    let series = report.array("/series");
    assert!((2..=2000).contains(&series.len()), "2 to 2,000 states, found {}", series.len());
    let mut last_ns = 0;
    for (index, moment) in series.iter().enumerate() {
        for key in KNOWN.iter().chain(&FROM_RESIDENCY) {
            assert!(moment.get(key).is_some(), "series[{index}] has no {key}");
        }
        let time_ns = moment["time_ns"].as_u64().expect("a time is an integer");
        assert!(time_ns >= last_ns, "series[{index}]: {time_ns} ns comes after {last_ns} ns");
        last_ns = time_ns;
    }
    let highest = series.iter().filter_map(|moment| moment["live_bytes"].as_u64()).max();
    assert!(highest == Some(report.number("/peak/live_bytes")), "the peak is kept: {highest:?}");
}

#[test]
fn sums_are_the_programs_own() {
    let (answers, report) = state();
    // The C library's block for the thread is beside the program's own.
    let of_libc = report.number("/end/live_blocks") - answers.get("live_blocks");
    assert!(of_libc <= 1, "at most one block is libc's, found {of_libc}");
    for key in ["live_bytes", "usable_bytes"] {
        let found = report.number(&format!("/end/{key}"));
        assert_near(key, answers.get(key), found, 1024 * of_libc);
    }
}

#[test]
fn mapped_memory_of_the_heap_is_the_kernels_figure() {
    let (answers, report) = state();
    let expected = answers.get("heap_mapped_bytes");
    let found = report.number("/end/heap_mapped_bytes");
    assert_numbers(
        "the brk segment, an arena's heap and four mappings of blocks",
        &[("heap_mapped_bytes", expected, found)],
    );
    assert_numbers("main and one more", &[("arenas", 2, report.number("/end/arena_count"))]);
}

#[test]
fn resident_pages_of_the_heap_are_the_kernels_figure() {
    let (answers, report) = state();
    let bytes = |key: &str| report.number(&format!("/end/{key}"));
    let resident = bytes("heap_resident_bytes");
    assert_near(
        "heap_resident_bytes",
        answers.get("heap_resident_bytes"),
        resident,
        RESIDENT_SLACK_BYTES,
    );
    // The last look scans all pages, as the process ends.
    assert!(bytes("residency_age_ns") < 100_000_000, "age {}", bytes("residency_age_ns"));
    // Pages by how full they are, and those that hold nothing, are all of them.
    let histogram = report.array("/end/page_live_histogram");
    let pages: u64 = histogram.iter().filter_map(serde_json::Value::as_u64).sum();
    let sum = pages * 4096 + bytes("releasable_bytes");
    assert_numbers("pages", &[("by fullness, and empty", resident, sum)]);
    let ratio = report.value("/end/fragmentation_ratio").as_f64().expect("a ratio");
    let live = bytes("live_bytes") as f64;
    assert!((ratio - (resident as f64 - live) / live).abs() < 1e-9, "ratio {ratio}");
}

/// The program's own reading includes the tracer's pages; the report keeps them apart.
#[test]
fn resident_memory_is_the_kernels_figure_less_the_tracers() {
    let (answers, report) = state();
    let own = report.number("/end/rss_bytes");
    let tracers = report.number("/end/tracer_resident_bytes");
    assert!(tracers > 0, "the tracer has pages of its own");
    assert_near("rss and the tracer's", answers.get("rss_bytes"), own + tracers, SLACK_BYTES);
    let bare = Answers::of(&run(&mut command(program("state"))).expect_code(0));
    assert_near("rss beside a bare run", bare.get("rss_bytes"), own, SLACK_BYTES);
}

#[test]
fn figures_agree_with_each_other() {
    let (_, report) = state();
    let mut moments = vec![report.value("/end"), report.value("/peak")];
    moments.extend(report.array("/series"));
    for moment in moments {
        let bytes = |key: &str| moment[key].as_u64().unwrap_or_default();
        let ordered = [
            ("live_bytes", "usable_bytes"),
            ("footprint_bytes", "heap_mapped_bytes"),
            ("heap_mapped_bytes", "heap_reserved_bytes"),
            ("largest_hole_bytes", "free_bytes"),
        ];
        for (less, more) in ordered {
            assert!(
                bytes(less) <= bytes(more),
                "{less} {} must not exceed {more} {}: {moment:#}",
                bytes(less),
                bytes(more)
            );
        }
        if let Some(ratio) = moment["external_index_ratio"].as_f64() {
            let expected = 1.0 - bytes("largest_hole_bytes") as f64 / bytes("free_bytes") as f64;
            assert!((ratio - expected).abs() < 1e-6, "1 - largest hole / free: {moment:#}");
        }
    }
}

#[test]
fn heaps_and_threads_are_the_whole() {
    let (answers, report) = state();
    let sum = |list: &str, key: &str| -> u64 {
        report.array(list).iter().filter_map(|part| part[key].as_u64()).sum()
    };
    let end = |key: &str| report.number(&format!("/end/{key}"));
    let figures = [
        ("footprint", end("footprint_bytes"), sum("/heaps", "footprint_bytes")),
        ("free", end("free_bytes"), sum("/heaps", "free_bytes")),
        ("resident", end("heap_resident_bytes"), sum("/heaps", "resident_bytes")),
        ("releasable", end("releasable_bytes"), sum("/heaps", "releasable_bytes")),
        ("live", end("live_bytes"), sum("/threads", "live_bytes")),
        ("blocks", end("live_blocks"), sum("/threads", "live_blocks")),
    ];
    assert_numbers("parts and whole", &figures);
    let ratio = |at: &str| {
        report.value(&format!("/page_utilisation/{at}")).as_f64().expect("pages are in memory")
    };
    let pages: u64 =
        report.array("/end/page_live_histogram").iter().filter_map(|count| count.as_u64()).sum();
    let expected = 1.0 - end("pinned_waste_bytes") as f64 / (pages * 4096) as f64;
    assert!((ratio("at_4k_ratio") - expected).abs() < 1e-9, "{} {expected}", ratio("at_4k_ratio"));
    // What is live there is the same; so many huge pages would hold it.
    let live = ratio("at_4k_ratio") * (pages * 4096) as f64;
    let huge_pages = live / (ratio("at_2m_ratio") * f64::from(2 << 20));
    let expected = answers.get("stretches_of_2m") as f64;
    assert!((huge_pages - expected).abs() < 1e-6, "{huge_pages} huge pages, expected {expected}");
}

/// As holes and by thread: the parts are the whole. A thread pins nothing of pages on which only the
/// allocator's own bytes at a heap's start lie.
#[test]
fn free_bytes_and_slop_are_told_by_their_parts() {
    const HEADS: u64 = 3 * 4096;
    let (_, report) = state();
    let end = |key: &str| report.number(&format!("/end/{key}"));
    let hole = |key: &str| report.number(&format!("/free_places/as_holes/{key}"));
    let own = |key: &str| report.number(&format!("/free_places/as_allocator/{key}"));
    let sum = |list: &str, key: &str| -> u64 {
        report.array(list).iter().filter_map(|part| part[key].as_u64()).sum()
    };
    let parts = ["beside_blocks_bytes", "empty_pages_bytes", "absent_pages_bytes"].map(hole);
    assert_numbers(
        "parts and whole",
        &[
            ("free", end("free_bytes"), parts.iter().sum()),
            ("releasable", end("releasable_bytes"), hole("empty_pages_bytes")),
            ("slop", end("usable_bytes") - end("live_bytes"), sum("/slop_by_class", "slop_bytes")),
            ("blocks", end("live_blocks"), sum("/slop_by_class", "blocks")),
        ],
    );
    // What is mapped is in blocks, or metadata, or free: above the last block or below.
    let free = own("top_bytes") + own("caches_and_bins_bytes");
    let used = end("usable_bytes") + end("metadata_bytes");
    assert_numbers("mapped", &[("used and free", end("heap_mapped_bytes"), used + free)]);
    assert!(own("top_resident_bytes") <= own("top_bytes"));
    assert!(report.value("/free_places/as_allocator/thread_caches_bytes").is_null());
    let (pinned, by_threads) = (end("pinned_waste_bytes"), sum("/threads", "free_bytes"));
    assert!(
        (by_threads..=by_threads + HEADS).contains(&pinned),
        "{pinned} pinned, {by_threads} by threads"
    );
}

/// The last block with a mapping of its own makes the peak; one of the others is then freed.
#[test]
fn heaps_and_threads_are_told_at_the_peak_as_well() {
    const LARGE_BYTES: u64 = 3_000_000;
    /// The block, its header, and what is left of the last page.
    const LARGE_MAPPING_BYTES: u64 = 3_002_368;
    let (_, report) = state();
    let sum = |list: &str, key: &str| -> u64 {
        report.array(list).iter().filter_map(|part| part[key].as_u64()).sum()
    };
    let peak = |key: &str| report.number(&format!("/peak/{key}"));
    let figures = [
        ("footprint", peak("footprint_bytes"), sum("/at_peak/heaps", "footprint_bytes")),
        ("free", peak("free_bytes"), sum("/at_peak/heaps", "free_bytes")),
        ("resident", peak("heap_resident_bytes"), sum("/at_peak/heaps", "resident_bytes")),
        ("live", peak("live_bytes"), sum("/at_peak/threads", "live_bytes")),
        ("blocks", peak("live_blocks"), sum("/at_peak/threads", "live_blocks")),
    ];
    assert_numbers("parts and whole at the peak", &figures);
    let of_kind = |list: &str, kind: &str| -> u64 {
        let of_it = report.array(list).iter().filter(|heap| heap["kind"] == kind);
        of_it.filter_map(|heap| heap["live_bytes"].as_u64()).sum()
    };
    let of_thread = |list: &str, thread: u64| -> u64 {
        let of_it = report.array(list).iter().filter(|facts| facts["thread"] == thread);
        of_it.filter_map(|facts| facts["live_bytes"].as_u64()).sum()
    };
    let mapped = |list| of_kind(list, "mapped block");
    let figures = [
        ("mapped blocks", LARGE_MAPPING_BYTES, mapped("/at_peak/heaps") - mapped("/heaps")),
        ("main thread", LARGE_BYTES, of_thread("/at_peak/threads", 1) - of_thread("/threads", 1)),
        ("the other", 0, of_thread("/at_peak/threads", 2) - of_thread("/threads", 2)),
    ];
    assert_numbers("more at the peak than at the end", &figures);
    assert!(of_kind("/at_peak/heaps", "arena heap") > 10 << 20, "{:#}", report.json["at_peak"]);
}

/// This program touches every byte of its blocks, so that footprint is the sum of its parts.
#[test]
fn the_footprint_is_used_free_or_overhead() {
    let (_, report) = state();
    let bytes = |key: &str| report.number(&format!("/end/{key}"));
    let parts = bytes("usable_bytes") + bytes("metadata_bytes") + bytes("free_bytes");
    assert_numbers("footprint", &[("its parts", bytes("footprint_bytes"), parts)]);
    // A third of the small blocks was freed.
    assert!(bytes("free_bytes") > 10 << 20, "free_bytes is {}", bytes("free_bytes"));
    assert!(bytes("hole_count") > 5000, "hole_count is {}", bytes("hole_count"));
}
