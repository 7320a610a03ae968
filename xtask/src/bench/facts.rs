//! What a benchmark wants to know of a trace, from `fragtrace report --json`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell;

/// Figures of one trace.
#[derive(Clone)]
pub struct Facts {
    pub trace: PathBuf,
    pub events: f64,
    pub dropped_events: f64,
    pub bytes_per_event: Option<f64>,
    pub wrapped: bool,
    pub live_blocks: f64,
    pub looks: f64,
    pub tracer_cost_ns: f64,
}

impl Facts {
    pub fn read(fragtrace: &Path, trace: &Path) -> Result<Facts> {
        let text = shell::capture(Command::new(fragtrace).args(["report", "--json"]).arg(trace))?;
        let report: Value = serde_json::from_str(&text).context("fragtrace report --json")?;
        let number = |key: &str| {
            report["trace"][key].as_f64().with_context(|| format!("the report has no trace.{key}"))
        };
        Ok(Facts {
            trace: trace.to_path_buf(),
            events: number("events")?,
            dropped_events: number("dropped_events")?,
            bytes_per_event: report["trace"]["bytes_per_event"].as_f64(),
            wrapped: report["trace"]["wrapped"] == true,
            looks: number("looks")?,
            tracer_cost_ns: number("tracer_cost_ns")?,
            live_blocks: report["end"]["live_blocks"]
                .as_f64()
                .context("the report has no end.live_blocks")?,
        })
    }

    /// A figure of a run that was not recorded whole would flatter: say so beside it.
    pub fn caveat(&self) -> String {
        match self.dropped_events {
            0.0 => "All events were recorded.".to_owned(),
            dropped => format!("**{dropped} events were dropped: these figures do not count.**"),
        }
    }
}
