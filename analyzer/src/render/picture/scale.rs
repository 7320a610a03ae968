//! Round numbers for axes, and numbers as people read them.
//!
//! Ticks stand at 1, 2 or 5 times a power of ten of a unit: of KiB, MiB, GiB for sizes,
//! of seconds and their like for time.

use crate::words::{BYTES, TIMES, Unit, number, unit_of};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

pub(crate) use crate::words::{bytes, count, duration, percent, ratio};

/// The greatest number of ticks that any axis gets, whatever was asked for.
const MOST_TICKS: usize = 50;

/// Ticks on an axis, and the unit in which they are labelled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ticks {
    /// Where they stand, in bytes, nanoseconds or counts.
    pub at: Vec<f64>,
    unit: Unit,
    decimals: usize,
}

/// Ticks for sizes in bytes from 0 up to `max`, at most `most` of them.
pub(crate) fn byte_ticks(max: f64, most: usize) -> Ticks {
    Ticks::new(0.0, max, most, unit_of(&BYTES, max, 2.0))
}

/// Ticks for the time from `start` to `end` in nanoseconds, at most `most` of them.
pub(crate) fn time_ticks(start: f64, end: f64, most: usize) -> Ticks {
    // Seconds up to five minutes, minutes up to five hours: as one says it.
    let span = end - start;
    let least = if span >= 60e9 { 5.0 } else { 1.0 };
    Ticks::new(start, end, most, unit_of(&TIMES, span, least))
}

/// Ticks for whole things from 0 up to `max`, at most `most` of them.
pub(crate) fn count_ticks(max: f64, most: usize) -> Ticks {
    let mut ticks = Ticks::new(0.0, max, most, Unit { size: 1.0, sign: "" });
    ticks.at.retain(|at| at.fract() == 0.0);
    ticks.decimals = 0;
    ticks
}

/// Ticks for ratios from 0 up to `max`, at most `most` of them.
pub(crate) fn ratio_ticks(max: f64, most: usize) -> Ticks {
    Ticks::new(0.0, max, most, Unit { size: 1.0, sign: "×" })
}

impl Ticks {
    fn new(start: f64, end: f64, most: usize, unit: Unit) -> Self {
        let (from, to) = (start / unit.size, end / unit.size);
        let most = most.clamp(2, MOST_TICKS);
        let length = to - from;
        if !length.is_finite() || length <= 0.0 {
            return Self { at: vec![start], unit, decimals: 0 };
        }
        // The least step that gives no more ticks than asked for, but never a lone one.
        let least_step = length / most as f64;
        let power = 10f64.powf(least_step.log10().floor());
        let steps = [0.5, 1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let wanted = steps.iter().position(|step| *step >= least_step * 0.999).unwrap_or(4).max(1);
        let step = if steps[wanted] <= length { steps[wanted] } else { steps[wanted - 1] };
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let first = (from / step - 1e-6).ceil();
        let at = (0..MOST_TICKS)
            .map(|i| (first + i as f64) * step)
            .take_while(|at| *at <= to + step * 1e-6)
            .map(|at| at * unit.size)
            .collect();
        Self { at, unit, decimals }
    }

    /// The label of a tick: "50 MiB", "2.5 s", "10,000".
    pub(crate) fn label(&self, at: f64) -> String {
        let number = number(at / self.unit.size, self.decimals);
        match self.unit.sign {
            "" => number,
            "×" => format!("{number}×"),
            sign => format!("{number} {sign}"),
        }
    }
}

/// An axis of a chart, as plotters takes it: a range that is never empty, and its ticks.
pub(crate) struct Axis {
    pub range: Range<f64>,
    pub ticks: Ticks,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, end): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        // The end is outside, whichever way the axis runs.
        let length = f64::from(end - first - (end - first).signum());
        first + (share.clamp(0.0, 1.0) * length).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.at.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.label(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &Ticks) -> Vec<String> {
        ticks.at.iter().map(|at| ticks.label(*at)).collect()
    }

    #[test]
    fn sizes_tick_at_round_binary_units() {
        let mib = 1048576.0;
        let expected = ["0 MiB", "50 MiB", "100 MiB", "150 MiB", "200 MiB"];
        assert_eq!(labels(&byte_ticks(212.0 * mib, 6)), expected);
        let expected = ["0 MiB", "500 MiB", "1,000 MiB", "1,500 MiB"];
        assert_eq!(labels(&byte_ticks(1.5 * 1024.0 * mib, 4)), expected);
        assert_eq!(labels(&byte_ticks(2.5 * 1024.0 * mib, 4)), ["0 GiB", "1 GiB", "2 GiB"]);
        assert_eq!(labels(&byte_ticks(0.0, 4)), ["0 B"]);
        assert_eq!(labels(&byte_ticks(1.0, 2)), ["0.0 B", "0.5 B", "1.0 B"]);
        assert_eq!(labels(&byte_ticks(4.1 * mib, 2)), ["0 MiB", "2 MiB", "4 MiB"]);
    }

    #[test]
    fn time_ticks_start_inside_the_window() {
        assert_eq!(labels(&time_ticks(0.0, 9.8e9, 6)), ["0 s", "2 s", "4 s", "6 s", "8 s"]);
        assert_eq!(labels(&time_ticks(1.9e9, 3.4e9, 4)), ["2.0 s", "2.5 s", "3.0 s"]);
        assert_eq!(labels(&time_ticks(0.0, 90e9, 4)), ["0 s", "50 s"]);
        assert_eq!(
            labels(&time_ticks(0.0, 1200e9, 5)),
            ["0 min", "5 min", "10 min", "15 min", "20 min"]
        );
    }

    #[test]
    fn counts_tick_at_whole_numbers() {
        assert_eq!(labels(&count_ticks(12_345.0, 4)), ["0", "5,000", "10,000"]);
        assert_eq!(labels(&count_ticks(1.0, 5)), ["0", "1"]);
    }

    #[test]
    fn no_number_is_too_strange_for_an_axis() {
        for max in [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MAX, u64::MAX as f64, 1e-300] {
            for most in [0, 1, 5, 1_000_000] {
                assert!(byte_ticks(max, most).at.len() <= MOST_TICKS);
                assert!(ratio_ticks(max, most).at.len() <= MOST_TICKS);
                assert!(time_ticks(max, max, most).at.len() <= MOST_TICKS);
            }
        }
    }

    #[test]
    fn values_are_short_and_carry_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(212 << 20), "212 MiB");
        assert_eq!(bytes((1 << 30) - 1), "1.00 GiB");
        assert_eq!(bytes(u64::MAX), "16,384 PiB");
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(850_000_000), "850 ms");
        assert_eq!(duration(9_800_000_000), "9.80 s");
        assert_eq!(duration(90_000_000_000), "90.0 s");
        assert_eq!(duration(7_200_000_000_000), "2.00 h");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(ratio(2.5), "2.50×");
        assert_eq!(ratio(f64::INFINITY), "∞");
        assert_eq!([percent(0.0), percent(0.001), percent(0.5)], ["0 %", "under 1 %", "50 %"]);
    }
}
