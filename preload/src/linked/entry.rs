//! What runs when a hooked function is called: the recorder hears of blocks that go, the
//! function runs, the recorder hears of blocks that come.
//!
//! While the function runs, what it calls of its own allocator is that one's business: its
//! functions call each other by names that are hooked as well. What it has from the C library
//! (for a thread's end, say) counts.

use super::{BY_CLASS, Hook, NOBODY};
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_linked::{Alignment, Call, Length, Operation};
use fragtrace_recorder::{self as recorder, Acquire, Caller, Cold, Flags, UsableSize};

/// A call under way, as [`entered`] lays it out on the stack.
#[repr(C)]
pub(super) struct Frame {
    arguments: [usize; 6],
    hook: &'static Hook,
    /// What the function returned, in both registers that it may use.
    result: [usize; 2],
    /// What the call is to the recorder.
    call: Heard,
    /// How far the thread's events reached when it began.
    begun_at: usize,
}

/// What a call is to the recorder.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Heard {
    /// The program's, and the recorder knows that it has begun.
    Begun,
    /// The program's.
    Alone,
    /// The program's, and what happens inside is on record: should it throw, the exception's own
    /// block is the program's too.
    Open,
}

const FRAME_BYTES: usize = 88;
const _: () = assert!(size_of::<Frame>() <= FRAME_BYTES && FRAME_BYTES % 16 == 8);

/// Where stubs lead, with the hook in r11.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn entered() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "endbr64",
        "sub rsp, {frame}",
        ".cfi_adjust_cfa_offset {frame}",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov [rsp + 48], r11",
        "mov rdi, rsp",
        "call {before}",
        "test al, al",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "mov r11, [rsp + 48]",
        "jz 2f",
        "call [r11]",
        "mov [rsp + 56], rax",
        "mov [rsp + 64], rdx",
        "mov rdi, rsp",
        "lea rsi, [rsp + {frame}]",
        "mov rdx, rbp",
        "call {after}",
        "mov rax, [rsp + 56]",
        "mov rdx, [rsp + 64]",
        "add rsp, {frame}",
        ".cfi_adjust_cfa_offset -{frame}",
        "ret",
        // Nothing is to be done afterwards: it returns to the caller.
        "2:",
        ".cfi_adjust_cfa_offset {frame}",
        "add rsp, {frame}",
        ".cfi_adjust_cfa_offset -{frame}",
        "jmp [r11]",
        ".cfi_endproc",
        frame = const FRAME_BYTES,
        before = sym before,
        after = sym after,
    )
}

/// Where the stub of a function leads that is like malloc, and [alone](Hook::is_alone): with the
/// hook in r11.
///
/// What the caller's registers hold is still there when the allocator has returned, and nothing but
/// the size need be kept for it meanwhile.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn entered_malloc() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "endbr64",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "mov rbx, rdi",
        "call [r11]",
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
        then = sym acquired_alone,
    )
}

/// Where the stub of a function leads that is like free, and [alone](Hook::is_alone): with the hook
/// in r11. It may take more than the block.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn entered_free() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "endbr64",
        "test rdi, rdi",
        "jz 2f",
        "push rdi",
        "push rsi",
        "push rdx",
        "push r11",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 40",
        "mov rsi, rsp",
        "call {first}",
        "add rsp, 8",
        "pop r11",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        ".cfi_adjust_cfa_offset -40",
        "2: jmp [r11]",
        ".cfi_endproc",
        first = sym release_alone,
    )
}

/// Unless an operator of C++'s, say, has called it, which tells of the block itself.
extern "C" fn acquired_alone(block: usize, size: usize, sp: usize, bp: usize) {
    if !recorder::in_call(sp) {
        acquired_by_class(block, size, Caller { sp, bp });
    }
}

/// The one copy of what is written out where it stands.
#[inline(never)]
fn acquired_by_class(block: usize, size: usize, caller: Caller) {
    recorder::acquire(block, size, caller);
}

extern "C" fn release_alone(block: usize, sp: usize) {
    if !recorder::in_call(sp) {
        release(block);
    }
}

/// The one copy, again.
#[inline(never)]
fn release(block: usize) {
    recorder::release(block);
}

/// Where the stub of a function leads.
#[cfg(target_arch = "x86_64")]
pub(super) fn way_in(hook: &Hook, call: &Call) -> unsafe extern "C" fn() {
    let usual = call.alignment == Alignment::Usual && !call.zeroed && !call.throws;
    let by_class = hook.usable_size.load(Relaxed) == BY_CLASS;
    match (call.operation, call.length) {
        _ if !hook.is_alone.load(Relaxed) => entered,
        (Operation::Acquire, Length::Bytes(0)) if usual && by_class => entered_malloc,
        (Operation::Release(0), _) => entered_free,
        _ => entered,
    }
}

/// Nothing is hooked elsewhere.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn way_in(_: &Hook, _: &Call) -> unsafe extern "C" fn() {
    unsafe extern "C" fn nowhere() {}
    nowhere
}

impl Hook {
    #[inline(always)]
    fn call(&self) -> &'static Call {
        // SAFETY: `object::prepare` stored it from a constant, before any stub could be called.
        unsafe { &*self.call.load(Relaxed) }
    }
}

impl Frame {
    #[inline(always)]
    fn argument(&self, index: u8) -> usize {
        self.arguments[usize::from(index) % 6]
    }
}

/// The function is about to run. Whether there is anything to be done afterwards.
extern "C" fn before(frame: &mut Frame) -> bool {
    let sp = &raw const *frame as usize;
    if recorder::in_call(sp) {
        // Made by the allocator itself.
        return false;
    }
    match frame.hook.call().operation {
        Operation::Release(block) => {
            let block = frame.argument(block);
            if block != 0 {
                release(block);
            }
        }
        Operation::Move(block)
        | Operation::MoveOrKeep(block)
        | Operation::MoveOrRelease(block)
        | Operation::Resize(block) => {
            let block = frame.argument(block);
            if block != 0 {
                recorder::release_with(block, Flags::REALLOC);
            }
        }
        Operation::Acquire | Operation::AcquireInto(_) | Operation::Inside => {}
    }
    if frame.hook.call().throws {
        frame.begun_at = recorder::reach();
        frame.call = Heard::Open;
        return true;
    }
    let begun = match frame.hook.is_mallocs.load(Relaxed) {
        // What of these ends blocks has a way of its own.
        _ if frame.hook.is_alone.load(Relaxed) => false,
        true => recorder::begin_compound_at(sp),
        false => recorder::begin_linked(sp),
    };
    frame.call = if begun { Heard::Begun } else { Heard::Alone };
    true
}

/// The function has run.
extern "C" fn after(frame: &Frame, sp: usize, bp: usize) {
    recorder::end_compound(frame.call == Heard::Begun);
    let caller = Caller { sp, bp };
    let result = frame.result[0];
    match frame.hook.call().operation {
        Operation::Release(_) | Operation::Inside => {}
        Operation::Acquire => acquired(frame, result, Flags::NONE, caller),
        Operation::AcquireInto(place) => {
            if result as i32 == 0 {
                // SAFETY: the function has just written there, and reported success.
                let block = unsafe { *(frame.argument(place) as *const usize) };
                acquired(frame, block, Flags::NONE, caller);
            }
        }
        Operation::Resize(block) => {
            let block = frame.argument(block);
            if result >= length(frame, block) {
                acquired(frame, block, Flags::REALLOC, caller);
            } else {
                again(block, caller);
            }
        }
        operation @ (Operation::Move(old)
        | Operation::MoveOrKeep(old)
        | Operation::MoveOrRelease(old)) => {
            let old = frame.argument(old);
            if old == 0 {
                acquired(frame, result, Flags::NONE, caller);
            } else if result != 0 {
                acquired(frame, result, Flags::REALLOC, caller);
            } else if is_gone(operation, frame) {
                recorder::cold(&Cold::ReallocFreed { address: old as u64 });
            } else {
                again(old, caller);
            }
        }
    }
}

/// What null means for the block that was to be moved.
fn is_gone(operation: Operation, frame: &Frame) -> bool {
    match (operation, frame.hook.call().length) {
        (Operation::MoveOrRelease(_), _) => true,
        (Operation::Move(_), Length::Bytes(bytes)) => frame.argument(bytes) == 0,
        // A product that went round is refused.
        (Operation::Move(_), Length::Product(count, bytes)) => {
            frame.argument(count) == 0 || frame.argument(bytes) == 0
        }
        _ => false,
    }
}

/// A block that was to be moved is where it was.
fn again(block: usize, caller: Caller) {
    let flags = Flags::REALLOC.with(Flags::AGAIN);
    let again = Acquire { address: block as u64, flags, ..Acquire::default() };
    recorder::acquire_with(&again, caller);
}

/// Bytes asked for. `block`: what was returned.
#[inline(always)]
fn length(frame: &Frame, block: usize) -> usize {
    match frame.hook.call().length {
        Length::Bytes(bytes) => frame.argument(bytes),
        // A block that exists has a size that does not overflow.
        Length::Product(count, bytes) => frame.argument(count).wrapping_mul(frame.argument(bytes)),
        Length::Text => text_bytes(block),
        Length::None => 0,
    }
}

/// Bytes of a C string, with its end.
fn text_bytes(text: usize) -> usize {
    let mut bytes = 1;
    // SAFETY: the function that returned it has copied a string there.
    while text != 0 && unsafe { *((text + bytes - 1) as *const u8) } != 0 {
        bytes += 1;
    }
    bytes
}

/// Alignment asked for as a power of two, 0 = no news; and whether flags ask for zeroes.
#[inline(always)]
fn alignment(frame: &Frame) -> (u8, bool) {
    const ALIGNMENT: usize = 0x3f;
    const ZERO: usize = 0x40;
    let (bytes, zeroed) = match frame.hook.call().alignment {
        Alignment::Usual => (0, false),
        Alignment::Bytes(argument) => (frame.argument(argument), false),
        Alignment::Page => (4096, false),
        Alignment::Flags(argument) => {
            let flags = frame.argument(argument);
            (1 << (flags & ALIGNMENT), flags & ZERO != 0)
        }
    };
    (if bytes > 16 { bytes.ilog2() as u8 } else { 0 }, zeroed)
}

#[inline(always)]
fn acquired(frame: &Frame, block: usize, flags: Flags, caller: Caller) {
    if block == 0 || frame.call == Heard::Open && is_on_record(frame, block) {
        return;
    }
    let size = length(frame, block);
    let (align_log2, zeroed) = alignment(frame);
    let flags = if zeroed | frame.hook.call().zeroed { flags.with(Flags::ZEROED) } else { flags };
    let ask = frame.hook.usable_size.load(Relaxed);
    if ask == BY_CLASS && align_log2 == 0 && flags.is_empty() {
        acquired_by_class(block, size, caller);
    } else {
        acquired_with(block, size, (flags, align_log2, ask), caller);
    }
}

/// Whether the block came from a function that is hooked as well, and has just told of it.
fn is_on_record(frame: &Frame, block: usize) -> bool {
    recorder::reach() != frame.begun_at && recorder::is_last(block)
}

#[inline(never)]
fn acquired_with(
    block: usize,
    size: usize,
    (flags, align_log2, ask): (Flags, u8, usize),
    caller: Caller,
) {
    let known = |usable: usize| Acquire {
        address: block as u64,
        size: size as u64,
        usable: Some(usable.max(size) as u64),
        ..Acquire::default()
    };
    let plain = match ask {
        BY_CLASS => recorder::block(block, size),
        NOBODY => known(size),
        ask => {
            // SAFETY: `object::hook_allocator` stored the allocator's function that tells this.
            let ask: UsableSize = unsafe { core::mem::transmute(ask) };
            // SAFETY: the block is live, and its own.
            let usable = unsafe { recorder::usable_bytes(ask, block, size) };
            known(usable.map_or(size, |bytes| bytes as usize))
        }
    };
    recorder::acquire_with(&Acquire { flags, align_log2, ..plain }, caller);
}
