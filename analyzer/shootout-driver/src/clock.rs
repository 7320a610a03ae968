//! The clock that the allocator sees.
//!
//! The executable's `clock_gettime`, `gettimeofday`, `pthread_cond_wait` and
//! `pthread_cond_timedwait` stand before libc's for every library in the process, so an allocator that purges by time asks here. Where
//! the script runs without waiting, it is shown the recorded time: it stands still between two
//! steps of the script that tell it, and jumps where the program paused. A thread of the
//! allocator's own that sleeps until some time (jemalloc's `background_thread`) wakes when the
//! recorded time comes there, and the script waits until it has done its work. In any other
//! process, and as long as no script runs, all of them are libc's.
//!
//! Not shown: the time to what asks the kernel by itself, and sleeps of other kinds.

use crate::kernel::real_ns;
#[cfg(target_env = "gnu")]
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

const SECOND_NS: u64 = 1_000_000_000;
/// A sleeper looks at the recorded time so often.
const NAP_NS: u64 = 200_000;
/// The script waits for a sleeper that woke at most so long.
const PATIENCE_NS: u64 = 100_000_000;

static SHOWN: AtomicBool = AtomicBool::new(false);
/// What has passed of the recorded time.
static ELAPSED_NS: AtomicU64 = AtomicU64::new(0);
/// The kernel's clocks when the script began.
static MONOTONIC_START_NS: AtomicU64 = AtomicU64::new(0);
static REAL_START_NS: AtomicU64 = AtomicU64::new(0);
/// Threads of the allocator's own that were seen to sleep: who they are, and until when they sleep
/// of the shown real time; or [`AT_WORK`].
static SLEEPERS: [Sleeper; 64] =
    [const { Sleeper { thread: AtomicU64::new(0), until_ns: AtomicU64::new(0) } }; 64];
const AT_WORK: u64 = 0;

struct Sleeper {
    thread: AtomicU64,
    until_ns: AtomicU64,
}

/// From now on the recorded time is shown.
pub fn begin() {
    MONOTONIC_START_NS.store(real_ns(libc::CLOCK_MONOTONIC), Relaxed);
    REAL_START_NS.store(real_ns(libc::CLOCK_REALTIME), Relaxed);
    SHOWN.store(true, SeqCst);
}

/// So much of the recorded time has passed. Whoever is to wake by now does its work first.
pub fn advance(elapsed_ns: u64) {
    ELAPSED_NS.store(elapsed_ns, SeqCst);
    let now_ns = shown_real_ns();
    for sleeper in &SLEEPERS {
        if sleeper.thread.load(SeqCst) == 0 {
            return;
        }
        let give_up_ns = real_ns(libc::CLOCK_MONOTONIC) + PATIENCE_NS;
        while sleeper.until_ns.load(SeqCst) <= now_ns {
            if real_ns(libc::CLOCK_MONOTONIC) > give_up_ns {
                // It has ended, or waits for something else.
                sleeper.until_ns.store(u64::MAX, SeqCst);
            }
            crate::kernel::sleep_until(real_ns(libc::CLOCK_MONOTONIC) + NAP_NS / 4);
        }
    }
}

/// So much of the recorded time has passed for one of many threads that run freely: the shown time is
/// that of the one which is furthest. Nobody is waited for.
pub fn reach(elapsed_ns: u64) {
    ELAPSED_NS.fetch_max(elapsed_ns, SeqCst);
}

/// The calling thread's entry; `None`: there are more than anyone has.
#[cfg(target_env = "gnu")]
fn sleeper() -> Option<&'static Sleeper> {
    // SAFETY: it always works.
    let this = unsafe { libc::pthread_self() } as u64;
    SLEEPERS.iter().find(|sleeper| {
        let thread = &sleeper.thread;
        thread.load(SeqCst) == this || thread.compare_exchange(0, this, SeqCst, SeqCst).is_ok()
    })
}

fn shown_real_ns() -> u64 {
    REAL_START_NS.load(Relaxed) + ELAPSED_NS.load(SeqCst)
}

/// Stands before libc's.
///
/// # Safety
/// As libc's: `into` is null or may be written.
#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, into: *mut libc::timespec) -> i32 {
    let start_ns = match clock {
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_BOOTTIME => &MONOTONIC_START_NS,
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => &REAL_START_NS,
        // Time of the processor: no pause is in it.
        _ => return ask_kernel(clock, into),
    };
    if !SHOWN.load(Relaxed) || into.is_null() {
        return ask_kernel(clock, into);
    }
    let now_ns = start_ns.load(Relaxed) + ELAPSED_NS.load(Relaxed);
    // SAFETY: by the caller.
    unsafe {
        (*into).tv_sec = (now_ns / SECOND_NS) as libc::time_t;
        (*into).tv_nsec = (now_ns % SECOND_NS) as libc::c_long;
    }
    0
}

#[cfg(target_env = "gnu")]
fn ask_kernel(clock: libc::clockid_t, into: *mut libc::timespec) -> i32 {
    // SAFETY: the kernel checks both, and libc's wrapper sets errno as its own function would.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, into) as i32 }
}

/// Stands before libc's.
///
/// # Safety
/// As libc's: both are null or may be written.
#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(
    into: *mut libc::timeval,
    zone: *mut libc::c_void,
) -> libc::c_int {
    if !SHOWN.load(Relaxed) || into.is_null() {
        // SAFETY: the kernel checks both.
        return unsafe { libc::syscall(libc::SYS_gettimeofday, into, zone) as libc::c_int };
    }
    let now_ns = shown_real_ns();
    // SAFETY: by the caller.
    unsafe {
        (*into).tv_sec = (now_ns / SECOND_NS) as libc::time_t;
        (*into).tv_usec = (now_ns % SECOND_NS / 1000) as libc::suseconds_t;
    }
    0
}

/// What libc calls by a name, found once.
#[cfg(target_env = "gnu")]
struct OfLibc {
    name: &'static CStr,
    found: AtomicU64,
}

#[cfg(target_env = "gnu")]
impl OfLibc {
    const fn new(name: &'static CStr) -> OfLibc {
        OfLibc { name, found: AtomicU64::new(0) }
    }

    /// Its address, 0 where libc has none.
    fn address(&self) -> usize {
        if self.found.load(Relaxed) == 0 {
            // SAFETY: the name ends in a zero byte.
            let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            self.found.store(found as u64, Relaxed);
        }
        self.found.load(Relaxed) as usize
    }
}

#[cfg(target_env = "gnu")]
type Wait = unsafe extern "C" fn(*mut libc::pthread_cond_t, *mut libc::pthread_mutex_t) -> i32;
#[cfg(target_env = "gnu")]
type TimedWait = unsafe extern "C" fn(
    *mut libc::pthread_cond_t,
    *mut libc::pthread_mutex_t,
    *const libc::timespec,
) -> i32;

/// Stands before libc's: a thread that waits like this is not at work.
///
/// # Safety
/// As libc's.
#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_wait(
    condition: *mut libc::pthread_cond_t,
    mutex: *mut libc::pthread_mutex_t,
) -> i32 {
    static OF_LIBC: OfLibc = OfLibc::new(c"pthread_cond_wait");
    let address = OF_LIBC.address();
    if address == 0 {
        return libc::EINVAL;
    }
    // SAFETY: what libc calls by this name has this type.
    let wait = unsafe { core::mem::transmute::<usize, Wait>(address) };
    let me = if SHOWN.load(Relaxed) { sleeper() } else { None };
    if let Some(me) = me {
        me.until_ns.store(u64::MAX, SeqCst);
    }
    // SAFETY: by the caller.
    let status = unsafe { wait(condition, mutex) };
    if let Some(me) = me {
        me.until_ns.store(AT_WORK, SeqCst);
    }
    status
}

/// Stands before libc's: waits for the recorded time to come.
///
/// # Safety
/// As libc's.
#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_timedwait(
    condition: *mut libc::pthread_cond_t,
    mutex: *mut libc::pthread_mutex_t,
    until: *const libc::timespec,
) -> i32 {
    static OF_LIBC: OfLibc = OfLibc::new(c"pthread_cond_timedwait");
    let address = OF_LIBC.address();
    if address == 0 {
        return libc::EINVAL;
    }
    // SAFETY: what libc calls by this name has this type.
    let wait = unsafe { core::mem::transmute::<usize, TimedWait>(address) };
    if !SHOWN.load(Relaxed) || until.is_null() {
        // SAFETY: by the caller.
        return unsafe { wait(condition, mutex, until) };
    }
    // SAFETY: by the caller.
    let until_ns = unsafe { (*until).tv_sec as u64 * SECOND_NS + (*until).tv_nsec as u64 };
    let me = sleeper();
    if let Some(me) = me {
        me.until_ns.store(until_ns.max(AT_WORK + 1), SeqCst);
    }
    let status = loop {
        let nap_ns = real_ns(libc::CLOCK_REALTIME) + NAP_NS;
        let nap = libc::timespec {
            tv_sec: (nap_ns / SECOND_NS) as libc::time_t,
            tv_nsec: (nap_ns % SECOND_NS) as libc::c_long,
        };
        // SAFETY: by the caller; the time is ours.
        let status = unsafe { wait(condition, mutex, &nap) };
        if status != libc::ETIMEDOUT || shown_real_ns() >= until_ns {
            break status;
        }
    };
    if let Some(me) = me {
        me.until_ns.store(AT_WORK, SeqCst);
    }
    status
}
