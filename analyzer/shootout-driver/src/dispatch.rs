//! Counts the system calls that the allocator makes.
//!
//! While a call of the allocator is under way, the kernel hands each system call of the thread back as
//! a signal (syscall user dispatch, Linux 5.11, x86-64), whose handler counts it and makes it. That
//! takes microseconds each, so the script is run once more for it, and nothing else is taken from
//! that run.
//!
//! ```text
//!  selector = BLOCK ─► malloc ─► mmap ─► SIGSYS ─► handler: count, `pass` makes the call ─► malloc …
//!                                                           (code that is let through always)
//! ```
//!
//! Not counted: what the allocator's own threads do, and what comes in one call behind a start of a
//! thread or a change of the signal mask, which are made without the handler.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

static COUNTED: AtomicU64 = AtomicU64::new(0);

/// Says of a thread whether its system calls are handed back: read by the kernel.
#[derive(Debug, Default)]
pub struct Selector(AtomicU8);

/// linux/prctl.h.
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

impl Selector {
    /// The calling thread is in the allocator from now on.
    #[inline(always)]
    pub fn enter(&self) {
        self.0.store(BLOCK, Relaxed);
    }

    /// It has come out.
    #[inline(always)]
    pub fn leave(&self) {
        self.0.store(ALLOW, Relaxed);
    }
}

/// System calls so far.
pub fn counted() -> u64 {
    COUNTED.load(Relaxed)
}

#[cfg(not(target_arch = "x86_64"))]
mod machine {
    use super::Selector;

    /// Not known how.
    pub fn prepare() -> bool {
        false
    }

    pub fn begin(_selector: &Selector) -> bool {
        false
    }

    pub fn end() {}

    pub fn takes_turn(_selector: &Selector) {}
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use super::{ALLOW, BLOCK, COUNTED, Selector};
    use core::ffi::c_void;
    use core::ptr::null_mut;
    use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

    const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;
    const OFF: u64 = 0;
    const ON: u64 = 1;
    const SA_RESTORER: u64 = 0x0400_0000;
    /// Bytes of the instruction `syscall`.
    const SYSCALL_BYTES: i64 = 2;

    /// The selector of the thread in the allocator: there is one at a time, as threads take turns.
    static INSIDE: AtomicPtr<Selector> = AtomicPtr::new(null_mut());

    // The code that the kernel lets through: a system call from seven words (its number and its
    // arguments), and the way back from the handler. The kernel looks at the address behind `syscall`.
    core::arch::global_asm!(
        ".pushsection .text.fragtrace_pass, \"ax\", @progbits",
        ".hidden fragtrace_pass",
        ".globl fragtrace_pass",
        "fragtrace_pass:",
        "mov r11, rdi",
        "mov rax, [r11]",
        "mov rdi, [r11 + 8]",
        "mov rsi, [r11 + 16]",
        "mov rdx, [r11 + 24]",
        "mov r10, [r11 + 32]",
        "mov r8, [r11 + 40]",
        "mov r9, [r11 + 48]",
        "syscall",
        "ret",
        ".hidden fragtrace_pass_back",
        ".globl fragtrace_pass_back",
        "fragtrace_pass_back:",
        "mov eax, 15",
        "syscall",
        "ud2",
        ".hidden fragtrace_pass_end",
        ".globl fragtrace_pass_end",
        "fragtrace_pass_end:",
        ".popsection",
    );

    unsafe extern "C" {
        fn fragtrace_pass(words: *const [i64; 7]) -> i64;
        fn fragtrace_pass_back();
        fn fragtrace_pass_end();
    }

    /// struct sigaction of the kernel (arch/x86/include/uapi/asm/signal.h): libc's would return
    /// through code of its own.
    #[repr(C)]
    struct Action {
        handler: usize,
        flags: u64,
        restorer: usize,
        mask: u64,
    }

    /// Sets up the handler. False: the kernel refuses.
    pub fn prepare() -> bool {
        let action = Action {
            handler: handle as *const () as usize,
            flags: libc::SA_SIGINFO as u64 | SA_RESTORER,
            restorer: fragtrace_pass_back as *const () as usize,
            mask: 0,
        };
        let none = null_mut::<c_void>();
        // SAFETY: the action has the kernel's layout, and lives as long as the call.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, libc::SIGSYS, &raw const action, none, 8) == 0
        }
    }

    /// From now on the selector decides for the calling thread. False: the kernel cannot do that.
    pub fn begin(selector: &Selector) -> bool {
        INSIDE.store((&raw const *selector).cast_mut(), Relaxed);
        let start = fragtrace_pass as *const () as u64;
        let bytes = fragtrace_pass_end as *const () as u64 - start;
        let byte = selector.0.as_ptr();
        // SAFETY: the selector is there until `end`, by the caller's scope: see `turns::Stage::play`.
        unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, ON, start, bytes, byte) == 0 }
    }

    /// The selector goes.
    pub fn end() {
        // SAFETY: changes nothing but what `begin` did.
        unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, OFF, 0_u64, 0_u64, 0_u64) };
    }

    /// The thread that has the turn is the one in the allocator.
    pub fn takes_turn(selector: &Selector) {
        INSIDE.store((&raw const *selector).cast_mut(), Relaxed);
    }

    /// A thread that is started inside of a handler would come back on another stack; a mask without
    /// SIGSYS would have the kernel end the process at the next system call.
    fn is_made_as_it_stands(number: i64) -> bool {
        [
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
        ]
        .contains(&number)
    }

    extern "C" fn handle(_signal: i32, _info: *mut libc::siginfo_t, context: *mut c_void) {
        COUNTED.fetch_add(1, Relaxed);
        // SAFETY: the kernel hands over the context that it will return to, which is nobody else's
        // now.
        let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let of = |register: i32| registers[register as usize];
        let number = of(libc::REG_RAX);
        if is_made_as_it_stands(number) {
            // SAFETY: the selector of the thread that is here: it has the turn.
            if let Some(selector) = unsafe { INSIDE.load(Relaxed).as_ref() } {
                selector.0.store(ALLOW, Relaxed);
                registers[libc::REG_RIP as usize] -= SYSCALL_BYTES;
            }
            return;
        }
        let words = [
            number,
            of(libc::REG_RDI),
            of(libc::REG_RSI),
            of(libc::REG_RDX),
            of(libc::REG_R10),
            of(libc::REG_R8),
            of(libc::REG_R9),
        ];
        // SAFETY: the call that the allocator made, on its thread, with its arguments.
        registers[libc::REG_RAX as usize] = unsafe { fragtrace_pass(&raw const words) };
    }

    const _: () = assert!(ALLOW != BLOCK);
}

pub use machine::{begin, end, prepare, takes_turn};
