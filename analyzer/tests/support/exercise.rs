//! All that the analyzer does with a trace, for traces that nobody would write.

use fragtrace_analyzer::diagnose::Diagnoses;
use fragtrace_analyzer::measure::blame::{By, PinnedHeap, heap_at};
use fragtrace_analyzer::measure::frames::frames;
use fragtrace_analyzer::measure::{self, Analysis, Kinds, KindsBy};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::render::html::{HtmlExtras, page};
use fragtrace_analyzer::symbols::{Places, Rules, Symbols};

/// Does everything that can be done with a trace.
pub fn exercise(trace: &Trace) {
    let analysis = measure::analyze(trace);
    assert!(analysis.series.len() <= 2000);
    let (_, map, replay, _) = measure::analyze_with_map(trace, 50);
    assert!(map.bands.len() < 10_000);
    let axis = measure::heap_axis(trace, &replay, 50);
    drop(replay);
    for by in [KindsBy::Thread, KindsBy::Age] {
        let mut symbols = Symbols::new(trace, Places::default(), Rules::default());
        let mut kinds = Kinds::new(by, trace, &mut symbols);
        let map = measure::heap_map(trace, 2, axis.clone(), Some(&mut kinds));
        assert_eq!(map.owners.map(|owners| owners.columns.len()), Some(2));
    }
    // It packs up to 70 MB: of many traces, one in sixteen.
    if trace.last_stamp().is_multiple_of(16) {
        exercise_page(trace, &analysis);
    }
    let end_ns = analysis.trace.duration_ns;
    measure::holes_at(trace, end_ns / 2, 20).fit_share(100);
    for by in [By::Stack, By::Module, By::Thread] {
        let replay = heap_at(trace, end_ns);
        let mut symbols = Symbols::new(trace, Places::default(), Rules::default());
        let blame = PinnedHeap::new(trace, &replay, end_ns, by).blame(&mut symbols);
        let charged: u64 = blame.sites.iter().map(|site| site.pinned_bytes).sum();
        assert!(blame.sites.is_empty() || charged == blame.pinned_waste_bytes);
    }
}

fn exercise_page(trace: &Trace, analysis: &Analysis) {
    let mut symbols = Symbols::new(trace, Places::default(), Rules::default());
    let (seen, frames, ..) = frames(trace, &mut symbols);
    assert_eq!(&seen, analysis, "looking on changes nothing");
    let page = page(&seen, &Diagnoses::default(), frames, &HtmlExtras::default());
    assert!(page.expect("it can be packed").len() <= 5_000_000);
}
