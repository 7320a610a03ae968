//! What stands between the trace and the truth, in plain words, with what to do about it.

use super::{ReportExtras, plural, scale};
use crate::measure::{MappingFacts, TraceFacts};
use fragtrace_format::header::limit;

/// Of many damaged places, so many are named.
const MOST_NOTES: usize = 3;

/// The warnings, those that bend the figures most first.
pub(super) fn all(trace: &TraceFacts, extras: &ReportExtras) -> Vec<String> {
    let mut out = damage(&extras.damage);
    out.extend(dropped(trace, extras.limits));
    if trace.order_anomalies > 0 {
        out.push(format!(
            "{} could not be put in any order that makes sense, so a few blocks may be \
             counted wrongly. Please report it, with the trace if you can share it.",
            plural(trace.order_anomalies, "event")
        ));
    }
    if extras.limits & limit::INHERITANCE != 0 {
        out.push(
            "What was live when this process was forked is not known: its parent's ring went \
             round before this one's first event. Live figures lack it, and frees of it are of \
             blocks never seen. Remedy: record with a larger --ring."
                .to_owned(),
        );
    } else if trace.unknown_frees > 0 {
        out.push(format!(
            "{} of blocks that were never seen to be allocated: they came from before the tracer \
             was loaded, or from an allocator that is called under another name.",
            plural(trace.unknown_frees, "free")
        ));
    }
    out.extend(unknown_glibc(trace));
    out.extend(mappings(&trace.mappings));
    if extras.limits & limit::FILTER != 0 && trace.dropped_events == 0 {
        out.push(
            "The program installed a filter on system calls: from then on the kernel was asked \
             nothing more, so what it held in memory is as old as that."
                .to_owned(),
        );
    }
    if extras.limits & limit::CGROUP != 0 {
        out.push(format!(
            "The ring was cut to {} for the sake of the memory limit; raise the limit to \
             record more.",
            scale::bytes(trace.ring_bytes)
        ));
    }
    out
}

/// A version of glibc whose layout of heaps and headers is not known is taken as any allocator is.
fn unknown_glibc(trace: &TraceFacts) -> Option<String> {
    let libc = trace.libc.as_deref().filter(|libc| libc.starts_with("glibc"))?;
    let allocator = trace.allocator.as_deref()?;
    let of_libc = allocator.rsplit('/').next().is_some_and(|name| name.starts_with("libc"));
    (of_libc && trace.heap_layout.is_none()).then(|| {
        format!(
            "How {libc} lays out its heaps is not known to this fragtrace, and it does not guess: \
             where the heap is, how large and what of it is metadata is known from looks at the \
             kernel's mappings alone. Remedy: a newer fragtrace."
        )
    })
}

/// What runs into the limit fails in ways that nobody expects: malloc of a large block, a thread's
/// stack, free of a part of a mapping.
fn mappings(mappings: &MappingFacts) -> Option<String> {
    let most = mappings.most.filter(|_| mappings.is_near_limit())?;
    let whose = if mappings.limit_is_known {
        "this machine allows"
    } else {
        "Linux allows by default (the trace does not tell what this machine does)"
    };
    Some(format!(
        "The process had {} mappings at {}, of {} that {whose} (vm.max_map_count): beyond, mmap, \
         munmap and new threads fail as if memory were gone. Remedy: fewer mappings (with glibc, \
         GLIBC_TUNABLES=glibc.malloc.mmap_threshold=33554432 keeps large blocks in the heap; \
         guard pages and madvise or mprotect on parts of a mapping split it), or raise it with \
         `sysctl vm.max_map_count=262144`.",
        scale::count(most),
        scale::duration(mappings.most_at_ns.unwrap_or(0)),
        scale::count(mappings.limit)
    ))
}

fn damage(notes: &[String]) -> Vec<String> {
    let shown = notes.iter().take(MOST_NOTES);
    let mut out: Vec<String> =
        shown.map(|note| format!("The trace is not whole: {note}.")).collect();
    if notes.len() > MOST_NOTES {
        out.push(format!(
            "So it is in {} more.",
            plural((notes.len() - MOST_NOTES) as u64, "place")
        ));
    }
    out
}

/// Limits that stop a recording even before an event finds no room.
const NO_ROOM: u64 = limit::DISK_FULL | limit::FILE_SIZE | limit::MAPPING | limit::PATH;

fn dropped(trace: &TraceFacts, limits: u64) -> Option<String> {
    if trace.dropped_events == 0 && limits & NO_ROOM == 0 {
        return None;
    }
    let (cause, remedy) = if limits & limit::DISK_FULL != 0 {
        ("the disk was full", "free some space, or write the trace elsewhere with -o")
    } else if limits & limit::FILE_SIZE != 0 {
        ("the limit on file sizes was reached", "raise it with `ulimit -f unlimited`")
    } else if limits & limit::LANES != 0 {
        ("there were more threads than lanes", "record with a larger --ring")
    } else if limits & limit::FILTER != 0 {
        (
            "the program had installed a filter on system calls",
            "record it without that filter, where it has an option for that",
        )
    } else if limits & limit::PATH != 0 {
        (
            "the trace's file could not be opened again",
            "record to a folder which the program can reach at any time, as the user that it becomes",
        )
    } else if limits & limit::MAPPING != 0 {
        ("the kernel refused to map the trace", "raise `ulimit -v`, or vm.max_map_count")
    } else {
        ("the ring was full", "record again with a larger --ring, such as 4G")
    };
    let ring = scale::bytes(trace.ring_bytes);
    let what = match trace.dropped_events {
        0 => format!("The trace could not grow to its {ring}"),
        events => format!("{} found no room (ring: {ring})", plural(events, "event")),
    };
    let so = match trace.dropped_events {
        0 => "single events reach less far back, and looks at the kernel's view may be missing",
        _ => "what happened then is not in these figures",
    };
    Some(format!("{what}, because {cause}: {so}. Remedy: {remedy}."))
}
