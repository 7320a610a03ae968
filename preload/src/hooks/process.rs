//! How a process ends without returning from main, and what it does to its own system calls.

use crate::next::NEXT;
use core::ffi::c_int;
use fragtrace_recorder as recorder;
use recorder::End;

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
/// it is, as afterwards even telling so could be forbidden.
fn note_prctl(option: c_int, argument: usize) {
    match option {
        // Strict mode also takes the processor's counter away.
        libc::PR_SET_SECCOMP if argument == libc::SECCOMP_MODE_STRICT as usize => {
            recorder::clock_vanishes();
        }
        libc::PR_SET_SECCOMP => recorder::filter_follows(),
        libc::PR_SET_TSC if argument == libc::PR_TSC_SIGSEGV as usize => {
            recorder::clock_vanishes();
        }
        _ => {}
    }
}

/// In C the arguments after the first depend on it; passing all on is harmless.
#[unsafe(no_mangle)]
unsafe extern "C" fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
    note_prctl(option, a);
    // SAFETY: by the caller.
    unsafe { NEXT.prctl(option, a, b, c, d) }
}

/// What libseccomp calls, among others.
#[cfg(target_arch = "x86_64")]
extern "C" fn note_syscall(number: core::ffi::c_long, first: usize, second: usize) {
    const SECCOMP_SET_MODE_STRICT: usize = 0;
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    match (number, first) {
        (libc::SYS_seccomp, SECCOMP_SET_MODE_STRICT) => recorder::clock_vanishes(),
        (libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER) => recorder::filter_follows(),
        (libc::SYS_prctl, option) => note_prctl(option as c_int, second),
        (libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid, _)
        | (libc::SYS_chroot | libc::SYS_pivot_root, _) => recorder::path_vanishes(),
        _ => {}
    }
}

/// The process is about to become another program. Where the call fails, some other end
/// follows and replaces this one.
#[cfg(target_arch = "x86_64")]
extern "C" fn exec_follows() {
    recorder::end(End::Exec);
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
noted_hooks!(exec_follows: execve execveat fexecve execv execvp execvpe execl execlp execle);
#[cfg(target_arch = "x86_64")]
noted_hooks!(note_syscall: syscall);
#[cfg(target_arch = "x86_64")]
noted_hooks!(fork_follows: fork);
#[cfg(target_arch = "x86_64")]
noted_hooks!(path_vanishes: setuid seteuid setreuid setresuid chroot);
