//! Sizes, spans, counts and shares as every text says them.

/// A unit: how much it is of the axis's own, and its sign.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    pub size: f64,
    pub sign: &'static str,
}

pub(crate) const BYTES: [Unit; 6] = [
    Unit { size: 1.0, sign: "B" },
    Unit { size: 1024.0, sign: "KiB" },
    Unit { size: 1048576.0, sign: "MiB" },
    Unit { size: 1073741824.0, sign: "GiB" },
    Unit { size: 1099511627776.0, sign: "TiB" },
    Unit { size: 1125899906842624.0, sign: "PiB" },
];

pub(crate) const TIMES: [Unit; 7] = [
    Unit { size: 1.0, sign: "ns" },
    Unit { size: 1e3, sign: "µs" },
    Unit { size: 1e6, sign: "ms" },
    Unit { size: 1e9, sign: "s" },
    Unit { size: 60e9, sign: "min" },
    Unit { size: 3600e9, sign: "h" },
    Unit { size: 86400e9, sign: "d" },
];

/// The largest unit of which `value` holds at least `least`.
pub(crate) fn unit_of(units: &[Unit], value: f64, least: f64) -> Unit {
    *units.iter().rev().find(|unit| value >= unit.size * least).unwrap_or(&units[0])
}

/// A number with `decimals` decimals and commas between thousands.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{:.*}", decimals, value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.push('−');
    }
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// Three figures are what an eye takes in: 1.25, 12.5, 125, 1,250.
fn three_figures(value: f64) -> String {
    let decimals = match value.abs() {
        v if v == 0.0 || v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    number(value, decimals)
}

/// A size in bytes: "640 B", "12.5 MiB".
pub(crate) fn bytes(value: u64) -> String {
    let unit = unit_of(&BYTES, value as f64, 0.9995);
    match unit.sign {
        "B" => format!("{value} B"),
        sign => format!("{} {sign}", three_figures(value as f64 / unit.size)),
    }
}

/// A span of time in nanoseconds: "850 ms", "9.80 s".
pub(crate) fn duration(value_ns: u64) -> String {
    if value_ns == 0 {
        return "0 s".to_owned();
    }
    let unit = unit_of(&TIMES, value_ns as f64, if value_ns >= 60_000_000_000 { 2.0 } else { 1.0 });
    format!("{} {}", three_figures(value_ns as f64 / unit.size), unit.sign)
}

/// A count: "12,345".
pub(crate) fn count(value: u64) -> String {
    number(value as f64, 0)
}

/// A ratio: "2.50×".
pub(crate) fn ratio(value: f64) -> String {
    if value.is_finite() { format!("{}×", three_figures(value)) } else { "∞".to_owned() }
}

/// A share from 0 to 1 as a percentage that never rounds something to nothing.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p <= 0.0 => "0 %".to_owned(),
        p if p < 1.0 => "under 1 %".to_owned(),
        p if p > 99.0 && p < 100.0 => "over 99 %".to_owned(),
        p => format!("{p:.0} %"),
    }
}
