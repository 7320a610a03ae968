//! What the kernel says about this process, and about time: read without the allocator.

use core::ffi::CStr;
use core::ptr::null;
use core::sync::atomic::{AtomicU32, Ordering::Acquire};

/// Reads a small file from its start; the bytes read.
pub fn read_whole(path: &CStr, into: &mut [u8]) -> Option<usize> {
    // SAFETY: the path ends in a zero byte.
    let descriptor = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if descriptor < 0 {
        return None;
    }
    let read = read_from_start(descriptor, into);
    // SAFETY: opened above, and used by nobody else.
    unsafe { libc::close(descriptor) };
    read
}

fn read_from_start(descriptor: i32, into: &mut [u8]) -> Option<usize> {
    // SAFETY: `into` is ours to be written, for its whole length.
    let read = unsafe { libc::pread(descriptor, into.as_mut_ptr().cast(), into.len(), 0) };
    usize::try_from(read).ok()
}

/// Reads from a place in a file; 0 at its end, or where it cannot be read.
pub fn read_at(descriptor: i32, place: u64, into: &mut [u8]) -> usize {
    let Ok(place) = libc::off_t::try_from(place) else { return 0 };
    // SAFETY: `into` is ours to be written, for its whole length.
    let read = unsafe { libc::pread(descriptor, into.as_mut_ptr().cast(), into.len(), place) };
    usize::try_from(read).unwrap_or(0)
}

/// Says something to whoever started this process.
pub fn say(text: &[u8]) {
    // SAFETY: the text is read for its whole length.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

/// The figures of /proc/self/statm, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Statm {
    /// Anonymous pages in memory.
    pub anon_bytes: u64,
    /// Pages of files and shared memory in memory.
    pub shared_bytes: u64,
    /// Private writable address space.
    pub mapped_bytes: u64,
}

/// /proc/self/statm, held open.
#[derive(Debug, Clone, Copy)]
pub struct StatmFile(i32);

impl StatmFile {
    /// Opens it.
    pub fn open() -> Option<StatmFile> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        // SAFETY: the path ends in a zero byte.
        let descriptor = unsafe { libc::open(c"/proc/self/statm".as_ptr(), flags) };
        (descriptor >= 0).then_some(StatmFile(descriptor))
    }

    /// The figures now. proc(5): size, resident, shared, text, 0, data and stack, 0, in pages.
    pub fn read(self, page_bytes: u64) -> Option<Statm> {
        let mut text = [0; 256];
        let read = read_from_start(self.0, &mut text)?;
        let mut words = text[..read].split(|byte| *byte == b' ' || *byte == b'\n').map(number);
        let mut next = || words.next().map(|pages| pages * page_bytes);
        let (_size, resident, shared) = (next()?, next()?, next()?);
        let (_text, _zero, mapped_bytes) = (next()?, next()?, next()?);
        Some(Statm {
            anon_bytes: resident.saturating_sub(shared),
            shared_bytes: shared,
            mapped_bytes,
        })
    }
}

/// The greatest resident set so far: VmHWM of /proc/self/status.
pub fn greatest_resident_bytes() -> Option<u64> {
    let mut text = [0; 4096];
    let read = read_whole(c"/proc/self/status", &mut text)?;
    let line =
        text[..read].split(|byte| *byte == b'\n').find(|line| line.starts_with(b"VmHWM:"))?;
    let digits = line.split(|byte| !byte.is_ascii_digit()).find(|word| !word.is_empty())?;
    Some(number(digits) * 1024)
}

/// Makes addresses the same in each run: starts this program anew without randomisation, once.
/// Where the system does not let that be, they differ.
pub fn fix_addresses() {
    const ASK: libc::c_ulong = 0xffff_ffff;
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: asks, and changes nothing.
    let now = unsafe { libc::personality(ASK) };
    if now < 0 || now & libc::ADDR_NO_RANDOMIZE != 0 {
        return;
    }
    let mut line = [0; 4096];
    let Some(read) = read_whole(c"/proc/self/cmdline", &mut line) else { return };
    let mut arguments = [null(); 4];
    let mut starts = (0..read).filter(|at| *at == 0 || line[at - 1] == 0);
    for (argument, start) in arguments[..3].iter_mut().zip(&mut starts) {
        *argument = line[start..].as_ptr().cast::<libc::c_char>();
    }
    let wanted = (now | libc::ADDR_NO_RANDOMIZE) as libc::c_ulong;
    // SAFETY: the personality is this process's own matter. Arguments and environment are lists of
    // strings that end in zero bytes, and each list ends in null; when execve returns, all is as
    // it was.
    unsafe {
        if libc::personality(wanted) < 0 || libc::personality(ASK) & libc::ADDR_NO_RANDOMIZE == 0 {
            return;
        }
        libc::execve(c"/proc/self/exe".as_ptr(), arguments.as_ptr(), environ);
    }
}

fn number(digits: &[u8]) -> u64 {
    let value = |digit: &u8| u64::from(digit.wrapping_sub(b'0'));
    digits.iter().take_while(|digit| digit.is_ascii_digit()).fold(0, |n, d| n * 10 + value(d))
}

/// Page faults of this process so far.
pub fn faults() -> u64 {
    // SAFETY: zeros are a value of this plain struct.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the struct is ours to be written.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    (usage.ru_minflt + usage.ru_majflt) as u64
}

/// A clock's own time in nanoseconds, whatever is [shown](crate::clock).
pub fn real_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is ours to be written.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Sleeps until the monotonic clock shows this time.
pub fn sleep_until(monotonic_ns: u64) {
    let until = libc::timespec {
        tv_sec: (monotonic_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (monotonic_ns % 1_000_000_000) as libc::c_long,
    };
    let (clock, flags) = (libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME);
    // SAFETY: the time is read, and nothing is written where a rest would be.
    while unsafe { libc::clock_nanosleep(clock, flags, &until, core::ptr::null_mut()) }
        == libc::EINTR
    {}
}

/// Sleeps as long as a word has this value, until somebody wakes it or so much time has passed; or
/// for no time at all.
pub fn futex_wait(word: &AtomicU32, value: u32, most_ns: Option<u64>) {
    let most = most_ns.map(|most_ns| libc::timespec {
        tv_sec: (most_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (most_ns % 1_000_000_000) as libc::c_long,
    });
    let most = most.as_ref().map_or(null(), core::ptr::from_ref);
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: word and time are there for the whole call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wait, value, most) };
}

/// Sleeps if a word has this value; whether it had.
pub fn is_waited_while(word: &AtomicU32, value: u32) -> bool {
    if word.load(Acquire) != value {
        return false;
    }
    futex_wait(word, value, None);
    true
}

/// Wakes so many of those that sleep on a word.
pub fn futex_wake(word: &AtomicU32, most: u32) {
    let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word is there for the whole call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wake, most) };
}

/// A counter that runs at a constant rate and costs little to read.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has it.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(target_arch = "aarch64")]
    {
        let ticks: u64;
        // SAFETY: reads a register that Linux lets every process read, and changes nothing.
        unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
        return ticks;
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return real_ns(libc::CLOCK_MONOTONIC);
}
