//! Runs programs so that no test can hang: each runs in a process group of its own, its output is
//! drained by threads, and the whole group is killed when its time is over.

use std::env;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

/// How long a program may take. Generous: tests share few cores.
const TIME_OUT: Duration = Duration::from_secs(180);

/// How often the end of a program is looked for.
const POLL: Duration = Duration::from_millis(2);

/// How long output may still come after a program's end, from children that outlive it.
const DRAIN: Duration = Duration::from_secs(20);

/// What a program left behind.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// The process id it had.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote on stdout.
    pub stdout: Vec<u8>,
    /// What it wrote on stderr.
    pub stderr: Vec<u8>,
}

impl Outcome {
    /// The exit status; panics with all output when a signal ended the program.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", self.describe()))
    }

    /// The signal that ended the program.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Stdout as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stderr as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Panics unless the program ended with this status.
    pub fn expect_code(self, code: i32) -> Self {
        assert!(
            self.status.code() == Some(code),
            "expected exit status {code}: {}",
            self.describe()
        );
        self
    }

    /// Everything that is known, for messages.
    pub fn describe(&self) -> String {
        format!(
            "`{}` ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.status,
            shortened(&self.stdout),
            shortened(&self.stderr)
        )
    }
}

fn shortened(bytes: &[u8]) -> String {
    const MOST: usize = 4000;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).into_owned();
    if bytes.len() > MOST { format!("{text}\n… {} bytes in all", bytes.len()) } else { text }
}

/// A command with a known environment and empty input: no tracer, no settings of it, messages
/// untranslated.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("FRAGTRACE_") {
            command.env_remove(name);
        }
    }
    for name in ["LD_PRELOAD", "RUST_BACKTRACE", "GLIBC_TUNABLES", "MALLOC_CONF"] {
        command.env_remove(name);
    }
    // Cargo's, for what it runs: the loader keeps a list of these folders, in pages of its own that
    // would be taken for a heap's if it is long.
    command.env_remove("LD_LIBRARY_PATH");
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Outcome {
    Running::start(command).finish()
}

/// Runs a command to its end with these bytes as its input.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Outcome {
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.child.stdin.take().expect("the input is a pipe");
    let input = input.to_vec();
    // A program may end before it has read everything: a broken pipe is its right.
    thread::spawn(move || stdin.write_all(&input));
    running.finish()
}

/// A program that runs.
pub struct Running {
    child: Child,
    command: String,
    stdout: Stream,
    stderr: Stream,
    deadline: Instant,
    finished: bool,
}

impl Running {
    /// Starts a command in a process group of its own.
    pub fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let description = format!("{command:?}");
        let mut child = spawn(command.process_group(0), &description);
        let stdout = Stream::drain(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Stream::drain(child.stderr.take().expect("stderr is a pipe"));
        Self::of(child, description, stdout, stderr)
    }

    /// Starts a command whose stdout and stderr go into what these readers read from.
    pub(crate) fn start_into<R: Read + Send + 'static>(
        command: &mut Command,
        stdout: (Stdio, R),
        stderr: (Stdio, R),
    ) -> Self {
        let description = format!("{command:?}");
        let child = spawn(command.stdout(stdout.0).stderr(stderr.0).process_group(0), &description);
        // What the command holds open of the other ends would keep readers waiting.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self::of(child, description, Stream::drain(stdout.1), Stream::drain(stderr.1))
    }

    fn of(child: Child, command: String, stdout: Stream, stderr: Stream) -> Self {
        let deadline = Instant::now() + TIME_OUT;
        Self { child, command, stdout, stderr, deadline, finished: false }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program has written this text on stdout.
    pub fn wait_for(&mut self, text: &str) {
        let found = self
            .stdout
            .wait_until(self.deadline, |bytes| String::from_utf8_lossy(bytes).contains(text));
        if !found {
            self.give_up(&format!("`{text}` never came on stdout"));
        }
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program runs");
    }

    /// Sends a signal to the program and its children, as a terminal does.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.child), signal).expect("the program runs");
    }

    /// Waits for the end.
    pub fn finish(mut self) -> Outcome {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > self.deadline {
                self.give_up(&format!("still running after {:?}", TIME_OUT));
            }
            thread::sleep(POLL);
        };
        let drained = Instant::now() + DRAIN;
        if !(self.stdout.wait_for_end(drained) && self.stderr.wait_for_end(drained)) {
            self.give_up("ended, but something it started holds its output open");
        }
        self.finished = true;
        Outcome {
            command: self.command.clone(),
            pid: self.child.id(),
            status,
            stdout: self.stdout.bytes(),
            stderr: self.stderr.bytes(),
        }
    }

    fn give_up(&mut self, why: &str) -> ! {
        self.kill_all();
        panic!(
            "`{}`: {why}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            shortened(&self.stdout.bytes()),
            shortened(&self.stderr.bytes())
        );
    }

    fn kill_all(&mut self) {
        self.finished = true;
        // Both fail only when nothing is left to kill.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.finished {
            self.kill_all();
        }
    }
}

fn spawn(command: &mut Command, description: &str) -> Child {
    // An executable that was just written can be held open for writing by a fork of another test
    // that has not reached its exec yet.
    for _ in 0..100 {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("`{description}` cannot be started: {error}"),
            Ok(child) => return child,
        }
    }
    panic!("`{description}` cannot be started: its file stays busy")
}

/// One of a program's outputs, read by a thread until it is closed.
#[derive(Clone)]
struct Stream(Arc<(Mutex<Drained>, Condvar)>);

#[derive(Default)]
struct Drained {
    bytes: Vec<u8>,
    ended: bool,
}

impl Stream {
    fn drain(mut source: impl Read + Send + 'static) -> Self {
        let stream = Self(Arc::default());
        let sink = stream.clone();
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            loop {
                let read = source.read(&mut buffer).unwrap_or(0);
                let (state, changed) = &*sink.0;
                let mut state = state.lock().expect("no reader panics");
                state.bytes.extend_from_slice(&buffer[..read]);
                state.ended = read == 0;
                changed.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        stream
    }

    fn wait_until(&self, deadline: Instant, reached: impl Fn(&[u8]) -> bool) -> bool {
        let (state, changed) = &*self.0;
        let mut state = state.lock().expect("no reader panics");
        loop {
            if reached(&state.bytes) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return false;
            }
            state = changed.wait_timeout(state, left).expect("no reader panics").0;
        }
    }

    fn wait_for_end(&self, deadline: Instant) -> bool {
        let (state, changed) = &*self.0;
        let mut state = state.lock().expect("no reader panics");
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = changed.wait_timeout(state, left).expect("no reader panics").0;
        }
        true
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.0.lock().expect("no reader panics").bytes.clone()
    }
}
