//! aarch64.

use core::arch::{asm, global_asm};
use fragtrace_format::header::ClockKind;

/// Where [`ticks`] come from.
pub(crate) const CLOCK: ClockKind = ClockKind::Counter;

// As on x86-64: two words of static TLS.
global_asm!(
    ".pushsection .tbss.fragtrace,\"awT\",@nobits",
    ".p2align 3",
    ".globl fragtrace_thread_word",
    ".hidden fragtrace_thread_word",
    ".type fragtrace_thread_word,@object",
    ".size fragtrace_thread_word,16",
    "fragtrace_thread_word:",
    ".zero 16",
    ".popsection",
);

#[inline(always)]
fn thread_word_address() -> *mut usize {
    let address: *mut usize;
    // SAFETY: initial-exec access: thread pointer plus the offset that the loader stored.
    unsafe {
        asm!(
            "adrp {address}, :gottprel:fragtrace_thread_word",
            "ldr {address}, [{address}, #:gottprel_lo12:fragtrace_thread_word]",
            "mrs {tp}, tpidr_el0",
            "add {address}, {address}, {tp}",
            address = out(reg) address,
            tp = out(reg) _,
            options(nostack, preserves_flags, pure, nomem),
        );
    }
    address
}

/// Where this thread's lane is; 0 = it has none.
#[inline(always)]
pub(crate) fn thread_lane() -> usize {
    // SAFETY: the address is this thread's own object; volatile, as handlers write it too.
    unsafe { thread_word_address().read_volatile() }
}

/// Asks for a cache line, to be there when it is read.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    // SAFETY: a hint, which reads nothing.
    unsafe {
        asm!("prfm pldl1keep, [{address}]", address = in(reg) address, options(nostack, preserves_flags, readonly));
    }
}

/// Sets where this thread's lane is.
pub(crate) fn set_thread_lane(word: usize) {
    // SAFETY: as above.
    unsafe { thread_word_address().write_volatile(word) }
}

/// This thread's number among those that were recorded; 0 = none yet.
pub(crate) fn thread_number() -> usize {
    // SAFETY: as above, the second word.
    unsafe { thread_word_address().add(1).read_volatile() }
}

/// Sets this thread's number.
pub(crate) fn set_thread_number(word: usize) {
    // SAFETY: as above, the second word.
    unsafe { thread_word_address().add(1).write_volatile(word) }
}

/// Whether stacks can be walked here: not yet. Return addresses are in a register first, and
/// may be signed; none of the rules for x86-64 hold.
pub(crate) const HAS_STACKS: bool = false;

/// The thread pointer.
pub(crate) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags))
    };
    pointer
}

/// The virtual counter of the generic timer.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    let ticks: u64;
    // SAFETY: Linux lets programs read the virtual counter.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
    ticks
}

/// What differs between processors of this kind: nothing that matters here.
pub(crate) fn find_out() {}

/// Bits that `value` needs, below 2⁶³; 0 for 0.
#[inline(always)]
pub(crate) fn bit_length(value: u64) -> u32 {
    fragtrace_format::event::bit_length(value)
}

/// The stack pointer, to tell a live frame from a dead one.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// A system call; the result is negative errno on failure, and errno is not touched.
///
/// # Safety
/// The arguments must be what the call demands.
#[inline(always)]
pub(crate) unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the call; the kernel preserves all but x0.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] as isize => result,
            in("x1") a[1],
            in("x2") a[2],
            in("x3") a[3],
            in("x4") a[4],
            in("x5") a[5],
            options(nostack),
        );
    }
    result
}

/// The counter runs at 1 GHz or less: every tick counts.
pub(crate) const CLOCK_SHIFT: u32 = 0;

/// The architecture promises a counter that never stops.
pub(crate) fn counter_is_usable() -> bool {
    true
}
