//! The process that is recorded: how recording begins, ends, and survives fork.

use crate::classes::{self, UsableSize};
use crate::config::{Config, Environment};
use crate::describe::Facts;
use crate::look::AskAllocator;
use crate::sync::TryLock;
use crate::text::Text;
use crate::{
    arch, children, clock, describe, file, fold, inherit, keep, lane, look, ring, stack, sys,
};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::Write;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize};
use fragtrace_format::header::{End, HEADER_BYTES, MAGIC, VERSION, limit};
use fragtrace_format::record::UsableRule;

/// What the recorder needs of the C library, handed in as each C library has it elsewhere, and of
/// the hooks.
#[derive(Clone)]
pub struct Facilities {
    /// The environment.
    pub environ: *const *const c_char,
    /// Makes a key whose destructor runs when a thread exits.
    pub pthread_key_create:
        Option<unsafe extern "C" fn(*mut u32, unsafe extern "C" fn(*mut c_void)) -> c_int>,
    /// Arms it for this thread.
    pub pthread_setspecific: Option<unsafe extern "C" fn(u32, *const c_void) -> c_int>,
    /// Runs functions around fork.
    pub pthread_atfork:
        Option<unsafe extern "C" fn(*const c_void, *const c_void, ForkHandler) -> c_int>,
    /// malloc_usable_size of the allocator that is called, where blocks go by size class.
    pub usable_size: Option<UsableSize>,
    /// How the allocator is asked what it says of itself.
    pub ask_allocator: Option<AskAllocator>,
    /// Where glibc keeps the end of the brk segment.
    pub current_brk: Option<*const usize>,
    /// Has the next call of the allocator's timed, with [`timed`](crate::timed).
    pub time_next_call: Option<fn()>,
}

/// A function that runs in the child of a fork.
pub type ForkHandler = unsafe extern "C" fn();

const NOT_STARTED: u8 = 0;
const STARTING: u8 = 1;
const ON: u8 = 2;
const OFF: u8 = 3;

static PHASE: AtomicU8 = AtomicU8::new(NOT_STARTED);
static RULE: AtomicU8 = AtomicU8::new(0);
static MAY_NEST: AtomicBool = AtomicBool::new(false);
static PID: AtomicU32 = AtomicU32::new(0);
static KEY: AtomicU32 = AtomicU32::new(u32::MAX);
static SET_SPECIFIC: AtomicUsize = AtomicUsize::new(0);
static CLOCK_LOCK: TryLock = TryLock::new();
/// The environment that the process began with.
static ENVIRON: AtomicPtr<*const c_char> = AtomicPtr::new(core::ptr::null_mut());

/// Whether the recorder runs; events before that are nobody's.
#[inline]
pub(crate) fn ready() -> bool {
    PHASE.load(Acquire) == ON
}

/// Whether events can be written now, by this process.
pub(crate) fn recording() -> bool {
    ready() && !wiped()
}

/// The word behind the last lane is set here and wiped in a child of fork.
fn wipe_mark() -> &'static AtomicU32 {
    let address = file::lanes_start() + lane::LANES_BYTES;
    // SAFETY: `map_lanes` mapped a page there, for good.
    unsafe { &*(address as *const AtomicU32) }
}

fn wiped() -> bool {
    wipe_mark().load(Relaxed) == 0
}

/// Whether this is a child of fork that shares its parent's file, and must not write there.
pub(crate) fn is_forked() -> bool {
    ready() && wiped()
}

/// In a child of fork: takes over what the parent recorded, or records nothing.
pub(crate) fn take_over() {
    if PHASE.compare_exchange(ON, STARTING, AcqRel, Relaxed).is_err() {
        return;
    }
    CLOCK_LOCK.leave();
    let taken = inherit::take_over();
    if taken {
        PID.store(sys::process_id(), Relaxed);
        wipe_mark().store(1, Relaxed);
    }
    PHASE.store(if taken { ON } else { OFF }, Release);
    if taken {
        look::begin_again();
    }
}

pub(crate) fn usable_rule() -> UsableRule {
    match RULE.load(Relaxed) {
        1 => UsableRule::Glibc,
        2 => UsableRule::ByClass,
        _ => UsableRule::Unknown,
    }
}

/// Whether the allocator may call its own public functions from inside others.
pub(crate) fn may_nest() -> bool {
    MAY_NEST.load(Relaxed)
}

/// Begins recording. Once; later calls do nothing. Says on stderr what went wrong.
///
/// # Safety
/// The pointers in `facilities` are what they claim to be, and stay so.
pub unsafe fn start(facilities: &Facilities, facts: &Facts<'_>) {
    if PHASE.compare_exchange(NOT_STARTED, STARTING, AcqRel, Relaxed).is_err() {
        return;
    }
    // SAFETY: by the caller.
    let environment = unsafe { Environment::new(facilities.environ) };
    ENVIRON.store(facilities.environ.cast_mut(), Relaxed);
    let config = Config::from_environment(environment);
    say(&config, config.complaint.bytes());
    for line in facts.unseen.lines() {
        let mut text = Text::<512>::new();
        let _ = writeln!(text, "fragtrace: {line} (fragtrace doctor tells more)");
        say(&config, text.bytes());
    }
    let started = begin(facilities, facts, &config, environment);
    if !config.children {
        // SAFETY: by the caller; the process is starting, so nobody else reads them yet.
        unsafe { children::leave_out_tracer(facilities.environ) };
    }
    PHASE.store(if started { ON } else { OFF }, Release);
    if started {
        look::start(&config);
    }
}

/// A line on stderr: for the process that was started under the tracer, not its children.
fn say(config: &Config, line: &[u8]) {
    if line.is_empty() || config.quiet || describe::parent_is_traced() {
        return;
    }
    let _ = sys::write(2, line);
}

const NO_MEMORY: &[u8] = b"fragtrace: no memory for the recorder; nothing is recorded: \
    raise the limit on address space (ulimit -v, -d), of which it takes an eighth\n";

fn begin(
    facilities: &Facilities,
    facts: &Facts<'_>,
    config: &Config,
    environment: Environment,
) -> bool {
    RULE.store(
        match facts.usable_rule {
            UsableRule::Glibc => 1,
            UsableRule::ByClass => 2,
            UsableRule::Unknown => 0,
        },
        Relaxed,
    );
    if let Some(function) = facilities.usable_size {
        classes::ask_with(function);
    }
    if let Some(allocator) = &facilities.ask_allocator {
        look::ask_allocator_with(allocator);
    }
    if let Some(timer) = facilities.time_next_call {
        lane::time_with(timer);
    }
    MAY_NEST.store(facts.may_nest, Relaxed);
    PID.store(sys::process_id(), Relaxed);
    arch::find_out();
    clock::choose();
    let glibc = facts.usable_rule == UsableRule::Glibc;
    look::know(facts.image_bytes, facilities.current_brk, glibc);
    if !create_file(config, environment) {
        return false;
    }
    if !map_lanes(facilities) {
        file::remove();
        say(config, NO_MEMORY);
        return false;
    }
    inherit::remember(config);
    let header = file::header();
    header.pid.store(PID.load(Relaxed), Relaxed);
    header.header_bytes.store(HEADER_BYTES as u32, Relaxed);
    let (kind, shift) = clock::kind();
    header.clock_kind.store(kind as u32, Relaxed);
    header.clock_shift.store(shift, Relaxed);
    let (ring_bytes, cut) = ring_size(config);
    if cut {
        header.limits.fetch_or(limit::CGROUP, Relaxed);
    }
    let looks = look::reserve(ring_bytes);
    let depth = stack::start(config.stack_depth, ring_bytes);
    // The ring comes last, so that its spare room can be cut at exit.
    if !(looks && ring::start(ring_bytes)) {
        file::remove();
        say(config, b"fragtrace: no room for the trace on its disk; nothing is recorded\n");
        return false;
    }
    describe::write(facts, config, depth, environment);
    let (now, monotonic, realtime) = read_clocks();
    header.clock_start.set(now, monotonic, realtime);
    header.clock_last.set(now, monotonic, realtime);
    header.version.store(VERSION, Relaxed);
    header.magic.store(u64::from_le_bytes(MAGIC), Release);
    if let (Some(create), Some(set)) =
        (facilities.pthread_key_create, facilities.pthread_setspecific)
    {
        let mut key = 0;
        // SAFETY: by `start`, this is pthread_key_create.
        if unsafe { create(&raw mut key, exit_of_thread) } == 0 {
            SET_SPECIFIC.store(set as usize, Relaxed);
            KEY.store(key, Relaxed);
        }
    }
    true
}

/// The ring asked for, but at most 1/16 of the cgroup's limit: the page cache of the trace
/// counts against that too. And whether that made it smaller.
fn ring_size(config: &Config) -> (u64, bool) {
    let asked = config.ring_bytes;
    let most = describe::cgroup_limit().map_or(u64::MAX, |limit| limit / 16);
    let bytes = asked.min(most).max(crate::config::MIN_RING);
    let chunk_bytes = fragtrace_format::chunk::bytes_for_ring(bytes);
    (bytes - bytes % chunk_bytes.max(4096), bytes < asked)
}

/// Creates the trace where it is wanted, else in a directory for temporary files.
fn create_file(config: &Config, environment: Environment) -> bool {
    let mut exe = Text::<256>::new();
    describe::executable_name(&mut exe);
    let machine = sys::machine();
    let host = describe::c_bytes(&machine.nodename);
    let names = file::Names {
        pid: PID.load(Relaxed),
        exe: exe.bytes(),
        host,
        start_unix_s: sys::clock_ns(libc::CLOCK_REALTIME) / 1_000_000_000,
    };
    let mut wanted = file::wanted_path(config, &names);
    let Err(error) = file::create(&mut wanted) else {
        keep::remove_oldest(wanted.bytes(), file::pattern(config), &names, config.keep);
        return true;
    };
    if error == libc::ENOMEM {
        say(config, NO_MEMORY);
        return false;
    }
    let mut line = Text::<1024>::new();
    let _ = write!(line, "fragtrace: cannot write {} ({})", wanted.as_str(), error_name(error));
    if config.out.bytes().is_empty() {
        let directories = [environment.get(b"TMPDIR"), Some(b"/tmp"), Some(b"/var/tmp")];
        for directory in directories.into_iter().flatten() {
            let mut path = file::path_in(directory, &names);
            if file::create(&mut path).is_ok() {
                keep::remove_oldest(path.bytes(), file::DEFAULT_PATTERN, &names, config.keep);
                let _ = writeln!(line, "; writing {} instead", path.as_str());
                say(config, line.bytes());
                return true;
            }
        }
    }
    let _ =
        writeln!(line, "; nothing is recorded: set FRAGTRACE_OUT to a path that can be written");
    say(config, line.bytes());
    false
}

fn error_name(error: c_int) -> &'static str {
    match error {
        libc::EACCES | libc::EPERM => "permission denied",
        libc::ENOENT => "no such directory",
        libc::ENOTDIR => "not a directory",
        libc::EISDIR => "is a directory",
        libc::ENOSPC | libc::EDQUOT => "no space left",
        libc::EROFS => "read-only file system",
        libc::ENAMETOOLONG => "name too long",
        libc::EMFILE | libc::ENFILE => "too many open files",
        libc::EEXIST => "no memory to map it",
        _ => "the kernel refused",
    }
}

/// Maps the lanes and the mark behind them, in memory that a child of fork finds wiped, and
/// memory for what it inherits of them.
fn map_lanes(facilities: &Facilities) -> bool {
    let bytes = lane::LANES_BYTES + 4096;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let start = file::lanes_start();
    if sys::map(start, bytes, access, flags, None).is_err() {
        return false;
    }
    let kept = start + lane::ALL_KEPT_AT;
    if sys::map(kept, lane::ALL_KEPT_BYTES, access, flags, None).is_err() {
        return false;
    }
    let _ = sys::advise(kept, lane::ALL_KEPT_BYTES, libc::MADV_DONTDUMP);
    let _ = sys::advise(start, bytes, libc::MADV_DONTDUMP);
    wipe_mark().store(1, Relaxed);
    if sys::advise(start, bytes, libc::MADV_WIPEONFORK).is_err() {
        // Before Linux 4.14: what libc itself forks is noticed, other ways are not.
        let Some(at_fork) = facilities.pthread_atfork else { return false };
        // SAFETY: by `start`, this is pthread_atfork; the handler takes no argument.
        return unsafe { at_fork(core::ptr::null(), core::ptr::null(), wipe) } == 0;
    }
    true
}

unsafe extern "C" fn wipe() {
    wipe_mark().store(0, Relaxed);
    PHASE.store(OFF, Release);
}

/// The three clocks at about the same moment.
fn read_clocks() -> (u64, u64, u64) {
    let monotonic = sys::clock_ns(libc::CLOCK_MONOTONIC);
    let now = clock::stamp();
    (now, monotonic, sys::clock_ns(libc::CLOCK_REALTIME))
}

/// Keeps the clocks in the header up to date, so that stamps have a unit.
pub(crate) fn note_clock() {
    if sys::forbidden() {
        return;
    }
    // A handler that jumps out of the middle would leave it taken for good.
    let Some(_held) = CLOCK_LOCK.try_take_uninterrupted() else { return };
    let (now, monotonic, realtime) = read_clocks();
    file::header().clock_last.set(now, monotonic, realtime);
}

/// Arms the call at this thread's exit.
pub(crate) fn call_at_thread_exit(value: usize) {
    let set = SET_SPECIFIC.load(Relaxed);
    if set == 0 {
        return;
    }
    // SAFETY: stored in `begin` from a pointer to pthread_setspecific, of this type.
    let set: unsafe extern "C" fn(u32, *const c_void) -> c_int =
        unsafe { core::mem::transmute(set) };
    // SAFETY: the key was made in `begin`. It is among the first 32 of the process, for which
    // neither glibc nor musl allocates.
    unsafe { set(KEY.load(Relaxed), value as *const c_void) };
}

unsafe extern "C" fn exit_of_thread(_value: *mut c_void) {
    lane::thread_exits();
}

/// Whether this is the recorded process itself, and not a vfork child in its memory.
fn is_recorded_process() -> bool {
    recording() && (sys::forbidden() || sys::process_id() == PID.load(Relaxed))
}

/// What a process is about to become.
#[derive(Clone, Copy, Debug)]
pub enum Successor<'a> {
    /// The program at this path.
    At(&'a CStr),
    /// The one that is found under this name in the directories of PATH.
    Named(&'a CStr),
    /// What a descriptor stands for.
    Open,
}

impl Successor<'_> {
    /// Whether it could be: shells try one directory after another.
    fn is_there(self) -> bool {
        let is_executable = |path: &[u8]| sys::is_executable(path);
        match self {
            _ if sys::forbidden() => true,
            Successor::Named(name) if !name.to_bytes().contains(&b'/') => {
                // SAFETY: the strings that the process began with stay, whatever it sets.
                let environment = unsafe { Environment::new(ENVIRON.load(Relaxed).cast_const()) };
                let directories = environment.get(b"PATH").unwrap_or(b"/bin:/usr/bin");
                directories.split(|byte| *byte == b':').any(|directory| {
                    let mut path = Text::<512>::new();
                    for part in [directory, b"/", name.to_bytes()] {
                        path.push(part);
                    }
                    path.cut || is_executable(path.c_str())
                })
            }
            Successor::At(path) | Successor::Named(path) => is_executable(path.to_bytes_with_nul()),
            Successor::Open => true,
        }
    }
}

/// The process is about to become another program. Where that fails nevertheless, this thread's
/// next event finds it out, or another end, which replaces this one.
pub fn exec_follows(successor: Successor<'_>) {
    if is_recorded_process() && successor.is_there() {
        lane::watch();
        if !inherit::came_to_nothing() {
            end(End::Exec);
        }
    }
}

/// The thread that was about to become another program is still here.
pub(crate) fn no_exec_came() {
    if !is_recorded_process() {
        return;
    }
    file::header().end.store(End::Open.to_word(), Release);
    if PHASE.compare_exchange(ON, STARTING, AcqRel, Relaxed).is_ok() {
        let goes_on = inherit::come_back();
        PHASE.store(if goes_on { ON } else { OFF }, Release);
        if !goes_on {
            lane::forget();
        }
    }
}

/// The process forks and ends, in the C library's daemon(3).
pub fn daemon_follows() {
    end(End::UnderscoreExit);
    inherit::fork_follows();
}

/// There will be no daemon: the process goes on.
pub fn no_daemon_came() {
    if is_recorded_process() {
        file::header().end.store(End::Open.to_word(), Release);
    }
}

/// The process ends, in the way said. Events may still come and are recorded.
pub fn end(how: End) {
    if !is_recorded_process() {
        return;
    }
    if how != End::Exec {
        lane::find_out();
    }
    look::take_last();
    note_clock();
    let header = file::header();
    header.end.store(how.to_word(), Release);
    // An exec may fail, and then the room is needed.
    if how != End::Exec {
        ring::cut();
    }
}

/// Of the ring's bytes, this part is set aside for events before a filter comes, and as much for
/// blocks that live on.
const FILTER_SHARE: u64 = 64;
const LEAST_FOR_TABLE: u64 = 512 << 10;

/// The process is about to install a filter on system calls: from here on none is made. The file
/// cannot grow then, so what the rest of the recording needs is set aside. False: it is so already.
pub fn filter_follows() -> bool {
    // A child of fork takes over what its parent recorded while it may.
    lane::begin();
    let first = !sys::forbidden() && is_recorded_process();
    if first {
        look::take_last();
        note_clock();
        let bytes = file::header().ring_bytes.load(Relaxed) / FILTER_SHARE;
        ring::settle(bytes);
        fold::settle(bytes.max(LEAST_FOR_TABLE));
        file::header().limits.fetch_or(limit::FILTER, Relaxed);
        sys::forbid();
    }
    first
}

/// The first filter was refused: calls are made as before.
pub fn no_filter_came() {
    sys::allow();
    ring::unsettle();
    file::header().limits.fetch_and(!limit::FILTER, Relaxed);
}

/// The process is about to give up privileges or descriptors, or to change its root: it may lose its
/// way to the trace's path.
pub fn path_vanishes() {
    // A child of fork makes its file while it finds the way.
    lane::begin();
    if is_recorded_process() {
        file::keep_open();
    }
}

/// Reading the processor's counter is about to become an error on this thread: recording
/// ends here.
pub fn clock_vanishes() {
    if is_recorded_process() {
        look::take_last();
        note_clock();
        PHASE.store(OFF, Release);
        lane::forget();
    }
}
