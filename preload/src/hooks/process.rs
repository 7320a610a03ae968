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

/// In C the arguments after the first depend on it; passing all on is harmless.
#[unsafe(no_mangle)]
unsafe extern "C" fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
    // SAFETY: by the caller.
    let result = unsafe { NEXT.prctl(option, a, b, c, d) };
    if option == libc::PR_SET_SECCOMP && result == 0 {
        recorder::forbid_system_calls();
    }
    result
}

/// The process is about to become another program. Where the call fails, some other end
/// follows and replaces this one.
#[cfg(target_arch = "x86_64")]
extern "C" fn exec_follows() {
    recorder::end(End::Exec);
}

/// Hooks on functions whose arguments are none of our business, and for some of a number
/// that only their own code knows: note the call, then jump on with all registers as they
/// were (System V ABI: six integer arguments, and rax for those of variable number).
#[cfg(target_arch = "x86_64")]
macro_rules! exec_hooks {
    ($($name:ident)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push rax",
                "call {note}",
                "pop rax", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
                "jmp qword ptr [rip + {next} + {slot}]",
                note = sym exec_follows,
                next = sym crate::next::NEXT,
                slot = const core::mem::offset_of!(crate::next::Next, $name),
            )
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
exec_hooks!(execve execveat fexecve execv execvp execvpe execl execlp execle);
