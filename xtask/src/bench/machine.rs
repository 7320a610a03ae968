//! What machine the figures are from: without it they say nothing.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// One paragraph: processor, cores, memory, kernel, libc, date and how often each figure was taken.
pub fn describe(runs: usize) -> Result<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = shell::capture(Command::new("date").args(["-u", "+%F"]))?;
    let libc = shell::capture(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    Ok(format!(
        "{} with {cores} cores, {:.0} GiB, Linux {}, {}; {}. Medians of {runs} runs, interleaved.",
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        memory_gib(),
        kernel.trim(),
        libc.as_deref().unwrap_or("no glibc").trim(),
        date.trim(),
    ))
}

/// The value of the first line `name : value`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_gib() -> f64 {
    let total = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kib: f64 = total.trim_end_matches(" kB").parse().unwrap_or(0.0);
    kib / f64::from(1 << 20)
}
