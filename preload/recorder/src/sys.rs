//! System calls, made directly: libc's wrappers would set errno, and some allocate.
//!
//! Results are `Err(errno)` or the value. Once the program has installed a system call
//! filter, nothing here reaches the kernel any more: see [`forbid`].

use crate::arch::syscall;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use libc::{c_int, c_long, pid_t, timespec};

static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// From now on every call fails with EPERM, without asking the kernel.
pub(crate) fn forbid() {
    FORBIDDEN.store(true, Ordering::Relaxed);
}

/// Calls reach the kernel again.
pub(crate) fn allow() {
    FORBIDDEN.store(false, Ordering::Relaxed);
}

/// Whether calls still reach the kernel.
pub(crate) fn forbidden() -> bool {
    FORBIDDEN.load(Ordering::Relaxed)
}

/// Calls that are left out, by a bit for each number: all that the recorder makes are below 512.
static LEFT_OUT: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// From now on this call fails with EPERM, without asking the kernel.
pub(crate) fn leave_out(number: c_long) {
    if let Some(word) = LEFT_OUT.get(number as usize / 64) {
        word.fetch_or(1 << (number % 64), Ordering::Relaxed);
    }
}

fn is_left_out(number: c_long) -> bool {
    let word = LEFT_OUT.get(number as usize / 64);
    word.is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (number % 64) != 0)
}

/// # Safety
/// As the call demands.
unsafe fn call(number: c_long, a: [usize; 6]) -> Result<usize, c_int> {
    if forbidden() || is_left_out(number) {
        return Err(libc::EPERM);
    }
    // SAFETY: the caller vouches.
    let result = unsafe { syscall(number as usize, a) };
    if (-4095..0).contains(&result) { Err(-result as c_int) } else { Ok(result as usize) }
}

/// Opens a file by a path that ends in a zero byte.
pub(crate) fn open(path: &[u8], flags: c_int, mode: u32) -> Result<c_int, c_int> {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

/// Opens a file by a path from an open directory on.
pub(crate) fn open_at(
    directory: c_int,
    path: &[u8],
    flags: c_int,
    mode: u32,
) -> Result<c_int, c_int> {
    debug_assert_eq!(path.last(), Some(&0));
    let at = directory as isize as usize;
    let flags = (flags | libc::O_CLOEXEC) as usize;
    // SAFETY: the path is terminated and lives over the call.
    unsafe { call(libc::SYS_openat, [at, path.as_ptr() as usize, flags, mode as usize, 0, 0]) }
        .map(|fd| fd as c_int)
}

pub(crate) fn close(fd: c_int) {
    // SAFETY: takes a number; we close what we opened.
    let _ = unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// Whether a file can be executed, by a path that ends in a zero byte.
pub(crate) fn is_executable(path: &[u8]) -> bool {
    debug_assert_eq!(path.last(), Some(&0));
    let at = libc::AT_FDCWD as isize as usize;
    let a = [at, path.as_ptr() as usize, libc::X_OK as usize, 0, 0, 0];
    // SAFETY: the path is terminated and lives over the call.
    unsafe { call(libc::SYS_faccessat, a) }.is_ok()
}

/// Removes a file. Whether it is gone.
pub(crate) fn unlink(path: &[u8]) -> bool {
    unlink_at(libc::AT_FDCWD, path)
}

/// Removes a file by a path from an open directory on. Whether it is gone.
pub(crate) fn unlink_at(directory: c_int, path: &[u8]) -> bool {
    let at = directory as isize as usize;
    // SAFETY: the path is terminated and lives over the call.
    unsafe { call(libc::SYS_unlinkat, [at, path.as_ptr() as usize, 0, 0, 0, 0]) }.is_ok()
}

pub(crate) fn read(fd: c_int, into: &mut [u8]) -> Result<usize, c_int> {
    let a = [fd as usize, into.as_mut_ptr() as usize, into.len(), 0, 0, 0];
    // SAFETY: the buffer is ours and as long as said.
    unsafe { call(libc::SYS_read, a) }
}

pub(crate) fn write(fd: c_int, from: &[u8]) -> Result<usize, c_int> {
    let a = [fd as usize, from.as_ptr() as usize, from.len(), 0, 0, 0];
    // SAFETY: the buffer is ours and as long as said.
    unsafe { call(libc::SYS_write, a) }
}

pub(crate) fn pwrite(fd: c_int, from: &[u8], offset: u64) -> Result<usize, c_int> {
    let a = [fd as usize, from.as_ptr() as usize, from.len(), offset as usize, 0, 0];
    // SAFETY: the buffer is ours and as long as said.
    unsafe { call(libc::SYS_pwrite64, a) }
}

/// Writes memory to a file as it is at this moment, whoever else writes there. An error where
/// not all of it can be read or written.
pub(crate) fn pwrite_from(
    fd: c_int,
    address: usize,
    bytes: usize,
    offset: u64,
) -> Result<(), c_int> {
    let mut done = 0;
    while done < bytes {
        let a = [fd as usize, address + done, bytes - done, offset as usize + done, 0, 0];
        // SAFETY: the kernel reads the memory, or says that it cannot.
        match unsafe { call(libc::SYS_pwrite64, a) } {
            Ok(0) => return Err(libc::EIO),
            Ok(written) => done += written,
            Err(libc::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// [`write_zeros`] writes so much at a time, from a multiple of it on: the kernel then takes many
/// pages from its allocator in one piece.
pub(crate) const ZEROS_AT_ONCE: u64 = 64 << 10;

/// Writes zeros to a file. An error where not all of them can be written.
pub(crate) fn write_zeros(fd: c_int, offset: u64, bytes: u64) -> Result<(), c_int> {
    const PART: usize = 4096;
    /// Of a kind that could be written: others would stand in the library's file.
    static ZEROS: [AtomicU64; PART / 8] = [const { AtomicU64::new(0) }; PART / 8];
    let part = libc::iovec { iov_base: ZEROS.as_ptr() as *mut libc::c_void, iov_len: PART };
    let (mut at, end) = (offset, offset + bytes);
    while at < end {
        let step = (ZEROS_AT_ONCE - at % ZEROS_AT_ONCE).min(end - at) as usize;
        let mut parts = [part; ZEROS_AT_ONCE as usize / PART];
        let count = step.div_ceil(PART);
        parts[count - 1].iov_len = step - (count - 1) * PART;
        let a = [fd as usize, parts.as_ptr() as usize, count, at as usize, 0, 0];
        // SAFETY: the kernel reads the zeros, as many of them as there are.
        match unsafe { call(libc::SYS_pwritev, a) } {
            Ok(0) => return Err(libc::EIO),
            Ok(written) => at += written as u64,
            Err(libc::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `into` from a file's offset on.
pub(crate) fn read_words(fd: c_int, into: &mut [u64], offset: u64) -> Result<(), c_int> {
    let bytes = size_of_val(into);
    let a = [fd as usize, into.as_mut_ptr() as usize, bytes, offset as usize, 0, 0];
    // SAFETY: the buffer is ours and as long as said, and any bytes are words.
    let read = unsafe { call(libc::SYS_pread64, a) }?;
    if read == bytes { Ok(()) } else { Err(libc::EIO) }
}

/// ioctl.
///
/// # Safety
/// As the request demands.
pub(crate) unsafe fn control(fd: c_int, request: usize, argument: usize) -> Result<usize, c_int> {
    // SAFETY: the caller vouches.
    unsafe { call(libc::SYS_ioctl, [fd as usize, request, argument, 0, 0, 0]) }
}

/// Reads a file into `into`, as far as it fits; the bytes read.
pub(crate) fn read_file(path: &[u8], into: &mut [u8]) -> Result<usize, c_int> {
    let fd = open(path, libc::O_RDONLY, 0)?;
    let mut len = 0;
    let result = loop {
        match read(fd, &mut into[len..]) {
            Ok(0) => break Ok(len),
            Ok(more) => len += more,
            Err(libc::EINTR) => {}
            Err(error) => break Err(error),
        }
    };
    close(fd);
    result
}

pub(crate) fn read_link(path: &[u8], into: &mut [u8]) -> Result<usize, c_int> {
    let at = libc::AT_FDCWD as isize as usize;
    let a = [at, path.as_ptr() as usize, into.as_mut_ptr() as usize, into.len(), 0, 0];
    // SAFETY: the path is terminated, the buffer ours and as long as said.
    unsafe { call(libc::SYS_readlinkat, a) }
}

pub(crate) fn current_directory(into: &mut [u8]) -> Result<usize, c_int> {
    // SAFETY: the buffer is ours and as long as said.
    let len =
        unsafe { call(libc::SYS_getcwd, [into.as_mut_ptr() as usize, into.len(), 0, 0, 0, 0])? };
    // The kernel counts the zero at the end; a directory outside our root starts oddly.
    if into.first() == Some(&b'/') { Ok(len - 1) } else { Err(libc::ENOENT) }
}

/// The next entries of an open directory, as many as fit: their bytes, 0 at its end.
pub(crate) fn read_directory(fd: c_int, into: &mut [u8]) -> Result<usize, c_int> {
    let a = [fd as usize, into.as_mut_ptr() as usize, into.len(), 0, 0, 0];
    // SAFETY: the buffer is ours and as long as said.
    unsafe { call(libc::SYS_getdents64, a) }
}

fn status(fd: c_int) -> Result<libc::stat, c_int> {
    // SAFETY: `stat` is plain integers.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    let a = [fd as usize, &raw mut stat as usize, 0, 0, 0, 0];
    // SAFETY: the kernel fills the struct.
    unsafe { call(libc::SYS_fstat, a) }.map(|_| stat)
}

/// Device and inode of an open file.
pub(crate) fn identity(fd: c_int) -> Result<(u64, u64), c_int> {
    status(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Bytes of an open file.
pub(crate) fn file_bytes(fd: c_int) -> Result<u64, c_int> {
    status(fd).map(|stat| stat.st_size as u64)
}

/// Whether an open file is a plain one.
pub(crate) fn is_regular(fd: c_int) -> bool {
    status(fd).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG)
}

/// Another descriptor of an open file, the first that is free from `least` on.
pub(crate) fn duplicate(fd: c_int, least: c_int) -> Result<c_int, c_int> {
    let a = [fd as isize as usize, libc::F_DUPFD_CLOEXEC as usize, least as usize, 0, 0, 0];
    // SAFETY: takes numbers.
    unsafe { call(libc::SYS_fcntl, a) }.map(|fd| fd as c_int)
}

pub(crate) fn truncate(fd: c_int, bytes: u64) -> Result<(), c_int> {
    // SAFETY: takes numbers.
    unsafe { call(libc::SYS_ftruncate, [fd as usize, bytes as usize, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn allocate(fd: c_int, offset: u64, bytes: u64) -> Result<(), c_int> {
    fallocate(fd, 0, offset, bytes)
}

/// Sets blocks aside without the file becoming longer.
pub(crate) fn set_aside(fd: c_int, offset: u64, bytes: u64) -> Result<(), c_int> {
    fallocate(fd, libc::FALLOC_FL_KEEP_SIZE, offset, bytes)
}

fn fallocate(fd: c_int, mode: c_int, offset: u64, bytes: u64) -> Result<(), c_int> {
    let a = [fd as usize, mode as usize, offset as usize, bytes as usize, 0, 0];
    // SAFETY: takes numbers.
    unsafe { call(libc::SYS_fallocate, a) }.map(drop)
}

/// Of a limit on address space this part is the recorder's; the rest the program's.
const SHARE_OF_LIMIT: u64 = 8;
/// Bytes that may still be mapped; 0 = not asked yet.
static MAY_MAP: AtomicU64 = AtomicU64::new(0);

/// Whether so many bytes more may be mapped: a program that lives with a limit (`ulimit -v` or -d)
/// is not to find it used up.
fn may_map(bytes: usize) -> bool {
    const ASKED: u64 = 1;
    if MAY_MAP.load(Ordering::Relaxed) == 0 {
        let limit = limit_on(libc::RLIMIT_AS as usize).min(limit_on(libc::RLIMIT_DATA as usize));
        MAY_MAP.store((limit / SHARE_OF_LIMIT).max(ASKED), Ordering::Relaxed);
    }
    let take = |left: u64| left.checked_sub(bytes as u64).filter(|left| *left >= ASKED);
    MAY_MAP.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
}

/// Nothing is mapped that would count against the limit.
pub(crate) fn map_afresh() {
    MAY_MAP.store(0, Ordering::Relaxed);
}

fn may_map_again(bytes: usize) {
    let give_back = |left: u64| (left > 0).then_some(left + bytes as u64);
    let _ = MAY_MAP.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give_back);
}

/// Maps; `at` is where, and nothing that stands there is replaced.
pub(crate) fn map(
    at: usize,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    file: Option<(c_int, u64)>,
) -> Result<usize, c_int> {
    let (fd, offset) = file.unwrap_or((-1, 0));
    let flags = flags | libc::MAP_FIXED_NOREPLACE;
    let a = [at, bytes, protection as usize, flags as usize, fd as isize as usize, offset as usize];
    if !may_map(bytes) {
        return Err(libc::ENOMEM);
    }
    // SAFETY: a new mapping replaces nothing and so disturbs nobody.
    let mapped = unsafe { call(libc::SYS_mmap, a) };
    if mapped == Ok(at) {
        return mapped;
    }
    match mapped {
        // Before Linux 4.17 the flag is only a hint.
        Ok(address) => unmap(address, bytes),
        Err(_) => may_map_again(bytes),
    }
    Err(mapped.err().unwrap_or(libc::EEXIST))
}

pub(crate) fn unmap(address: usize, bytes: usize) {
    may_map_again(bytes);
    // SAFETY: callers unmap what they mapped.
    let _ = unsafe { call(libc::SYS_munmap, [address, bytes, 0, 0, 0, 0]) };
}

/// Changes what may be done with a mapping of our own.
pub(crate) fn protect(address: usize, bytes: usize, protection: c_int) -> Result<(), c_int> {
    // SAFETY: callers protect what they mapped.
    unsafe { call(libc::SYS_mprotect, [address, bytes, protection as usize, 0, 0, 0]) }.map(drop)
}

pub(crate) fn advise(address: usize, bytes: usize, advice: c_int) -> Result<(), c_int> {
    // SAFETY: callers advise on their own mappings, with advice that keeps their bytes.
    unsafe { call(libc::SYS_madvise, [address, bytes, advice as usize, 0, 0, 0]) }.map(drop)
}

fn number(call_number: libc::c_long) -> u32 {
    // SAFETY: takes nothing.
    unsafe { call(call_number, [0; 6]) }.unwrap_or(0) as u32
}

pub(crate) fn process_id() -> u32 {
    number(libc::SYS_getpid)
}

pub(crate) fn parent_id() -> u32 {
    number(libc::SYS_getppid)
}

pub(crate) fn thread_id() -> u32 {
    number(libc::SYS_gettid)
}

/// Whether there is a process with this number, as far as we can see.
pub(crate) fn process_exists(pid: u32) -> bool {
    // SAFETY: signal 0 is none; the kernel only checks whether one could be sent.
    let sent = unsafe { call(libc::SYS_kill, [pid as usize, 0, 0, 0, 0, 0]) };
    sent != Err(libc::ESRCH)
}

/// The kernel's name of this thread, ended by a zero byte.
pub(crate) fn thread_name() -> [u8; 16] {
    let mut name = [0; 16];
    let a = [libc::PR_GET_NAME as usize, name.as_mut_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes at most 16 bytes.
    let _ = unsafe { call(libc::SYS_prctl, a) };
    name
}

pub(crate) fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    let a = [clock as usize, &raw mut time as usize, 0, 0, 0, 0];
    // SAFETY: the kernel fills the struct.
    let _ = unsafe { call(libc::SYS_clock_gettime, a) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The greatest size that a file of this process may have.
pub(crate) fn file_size_limit() -> u64 {
    limit_on(libc::RLIMIT_FSIZE as usize)
}

/// How many descriptors this process may have.
pub(crate) fn descriptor_limit() -> u64 {
    limit_on(libc::RLIMIT_NOFILE as usize)
}

fn limit_on(resource: usize) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: u64::MAX, rlim_max: u64::MAX };
    let a = [0, resource, 0, &raw mut limit as usize, 0, 0];
    // SAFETY: the kernel fills the struct; no new limit is given.
    let _ = unsafe { call(libc::SYS_prlimit64, a) };
    limit.rlim_cur
}

/// Whether this thread runs on an alternate signal stack.
pub(crate) fn on_signal_stack() -> bool {
    // SAFETY: `stack_t` is plain data.
    let mut stack: libc::stack_t = unsafe { core::mem::zeroed() };
    let a = [0, &raw mut stack as usize, 0, 0, 0, 0];
    // SAFETY: the kernel fills the struct; no new stack is given.
    let known = unsafe { call(libc::SYS_sigaltstack, a) }.is_ok();
    // What cannot be known counts as yes: the careful answer.
    !known || stack.ss_flags & libc::SS_ONSTACK != 0
}

/// Whether the word at an address can be read. The kernel copies a set of signals from there
/// before it looks at what is to be done with it, and what is asked for here does not exist.
pub(crate) fn is_readable(address: usize) -> bool {
    const NO_SUCH_CHANGE: usize = u32::MAX as usize;
    // SAFETY: no such change: the kernel reads 8 bytes, or says that it cannot.
    let answer = unsafe { call(libc::SYS_rt_sigprocmask, [NO_SUCH_CHANGE, address, 0, 8, 0, 0]) };
    answer == Err(libc::EINVAL)
}

/// Copies from this process's memory; the bytes copied, fewer where the rest cannot be read.
pub(crate) fn copy_from_self(from: usize, into: &mut [u8]) -> Result<usize, c_int> {
    let own = process_id() as usize;
    let to = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let from = libc::iovec { iov_base: from as *mut libc::c_void, iov_len: into.len() };
    let a = [own, &raw const to as usize, 1, &raw const from as usize, 1, 0];
    // SAFETY: the buffer is ours and as long as said; what cannot be read is an error.
    unsafe { call(libc::SYS_process_vm_readv, a) }
}

/// Keeps all signals from this thread; what was kept from it before. `None`: not now.
pub(crate) fn block_signals() -> Option<u64> {
    set_signals(libc::SIG_BLOCK, u64::MAX)
}

/// Undoes [`block_signals`].
pub(crate) fn restore_signals(before: u64) {
    set_signals(libc::SIG_SETMASK, before);
}

fn set_signals(how: c_int, set: u64) -> Option<u64> {
    let mut before = 0u64;
    let a = [how as usize, &raw const set as usize, &raw mut before as usize, 8, 0, 0];
    // SAFETY: the kernel reads and writes 8 bytes, its own size of a signal set.
    unsafe { call(libc::SYS_rt_sigprocmask, a) }.ok().map(|_| before)
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    number(libc::SYS_sched_yield);
}

/// Sleeps for less than a second, or until a signal comes.
pub(crate) fn sleep_us(us: u32) {
    let time = timespec { tv_sec: 0, tv_nsec: i64::from(us) * 1000 };
    // SAFETY: the kernel reads the struct.
    let _ = unsafe { call(libc::SYS_nanosleep, [&raw const time as usize, 0, 0, 0, 0, 0]) };
}

/// Machine name, kernel release and version.
pub(crate) fn machine() -> libc::utsname {
    // SAFETY: `utsname` is arrays of characters.
    let mut name: libc::utsname = unsafe { core::mem::zeroed() };
    // SAFETY: the kernel fills the struct.
    let _ = unsafe { call(libc::SYS_uname, [&raw mut name as usize, 0, 0, 0, 0, 0]) };
    name
}

/// Whether rdtsc works in this process: PR_SET_TSC can make it a fault.
#[cfg(target_arch = "x86_64")]
pub(crate) fn counter_is_readable() -> bool {
    let mut mode: c_int = libc::PR_TSC_ENABLE;
    let a = [libc::PR_GET_TSC as usize, &raw mut mode as usize, 0, 0, 0, 0];
    // SAFETY: the kernel fills the integer.
    let _ = unsafe { call(libc::SYS_prctl, a) };
    mode == libc::PR_TSC_ENABLE
}

/// Makes a call whatever it comes to.
///
/// # Safety
/// As the call demands.
pub(crate) unsafe fn try_call(number: c_long, a: [usize; 6]) {
    // SAFETY: by the caller.
    let _ = unsafe { call(number, a) };
}

/// The mode of seccomp that this thread is in; 0: none, or the kernel does not say.
pub(crate) fn seccomp_mode() -> u64 {
    // SAFETY: takes numbers.
    let mode = unsafe { call(libc::SYS_prctl, [libc::PR_GET_SECCOMP as usize, 0, 0, 0, 0, 0]) };
    mode.unwrap_or(0) as u64
}

/// A page of memory, anywhere, that children share.
pub(crate) fn map_shared_page() -> Option<usize> {
    let access = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_SHARED | libc::MAP_ANONYMOUS) as usize;
    // SAFETY: a new mapping where the kernel has room disturbs nobody.
    unsafe { call(libc::SYS_mmap, [0, 4096, access, flags, usize::MAX, 0]) }.ok()
}

/// Forks, without any handler of the program's, and without a signal to it in the end. The child's
/// number, when that has ended; 0 in the child.
///
/// # Safety
/// The child has one thread, and locks as they were.
pub(crate) unsafe fn fork_and_wait() -> Option<pid_t> {
    // The kernel lets the parent go on when the child is no more: wait4 could be forbidden.
    const FLAGS: usize = libc::CLONE_VFORK as usize;
    // SAFETY: without CLONE_VM the child has memory and a stack of its own.
    unsafe { call(libc::SYS_clone, [FLAGS, 0, 0, 0, 0, 0]) }.ok().map(|pid| pid as pid_t)
}

/// Takes leave of a child that [`fork_and_wait`] made. `wait` of the program's does not see it.
pub(crate) fn reap(child: pid_t) {
    let a = [child as usize, 0, libc::__WALL as usize, 0, 0, 0];
    // SAFETY: the kernel writes nothing.
    while unsafe { call(libc::SYS_wait4, a) } == Err(libc::EINTR) {}
}

/// Ends this process at once.
pub(crate) fn end_child() -> ! {
    loop {
        // SAFETY: does not return.
        let _ = unsafe { call(libc::SYS_exit_group, [0; 6]) };
    }
}
