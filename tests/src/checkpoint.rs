//! Programs that tell in their middle what is true of them (`tests/programs/checkpoint.h`), and
//! what the report says of the same moments.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::check::{Answers, assert_near};
use crate::report::Report;
use crate::run::{command, run};
use crate::tools;
use crate::traced::{Traced, preload_list};

/// How far clocks of the program and of the report may be apart.
const CLOCKS_NS: u64 = 1_000_000;
/// What a page more or less of each of a few stacks and of the C library's comes to.
const FEW_PAGES_BYTES: u64 = 64 << 10;
/// Looks come often, so that a program need not hold for long.
const LOOK_MS: &str = "20";

/// A run with what its program and its report say.
pub struct Checkpoints {
    /// For messages.
    pub name: String,
    /// About the trace, which is complete.
    pub report: Report,
    answers: Answers,
}

impl Checkpoints {
    /// Runs a program under the tracer, with variables set; what is preloaded comes behind it.
    pub fn of(name: &str, command: Command, settings: &[(&str, &str)]) -> Self {
        Self::read(name, &Self::run(command, settings))
    }

    /// The first half of that: the program, which has its memory only as long.
    pub fn run(mut command: Command, settings: &[(&str, &str)]) -> Traced {
        command.env("FRAGTRACE_LOOK_MS", LOOK_MS);
        for (key, value) in settings {
            match *key {
                "LD_PRELOAD" => {
                    command.env(key, preload_list(&[&tools::tracer(), Path::new(value)]))
                }
                _ => command.env(key, value),
            };
        }
        Traced::run_well(command)
    }

    /// The second half: what it said, and what its report says.
    pub fn read(name: &str, traced: &Traced) -> Self {
        let (answers, report) = (Answers::of(&traced.outcome), traced.report());
        report.assert_complete();
        Self { name: name.into(), report, answers }
    }

    /// Runs a program under `fragtrace record`, which looks at it while it sleeps too.
    pub fn recorded(name: &str, program: &[&str], settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let trace = folder.path().join("recorded.ftr");
        let mut record = command(tools::analyzer());
        record.args(["record", "--look-ms", LOOK_MS, "-o"]).arg(&trace).arg("--").args(program);
        record.envs(settings.iter().copied());
        let answers = Answers::of(&run(&mut record).expect_code(0));
        let report = Report::of(&trace);
        report.assert_complete();
        Self { name: name.into(), report, answers }
    }

    /// The report's moments from after a step to before another.
    pub fn between(&self, step: &str, next: &str) -> Vec<Value> {
        let start_ns = self.report.number("/trace/start_unix_ns");
        let from_ns = self.said(step, "to_unix_ns") - start_ns;
        let times_ns = from_ns..self.said(next, "from_unix_ns") - start_ns;
        let states = self.report.array("/series").iter();
        states.filter(|state| times_ns.contains(&number(state, "time_ns"))).cloned().collect()
    }

    /// What the program and its allocator said at a step.
    pub fn said(&self, step: &str, key: &str) -> u64 {
        self.answers.get(&format!("{step}.{key}"))
    }

    /// The report's moments while the program stood still after a step: at least one.
    pub fn states(&self, step: &str) -> Vec<Value> {
        let start_ns = self.report.number("/trace/start_unix_ns");
        let at = |key: &str| self.said(step, key) - start_ns;
        let still = at("from_unix_ns") + CLOCKS_NS..at("to_unix_ns") - CLOCKS_NS;
        let states = self.report.array("/series").iter();
        let states: Vec<Value> =
            states.filter(|state| still.contains(&number(state, "time_ns"))).cloned().collect();
        assert!(!states.is_empty(), "{}: no moment of the series lies in {still:?}", self.name);
        states
    }

    /// Asserts that the figures are true at a step of a program in Rust (`tests/linked/src/lib.rs`):
    /// live bytes but for so many, usable bytes to a thousandth, resident bytes to 2 % of the kernel's,
    /// and what the allocator says of itself as it said it. Returns how many of the latter were compared.
    pub fn assert_true_at(&self, step: &str, of_threads_bytes: u64) -> usize {
        let claim = |key: &str| format!("{}, {step}: {key}", self.name);
        for state in self.states(step) {
            for key in ["live_bytes", "usable_bytes"] {
                // What the C library has for itself lives from the beginning on.
                let of_others = self.of_others(key) - self.said("begin", key);
                let expected = self.said(step, key) + of_others;
                let slack = if key == "usable_bytes" { expected / 1000 } else { 0 };
                assert_near(&claim(key), expected, number(&state, key), slack + of_threads_bytes);
            }
            let key = "heap_resident_bytes";
            let found = number(&state, key);
            let told = self.nearest(step, key, found);
            assert_near(&claim(key), told, found, told / 50 + FEW_PAGES_BYTES);
        }
        self.states(step).iter().map(|state| self.assert_own_figures(step, state)).sum()
    }

    /// As above, of what the allocator said of itself while the program stood still.
    fn assert_own_figures(&self, step: &str, state: &Value) -> usize {
        let view = &state["allocator_view"];
        let asked_ns = || number(state, "time_ns").checked_sub(view["age_ns"].as_u64()?);
        let still_ns = self.said(&format!("{step}.before"), "unix_ns") + CLOCKS_NS;
        let start_ns = self.report.number("/trace/start_unix_ns");
        if asked_ns().is_none_or(|asked_ns| asked_ns + start_ns < still_ns) {
            return 0;
        }
        let figures = view["figures"].as_object().expect("figures by name");
        let told = figures.iter().filter(|(key, _)| self.answers.has(&format!("{step}.{key}")));
        let compared = told.map(|(key, figure)| {
            let figure = figure.as_u64().expect("a number of bytes");
            let told = self.nearest(step, key, figure);
            assert_near(&format!("{}, {step}: {key}", self.name), told, figure, 0);
        });
        compared.count()
    }

    /// Of all that a figure can have been while the program stood still, what is nearest to this: what
    /// threads of the allocator's give back meanwhile goes one way, and was told before and after.
    fn nearest(&self, step: &str, key: &str, found: u64) -> u64 {
        let [before, after] = ["before", "after"].map(|part| format!("{step}.{part}"));
        let told = [before.as_str(), step, after.as_str()].map(|when| self.said(when, key));
        let (least, most) = (told.iter().min(), told.iter().max());
        found.clamp(*least.unwrap_or(&found), *most.unwrap_or(&found))
    }

    /// Whether what the report says of a moment is no older than the step's rest, by a key of its age.
    pub fn is_since_rest(&self, step: &str, state: &Value, age: &str) -> bool {
        let start_ns = self.report.number("/trace/start_unix_ns");
        let found_ns = number(state, "time_ns").saturating_sub(number(state, age));
        found_ns > self.said(step, "quiet_unix_ns") - start_ns
    }

    /// A figure of the report at the program's first step, before it has any block: what the C
    /// library, libstdc++ and the allocator's library took for themselves.
    pub fn of_others(&self, key: &str) -> u64 {
        number(&self.states("begin")[0], key)
    }
}

/// A figure of a moment.
pub fn number(state: &Value, key: &str) -> u64 {
    state[key].as_u64().unwrap_or_else(|| panic!("{key} is {}", state[key]))
}
