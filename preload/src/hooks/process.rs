//! How a process ends without returning from main, and what it does to its own system calls.

use crate::next::NEXT;
use core::ffi::c_int;
#[cfg(target_arch = "x86_64")]
use core::ffi::{CStr, c_char, c_uint};
use fragtrace_recorder as recorder;
use recorder::End;
#[cfg(target_arch = "x86_64")]
use recorder::Successor;

#[unsafe(no_mangle)]
unsafe extern "C" fn _exit(status: c_int) {
    recorder::end(End::UnderscoreExit);
    // SAFETY: does not return.
    unsafe { NEXT._exit(status) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn _Exit(status: c_int) {
    recorder::end(End::UnderscoreExit);
    // SAFETY: does not return.
    unsafe { NEXT._Exit(status) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quick_exit(status: c_int) {
    recorder::end(End::UnderscoreExit);
    // SAFETY: does not return.
    unsafe { NEXT.quick_exit(status) }
}

/// What is about to be set: a filter on system calls, or the counter made unreadable. Before
/// it is, as afterwards even telling so could be forbidden. Whether it is the first filter.
fn note_prctl(option: c_int, argument: usize, filter: usize) -> bool {
    match option {
        // Strict mode also takes the processor's counter away.
        libc::PR_SET_SECCOMP if argument == libc::SECCOMP_MODE_STRICT as usize => {
            recorder::clock_vanishes();
        }
        // Without a filter it is a question: whether there could be one.
        libc::PR_SET_SECCOMP if filter != 0 => return recorder::filter_follows(),
        libc::PR_SET_TSC if argument == libc::PR_TSC_SIGSEGV as usize => {
            recorder::clock_vanishes();
        }
        _ => {}
    }
    false
}

/// In C the arguments after the first depend on it; passing all on is harmless.
#[unsafe(no_mangle)]
unsafe extern "C" fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
    let first = note_prctl(option, a, b);
    // SAFETY: by the caller.
    let result = unsafe { NEXT.prctl(option, a, b, c, d) };
    if first && result != 0 {
        recorder::no_filter_came();
    }
    result
}

/// What libseccomp calls, among others.
#[cfg(target_arch = "x86_64")]
extern "C" fn note_syscall(number: core::ffi::c_long, first: usize, second: usize, third: usize) {
    const SECCOMP_SET_MODE_STRICT: usize = 0;
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    match (number, first) {
        // libseccomp asks what the kernel knows by calls that must fail: strict mode with flags or
        // an argument, a filter that is none.
        (libc::SYS_seccomp, SECCOMP_SET_MODE_STRICT) if second == 0 && third == 0 => {
            recorder::clock_vanishes();
        }
        (libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER) if third != 0 => {
            recorder::filter_follows();
        }
        (libc::SYS_prctl, option) => {
            note_prctl(option as c_int, second, third);
        }
        (libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid, _)
        | (libc::SYS_chroot | libc::SYS_pivot_root, _) => recorder::path_vanishes(),
        // SAFETY: by the caller, null or a limit.
        (libc::SYS_setrlimit, what) => unsafe { limit_follows(what as u32, second as *const _) },
        // SAFETY: likewise.
        (libc::SYS_prlimit64, _) => unsafe { limit_follows(second as u32, third as *const _) },
        _ => {}
    }
}

/// The process is about to become the program at a path.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn exec_at(path: *const c_char) {
    if !path.is_null() {
        // SAFETY: by the caller, a string.
        recorder::exec_follows(Successor::At(unsafe { CStr::from_ptr(path) }));
    }
}

/// The same, by a name that is looked for in PATH.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn exec_named(name: *const c_char) {
    if !name.is_null() {
        // SAFETY: by the caller, a string.
        recorder::exec_follows(Successor::Named(unsafe { CStr::from_ptr(name) }));
    }
}

/// The same, by a descriptor.
#[cfg(target_arch = "x86_64")]
extern "C" fn exec_open() {
    recorder::exec_follows(Successor::Open);
}

/// The C library's forks and ends the first process, without a call that a hook would see.
#[unsafe(no_mangle)]
unsafe extern "C" fn daemon(no_change: c_int, no_close: c_int) -> c_int {
    recorder::daemon_follows();
    // SAFETY: by the caller.
    let result = unsafe { NEXT.daemon(no_change, no_close) };
    if result != 0 {
        recorder::no_daemon_came();
    }
    result
}

/// What the child needs of the parent's ring stays for a moment.
#[cfg(target_arch = "x86_64")]
extern "C" fn fork_follows() {
    recorder::fork_follows();
}

/// The user or the root directory is about to change.
#[cfg(target_arch = "x86_64")]
extern "C" fn path_vanishes() {
    recorder::path_vanishes();
}

/// The process is about to have a limit: one on descriptors that leaves it few takes away the way to
/// the trace's file, too.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn limit_follows(resource: c_uint, limit: *const libc::rlimit64) {
    const FEW: u64 = 64;
    if resource == libc::RLIMIT_NOFILE
        // SAFETY: by the caller, null or a limit.
        && unsafe { limit.as_ref() }.is_some_and(|limit| limit.rlim_cur < FEW)
    {
        recorder::path_vanishes();
    }
}

/// The same, of a process by its number, which mostly is this one.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn limit_follows_on(
    _process: c_int,
    resource: c_uint,
    limit: *const libc::rlimit64,
) {
    // SAFETY: by the caller.
    unsafe { limit_follows(resource, limit) };
}

/// Hooks on functions whose arguments are none of our business, and for some of a number
/// that only their own code knows: note the call, then jump on with all registers as they
/// were (System V ABI: six integer arguments, and rax for those of variable number).
#[cfg(target_arch = "x86_64")]
macro_rules! noted_hooks {
    ($note:ident: $($name:ident)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push rax",
                "call {note}",
                "pop rax", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
                "jmp qword ptr [rip + {next} + {slot}]",
                note = sym $note,
                next = sym crate::next::NEXT,
                slot = const core::mem::offset_of!(crate::next::Next, $name),
            )
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
noted_hooks!(exec_at: execve execv execl execle);
#[cfg(target_arch = "x86_64")]
noted_hooks!(exec_named: execvp execvpe execlp);
#[cfg(target_arch = "x86_64")]
noted_hooks!(exec_open: execveat fexecve);
#[cfg(target_arch = "x86_64")]
noted_hooks!(note_syscall: syscall);
#[cfg(target_arch = "x86_64")]
noted_hooks!(fork_follows: fork);
#[cfg(target_arch = "x86_64")]
noted_hooks!(limit_follows: setrlimit setrlimit64);
#[cfg(target_arch = "x86_64")]
noted_hooks!(limit_follows_on: prlimit prlimit64);
#[cfg(target_arch = "x86_64")]
noted_hooks!(path_vanishes: setuid seteuid setreuid setresuid chroot);
