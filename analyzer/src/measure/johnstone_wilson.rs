//! The four measures of Johnstone and Wilson, "The Memory Fragmentation Problem: Solved?" (1998):
//! how much more memory is held than is live, so that 0 is none too much. Which of them says most
//! depends on the program; they agree where little is wasted.

use super::{Analysis, State};
use serde::Serialize;

/// Footprint beyond live bytes, as a share of live bytes. `None`: nothing was live, or the
/// footprint is not known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct JohnstoneWilson {
    /// Mean over time, while something was live.
    pub mean_ratio: Option<f64>,
    /// When most was live.
    pub at_peak_live_ratio: Option<f64>,
    /// When the footprint was greatest.
    pub at_peak_footprint_ratio: Option<f64>,
    /// The greatest footprint, beside the greatest live bytes at another moment.
    pub peak_to_peak_ratio: Option<f64>,
}

impl JohnstoneWilson {
    /// The four measures of a trace.
    pub fn of(analysis: &Analysis) -> JohnstoneWilson {
        let Analysis { peak, peak_footprint, series, .. } = analysis;
        JohnstoneWilson {
            mean_ratio: mean(series),
            at_peak_live_ratio: beyond(peak.footprint_bytes, peak.live_bytes),
            at_peak_footprint_ratio: beyond(
                peak_footprint.footprint_bytes,
                peak_footprint.live_bytes,
            ),
            peak_to_peak_ratio: beyond(peak_footprint.footprint_bytes, peak.live_bytes),
        }
    }
}

fn beyond(footprint_bytes: Option<u64>, live_bytes: u64) -> Option<f64> {
    let held = footprint_bytes.filter(|_| live_bytes > 0)?;
    Some(held as f64 / live_bytes as f64 - 1.0)
}

/// Each moment stands for the time until the next.
fn mean(series: &[State]) -> Option<f64> {
    let (mut sum, mut time) = (0.0, 0.0);
    for pair in series.windows(2) {
        let lasted = pair[1].time_ns.saturating_sub(pair[0].time_ns) as f64;
        if let Some(ratio) = beyond(pair[0].footprint_bytes, pair[0].live_bytes) {
            sum += ratio * lasted;
            time += lasted;
        }
    }
    (time > 0.0).then(|| sum / time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(time_ns: u64, live_bytes: u64, footprint_bytes: u64) -> State {
        let footprint_bytes = Some(footprint_bytes);
        State { time_ns, live_bytes, footprint_bytes, ..State::default() }
    }

    #[test]
    fn moments_weigh_as_long_as_they_last() {
        let series =
            vec![state(0, 0, 0), state(10, 100, 150), state(40, 100, 300), state(50, 50, 300)];
        let (peak, peak_footprint) = (series[1].clone(), series[3].clone());
        let analysis = Analysis { peak, peak_footprint, series, ..Analysis::default() };
        assert_eq!(
            JohnstoneWilson::of(&analysis),
            JohnstoneWilson {
                mean_ratio: Some((0.5 * 30.0 + 2.0 * 10.0) / 40.0),
                at_peak_live_ratio: Some(0.5),
                at_peak_footprint_ratio: Some(5.0),
                peak_to_peak_ratio: Some(2.0),
            }
        );
        assert_eq!(JohnstoneWilson::of(&Analysis::default()), JohnstoneWilson::default());
    }
}
