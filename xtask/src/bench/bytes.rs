//! How many bytes of trace an event takes, over programs of different habits.

use super::facts::Facts;
use super::table::{Table, figure, grouped};

/// A program, and the facts of its trace without stacks and with them; `None`: not installed.
#[derive(Clone)]
pub struct Row {
    pub name: String,
    pub without: Option<Facts>,
    pub with: Option<Facts>,
    /// Whether it is one of the programs whose mean is told: not what does nothing but allocate alike.
    pub in_mix: bool,
}

/// The section; all programs were traced already.
pub fn section(rows: &[Row]) -> String {
    let mut table = Table::new(&["program", "events", "without stacks", "with stacks"]);
    let mut notes = vec![];
    let mut sums = [(0.0, 0.0); 2];
    for row in rows {
        let Some(events) = row.with.as_ref().map(|facts| facts.events) else {
            notes.push(format!("{}: not installed.", row.name));
            continue;
        };
        let kinds = [&row.without, &row.with].map(|facts| facts.as_ref());
        let each = kinds.map(|facts| facts.and_then(|facts| facts.bytes_per_event));
        table.row([
            row.name.clone(),
            grouped(events),
            figure(each[0], 2, ""),
            figure(each[1], 2, ""),
        ]);
        for (sum, each) in sums.iter_mut().zip(each) {
            if let Some(each) = each.filter(|_| row.in_mix) {
                *sum = (sum.0 + each, sum.1 + 1.0);
            }
        }
        let dropped = kinds.into_iter().flatten().find(|facts| facts.dropped_events > 0.0);
        notes.extend(dropped.map(|facts| format!("{}: {}", row.name, facts.caveat())));
    }
    // Each program counts as much, however long it ran.
    let mean = sums.map(|(sum, count)| (count > 0.0).then(|| sum / count));
    table.row([
        "mean, without the pair and 32 threads".to_owned(),
        String::new(),
        figure(mean[0], 2, ""),
        figure(mean[1], 2, ""),
    ]);
    format!("### Bytes an event\n\n{}\n\n{table}", notes.join(" "))
}
