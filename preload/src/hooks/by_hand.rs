//! malloc and free by hand, with the event path: all that lies between the program's call and its
//! return, but for the allocator.
//!
//! Done here is what is usual: a block of glibc's whose size word is as its size predicts, or one of another
//! allocator whose size class is on record, with the stack of the acquisition before it, or where none is
//! taken. All else is done by the same path in Rust (`acquire_glibc`, `acquire` and `release` of the
//! recorder), to which these functions turn before they have changed
//! anything but the lane's mark. That path could do the usual as well, and does so on other processors;
//! here it takes two thirds of the instructions: no register is saved that callers do not expect to be,
//! and where a stack is compared, the stack pointer and rbp are still the caller's.
//!
//! ```text
//! rdi  the block; in malloc, from the clock on, in units of 16 bytes
//! rsi  the size, then the address step         r9   the lane's cursor
//! rax  the stamp                               r10  eight times the half of the address space
//! rdx  the word without the address step       r11  bits of the step, then bytes of the word less one
//! r8   the lane                                rcx  in malloc -1 for a size of ten bits, else 0
//! ```

use super::blocks::{acquired_from, released_by};
use crate::next::{NEXT, Next};
use crate::start::{BY_CLASS, GLIBC, MALLOC};
use core::ffi::c_void;
use core::mem::offset_of;
use fragtrace_recorder::acquire_on_another_stack;
use fragtrace_recorder::layout::{CLASS_STEPS, CLASSES_KNOWN, GENERATION, lane, recent};

/// This thread's lane, marked as being written; to 7 if it has none, or if it is being written and a
/// handler interrupted that.
macro_rules! mark_lane {
    () => {
        "mov r8, qword ptr [rip + fragtrace_thread_word@GOTTPOFF]
         mov r8, qword ptr fs:[r8]
         test r8, r8
         jz 7f
         cmp qword ptr [r8 + {busy}], 0
         jne 7f
         mov qword ptr [r8 + {busy}], rsp"
    };
}

/// Where the word goes; to 8 if the chunk is full, the lane was wiped by fork, or it is time for a step.
macro_rules! find_room {
    () => {
        "mov r9, qword ptr [r8 + {cursor}]
         cmp r9, qword ptr [r8 + {limit}]
         jae 8f"
    };
}

/// The stamp, and the time step; to 8 if that takes a prefix. Then the step's place in the word, with
/// the half of the address in `rdi` and the kind.
macro_rules! read_clock {
    () => {
        "rdtsc
         shl rdx, 32
         or rax, rdx
         shr rax, 5
         mov rdx, rax
         sub rdx, qword ptr [r8 + {stamp}]
         cmp rdx, 0x3ff
         ja 8f
         mov r10, rdi
         shr r10, 45 - 3
         and r10d, 8
         shl rdx, 6"
    };
}

/// The zigzagged step to an address in units of 16 bytes, and its bits: see `bit_length` of the
/// recorder.
macro_rules! step_to {
    ($units:literal) => {
        concat!(
            "mov rsi, ",
            $units,
            "
             sub rsi, qword ptr [r8 + r10 + {base}]
             lea r11, [rsi + rsi]
             sar rsi, 63
             xor rsi, r11
             lea r11, [rsi + rsi + 1]
             lzcnt r11, r11
             xor r11d, dword ptr [rip + fragtrace_scan_flip]"
        )
    };
}

/// The event, by one store. Then the cursor, as who folds reads up to it, and what the next steps are
/// taken from; the lane is free.
macro_rules! store {
    ($units:literal) => {
        concat!(
            "or rsi, rdx
             or rsi, r11
             mov qword ptr [r9], rsi
             lea r9, [r9 + r11 + 1]
             mov qword ptr [r8 + {cursor}], r9
             mov qword ptr [r8 + {stamp}], rax
             mov qword ptr [r8 + r10 + {base}], ",
            $units,
            "
             mov qword ptr [r8 + {busy}], 0"
        )
    };
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "mov rbx, rdi",
        "call qword ptr [rip + {next} + {malloc}]",
        "mov rsi, rbx",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "mov rdi, rax",
        "test rax, rax",
        "jz 9f",
        // Usable bytes follow from the size if the chunk's are the size and 8, in units of 16; without
        // the bits for a neighbour in use and for another arena.
        "cmp byte ptr [rip + {whose}], {glibc}",
        "jne 10f",
        "mov rdx, qword ptr [rdi - 8]",
        "lea rcx, [rsi + 8 + 15]",
        "and rdx, -6",
        "and rcx, -16",
        "cmp rdx, rcx",
        "jne 6f",
        "1:",
        mark_lane!(),
        "mov r9, qword ptr [r8 + {last_stack}]",
        "test r9, r9",
        "jnz 5f",
        "2:",
        find_room!(),
        "cmp rsi, 0xfffff",
        "ja 8f",
        read_clock!(),
        // Kind 2 with ten bits of size, 3 with twenty.
        "cmp rsi, 0x400",
        "sbb rcx, rcx",
        "lea rdx, [rdx + rcx*8 + (3 << 3)]",
        "lea rdx, [rdx + r10*4]",
        "shl rsi, 16",
        "or rdx, rsi",
        "shr rdi, 4",
        step_to!("rdi"),
        // Behind 26 bits or 36; to 4 if that is more than a word.
        "and ecx, -10",
        "add ecx, 36",
        "lea r11d, [r11 + rcx - 1]",
        "cmp r11d, 64",
        "jae 4f",
        "shr r11d, 3",
        "shl rsi, cl",
        store!("rdi"),
        "shl rdi, 4",
        "mov rax, rdi",
        "9: ret",
        // Not usual. Block and size are put together again first, then the mark goes.
        "4:",
        "shl rdi, 4",
        "mov rsi, rdx",
        "shr rsi, 16",
        "8:",
        "mov qword ptr [r8 + {busy}], 0",
        "7:",
        "mov rdx, rsp",
        "mov rcx, rbp",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "call {acquired}",
        "pop rax",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        // No chunk has less than 32 bytes.
        "6:",
        "cmp rcx, 16",
        "jne 7b",
        "cmp rdx, 32",
        "je 1b",
        "jmp 7b",
        // Another allocator's: whether the class of its size is on record, a bit a step of eight bytes, and
        // no prefix says where it is. Larger ones have no class.
        "10:",
        "cmp byte ptr [rip + {whose}], {by_class}",
        "jne 7b",
        "test dil, 15",
        "jnz 7b",
        "lea rcx, [rsi + 7]",
        "shr rcx, 3",
        "cmp rcx, {steps}",
        "jae 7b",
        "lea r9, [rip + {known}]",
        "mov rdx, rcx",
        "shr rdx, 6",
        "mov rdx, qword ptr [r9 + rdx*8]",
        "bt rdx, rcx",
        "jc 1b",
        "jmp 7b",
        // Whether the stack is the last one: see `Recents::is_still` of the recorder.
        "5:",
        "mov r9, qword ptr [r9 + {current}]",
        "test r9, r9",
        "jz 9f",
        "mov eax, dword ptr [r8 + {stack}]",
        "cmp dword ptr [r9 + {id}], eax",
        "jne 9f",
        "cmp qword ptr [r9 + {sp}], rsp",
        "jne 9f",
        "mov eax, dword ptr [rip + {generation}]",
        "cmp dword ptr [r9 + {of_generation}], eax",
        "jne 9f",
        "mov rax, qword ptr [r9 + {bp}]",
        "xor rax, rbp",
        "test qword ptr [r9 + {bp_mask}], rax",
        "jne 9f",
        "mov ecx, dword ptr [r9 + {count}]",
        "lea rcx, [r9 + rcx*8]",
        "3:",
        "cmp r9, rcx",
        "je 2b",
        "mov rdx, qword ptr [r9 + {words}]",
        "add r9, 8",
        "movzx eax, dx",
        "shr rdx, 16",
        "cmp qword ptr [rsp + rax*8], rdx",
        "je 3b",
        // It is another, on a lane that stays marked.
        "9:",
        "mov rdx, rsi",
        "mov rsi, rdi",
        "mov rcx, rsp",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "mov rdi, r8",
        "mov r8, rbp",
        "call {on_another_stack}",
        "pop rax",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_endproc",
        next = sym NEXT,
        malloc = const offset_of!(Next, malloc),
        whose = sym MALLOC,
        glibc = const GLIBC,
        by_class = const BY_CLASS,
        known = sym CLASSES_KNOWN,
        steps = const CLASS_STEPS,
        generation = sym GENERATION,
        acquired = sym acquired_from,
        on_another_stack = sym acquire_on_another_stack,
        busy = const lane::BUSY,
        limit = const lane::LIMIT,
        cursor = const lane::CURSOR,
        stamp = const lane::STAMP,
        base = const lane::BASE,
        stack = const lane::STACK,
        last_stack = const lane::LAST_STACK,
        current = const recent::CURRENT,
        id = const recent::ID,
        sp = const recent::SP,
        of_generation = const recent::GENERATION,
        bp = const recent::BP,
        bp_mask = const recent::BP_MASK,
        count = const recent::COUNT,
        words = const recent::WORDS,
    )
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "test rdi, rdi",
        "jz 9f",
        mark_lane!(),
        find_room!(),
        // Whatever is no multiple of 16 takes a prefix.
        "test dil, 15",
        "jnz 8f",
        read_clock!(),
        "lea rdx, [rdx + r10*4 + (1 << 3)]",
        "mov rcx, rdi",
        "shr rcx, 4",
        step_to!("rcx"),
        // Behind 16 bits.
        "cmp r11d, 64 - 16",
        "ja 8f",
        "add r11d, 16 - 1",
        "shr r11d, 3",
        "shl rsi, 16",
        store!("rcx"),
        "9: jmp qword ptr [rip + {next} + {free}]",
        // Not usual: the mark goes.
        "8:",
        "mov qword ptr [r8 + {busy}], 0",
        "7:",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "call {released}",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp 9b",
        ".cfi_endproc",
        next = sym NEXT,
        free = const offset_of!(Next, free),
        released = sym released_by,
        busy = const lane::BUSY,
        limit = const lane::LIMIT,
        cursor = const lane::CURSOR,
        stamp = const lane::STAMP,
        base = const lane::BASE,
    )
}
