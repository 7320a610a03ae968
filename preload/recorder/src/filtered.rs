//! A process may begin behind a filter on system calls: what its parent, systemd or a sandbox
//! installed. Then a call that the program itself never makes may be its death.
//!
//! Whether there is a filter is asked by calls that the loader has just made to load us. If so,
//! and it is not the container's own, under which all of its programs run, a child tries each
//! of our calls, with arguments that do nothing. It may die of one; then that one is not made,
//! and a next child tries those behind it.

use crate::sys;
use crate::text::{decimal, find};
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use libc::c_long;

const MODE: &[u8] = b"\nSeccomp:";
const FILTERS: &[u8] = b"\nSeccomp_filters:";
const NONE: u64 = 0;

/// No descriptor.
const NO_FILE: usize = usize::MAX;
const PAGE: usize = 4096;

/// Every call that the recorder makes, as it would make it, but of no effect: the child has none of
/// its own to wait for. That comes first, as trying the others takes it.
#[rustfmt::skip]
fn calls() -> [(c_long, [usize; 6]); 38] {
    static EMPTY: u8 = 0;
    static TIME: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let (path, time) = (&raw const EMPTY as usize, &raw const TIME as usize);
    let at = |flags: i32| [NO_FILE, path, (flags | libc::O_CLOEXEC) as usize, 0o600, 0, 0];
    let create = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let write = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let fixed = libc::MAP_FIXED_NOREPLACE;
    let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | fixed) as usize;
    let shared = (libc::MAP_SHARED | fixed) as usize;
    [
        (libc::SYS_wait4, [usize::MAX, 0, (libc::WNOHANG | libc::__WALL) as usize, 0, 0, 0]),
        (libc::SYS_openat, at(libc::O_RDONLY)),
        (libc::SYS_openat, at(libc::O_RDWR | libc::O_NOFOLLOW)),
        (libc::SYS_openat, at(create)),
        (libc::SYS_read, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_close, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_write, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_pwrite64, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_pwritev, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_pread64, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_fstat, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_ftruncate, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_fallocate, [NO_FILE, 0, 0, PAGE, 0, 0]),
        (libc::SYS_fcntl, [NO_FILE, libc::F_DUPFD_CLOEXEC as usize, 0, 0, 0, 0]),
        (libc::SYS_ioctl, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_faccessat, [NO_FILE, path, libc::X_OK as usize, 0, 0, 0]),
        (libc::SYS_unlinkat, [NO_FILE, path, 0, 0, 0, 0]),
        (libc::SYS_readlinkat, [NO_FILE, path, 0, 0, 0, 0]),
        (libc::SYS_getcwd, [0, 0, 0, 0, 0, 0]),
        (libc::SYS_getdents64, [NO_FILE, 0, 0, 0, 0, 0]),
        (libc::SYS_mmap, [0, 0, write, shared, NO_FILE, 0]),
        (libc::SYS_mmap, [0, 0, write, private, NO_FILE, 0]),
        (libc::SYS_munmap, [0, 0, 0, 0, 0, 0]),
        (libc::SYS_mprotect, [0, 0, libc::PROT_READ as usize, 0, 0, 0]),
        (libc::SYS_madvise, [0, 0, libc::MADV_POPULATE_WRITE as usize, 0, 0, 0]),
        (libc::SYS_getpid, [0; 6]),
        (libc::SYS_getppid, [0; 6]),
        (libc::SYS_gettid, [0; 6]),
        (libc::SYS_kill, [1, 0, 0, 0, 0, 0]),
        (libc::SYS_prctl, [libc::PR_GET_NAME as usize, 0, 0, 0, 0, 0]),
        (libc::SYS_clock_gettime, [libc::CLOCK_MONOTONIC as usize, 0, 0, 0, 0, 0]),
        (libc::SYS_prlimit64, [0, libc::RLIMIT_FSIZE as usize, 0, 0, 0, 0]),
        (libc::SYS_sigaltstack, [0; 6]),
        (libc::SYS_rt_sigprocmask, [0, 0, 0, 8, 0, 0]),
        (libc::SYS_process_vm_readv, [0, 0, 0, 0, 0, 0]),
        (libc::SYS_nanosleep, [time, 0, 0, 0, 0, 0]),
        (libc::SYS_sched_yield, [0; 6]),
        (libc::SYS_uname, [0; 6]),
    ]
}

/// Finds out which calls may be made, before any other is.
pub fn find_filters() {
    let Some(own) = filters(b"/proc/self/status\0") else {
        // Without /proc the kernel itself is asked.
        return if sys::seccomp_mode() != NONE {
            try_all()
        };
    };
    // What the first process of a container has as well was made for all programs there.
    if own.mode != NONE && filters(b"/proc/1/status\0") != Some(own) {
        try_all();
    }
}

#[derive(PartialEq, Eq)]
struct Filters {
    mode: u64,
    /// Not told before Linux 5.9.
    count: Option<u64>,
}

/// What a file in /proc says. `None`: it cannot be read.
fn filters(path: &[u8]) -> Option<Filters> {
    let mut text = [0; 4096];
    let len = sys::read_file(path, &mut text).ok()?;
    // A kernel without filters says nothing of them.
    Some(Filters {
        mode: number(&text[..len], MODE).unwrap_or(NONE),
        count: number(&text[..len], FILTERS),
    })
}

fn number(text: &[u8], name: &[u8]) -> Option<u64> {
    let rest = &text[find(text, name)? + name.len()..];
    let start = rest.iter().position(u8::is_ascii_digit)?;
    decimal(&rest[start..]).map(|(value, _)| value)
}

/// Has children try all calls, and leaves out those that they died of. Where that is not possible
/// no call is made at all.
fn try_all() {
    let calls = calls();
    // Where the children say how far they came: memory that they share with us.
    let Some(page) = sys::map_shared_page() else { return sys::forbid() };
    // SAFETY: just mapped, zeroed, and unmapped below only.
    let reached = unsafe { &*(page as *const AtomicUsize) };
    while reached.load(Relaxed) < calls.len() {
        // SAFETY: the child makes calls of no effect, and ends.
        let Some(child) = (unsafe { sys::fork_and_wait() }) else {
            sys::unmap(page, PAGE);
            return sys::forbid();
        };
        if child == 0 {
            try_from(reached, &calls);
        }
        let died_of = reached.load(Relaxed);
        if let Some((call, _)) = calls.get(died_of) {
            sys::leave_out(*call);
            reached.store(died_of + 1, Relaxed);
        }
        sys::reap(child);
    }
    sys::unmap(page, PAGE);
}

/// The child: makes one call after the other.
fn try_from(reached: &AtomicUsize, calls: &[(c_long, [usize; 6])]) -> ! {
    for (index, (call, arguments)) in calls.iter().enumerate().skip(reached.load(Relaxed)) {
        reached.store(index, Relaxed);
        // SAFETY: none of these has an effect: no descriptor, no length, no address.
        unsafe { sys::try_call(*call, *arguments) };
    }
    reached.store(calls.len(), Relaxed);
    sys::end_child();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::string::{String, ToString};

    /// Names of system calls in our own code.
    fn named(source: &str) -> BTreeSet<String> {
        let named = source.split("libc::SYS_").skip(1);
        let is_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
        named.map(|rest| rest.chars().take_while(is_name).collect()).collect()
    }

    #[test]
    fn every_call_is_tried() {
        let made = named(include_str!("sys.rs"));
        let tried = named(include_str!("filtered.rs").split("#[cfg(test)]").next().unwrap_or(""));
        // What trying itself takes.
        let means = ["clone", "exit_group"].map(|name| name.to_string());
        let untried: BTreeSet<_> = made.difference(&tried).cloned().collect();
        assert_eq!(untried, BTreeSet::from(means));
    }

    #[test]
    fn the_count_of_filters_is_read() {
        let text = b"NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t13\nSpeculation";
        assert_eq!((number(text, MODE), number(text, FILTERS)), (Some(2), Some(13)));
        assert_eq!(number(b"Name:\tx\n", MODE), None);
    }
}
