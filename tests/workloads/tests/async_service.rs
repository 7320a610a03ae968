//! A service on tokio under load: how many blocks are freed by another thread than allocated them is
//! what the program itself counts, and beside it (N − 1)/N of N workers that steal work.
#![forbid(unsafe_code)]

use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::shootout::assert_reproduced;
use fragtrace_tests::traced::Traced;

/// The runtime hands tasks and their results over too: of all frees at most one in so many.
const OF_THE_RUNTIME: u64 = 200;
/// Workers share the work unevenly where processors are few and busy: so much of (N − 1)/N is there.
const LEAST_PART: f64 = 0.75;
const MOST_RUNS: usize = 4;

struct Service {
    report: Report,
    /// What the program counted.
    freed: u64,
    crossed: u64,
}

fn service(runtime: &str, workers: u32) -> Service {
    let mut line = command(env!("CARGO_BIN_EXE_async-service"));
    line.args([runtime, &workers.to_string()]);
    let traced = Traced::run_well(line);
    let said = traced.outcome.out();
    let number = |key: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|number| number.trim().parse().ok())
            .expect("the program says what it counted")
    };
    let (freed, crossed) = (number("freed"), number("crossed"));
    let report = traced.report();
    report.assert_complete();
    Service { report, freed, crossed }
}

impl Service {
    /// Frees on another thread, by what the report says of the pairs of threads.
    fn crossed_by_pairs(&self) -> u64 {
        let pairs = self.report.array("/trace/cross_thread_pairs").iter();
        pairs.map(|pair| pair["blocks"].as_u64().expect("a number")).sum()
    }

    /// Of all frees, those on another thread.
    fn share(&self) -> f64 {
        let crossed = self.report.number("/end/cross_thread_frees");
        crossed as f64 / self.report.number("/trace/frees") as f64
    }

    #[track_caller]
    fn assert_as_counted(&self) {
        let found = self.report.number("/end/cross_thread_frees");
        let of_runtime = self.freed / OF_THE_RUNTIME;
        assert!(
            (self.crossed..=self.crossed + of_runtime).contains(&found),
            "{found} found, {} counted by the program",
            self.crossed
        );
        // The list of pairs has an end.
        assert!(self.crossed_by_pairs() <= found);
        assert_eq!(
            self.report.array("/diagnoses").iter().filter(|d| d["severity"] != "info").count(),
            0
        );
    }
}

#[test]
fn stolen_work_is_freed_elsewhere_and_work_of_one_core_is_not() {
    for workers in [2, 4, 8, 16] {
        let expected = f64::from(workers - 1) / f64::from(workers);
        // How evenly workers share is up to the kernel: now and then one has most of a short run.
        let mut runs = (0..MOST_RUNS).map(|_| service("stealing", workers));
        let shared = |stealing: &Service| {
            stealing.assert_as_counted();
            let share = stealing.share();
            println!("{workers} workers: {:.1} % of {:.1} %", share * 100.0, expected * 100.0);
            share >= expected * LEAST_PART
        };
        let stealing = runs.find(shared).expect("a run in which the workers share");
        assert!(stealing.share() <= 1.0, "{workers} workers");
        let pairs = stealing.report.array("/trace/cross_thread_pairs").len() as u32;
        assert!(pairs >= (workers * (workers - 1) / 2).min(25), "{workers} workers, {pairs} pairs");

        let per_core = service("per-core", workers);
        per_core.assert_as_counted();
        // But for a block of each runtime's own, as it ends.
        let crossed = per_core.crossed;
        assert!(crossed <= u64::from(workers), "{workers} runtimes share nothing: {crossed}");
    }
}

/// Its peak and last RSS, when the recorded calls of four workers are run again.
#[test]
fn the_shootout_reproduces_the_service() {
    let mut line = command(env!("CARGO_BIN_EXE_async-service"));
    line.args(["stealing", "4"]);
    assert_reproduced("async-service", &Traced::run_well(line).trace(), "glibc");
}
