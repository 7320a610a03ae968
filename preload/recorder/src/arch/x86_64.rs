//! x86-64.

use core::arch::{asm, global_asm};
use fragtrace_format::header::ClockKind;

/// Where [`ticks`] come from.
pub(crate) const CLOCK: ClockKind = ClockKind::Tsc;

// Two words in each thread's static TLS block. Stable Rust has no `#[thread_local]` without
// std, and std's would be general-dynamic: a call, and an allocation at first use.
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

/// Where this thread's lane is; 0 = it has none.
#[inline(always)]
pub(crate) fn thread_lane() -> usize {
    let word: usize;
    // SAFETY: initial-exec access to our own TLS object: the loader put its offset from the
    // thread pointer into the GOT, and the thread pointer is valid in every thread.
    unsafe {
        asm!(
            "mov {word}, qword ptr [rip + fragtrace_thread_word@GOTTPOFF]",
            "mov {word}, qword ptr fs:[{word}]",
            word = out(reg) word,
            options(nostack, preserves_flags, readonly),
        );
    }
    word
}

/// Asks for a cache line, to be there when it is read.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    // SAFETY: a hint, which reads nothing; SSE is a part of x86-64.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
            address as *const i8,
        );
    }
}

/// Sets where this thread's lane is.
pub(crate) fn set_thread_lane(word: usize) {
    // SAFETY: as in `thread_lane`; the object is this thread's alone.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + fragtrace_thread_word@GOTTPOFF]",
            "mov qword ptr fs:[{offset}], {word}",
            offset = out(reg) _,
            word = in(reg) word,
            options(nostack, preserves_flags),
        );
    }
}

/// This thread's number among those that were recorded; 0 = none yet.
pub(crate) fn thread_number() -> usize {
    let word: usize;
    // SAFETY: as in `thread_lane`, the second word.
    unsafe {
        asm!(
            "mov {word}, qword ptr [rip + fragtrace_thread_word@GOTTPOFF]",
            "mov {word}, qword ptr fs:[{word} + 8]",
            word = out(reg) word,
            options(nostack, preserves_flags, readonly),
        );
    }
    word
}

/// Sets this thread's number.
pub(crate) fn set_thread_number(word: usize) {
    // SAFETY: as in `thread_lane`, the second word.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + fragtrace_thread_word@GOTTPOFF]",
            "mov qword ptr fs:[{offset} + 8], {word}",
            offset = out(reg) _,
            word = in(reg) word,
            options(nostack, preserves_flags),
        );
    }
}

/// Whether stacks can be walked here.
pub(crate) const HAS_STACKS: bool = true;

/// The thread pointer: the address of the thread's control block, which holds it itself
/// (System V ABI, thread-local storage).
pub(crate) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: as in `thread_lane`.
    unsafe {
        asm!("mov {}, qword ptr fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly))
    };
    pointer
}

/// The time stamp counter. Not fenced: a fence would double the cost of an event, and the
/// order of events of one address does not depend on it (docs/trace-format.md).
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: rdtsc has no precondition where the time stamp counter is enabled, which
    // `process::start` made sure of.
    unsafe { core::arch::x86_64::_rdtsc() }
}

// What turns the result of `lzcnt` into the number of the highest bit that is set. Here, and not a
// static of Rust's, as those are found by way of the global offset table: one load more.
global_asm!(
    ".pushsection .data.fragtrace_scan_flip,\"aw\",@progbits",
    ".p2align 2",
    ".globl fragtrace_scan_flip",
    ".hidden fragtrace_scan_flip",
    ".type fragtrace_scan_flip,@object",
    ".size fragtrace_scan_flip,4",
    "fragtrace_scan_flip:",
    ".long 0",
    ".popsection",
);

/// Finds out what this processor does, once, before the first event.
pub(crate) fn find_out() {
    // LZCNT, bit 5 of ecx.
    let counts = core::arch::x86_64::__cpuid(0x8000_0000).eax >= 0x8000_0001
        && core::arch::x86_64::__cpuid(0x8000_0001).ecx & 1 << 5 != 0;
    let flip = if counts { 63 } else { 0 };
    // SAFETY: our own word, which no other thread reads yet.
    unsafe {
        asm!(
            "mov dword ptr [rip + fragtrace_scan_flip], {flip:e}",
            flip = in(reg) flip,
            options(nostack, preserves_flags),
        );
    }
}

/// Bits that `value` needs, below 2⁶³; 0 for 0.
///
/// By one instruction that all processors know by one of two names. Of old it is `bsr`, which gives
/// the number of the highest bit; with the prefix that was ignored then it is `lzcnt`, which
/// gives 63 less that. The former is eight micro-operations on AMD's.
#[inline(always)]
pub(crate) fn bit_length(value: u64) -> u32 {
    let mut scan = value << 1 | 1;
    // SAFETY: reads a word of ours that does not change, and writes a register and flags.
    unsafe {
        asm!(
            "lzcnt {scan}, {scan}",
            "xor {scan:e}, dword ptr [rip + fragtrace_scan_flip]",
            scan = inout(reg) scan,
            options(pure, readonly, nostack),
        );
    }
    scan as u32
}

/// The stack pointer, to tell a live frame from a dead one.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// A system call; the result is negative errno on failure, and errno is not touched.
///
/// # Safety
/// The arguments must be what the call demands.
#[inline(always)]
pub(crate) unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the call; the kernel clobbers rcx and r11 only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0],
            in("rsi") a[1],
            in("rdx") a[2],
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Stamps count 2⁵ ticks, 6 to 32 ns: fine enough to order events, coarse enough that most
/// time steps take ten bits.
pub(crate) const CLOCK_SHIFT: u32 = 5;

/// Whether the kernel itself trusts the counter, and lets this process read it.
pub(crate) fn counter_is_usable() -> bool {
    const PATH: &[u8] = b"/sys/devices/system/clocksource/clocksource0/current_clocksource\0";
    let mut source = [0; 16];
    let trusted = match crate::sys::read_file(PATH, &mut source) {
        Ok(len) => source[..len].starts_with(b"tsc"),
        // Without /sys: the processor's promise that its counter never stops (bit 8 of edx).
        Err(_) => {
            core::arch::x86_64::__cpuid(0x8000_0000).eax >= 0x8000_0007
                && core::arch::x86_64::__cpuid(0x8000_0007).edx & 1 << 8 != 0
        }
    };
    trusted && crate::sys::counter_is_readable()
}
