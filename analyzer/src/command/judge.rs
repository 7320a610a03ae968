//! Judges the heap of a trace: as it was at the end, or before the program freed all that it had
//! and exited.

use super::anonymize;
use fragtrace_analyzer::diagnose::{Case, Diagnoses, diagnose, diagnose_before_teardown};
use fragtrace_analyzer::measure::blame::{By, PinnedHeap};
use fragtrace_analyzer::measure::{self, HeapShape};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::symbols::Symbols;

/// Judges; `at_end` is the heap in the end, which also counts where nothing can be told of before.
pub fn judge<'t>(
    trace: &'t Trace,
    at_end: &Case<'_>,
    symbols: &mut Symbols<'t>,
    is_anonymous: bool,
) -> Diagnoses {
    let Some(at_ns) = measure::teardown_ns(at_end.analysis) else { return diagnose(at_end) };
    let (mut analysis, replay) = measure::analyze_until(trace, at_ns);
    let mut blame = PinnedHeap::new(trace, &replay, at_ns, By::Function).blame(symbols);
    let mut shape = HeapShape::of(trace, &replay, at_ns, &analysis.steps, symbols);
    if is_anonymous {
        let exe = &trace.process().exe;
        anonymize::facts(&mut analysis.trace);
        anonymize::sites(&mut blame.sites, exe);
        anonymize::calls_of(&mut shape, exe);
    }
    let case = Case { analysis: &analysis, blame: &blame, shape: &shape };
    let before = diagnose_before_teardown(&case, at_ns);
    if before.cannot_tell.is_some() { diagnose(at_end) } else { before }
}
