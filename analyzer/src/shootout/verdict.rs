//! One sentence: the best choice, what it gains and costs; or to stay.
//!
//! What counts is memory: the greatest resident set and the last one, weighed alike. A gain that
//! the error of the replay could make up is none. Among those that are about as good the one with
//! the least time in its calls is named.

use super::run::{Run, Shootout};
use crate::words;

/// Gains below this are none, however exact the replay.
const LEAST_GAIN: f64 = 0.05;
/// Runs that need at most so much more than the best are about as good.
const ABOUT: f64 = 0.02;

/// What a run needs, if it came to its end: peak and last resident set.
fn needs(run: &Run) -> Option<u64> {
    let whole = run.error.is_none();
    run.peak_rss_bytes.zip(run.end_rss_bytes).filter(|_| whole).map(|(peak, end)| peak + end)
}

/// The sentence. What others are compared with is the recorded allocator run again, where it was;
/// else the recorded program.
pub(super) fn verdict(found: &Shootout) -> String {
    let again = found.reproduced.and_then(|index| found.allocators.get(index));
    let (stay, reference) = match again {
        Some(run) => (run.name.clone(), run),
        None => ("the recorded allocator".to_owned(), &found.recorded),
    };
    if let Some(text) = of_change(found) {
        return text;
    }
    let tried: Vec<(&Run, u64)> =
        found.allocators.iter().filter_map(|run| Some((run, needs(run)?))).collect();
    let Some(least) = tried.iter().map(|(_, needs)| *needs).min() else {
        return "No allocator came to the end of the run: there is nothing to compare.".to_owned();
    };
    let Some(now) = needs(reference) else {
        return "What the recorded program needed is not known: there is nothing to compare with."
            .to_owned();
    };
    let about = tried.iter().filter(|(_, needs)| *needs as f64 <= least as f64 * (1.0 + ABOUT));
    let Some((best, best_needs)) =
        about.min_by_key(|(run, needs)| (run.alloc_time_ns.unwrap_or(u64::MAX), *needs))
    else {
        return String::new();
    };
    let bar = found.error_ratio.unwrap_or(0.0).max(LEAST_GAIN);
    let gain = 1.0 - *best_needs as f64 / now.max(1) as f64;
    if gain <= bar || std::ptr::eq(*best, reference) {
        return format!(
            "Stay with {stay}: nothing that was tried needs at least {} less memory.",
            words::percent(bar)
        );
    }
    let change = |what: &str, of: fn(&Run) -> Option<u64>| {
        let (from, to) = (of(reference)?, of(best)?);
        Some(format!("{what} {} instead of {}", words::bytes(to), words::bytes(from)))
    };
    let figures: Vec<String> = [
        change("at the peak", |run| run.peak_rss_bytes),
        change("at the end", |run| run.end_rss_bytes),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!(
        "Best choice: {}. It would need {} less memory, peak and end together: {}{}.",
        best.shown(),
        words::percent(gain),
        figures.join(", "),
        cost(best, again)
    )
}

/// What a change of the program would save, on the first allocator that it was tried on.
fn of_change(found: &Shootout) -> Option<String> {
    let at = found.allocators.iter().position(|run| run.change.is_some())?;
    let changed = &found.allocators[at];
    let plain = found.allocators[..at].last()?;
    let what = changed.change.as_deref().unwrap_or_default();
    let (Some(before), Some(after)) = (needs(plain), needs(changed)) else {
        return Some(format!(
            "What {what} would save is not known: a run did not come to its end."
        ));
    };
    let figures = [
        ("at the peak", plain.peak_rss_bytes, changed.peak_rss_bytes),
        ("at the end", plain.end_rss_bytes, changed.end_rss_bytes),
    ];
    let figures = figures.map(|(when, from, to)| {
        let (from, to) = (words::bytes(from.unwrap_or(0)), words::bytes(to.unwrap_or(0)));
        if from == to {
            format!("{when} {to} as before")
        } else {
            format!("{when} {to} instead of {from}")
        }
    });
    let gain = 1.0 - after as f64 / before.max(1) as f64;
    let bar = found.error_ratio.unwrap_or(0.0).max(LEAST_GAIN);
    let saves = if gain > bar { "saves memory" } else { "saves little or nothing" };
    Some(format!("On {}, {what} {saves}: {}.", plain.name, figures.join(", ")))
}

/// What it costs in time, beside the recorded allocator run again.
fn cost(best: &Run, again: Option<&Run>) -> String {
    let times = again.and_then(|run| run.alloc_time_ns).zip(best.alloc_time_ns);
    match times {
        Some((before, now)) if before > 0 && now > 0 => {
            let ratio = now as f64 / before as f64;
            if (0.9..1.1).contains(&ratio) {
                "; time in its calls stays about the same".to_owned()
            } else {
                format!("; its calls take {} the time", words::ratio(ratio))
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, rss: u64, time_ns: u64) -> Run {
        Run {
            name: name.into(),
            peak_rss_bytes: Some(rss),
            end_rss_bytes: Some(rss),
            alloc_time_ns: Some(time_ns),
            ..Run::default()
        }
    }

    fn said(others: Vec<Run>, error: f64) -> String {
        let mut allocators = vec![run("glibc", 100 << 20, 100)];
        allocators.extend(others);
        let error_ratio = Some(error);
        verdict(&Shootout { allocators, error_ratio, reproduced: Some(0), ..Shootout::default() })
    }

    #[test]
    fn a_gain_is_named_with_its_cost() {
        let text = said(vec![run("jemalloc", 60 << 20, 150), run("mimalloc", 90 << 20, 50)], 0.01);
        assert_eq!(
            text,
            "Best choice: jemalloc. It would need 40 % less memory, peak and end together: at the peak 60.0 MiB instead \
             of 100 MiB, at the end 60.0 MiB instead of 100 MiB; its calls take 1.50× the time."
        );
    }

    #[test]
    fn of_two_about_as_good_the_faster_is_named() {
        let text = said(vec![run("one", 60 << 20, 150), run("two", 61 << 20, 100)], 0.01);
        assert!(text.starts_with("Best choice: two.") && text.contains("about the same"), "{text}");
    }

    #[test]
    fn a_gain_within_the_error_is_none() {
        let others = || vec![run("jemalloc", 92 << 20, 150)];
        assert!(said(others(), 0.1).starts_with("Stay with glibc"));
        assert!(said(others(), 0.01).starts_with("Best choice: jemalloc"));
    }

    #[test]
    fn a_run_that_was_stopped_is_no_choice() {
        let stopped = Run { error: Some("stopped".into()), ..run("jemalloc", 1, 1) };
        assert!(said(vec![stopped], 0.0).starts_with("Stay with glibc"));
    }
}
