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

/// The body of a function like malloc: the allocator's is called, and then, if it gave a block, what is
/// named `then`, with block, size, stack pointer and frame pointer.
///
/// By hand, as most events come through here: what the caller's registers hold is still there when the
/// allocator has returned, and nothing need be kept for it meanwhile.
#[cfg(target_arch = "x86_64")]
macro_rules! like_malloc {
    ($begin:literal, $call:literal, $($operands:tt)*) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            $begin,
            "push rbx",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset rbx, 0",
            "mov rbx, rdi",
            $call,
            "mov rdi, rax",
            "mov rsi, rbx",
            "pop rbx",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore rbx",
            "test rax, rax",
            "jz 2f",
            "mov rdx, rsp",
            "mov rcx, rbp",
            "push rax",
            ".cfi_adjust_cfa_offset 8",
            "call {then}",
            "pop rax",
            ".cfi_adjust_cfa_offset -8",
            "2: ret",
            ".cfi_endproc",
            $($operands)*
        )
    };
}

pub(super) use entries;
#[cfg(target_arch = "x86_64")]
pub(crate) use like_malloc;
