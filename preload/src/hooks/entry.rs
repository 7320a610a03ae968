//! How a hook knows where it was called from, to the instruction: it begins in assembly.
//!
//! A stack can only be walked from registers as the caller left them. An entry hands over the
//! stack pointer (its return address is there) and rbp in the registers of two more arguments,
//! and jumps on: the stack is as if the caller had called the function behind it, so
//! debuggers, exceptions and longjmp find nothing unusual.

/// Defines hooks with these C names, which take so many arguments in registers, and jump to
/// functions that take two more: the caller's stack pointer and frame pointer.
#[cfg(target_arch = "x86_64")]
macro_rules! entries {
    ($($name:ident($($arg:ident: $kind:ty),*) $(-> $result:ty)? => $to:ident, $sp:literal, $bp:literal;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $kind),*) $(-> $result)? {
            core::arch::naked_asm!(
                ".cfi_startproc",
                concat!("mov ", $sp, ", rsp"),
                concat!("mov ", $bp, ", rbp"),
                "jmp {to}",
                ".cfi_endproc",
                to = sym $to,
            )
        }
    )*};
}

/// Elsewhere the caller is not known, and there are no stacks.
#[cfg(not(target_arch = "x86_64"))]
macro_rules! entries {
    ($($name:ident($($arg:ident: $kind:ty),*) $(-> $result:ty)? => $to:ident, $sp:literal, $bp:literal;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $kind),*) $(-> $result)? {
            // SAFETY: by the caller.
            unsafe { $to($($arg,)* 0, 0) }
        }
    )*};
}

pub(super) use entries;
