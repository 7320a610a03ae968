//! Markdown tables that are also readable as they are, in a terminal.

use std::fmt;

/// A table: its first column is text, all others are figures.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| {
                self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0)
            })
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, &width) in widths.iter().enumerate() {
                match column {
                    0 => write!(out, "| {:<width$} |", cell(row, column))?,
                    _ => write!(out, " {:>width$} |", cell(row, column))?,
                }
            }
            writeln!(out)?;
            if number == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width.max(2) + 1);
                    match column {
                        0 => write!(out, "|{dashes}-|")?,
                        _ => write!(out, "{dashes}:|")?,
                    }
                }
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

/// The middle value; of an even number, the mean of the two. `None` of nothing.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// A figure with so many decimals, or a dash where there is none.
pub fn figure(value: Option<f64>, decimals: usize, unit: &str) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}{unit}"))
}

/// A whole number in groups of three digits.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_and_the_mean_of_two_middles() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn grouped_separates_thousands() {
        assert_eq!(grouped(999.4), "999");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }

    #[test]
    fn table_lines_up_and_is_markdown() {
        let mut table = Table::new(&["program", "ns"]);
        table.row(["pair".to_owned(), "18.2".to_owned()]);
        assert_eq!(
            table.to_string(),
            "| program |   ns |\n|---------|-----:|\n| pair    | 18.2 |\n"
        );
    }
}
