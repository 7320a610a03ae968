//! A trace, judged: who pins its heap, and what is wrong with it, at the end or before the program
//! freed all that it had and exited. What report, page and pictures have in common.

use super::anonymize;
use fragtrace_analyzer::diagnose::{Case, Diagnoses, diagnose, diagnose_before_teardown};
use fragtrace_analyzer::measure::blame::{Blame, By, PinnedHeap};
use fragtrace_analyzer::measure::{self, Analysis, Checkpoint, HeapShape};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::replay::Replay;
use fragtrace_analyzer::symbols::Symbols;
use std::panic::resume_unwind;
use std::thread;

/// Judges the heap, which `replay` has as it is at the end, and `checkpoint` as it was before the
/// process began to exit, if that was kept; with `hidden`, names that may be those
/// of people or machines are taken out of the analysis as well. The blame is that at the end.
pub fn judge<'t>(
    trace: &'t Trace,
    analysis: &mut Analysis,
    (replay, checkpoint): (Replay<'t>, Option<Checkpoint<'t>>),
    symbols: &mut Symbols<'t>,
    hidden: bool,
) -> (Blame, Diagnoses) {
    let at_end = || PinnedHeap::at_end(trace, &replay, By::Function);
    let (blame, shape) = told(trace, at_end, analysis, &replay, symbols, hidden);
    // One heap at a time.
    drop(replay);
    let at_end = Case { analysis, blame: &blame, shape: &shape };
    let before = before_teardown(trace, &at_end, checkpoint, symbols, hidden);
    let diagnoses = before.unwrap_or_else(|| diagnose(&at_end));
    (blame, diagnoses)
}

/// The heap as it was before the program freed all and exited, judged. `None`: it did not, or
/// nothing can be told of that either.
fn before_teardown<'t>(
    trace: &'t Trace,
    at_end: &Case<'_>,
    checkpoint: Option<Checkpoint<'t>>,
    symbols: &mut Symbols<'t>,
    hidden: bool,
) -> Option<Diagnoses> {
    let at_ns = measure::teardown_ns(at_end.analysis)?;
    let (mut analysis, replay) = measure::analyze_until(trace, at_ns, checkpoint);
    let heap = || PinnedHeap::new(trace, &replay, at_ns, By::Function);
    let (blame, shape) = told(trace, heap, &mut analysis, &replay, symbols, hidden);
    let case = Case { analysis: &analysis, blame: &blame, shape: &shape };
    let diagnoses = diagnose_before_teardown(&case, at_ns);
    diagnoses.cannot_tell.is_none().then_some(diagnoses)
}

/// Who pins a heap, and its shape, at the end of an analysis: each goes through all blocks.
fn told<'r, 't: 'r>(
    trace: &'t Trace,
    heap: impl FnOnce() -> PinnedHeap<'r, 't> + Send,
    analysis: &mut Analysis,
    replay: &Replay<'t>,
    symbols: &mut Symbols<'t>,
    hidden: bool,
) -> (Blame, HeapShape) {
    let (heap, mut shape) = thread::scope(|scope| {
        let heap = scope.spawn(heap);
        let shape = HeapShape::of(trace, replay, analysis.end.time_ns, &analysis.steps, symbols);
        (heap.join().unwrap_or_else(|panic| resume_unwind(panic)), shape)
    });
    let mut blame = heap.blame(symbols);
    if hidden {
        let exe = &trace.process().exe;
        anonymize::facts(&mut analysis.trace);
        anonymize::sites(&mut blame.sites, exe);
        anonymize::calls_of(&mut shape, exe);
    }
    (blame, shape)
}
