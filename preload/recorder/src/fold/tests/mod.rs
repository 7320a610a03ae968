//! Folding against a naive model: whatever threads do, in whatever order their chunks come full
//! and are folded, the table and what is left of the ring are the heap.
//!
//! The recorder that runs here is the true one, in a file of its own; only threads and time are
//! made up. As there is one recorder in a process, each case has a process for itself.

mod model;
mod program;
mod recorded;

use super::{MARGIN, Outcome, WINDOW, advance};
use crate::clock::TESTS_CLOCK;
use crate::describe::Facts;
use crate::lane::testing;
use crate::process::{self, Facilities};
use crate::ring;
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::record::UsableRule;
use model::Model;
use program::{Happened, LANES, Program, Step, What, step};
use proptest::prelude::*;
use recorded::{Recorded, Said};
use std::ffi::CString;
use std::format;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::string::String;
use std::vec::Vec;

/// Runs a case in a process of its own. What went wrong there, if something did.
fn in_child(case: impl FnOnce()) -> Result<(), String> {
    let mut ends = [0; 2];
    // SAFETY: two descriptors are written to it.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: just opened, and nobody else's.
    let [mut read, mut write] = ends.map(|end| unsafe { std::fs::File::from_raw_fd(end) });
    // SAFETY: the child goes on with this thread only; glibc's allocator allows that.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = catch_unwind(AssertUnwindSafe(case));
        let told = match &outcome {
            Ok(()) => "",
            Err(why) => match (why.downcast_ref::<String>(), why.downcast_ref::<&str>()) {
                (Some(text), _) => text.as_str(),
                (None, text) => text.copied().unwrap_or("a panic"),
            },
        };
        let told = write.write_all(told.as_bytes());
        // SAFETY: ends the process without running what is the parent's to run.
        unsafe { libc::_exit(i32::from(outcome.is_err() || told.is_err())) };
    }
    drop(write);
    let mut told = String::new();
    let read = read.read_to_string(&mut told);
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    match (status, read) {
        (0, Ok(_)) => Ok(()),
        _ => Err(format!("status {status:#x}: {told}")),
    }
}

/// A recorder with a ring of so many chunks of 1 KiB, at most 64, that writes to a directory.
fn start(directory: &Path, chunks: usize) {
    let out = format!("FRAGTRACE_OUT={}", directory.join("trace.ftr").display());
    let entries = [out.as_str(), "FRAGTRACE_RING=64K", "FRAGTRACE_QUIET=1"]
        .map(|entry| CString::new(entry).expect("no zero in it"));
    let mut environ: Vec<_> = entries.iter().map(|entry| entry.as_ptr()).collect();
    environ.push(core::ptr::null());
    let facilities = Facilities {
        environ: environ.as_ptr(),
        pthread_key_create: None,
        pthread_setspecific: None,
        pthread_atfork: None,
        current_brk: None,
        usable_size: None,
        ask_allocator: None,
        time_next_call: None,
    };
    let facts = Facts {
        libc: "",
        allocator: "",
        unseen: "",
        usable_rule: UsableRule::Glibc,
        may_nest: false,
        image_bytes: 0,
    };
    // SAFETY: the environment lives as long as `start` reads it.
    unsafe { process::start(&facilities, &facts) };
    assert!(process::recording());
    for _ in chunks..64 {
        // Nobody's for good.
        assert!(ring::take().is_some());
    }
    for lane in 1..=LANES.len() as u32 {
        assert_eq!(testing::open(), lane);
    }
}

fn write(happened: &Happened) {
    let (lane, stamp) = (happened.lane as u32 + 1, happened.stamp);
    match &happened.said {
        Said::Acquire(block) => testing::acquire(lane, stamp, block),
        Said::Release { address, flags } => testing::release(lane, stamp, *address, *flags),
        Said::Cold(event) => testing::cold(lane, stamp, event),
        Said::HandOver { thread } => testing::hand_over(lane, stamp, *thread),
    }
}

/// A program under the recorder, and the model beside it.
struct Run {
    program: Program,
    model: Model,
}

impl Run {
    fn start(inverted: bool) -> Run {
        let mut run = Run { program: Program::new(), model: Model::new(inverted) };
        let stamp = run.program.now;
        for (lane, thread) in LANES.into_iter().enumerate() {
            run.record(&[Happened { lane, stamp, said: Said::HandOver { thread } }]);
        }
        run
    }

    fn record(&mut self, happened: &[Happened]) {
        TESTS_CLOCK.store(self.program.now, Relaxed);
        for happened in happened {
            self.model.write(happened);
            write(happened);
        }
    }

    fn take(&mut self, step: &Step) {
        let happened = self.program.take(step);
        self.record(&happened);
        if let What::Fold { bytes } = step.what {
            advance(bytes);
            self.model.check(&Recorded::read());
        }
    }

    /// The program ends, and all that it said is folded.
    fn end(mut self) {
        let happened = self.program.settle();
        self.record(&happened);
        self.model.check(&Recorded::read());
        TESTS_CLOCK.store(self.program.now + MARGIN + WINDOW, Relaxed);
        while advance(1 << 20) == Outcome::Progress {}
        let recorded = Recorded::read();
        assert!(recorded.kept.values().all(Vec::is_empty), "all is folded");
        self.model.check(&recorded);
    }
}

/// Runs a program in a process with a recorder whose ring has so many chunks.
fn run(chunks: usize, steps: &[Step]) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().expect("room for a trace");
    let outcome = in_child(|| {
        start(directory.path(), chunks);
        let mut run = Run::start(steps.iter().any(|step| step.skew > 0));
        steps.iter().for_each(|step| run.take(step));
        run.end();
    });
    outcome.map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn the_table_and_what_is_left_of_the_ring_are_the_heap(
        steps in prop::collection::vec(step(12, 0), 1..400)
    ) {
        run(24, &steps)?;
    }

    #[test]
    fn stamps_that_are_too_early_do_not_change_the_heap(
        steps in prop::collection::vec(step(4, 200), 1..400)
    ) {
        run(24, &steps)?;
    }
}
