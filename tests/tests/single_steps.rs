//! A recorder that is killed between any two instructions: the process runs step by step, and
//! dies at a random one inside the tracer. Its trace opens, and holds exactly what lived.
//!
//! FRAGTRACE_SOAK_STEPS says how often; 40 times unless told.
#![forbid(unsafe_code)]

use std::fs;
use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use fragtrace_tests::run::{Running, Signal};
use fragtrace_tests::tools;
use fragtrace_tests::victim::{Victim, field, header_field, wait_until_wrapped};
use nix::libc::user_regs_struct;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// In the tracer's code, until the process dies. An event takes some fifty; a fold takes tens of
/// thousands, but the process is stopped anywhere in one to begin with.
const MOST_STEPS: u64 = 3_000;
/// In all code, should the process never come to the tracer's.
const PATIENCE_STEPS: u64 = 1_000_000;
/// How often the process is stopped until that is where it should be.
const PATIENCE_STOPS: u64 = 20_000;

/// A process that runs step by step.
struct Stepped {
    pid: Pid,
    tracer: Range<u64>,
}

impl Stepped {
    fn attach(pid: u32) -> Result<Stepped, nix::Error> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process runs");
        let pid = Pid::from_raw(i32::try_from(pid).expect("a process number"));
        ptrace::attach(pid)?;
        let stepped = Stepped { pid, tracer: code_of_tracer(&maps) };
        let status = waitpid(pid, Some(WaitPidFlag::__WALL))?;
        assert!(matches!(status, WaitStatus::Stopped(..)), "it stops: {status:?}");
        Ok(stepped)
    }

    /// Lets the process run.
    fn detach(self) {
        ptrace::detach(self.pid, None).expect("a stopped process can be let go");
    }

    /// Runs one instruction; whether the next one is the tracer's.
    fn step(&self) -> bool {
        ptrace::step(self.pid, None).expect("a stopped process can make a step");
        let status = waitpid(self.pid, Some(WaitPidFlag::__WALL)).expect("a step ends");
        assert!(matches!(status, WaitStatus::Stopped(..)), "after a step: {status:?}");
        let registers = ptrace::getregs(self.pid).expect("a stopped process has registers");
        self.tracer.contains(&next_instruction(&registers))
    }

    /// Makes so many steps in the tracer's code.
    fn steps_in_tracer(&self, steps: u64) {
        let mut left = steps;
        for _ in 0..PATIENCE_STEPS {
            left -= u64::from(self.step());
            if left == 0 {
                return;
            }
        }
        panic!("the program does not enter the tracer");
    }
}

#[cfg(target_arch = "x86_64")]
fn next_instruction(registers: &user_regs_struct) -> u64 {
    registers.rip
}

#[cfg(target_arch = "aarch64")]
fn next_instruction(registers: &user_regs_struct) -> u64 {
    registers.pc
}

/// Where the tracer's code is, by a process's /proc/PID/maps.
fn code_of_tracer(maps: &str) -> Range<u64> {
    let line = maps.lines().find(|line| line.contains("r-xp") && line.contains("libfragtrace.so"));
    let ends = line.and_then(|line| line.split(' ').next()).and_then(|ends| ends.split_once('-'));
    let (start, end) = ends.unwrap_or_else(|| panic!("the tracer is mapped:\n{maps}"));
    let address = |text| u64::from_str_radix(text, 16).expect("an address");
    address(start)..address(end)
}

/// Numbers without an order that the program could have.
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) % below
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Where {
    /// At any step in the tracer's code.
    Anywhere,
    /// Some steps after a moment at which the table is moved.
    InTable,
}

/// Kills one process at a random step; whether it was between the beginning of a fold and its
/// end, as the header says.
fn killed_at_a_step(seed: u64, place: Where) -> Option<bool> {
    let victim = Victim::new(format!("seed {seed}, killed {place:?}"), 1);
    let running = Running::start(&mut victim.command(seed as usize, "64K"));
    victim.wait_until_at_work();
    let trace = victim.trace();
    wait_until_wrapped(&trace);
    let mut state = 88_172_645_463_325_252 * (2 * seed + 1);
    let in_table = || header_field(&trace, field::FOLDING) != header_field(&trace, field::FOLDS);
    for stop in 0.. {
        assert!(stop < PATIENCE_STOPS, "{}: it is never there", victim.claim);
        sleep(Duration::from_micros(random(&mut state, 300)));
        let stepped = match Stepped::attach(running.pid()) {
            Ok(stepped) => stepped,
            Err(error) => {
                tools::skip(&format!("processes cannot be traced here: {error}"));
                return None;
            }
        };
        if place == Where::Anywhere || in_table() {
            stepped.steps_in_tracer(1 + random(&mut state, MOST_STEPS));
            break;
        }
        stepped.detach();
    }
    let was_in_table = in_table();
    running.signal(Signal::KILL);
    running.finish();
    let report = victim.assert_exact();
    assert_eq!(report.text("/trace/end"), "unknown", "{}", victim.claim);
    Some(was_in_table)
}

#[test]
fn a_death_between_any_two_instructions_loses_nothing() {
    let deaths = tools::soak("FRAGTRACE_SOAK_STEPS", 40) as u64;
    let mut in_table = 0;
    for seed in 0..deaths {
        let place = if seed % 2 == 0 { Where::Anywhere } else { Where::InTable };
        let Some(was_in_table) = killed_at_a_step(seed, place) else { return };
        in_table += u64::from(was_in_table);
    }
    assert!(in_table > 0, "none of {deaths} deaths was in the middle of a fold");
}
