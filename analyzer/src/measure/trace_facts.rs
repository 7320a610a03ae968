//! Finding out what a trace says about the process as a whole: what it was, how it was recorded, and
//! its counts.

use super::moment::{end_ns, start_ns};
use super::{DriftFacts, MappingFacts, ThreadPair, TraceFacts};
use crate::order::Told;
use crate::read::{Look, Trace};
use crate::replay::{Handed, Replay};
use fragtrace_format::header::Count;
use fragtrace_format::record::{LookCause, UsableRule};
use std::cmp::Reverse;

/// Pairs of threads that are told, of those with most blocks.
const MOST_THREAD_PAIRS: usize = 50;

/// All of it, with a replay at its end and what was read for that.
pub(super) fn facts(trace: &Trace, replay: &Replay<'_>, told: &Told) -> TraceFacts {
    let (header, counts) = (trace.header(), replay.counts());
    let parents_looks = trace
        .fork()
        .map_or(0, |fork| trace.looks().partition_point(|look| look.stamp < fork.stamp));
    let looks = &trace.looks()[parents_looks..];
    let moved = |looks: &[Look]| looks[0].brk_end != looks[1].brk_end;
    let before = trace.base().map(|base| &base.cut);
    let wrapped = trace.base().is_some() && trace.kept_from() == trace.window_start();
    let bytes = before.map_or(0, |cut| cut.count(Count::Bytes)).saturating_add(told.event_bytes);
    TraceFacts {
        wrapped,
        earlier_peak_live_bytes: before.filter(|_| wrapped).map(|cut| cut.peak_live_bytes),
        earlier_peak_live_ns: before
            .filter(|_| wrapped)
            .map(|cut| trace.clock().time_ns(cut.peak_live_stamp)),
        rss_peak_bytes: looks.iter().filter_map(|look| look.rss_peak).max(),
        threads: header.threads.saturating_sub(trace.fork().map_or(0, |fork| fork.threads)),
        events: counts.events,
        allocs: counts.allocs,
        wrapped_blocks: replay.wrapped_blocks(),
        frees: counts.frees,
        reallocs: counts.reallocs,
        mmaps: counts.mmaps,
        munmaps: counts.munmaps,
        mremaps: counts.mremaps,
        madvises: counts.madvises,
        brk_changes: counts.brk_changes
            + looks.windows(2).filter(|pair| moved(pair)).count() as u64,
        cross_thread_pairs: thread_pairs(replay),
        dropped_events: header.dropped_events,
        order_anomalies: counts.order_anomalies,
        unknown_frees: counts.unknown_frees,
        bytes_per_event: (counts.events > 0).then(|| bytes as f64 / counts.events as f64),
        tracer_cost_ns: trace.clock().duration_ns(header.slow_path_stamps),
        looks: header.looks,
        drift: drift(trace, replay),
        mappings: mappings(trace, looks),
        ..process_facts(trace)
    }
}

/// What is known without a replay: which process, when, and how it was recorded; no counts.
pub fn process_facts(trace: &Trace) -> TraceFacts {
    let (header, process) = (trace.header(), trace.process());
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    TraceFacts {
        pid: header.pid,
        exe: known(&process.exe),
        command: known(
            &process.arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        ),
        host: known(&process.host),
        kernel: known(&process.kernel),
        libc: known(&process.libc),
        allocator: known(&process.allocator),
        heap_layout: (process.usable_rule == UsableRule::Glibc).then_some("glibc"),
        unseen_allocators: process.unseen_allocators.clone(),
        allocator_env: process.allocator_env.clone(),
        tracer_version: known(&process.tracer_version),
        page_size: process.page_bytes,
        start_unix_ns: trace.clock().start_unix_ns(),
        duration_ns: end_ns(trace),
        window_start_ns: start_ns(trace),
        forked_from: trace.fork().map(|fork| fork.parent),
        forked_ns: trace.fork().map(|fork| trace.clock().time_ns(fork.stamp)),
        end: trace.ending().to_string(),
        clean_exit: trace.ending().is_clean(),
        cgroup_limit_bytes: process.cgroup_limit_bytes,
        ring_bytes: header.ring_bytes,
        ..TraceFacts::default()
    }
}

fn drift(trace: &Trace, replay: &Replay<'_>) -> DriftFacts {
    let drift = replay.space().drift();
    let known = |value| (drift.looks > 0).then_some(value);
    DriftFacts {
        looks: drift.looks,
        corrected_looks: drift.corrected_looks,
        most_bytes: known(drift.most_bytes),
        most_at_ns: (drift.most_bytes > 0).then(|| trace.clock().time_ns(drift.most_stamp)),
        total_bytes: known(drift.total_bytes),
    }
}

fn mappings(trace: &Trace, looks: &[Look]) -> MappingFacts {
    let seen = looks.iter().filter_map(|look| Some((look.mapping_count?.0, look)));
    // Of equal ones the first.
    let most = seen.filter(|(count, _)| *count > 0).min_by_key(|(count, _)| Reverse(*count));
    let in_between = |look: &&Look| matches!(look.cause, LookCause::Due | LookCause::Asked);
    let limit = trace.process().max_map_count;
    MappingFacts {
        most: most.map(|(count, _)| count),
        most_at_ns: most.map(|(_, look)| trace.clock().time_ns(look.stamp)),
        most_in_a_look: looks.iter().filter(in_between).map(|look| look.mappings_read).max(),
        limit: limit.unwrap_or(MappingFacts::DEFAULT_LIMIT),
        limit_is_known: limit.is_some(),
    }
}

fn thread_pairs(replay: &Replay<'_>) -> Vec<ThreadPair> {
    let pairs = replay.handovers().pairs().into_iter().take(MOST_THREAD_PAIRS);
    let pair = |((acquired_by, freed_by), Handed { blocks, bytes })| ThreadPair {
        acquired_by,
        freed_by,
        blocks,
        bytes,
    };
    pairs.map(pair).collect()
}

/// A word of a command line as a shell would need it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-+=./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("--port=80"), "--port=80");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
