//! `report --check` and its bounds: what a pipeline fails on.

use super::arguments;
use anyhow::{Result, bail};
use clap::Args;
use fragtrace_analyzer::diagnose::{Diagnoses, Severity};
use fragtrace_analyzer::measure::Analysis;
use fragtrace_analyzer::render::text::size_in_words;
use std::io::{self, Write};

/// The status that says so.
const FINDINGS: u8 = 1;

#[derive(Debug, Clone, Default, Args)]
pub struct Bounds {
    /// Fail if (heap resident - live) / live is above this at the end
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    max_fragmentation: Option<f64>,

    /// Fail if more pinned waste than this is left at the end
    #[arg(long, value_name = "SIZE", value_parser = arguments::size)]
    max_pinned: Option<u64>,

    /// Fail if RSS, the tracer's own left out, was ever seen above this
    #[arg(long, value_name = "SIZE", value_parser = arguments::size)]
    max_rss: Option<u64>,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio: &f64| ratio.is_finite() && *ratio >= 0.0);
    ratio.ok_or_else(|| "a ratio is a number such as 0.5, which is half as much again".into())
}

impl Bounds {
    pub fn any(&self) -> bool {
        self.max_fragmentation.is_some() || self.max_pinned.is_some() || self.max_rss.is_some()
    }

    /// The exit status; says on standard error what is above its bound.
    ///
    /// # Errors
    /// When a figure that has a bound is not known.
    pub fn status(&self, check: bool, analysis: &Analysis, found: &Diagnoses) -> Result<u8> {
        let broken = self.broken(analysis)?;
        for line in &broken {
            let _ = writeln!(io::stderr(), "fragtrace: {line}");
        }
        let ill = check && found.worst().is_some_and(|worst| worst >= Severity::Warning);
        Ok(if ill || !broken.is_empty() { FINDINGS } else { 0 })
    }

    /// What is above its bound, in words.
    fn broken(&self, analysis: &Analysis) -> Result<Vec<String>> {
        let end = &analysis.end;
        let mut broken = Vec::new();
        if let Some(most) = self.max_fragmentation {
            // Of nothing live there is no ratio, and no fragmentation either.
            let ratio = if end.live_bytes == 0 {
                0.0
            } else {
                known(end.fragmentation_ratio, "--max-fragmentation")?
            };
            if ratio > most {
                broken.push(format!("fragmentation is {ratio:.2} at the end, above {most}"));
            }
        }
        if let Some(most) = self.max_pinned {
            let pinned = known(end.pinned_waste_bytes, "--max-pinned")?;
            broken.extend(above("pinned waste at the end", pinned, most));
        }
        if let Some(most) = self.max_rss {
            let rss = analysis.series.iter().filter_map(|state| state.rss_bytes).max();
            broken.extend(above("the greatest RSS seen", known(rss, "--max-rss")?, most));
        }
        Ok(broken)
    }
}

fn above(what: &str, bytes: u64, most: u64) -> Option<String> {
    (bytes > most)
        .then(|| format!("{what} is {}, above {}", size_in_words(bytes), size_in_words(most)))
}

fn known<T>(figure: Option<T>, option: &str) -> Result<T> {
    match figure {
        Some(figure) => Ok(figure),
        None => bail!(
            "what {option} bounds is not known from this trace\n\
             it needs looks at the kernel's view; see `fragtrace doctor`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fragtrace_analyzer::measure::State;

    fn analysis() -> Analysis {
        let end = State {
            live_bytes: 100,
            fragmentation_ratio: Some(0.6),
            pinned_waste_bytes: Some(5 << 20),
            rss_bytes: Some(8 << 20),
            ..State::default()
        };
        Analysis { series: vec![end.clone()], end, ..Analysis::default() }
    }

    #[test]
    fn a_figure_at_its_bound_is_within() {
        let bounds = Bounds {
            max_fragmentation: Some(0.6),
            max_pinned: Some(5 << 20),
            max_rss: Some(8 << 20),
        };
        assert!(bounds.broken(&analysis()).expect("known").is_empty());
    }

    #[test]
    fn each_bound_is_held_for_itself() {
        let bounds =
            Bounds { max_fragmentation: Some(0.5), max_pinned: Some(1), max_rss: Some(9 << 20) };
        let broken = bounds.broken(&analysis()).expect("known");
        assert_eq!(
            broken,
            [
                "fragmentation is 0.60 at the end, above 0.5",
                "pinned waste at the end is 5.00 MiB, above 1 B"
            ]
        );
    }

    #[test]
    fn what_is_not_known_cannot_be_checked() {
        let unknown = Analysis { end: State { live_bytes: 1, ..State::default() }, ..analysis() };
        let bounds = Bounds { max_fragmentation: Some(0.5), ..Bounds::default() };
        let error = bounds.broken(&unknown).expect_err("not known");
        assert!(error.to_string().contains("--max-fragmentation"), "{error}");
        assert!(["-1", "nan", "inf", "much"].iter().all(|text| ratio(text).is_err()));
    }
}
