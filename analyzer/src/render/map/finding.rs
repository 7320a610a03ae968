//! The sentence above the map, computed from its cells: how full the held heap was when
//! most was live, and how full it is at the end.

use crate::measure::{Cell, HeapMap};
use crate::render::picture::scale;

/// Cells held at one moment, and how many of them would hold all that is live there.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fill {
    held: f64,
    live: f64,
}

impl Fill {
    fn of(column: &[Cell]) -> Self {
        column.iter().fold(Self { held: 0.0, live: 0.0 }, |fill, cell| match cell {
            Cell::Used { live, held } => {
                let held = f64::from(*held) / 255.0;
                Self { held: fill.held + held, live: fill.live + held * f64::from(*live) / 255.0 }
            }
            _ => fill,
        })
    }

    fn share(&self) -> f64 {
        self.live / self.held
    }
}

/// What stays live fills cells a little differently from moment to moment: of those with about the most,
/// the one that is nearest to the peak.
const SAME_LIVE: f64 = 0.995;

/// Two sentences, of a heap that had most live at `peak_ns`; one or none when there is too little to say.
pub(super) fn sentence(map: &HeapMap, peak_ns: u64) -> String {
    let fills = map.columns.iter().map(|column| Fill::of(column));
    let moments: Vec<(u64, Fill)> = map.times_ns.iter().copied().zip(fills).collect();
    let most = moments.iter().map(|(_, fill)| fill.live).fold(0.0, f64::max);
    let fullest = moments.iter().filter(|(_, fill)| fill.live >= most * SAME_LIVE);
    let fullest = fullest.min_by_key(|(time_ns, _)| time_ns.abs_diff(peak_ns));
    let (Some((peak_ns, peak)), Some((end_ns, end))) = (fullest, moments.last()) else {
        return String::new();
    };
    if peak.live == 0.0 {
        return String::new();
    }
    let first = format!(
        "When most was live ({}), blocks filled {} of the heap that was held.",
        scale::duration(*peak_ns),
        scale::percent(peak.share())
    );
    if peak_ns == end_ns {
        return first;
    }
    let second = if end.held == 0.0 {
        "At the end nothing is held.".to_owned()
    } else {
        let size = match end.held / peak.held {
            same if (0.98..1.02).contains(&same) => "as large as then".to_owned(),
            ratio => format!("{} of that size", scale::percent(ratio)),
        };
        let fill = scale::percent(end.share());
        if end.share() < peak.share() * 0.75 {
            let only = if end.share() < 0.01 { "" } else { "only " };
            format!("At the end the heap is {size}, but blocks fill {only}{fill} of it.")
        } else {
            format!("At the end the heap is {size}, and blocks fill {fill} of it.")
        }
    };
    format!("{first} {second}")
}

/// One sentence, of a map of one moment.
pub(super) fn of_one_moment(map: &HeapMap) -> String {
    let Some(fill) = map.columns.first().map(|column| Fill::of(column)) else {
        return String::new();
    };
    if fill.held == 0.0 {
        return String::new();
    }
    let bytes = (fill.held * map.cell_bytes as f64) as u64;
    format!("Blocks fill {} of the {} held.", scale::percent(fill.share()), scale::bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(columns: Vec<Vec<Cell>>) -> String {
        said_with_peak(columns, 1_000_000_000)
    }

    fn said_with_peak(columns: Vec<Vec<Cell>>, peak_ns: u64) -> String {
        let times_ns = (1..=columns.len() as u64).map(|t| t * 1_000_000_000).collect();
        let map = HeapMap { cell_bytes: 4096, bands: vec![], times_ns, columns, owners: None };
        sentence(&map, peak_ns)
    }

    #[test]
    fn a_heap_that_emptied_but_was_kept_is_said_so() {
        let full = vec![Cell::Used { live: 255, held: 255 }; 10];
        let sparse = vec![Cell::Used { live: 25, held: 255 }; 9];
        assert_eq!(
            said(vec![full.clone(), sparse]),
            "When most was live (1.00 s), blocks filled 100 % of the heap that was held. \
             At the end the heap is 90 % of that size, but blocks fill only 10 % of it."
        );
        assert_eq!(
            said(vec![full.clone(), vec![Cell::GivenBack; 10]]),
            "When most was live (1.00 s), blocks filled 100 % of the heap that was held. \
             At the end nothing is held."
        );
    }

    #[test]
    fn of_moments_with_about_the_most_it_is_the_one_at_the_peak() {
        let cells = |live| vec![Cell::Used { live, held: 255 }; 10];
        let said = |peak_ns| {
            said_with_peak(vec![cells(100), cells(254), cells(255), cells(254), cells(25)], peak_ns)
        };
        assert!(said(2_100_000_000).starts_with("When most was live (2.00 s)"));
        assert!(said(3_900_000_000).starts_with("When most was live (4.00 s)"));
        // Too short to be seen at any moment.
        assert!(said(5_000_000_000).starts_with("When most was live (4.00 s)"));
    }

    #[test]
    fn cells_of_which_a_part_was_given_back_count_for_that_much_less() {
        let full = vec![Cell::Used { live: 255, held: 255 }; 10];
        let partly = vec![Cell::Used { live: 51, held: 51 }; 10];
        assert_eq!(
            said(vec![full, partly]),
            "When most was live (1.00 s), blocks filled 100 % of the heap that was held. \
             At the end the heap is 20 % of that size, but blocks fill only 20 % of it."
        );
    }

    #[test]
    fn nothing_is_said_of_a_heap_that_never_held_anything() {
        assert_eq!(said(vec![]), "");
        assert_eq!(said(vec![vec![Cell::Unused; 3]]), "");
        assert!(!said(vec![vec![Cell::Used { live: 255, held: 255 }]]).contains("At the end"));
    }
}
